//! Vectors of words, as the processors of one family have them.
//!
//! # Safety
//!
//! Intrinsics are unsafe where the processor may be without them. All of them are here, in methods
//! of vectors that no other module can name, and vectors are made only below the functions with a
//! `target_feature`. Those are called by methods of [`Avx2`] and [`Avx512`] only, which exist only
//! where the processor was found to have the feature. Memory is read and written through references
//! to arrays of the size of the vector; what is gathered lies in the array of records.
#![expect(clippy::inline_always, reason = "a vector in a function without its feature is memory")]
#![expect(
    unsafe_code,
    reason = "intrinsics of instructions that not every processor has; see above"
)]

use std::arch::x86_64::{
    __m256i, __m512i, _mm_cvtsi32_si128, _mm256_add_epi32, _mm256_add_epi64, _mm256_and_si256,
    _mm256_i32gather_epi32, _mm256_loadu_si256, _mm256_or_si256, _mm256_set1_epi32,
    _mm256_set1_epi64x, _mm256_slli_epi32, _mm256_slli_epi64, _mm256_srli_epi32, _mm256_srli_epi64,
    _mm256_xor_si256, _mm512_add_epi32, _mm512_add_epi64, _mm512_i32gather_epi32,
    _mm512_loadu_si512, _mm512_or_si512, _mm512_ror_epi32, _mm512_ror_epi64, _mm512_set1_epi32,
    _mm512_set1_epi64, _mm512_sll_epi64, _mm512_srl_epi32, _mm512_srl_epi64,
    _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use super::backend::{Lanes, Nodes, Vector};
use super::{blake2s, sha512};
use crate::header::{LEN, RawHeader};

/// Hashes the work of `M` records at once by BLAKE2s-256: all but the block hash.
pub(super) trait Works<const M: usize>: Copy {
    /// The words of the hashes, each in all lanes.
    fn work(self, records: &[RawHeader; M]) -> [[u32; M]; 8];
}

/// Words of 32 bits side by side, with what BLAKE2s does to them.
pub(super) trait Half: Copy {
    /// A record for each lane.
    type Records;

    /// The four bytes of each record from the offset `at` on.
    fn load(records: &Self::Records, at: usize) -> Self;
    fn splat(word: u32) -> Self;
    fn add(self, other: Self) -> Self;
    fn xor(self, other: Self) -> Self;
    fn shift_right<const BY: i32>(self) -> Self;
    /// To the right `BY` bits, which is `BACK` to the left.
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self;
}

macro_rules! lanes {
    ($(#[$doc:meta])* $token:ident $vector:ident $half:ident $raw:ident $n:literal $m:literal $feature:tt) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) struct $token(());

        #[derive(Clone, Copy)]
        struct $vector($raw);

        #[derive(Clone, Copy)]
        struct $half($raw);

        impl $token {
            pub(super) fn detect() -> Option<Self> {
                is_x86_feature_detected!($feature).then_some(Self(()))
            }

            #[target_feature(enable = $feature)]
            #[inline]
            fn load(words: &[u64; $n]) -> $vector {
                const { assert!(size_of::<[u64; $n]>() == size_of::<$raw>()) };
                // SAFETY: the array is as large as the vector, and any bits are one.
                $vector(unsafe { std::ptr::from_ref(words).cast::<$raw>().read_unaligned() })
            }

            #[target_feature(enable = $feature)]
            #[inline]
            fn store(vector: $vector) -> [u64; $n] {
                // SAFETY: both have the same size, and any bits are words.
                unsafe { std::mem::transmute::<$raw, [u64; $n]>(vector.0) }
            }

            // No closures: a standard function that calls one has no vectors.
            #[target_feature(enable = $feature)]
            #[inline(never)]
            fn joined(left: &Nodes<$n>, right: &Nodes<$n>) -> Nodes<$n> {
                Self::node(sha512::join(Self::columns(&left.0), Self::columns(&right.0)))
            }

            #[target_feature(enable = $feature)]
            #[inline(never)]
            fn shortened<const WORDS: usize>(
                words: &[[u64; $n]; WORDS],
                bits: u64,
            ) -> Nodes<$n> {
                Self::node(sha512::short(Self::columns(words), $vector::splat(bits)))
            }

            #[target_feature(enable = $feature)]
            #[inline]
            fn columns<const WORDS: usize>(words: &[[u64; $n]; WORDS]) -> [$vector; WORDS] {
                let mut columns = [$vector::splat(0); WORDS];
                for (column, words) in columns.iter_mut().zip(words) {
                    *column = Self::load(words);
                }
                columns
            }

            #[target_feature(enable = $feature)]
            #[inline]
            fn node(columns: [$vector; 4]) -> Nodes<$n> {
                let mut node = Nodes([[0; $n]; 4]);
                for (words, column) in node.0.iter_mut().zip(columns) {
                    *words = Self::store(column);
                }
                node
            }

            #[target_feature(enable = $feature)]
            #[inline(never)]
            fn worked(records: &[RawHeader; $m]) -> [[u32; $m]; 8] {
                let mut hash = [[0; $m]; 8];
                for (words, column) in hash.iter_mut().zip(blake2s::work::<$half>(records)) {
                    // SAFETY: both have the same size, and any bits are words.
                    *words = unsafe { std::mem::transmute::<$raw, [u32; $m]>(column.0) };
                }
                hash
            }
        }

        impl Works<$m> for $token {
            fn work(self, records: &[RawHeader; $m]) -> [[u32; $m]; 8] {
                // SAFETY: a token exists only where the feature was detected.
                unsafe { Self::worked(records) }
            }
        }

        impl Lanes<$n> for $token {
            fn join(self, left: &Nodes<$n>, right: &Nodes<$n>) -> Nodes<$n> {
                // SAFETY: a token exists only where the feature was detected.
                unsafe { Self::joined(left, right) }
            }

            fn short<const WORDS: usize>(
                self,
                words: &[[u64; $n]; WORDS],
                bits: u64,
            ) -> Nodes<$n> {
                // SAFETY: a token exists only where the feature was detected.
                unsafe { Self::shortened(words, bits) }
            }
        }
    };
}

lanes!(
    /// Four messages at once, where the processor has AVX2.
    Avx2 Quad Quads __m256i 4 8 "avx2"
);
lanes!(
    /// Eight messages at once, where the processor has AVX-512.
    Avx512 Octet Octets __m512i 8 16 "avx512f"
);

/// An operation of a vector, which exists only where its instructions do.
macro_rules! op {
    ($vector:ident, $operation:expr) => {
        // SAFETY: vectors are made only below functions that have the feature; see the module.
        $vector(unsafe { $operation })
    };
}

impl Vector for Octet {
    #[inline(always)]
    fn splat(word: u64) -> Self {
        op!(Self, _mm512_set1_epi64(word.cast_signed()))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        op!(Self, _mm512_add_epi64(self.0, other.0))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        op!(Self, _mm512_or_si512(self.0, other.0))
    }

    #[inline(always)]
    fn xor(self, second: Self, third: Self) -> Self {
        op!(Self, _mm512_ternarylogic_epi64::<0x96>(self.0, second.0, third.0))
    }

    #[inline(always)]
    fn choose(self, set: Self, unset: Self) -> Self {
        op!(Self, _mm512_ternarylogic_epi64::<0xca>(self.0, set.0, unset.0))
    }

    #[inline(always)]
    fn majority(self, second: Self, third: Self) -> Self {
        op!(Self, _mm512_ternarylogic_epi64::<0xe8>(self.0, second.0, third.0))
    }

    #[inline(always)]
    fn shift_left<const BY: i32>(self) -> Self {
        op!(Self, _mm512_sll_epi64(self.0, _mm_cvtsi32_si128(BY)))
    }

    #[inline(always)]
    fn shift_right<const BY: i32>(self) -> Self {
        op!(Self, _mm512_srl_epi64(self.0, _mm_cvtsi32_si128(BY)))
    }

    #[inline(always)]
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self {
        op!(Self, _mm512_ror_epi64::<BY>(self.0))
    }
}

impl Vector for Quad {
    #[inline(always)]
    fn splat(word: u64) -> Self {
        op!(Self, _mm256_set1_epi64x(word.cast_signed()))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        op!(Self, _mm256_add_epi64(self.0, other.0))
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        op!(Self, _mm256_or_si256(self.0, other.0))
    }

    #[inline(always)]
    fn xor(self, second: Self, third: Self) -> Self {
        op!(Self, _mm256_xor_si256(_mm256_xor_si256(self.0, second.0), third.0))
    }

    #[inline(always)]
    fn choose(self, set: Self, unset: Self) -> Self {
        let differ = self.and(op!(Self, _mm256_xor_si256(set.0, unset.0)));
        op!(Self, _mm256_xor_si256(unset.0, differ.0))
    }

    #[inline(always)]
    fn majority(self, second: Self, third: Self) -> Self {
        // The second difference is the first one of the round before.
        let [one, two] =
            [(self, second), (second, third)].map(|(a, b)| op!(Self, _mm256_xor_si256(a.0, b.0)));
        op!(Self, _mm256_xor_si256(second.0, one.and(two).0))
    }

    #[inline(always)]
    fn shift_left<const BY: i32>(self) -> Self {
        op!(Self, _mm256_slli_epi64::<BY>(self.0))
    }

    #[inline(always)]
    fn shift_right<const BY: i32>(self) -> Self {
        op!(Self, _mm256_srli_epi64::<BY>(self.0))
    }

    #[inline(always)]
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self {
        self.shift_right::<BY>().or(self.shift_left::<BACK>())
    }
}

impl Quad {
    #[inline(always)]
    fn and(self, other: Self) -> Self {
        op!(Self, _mm256_and_si256(self.0, other.0))
    }
}

/// Where each of a few records begins, in bytes from the first.
const STARTS: [i32; 16] =
    [0, 318, 636, 954, 1272, 1590, 1908, 2226, 2544, 2862, 3180, 3498, 3816, 4134, 4452, 4770];

const _: () = assert!(STARTS[15].cast_unsigned() as usize == 15 * LEN);

/// The last offset in a record from which there are four bytes.
const LAST: usize = LEN - 4;

impl Half for Octets {
    type Records = [RawHeader; 16];

    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "what is gathered may lie anywhere")]
    fn load(records: &Self::Records, at: usize) -> Self {
        let first = records.as_ptr().cast::<i32>().wrapping_byte_add(at.min(LAST));
        let starts = op!(Self, _mm512_loadu_si512(STARTS.as_ptr().cast()));
        op!(Self, _mm512_i32gather_epi32::<1>(starts.0, first))
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        op!(Self, _mm512_set1_epi32(word.cast_signed()))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        op!(Self, _mm512_add_epi32(self.0, other.0))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        op!(Self, _mm512_xor_si512(self.0, other.0))
    }

    #[inline(always)]
    fn shift_right<const BY: i32>(self) -> Self {
        op!(Self, _mm512_srl_epi32(self.0, _mm_cvtsi32_si128(BY)))
    }

    #[inline(always)]
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self {
        op!(Self, _mm512_ror_epi32::<BY>(self.0))
    }
}

impl Half for Quads {
    type Records = [RawHeader; 8];

    #[inline(always)]
    #[expect(clippy::cast_ptr_alignment, reason = "what is gathered may lie anywhere")]
    fn load(records: &Self::Records, at: usize) -> Self {
        let first = records.as_ptr().cast::<i32>().wrapping_byte_add(at.min(LAST));
        let starts = op!(Self, _mm256_loadu_si256(STARTS.as_ptr().cast()));
        op!(Self, _mm256_i32gather_epi32::<1>(first, starts.0))
    }

    #[inline(always)]
    fn splat(word: u32) -> Self {
        op!(Self, _mm256_set1_epi32(word.cast_signed()))
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        op!(Self, _mm256_add_epi32(self.0, other.0))
    }

    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        op!(Self, _mm256_xor_si256(self.0, other.0))
    }

    #[inline(always)]
    fn shift_right<const BY: i32>(self) -> Self {
        op!(Self, _mm256_srli_epi32::<BY>(self.0))
    }

    #[inline(always)]
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self {
        let back = op!(Self, _mm256_slli_epi32::<BACK>(self.0));
        op!(Self, _mm256_or_si256(self.shift_right::<BY>().0, back.0))
    }
}
