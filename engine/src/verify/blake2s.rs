//! BLAKE2s-256 of the work of headers, one in each lane of a vector.
//!
//! # Source
//!
//! RFC 7693, sections 2 and 3.
#![expect(clippy::inline_always, reason = "a vector in a function without its feature is memory")]
#![expect(clippy::many_single_char_names, reason = "those of the standard")]

use zerocopy::byteorder::big_endian::U32;

use super::lanes::{Half, Works};
use crate::header::{RawHeader, WORK_LEN};
use crate::types::BlockHash;

/// The state before the parameters are mixed in.
const START: [u32; 8] = [
    0x6a09_e667,
    0xbb67_ae85,
    0x3c6e_f372,
    0xa54f_f53a,
    0x510e_527f,
    0x9b05_688c,
    0x1f83_d9ab,
    0x5be0_cd19,
];

/// No key, a hash of 32 bytes, a message of its own.
const PARAMETERS: u32 = 0x0101_0020;

/// Bytes of a block.
const BLOCK: usize = 64;

/// Bytes of all blocks but the last, which is not full.
const WHOLE: usize = WORK_LEN / BLOCK * BLOCK;

/// The last two bytes of the message are not a word.
const _: () = assert!(WORK_LEN % 4 == 2 && (WHOLE + 4) < WORK_LEN);

macro_rules! rotate {
    ($x:expr, $by:literal) => {
        $x.rotate::<$by, { 32 - $by }>()
    };
}

/// Appends the [`pow_hash`](super::pow_hash) of each record, made in lanes.
pub(super) fn pow_hashes<const M: usize>(
    lanes: impl Works<M>,
    records: &[RawHeader],
    out: &mut Vec<BlockHash>,
) {
    let (groups, rest) = records.as_chunks::<M>();
    for group in groups {
        push(&lanes.work(group), M, out);
    }
    if let [first, ..] = rest {
        let mut group = [*first; M];
        group.iter_mut().zip(rest).for_each(|(slot, record)| *slot = *record);
        push(&lanes.work(&group), rest.len(), out);
    }
}

/// Appends the hashes of the first lanes.
fn push<const M: usize>(words: &[[u32; M]; 8], lanes: usize, out: &mut Vec<BlockHash>) {
    out.extend((0..lanes).map(|lane| {
        let mut words = words.each_ref().map(|column| column.get(lane).copied().unwrap_or(0));
        // The last word and in it the last byte come first.
        words.reverse();
        BlockHash::new(zerocopy::transmute!(words.map(U32::new)))
    }));
}

/// The hashes of the work of all records.
#[inline(always)]
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "places in a message of 286 bytes; where 2 is taken off, it is from the last one"
    )
)]
pub(super) fn work<V: Half>(records: &V::Records) -> [V; 8] {
    let mut state = START.map(V::splat);
    state[0] = state[0].xor(V::splat(PARAMETERS));
    let mut end = 0;
    while end < WORK_LEN {
        let start = end;
        end = WORK_LEN.min(end + BLOCK);
        let mut words = [V::splat(0); 16];
        for (at, word) in (start..end).step_by(4).zip(&mut words) {
            *word = if at + 4 <= WORK_LEN {
                V::load(records, at)
            } else {
                V::load(records, at - 2).shift_right::<16>()
            };
        }
        state = compress(state, words, end);
    }
    state
}

/// Mixes in a block, which ends after so many bytes of the message.
#[inline(always)]
fn compress<V: Half>(state: [V; 8], words: [V; 16], end: usize) -> [V; 8] {
    let [a, b, c, d, e, f, g, h] = state;
    let [i, j, k, l, m, n, o, p] = START.map(V::splat);
    let count = u32::try_from(end).unwrap_or(u32::MAX);
    let last = if end == WORK_LEN { u32::MAX } else { 0 };
    let (m, o) = (m.xor(V::splat(count)), o.xor(V::splat(last)));
    let mut v = [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p];
    macro_rules! mix {
        ($a:literal $b:literal $c:literal $d:literal $x:literal $y:literal) => {
            v[$a] = v[$a].add(v[$b]).add(words[$x]);
            v[$d] = rotate!(v[$d].xor(v[$a]), 16);
            v[$c] = v[$c].add(v[$d]);
            v[$b] = rotate!(v[$b].xor(v[$c]), 12);
            v[$a] = v[$a].add(v[$b]).add(words[$y]);
            v[$d] = rotate!(v[$d].xor(v[$a]), 8);
            v[$c] = v[$c].add(v[$d]);
            v[$b] = rotate!(v[$b].xor(v[$c]), 7);
        };
    }
    macro_rules! round {
        ($a:literal $b:literal $c:literal $d:literal $e:literal $f:literal $g:literal $h:literal
         $i:literal $j:literal $k:literal $l:literal $m:literal $n:literal $o:literal $p:literal) => {
            mix!(0 4 8 12 $a $b);
            mix!(1 5 9 13 $c $d);
            mix!(2 6 10 14 $e $f);
            mix!(3 7 11 15 $g $h);
            mix!(0 5 10 15 $i $j);
            mix!(1 6 11 12 $k $l);
            mix!(2 7 8 13 $m $n);
            mix!(3 4 9 14 $o $p);
        };
    }
    round!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    round!(14 10 4 8 9 15 13 6 1 12 0 2 11 7 5 3);
    round!(11 8 12 0 5 2 15 13 10 14 3 6 7 1 9 4);
    round!(7 9 3 1 13 12 11 14 2 6 5 10 4 0 15 8);
    round!(9 0 5 7 2 4 10 15 14 1 11 12 6 8 3 13);
    round!(2 12 6 10 0 11 8 3 4 13 7 5 15 14 1 9);
    round!(12 5 1 15 14 13 4 10 0 7 6 3 9 2 8 11);
    round!(13 11 7 14 12 1 3 9 5 0 15 4 8 6 2 10);
    round!(6 15 14 9 11 3 0 8 12 2 13 7 1 4 10 5);
    round!(10 2 8 4 7 6 1 5 15 11 9 14 3 12 13 0);
    [
        a.xor(v[0].xor(v[8])),
        b.xor(v[1].xor(v[9])),
        c.xor(v[2].xor(v[10])),
        d.xor(v[3].xor(v[11])),
        e.xor(v[4].xor(v[12])),
        f.xor(v[5].xor(v[13])),
        g.xor(v[6].xor(v[14])),
        h.xor(v[7].xor(v[15])),
    ]
}
