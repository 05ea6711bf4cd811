use std::io::Write;
use std::mem::{offset_of, size_of};

use bytes::Bytes;
use parquet::data_type::{
    BoolType, ByteArray, DataType, FixedLenByteArray, FixedLenByteArrayType, Int32Type, Int64Type,
};
use parquet::errors::Result;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use plait_engine::header::{DEGREE, LEN, RawHeader};
use plait_engine::verify::difficulty;
use plait_engine::{Target, Weight};
use ruint::aliases::U256;
use zerocopy::byteorder::big_endian::U128;
use zerocopy::{FromBytes, IntoBytes};

use crate::schema::{DECIMAL_LEN, DIGITS, HASH_LEN};

/// Rows that are encoded together.
const TOGETHER: usize = 1024;

/// Where in a header the adjacent parents are, each a chain and a hash.
const ADJACENTS: usize = offset_of!(RawHeader, adjacents) + size_of::<u16>();
const ADJACENT_LEN: usize = size_of::<u32>() + HASH_LEN;

/// 10^38, the lowest number that is too high.
const TOO_HIGH: u128 = 10_u128.pow(DIGITS);

/// Rows of a row group: headers and whether they are orphans, by ascending rank.
pub(crate) struct Group<'a> {
    records: &'a Bytes,
    headers: &'a [RawHeader],
    orphans: &'a [bool],
}

impl<'a> Group<'a> {
    /// The rows of these records; as many of them as marks.
    pub(crate) fn new(records: &'a Bytes, orphans: &'a [bool]) -> Self {
        let (headers, _) =
            <[RawHeader]>::ref_from_prefix_with_elems(records, orphans.len()).unwrap_or_default();
        Self { records, headers, orphans }
    }

    /// Writes all columns, in the order of the schema.
    pub(crate) fn write<W: Write + Send>(&self, file: &mut SerializedFileWriter<W>) -> Result<()> {
        let mut out = file.next_row_group()?;
        self.numbers(&mut out, |header| header.height.get().cast_signed())?;
        self.hashes(&mut out, &[offset_of!(RawHeader, hash)])?;
        self.marks(&mut out)?;
        self.numbers(&mut out, |header| header.creation_time.get())?;
        self.hashes(&mut out, &[offset_of!(RawHeader, parent)])?;
        self.adjacents(&mut out)?;
        self.hashes(&mut out, &[offset_of!(RawHeader, payload_hash)])?;
        self.targets(&mut out)?;
        let mut known = ([0; 32], None);
        self.decimals(&mut out, |header| {
            if header.target != known.0 {
                // Of 0, which nothing meets, there is none.
                known = (header.target, difficulty(Target::from_le(header.target)));
            }
            known.1
        })?;
        self.decimals(&mut out, |header| Some(Weight::from_le(header.weight).get()))?;
        self.numbers(&mut out, |header| header.epoch_start.get())?;
        self.numbers(&mut out, |header| header.feature_flags.get().cast_signed())?;
        self.numbers(&mut out, |header| header.nonce.get().cast_signed())?;
        out.close()?;
        Ok(())
    }

    fn numbers<W: Write + Send>(
        &self,
        out: &mut SerializedRowGroupWriter<'_, W>,
        number: impl Fn(&RawHeader) -> i64,
    ) -> Result<()> {
        self.column::<Int64Type, W>(out, None, |headers, values| {
            values.extend(headers.iter().map(&number));
        })
    }

    /// Writes a column of hashes, which lie at these places of a header: one, or several a row.
    fn hashes<W: Write + Send>(
        &self,
        out: &mut SerializedRowGroupWriter<'_, W>,
        offsets: &[usize],
    ) -> Result<()> {
        let mut next = 0;
        let repeats = offsets.len() > 1;
        self.column::<FixedLenByteArrayType, W>(
            out,
            repeats.then_some(offsets.len()),
            |rows, values| {
                for _ in rows {
                    for offset in offsets {
                        let start = next + offset;
                        values.push(fixed(self.records.slice(start..start + HASH_LEN)));
                    }
                    next += LEN;
                }
            },
        )
    }

