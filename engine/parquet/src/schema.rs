use std::sync::Arc;

use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::errors::Result;
use parquet::file::metadata::{KeyValue, SortingColumn};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::{ColumnPath, Type, TypePtr};

/// Digits of a decimal number, at most: engines have no more than 38.
pub(crate) const DIGITS: u32 = 38;

/// Bytes of a decimal number.
pub(crate) const DECIMAL_LEN: usize = 16;

/// Bytes of a hash.
pub(crate) const HASH_LEN: usize = 32;

/// What a column is encoded with besides the default, which is plain and not compressed: hashes are
/// random.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Values that stay the same for many rows.
    Dictionary,
    /// Numbers that grow slowly.
    Deltas,
    /// Numbers whose first bytes stay the same.
    Compressed,
    /// As they are.
    Plain,
}

/// The columns without those of `adjacents`: name, type, how they are encoded, whether their lowest and
/// highest values are of use.
const COLUMNS: [(&str, Way, bool); 14] = [
    ("height", Way::Deltas, true),
    ("hash", Way::Plain, false),
    ("orphan", Way::Dictionary, true),
    ("creationTime", Way::Deltas, true),
    ("parent", Way::Plain, false),
    ("adjacents.key_value.key", Way::Dictionary, false),
    ("adjacents.key_value.value", Way::Plain, false),
    ("payloadHash", Way::Plain, false),
    ("target", Way::Dictionary, false),
    ("difficulty", Way::Dictionary, true),
    ("weight", Way::Compressed, true),
    ("epochStart", Way::Dictionary, true),
    ("featureFlags", Way::Dictionary, false),
    ("nonce", Way::Compressed, false),
];

/// The schema of every file.
///
/// # Errors
///
/// None: a test makes it.
pub fn schema() -> Result<TypePtr> {
    let number = |name, logical| leaf(name, Physical::INT64, Some(logical));
    let hash = |name| fixed(name, HASH_LEN).build();
    let decimal = |name| {
        fixed(name, DECIMAL_LEN)
            .with_repetition(Repetition::OPTIONAL)
            .with_logical_type(Some(LogicalType::decimal(0, DIGITS.cast_signed())))
            .with_precision(DIGITS.cast_signed())
            .with_scale(0)
            .build()
    };
    let signed = LogicalType::integer(64, true);
    let unsigned = LogicalType::integer(64, false);
    let time = LogicalType::timestamp(true, TimeUnit::MICROS);
    let fields = [
        number("height", signed)?,
        hash("hash")?,
        leaf("orphan", Physical::BOOLEAN, None)?,
        number("creationTime", time.clone())?,
        hash("parent")?,
        adjacents()?,
        hash("payloadHash")?,
        hash("target")?,
        decimal("difficulty")?,
        decimal("weight")?,
        number("epochStart", time)?,
        number("featureFlags", unsigned.clone())?,
        number("nonce", unsigned)?,
    ];
    let fields = fields.into_iter().map(Arc::new).collect();
    Ok(Arc::new(Type::group_type_builder("header").with_fields(fields).build()?))
}

/// A map of chains to hashes, as the JSON object of a header has it.
fn adjacents() -> Result<Type> {
    let key = leaf("key", Physical::INT32, Some(LogicalType::integer(32, true)))?;
    let value = fixed("value", HASH_LEN).build()?;
    let entries = Type::group_type_builder("key_value")
        .with_repetition(Repetition::REPEATED)
        .with_fields(vec![Arc::new(key), Arc::new(value)])
        .build()?;
    Type::group_type_builder("adjacents")
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(Some(LogicalType::Map))
        .with_fields(vec![Arc::new(entries)])
        .build()
}

fn leaf(name: &str, physical: Physical, logical: Option<LogicalType>) -> Result<Type> {
    Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::REQUIRED)
        .with_logical_type(logical)
        .build()
}

fn fixed(name: &str, len: usize) -> parquet::schema::types::PrimitiveTypeBuilder<'_> {
    Type::primitive_type_builder(name, Physical::FIXED_LEN_BYTE_ARRAY)
        .with_repetition(Repetition::REQUIRED)
        .with_length(i32::try_from(len).unwrap_or(i32::MAX))
}

/// How files are written that say this of themselves.
pub(crate) fn properties(about: Vec<KeyValue>) -> WriterProperties {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_key_value_metadata(Some(about))
        // Rows are by ascending rank; the hash is in the second column.
        .set_sorting_columns(Some(vec![SortingColumn {
            column_idx: 0,
            descending: false,
            nulls_first: false,
        }]));
    for (name, way, is_ordered) in COLUMNS {
        let path = || ColumnPath::new(name.split('.').map(str::to_owned).collect());
        if is_ordered {
            properties = properties.set_column_statistics_enabled(path(), EnabledStatistics::Page);
        }
        properties = match way {
            Way::Plain => properties,
            Way::Dictionary => properties
                .set_column_dictionary_enabled(path(), true)
                .set_column_compression(path(), Compression::SNAPPY),
            Way::Deltas => properties.set_column_encoding(path(), Encoding::DELTA_BINARY_PACKED),
            Way::Compressed => properties.set_column_compression(path(), Compression::SNAPPY),
        };
    }
    properties.build()
}

#[cfg(test)]
mod tests {
    use parquet::schema::types::SchemaDescriptor;

    use super::*;

    #[test]
    fn every_column_has_an_encoding() {
        let schema = SchemaDescriptor::new(schema().unwrap());
        let columns: Vec<String> = schema.columns().iter().map(|c| c.path().string()).collect();
        assert_eq!(columns, COLUMNS.map(|(name, ..)| name));
    }
}