    fn adjacents<W: Write + Send>(&self, out: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        self.column::<Int32Type, W>(out, Some(DEGREE), |headers, values| {
            for header in headers {
                let chains = header.adjacents.iter().map(|(chain, _)| chain.get().cast_signed());
                values.extend(chains);
            }
        })?;
        let hash = |number| ADJACENTS + number * ADJACENT_LEN + size_of::<u32>();
        self.hashes(out, &std::array::from_fn::<_, DEGREE, _>(hash))
    }

    fn marks<W: Write + Send>(&self, out: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        let Some(mut column) = out.next_column()? else { return Ok(()) };
        column.typed::<BoolType>().write_batch(self.orphans, None, None)?;
        column.close()
    }

    /// Writes the targets as big endian bytes, whose order is that of the numbers.
    fn targets<W: Write + Send>(&self, out: &mut SerializedRowGroupWriter<'_, W>) -> Result<()> {
        self.column::<FixedLenByteArrayType, W>(out, None, |headers, values| {
            let mut bytes = Vec::with_capacity(headers.len() * HASH_LEN);
            for header in headers {
                bytes.extend(header.target.iter().rev());
            }
            let bytes = Bytes::from(bytes);
            let each = (0..headers.len()).map(|row| row * HASH_LEN);
            values.extend(each.map(|start| fixed(bytes.slice(start..start + HASH_LEN))));
        })
    }

    /// Writes a column of decimal numbers; where one is too high there is none.
    fn decimals<W: Write + Send>(
        &self,
        out: &mut SerializedRowGroupWriter<'_, W>,
        mut number: impl FnMut(&RawHeader) -> Option<U256>,
    ) -> Result<()> {
        let Some(mut column) = out.next_column()? else { return Ok(()) };
        let (mut bytes, mut values) = (Vec::new(), Vec::with_capacity(TOGETHER));
        let mut levels = Vec::with_capacity(TOGETHER);
        for headers in self.headers.chunks(TOGETHER) {
            levels.clear();
            values.clear();
            for header in headers {
                let decimal = number(header).and_then(decimal);
                levels.push(i16::from(decimal.is_some()));
                bytes.extend_from_slice(decimal.unwrap_or_default().as_bytes());
            }
            let all = Bytes::from(std::mem::take(&mut bytes));
            let there = levels.iter().enumerate().filter(|(_, level)| **level == 1);
            let each = there.map(|(row, _)| row * DECIMAL_LEN);
            values.extend(each.map(|start| fixed(all.slice(start..start + DECIMAL_LEN))));
            let typed = column.typed::<FixedLenByteArrayType>();
            typed.write_batch(&values, Some(&levels), None)?;
        }
        column.close()
    }

    /// Writes a column: `fill` appends the values of some rows, one each, or so many of a map.
    fn column<T: DataType, W: Write + Send>(
        &self,
        out: &mut SerializedRowGroupWriter<'_, W>,
        entries: Option<usize>,
        mut fill: impl FnMut(&[RawHeader], &mut Vec<T::T>),
    ) -> Result<()> {
        let Some(mut column) = out.next_column()? else { return Ok(()) };
        let mut values = Vec::with_capacity(TOGETHER * entries.unwrap_or(1));
        let levels = entries.map(levels);
        for headers in self.headers.chunks(TOGETHER) {
            values.clear();
            fill(headers, &mut values);
            let levels = levels.as_ref().map(|(definition, repetition)| {
                let definition = definition.get(..values.len()).unwrap_or_default();
                (definition, repetition.get(..values.len()).unwrap_or_default())
            });
            let (definition, repetition) = levels.unzip();
            column.typed::<T>().write_batch(&values, definition, repetition)?;
        }
        column.close()
    }
}

/// Levels of maps that have so many entries each: all are there, each first one begins a row.
fn levels(entries: usize) -> (Vec<i16>, Vec<i16>) {
    let len = TOGETHER * entries;
    let repetition = (0..len).map(|at| i16::from(at % entries != 0));
    (vec![1; len], repetition.collect())
}

fn fixed(bytes: Bytes) -> FixedLenByteArray {
    ByteArray::from(bytes).into()
}

/// The bytes of a number, the highest one first, if it has no more than 38 digits.
fn decimal(number: U256) -> Option<U128> {
    let number = u128::try_from(number).ok().filter(|number| *number < TOO_HIGH)?;
    Some(U128::new(number))
}
