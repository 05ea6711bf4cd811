//! Vectors of 64-bit words, and the processors that have them.
//!
//! A [`Lanes`] hashes a message in each of its lanes at once. To have one is to know that the
//! processor has its instructions: [`Backend::available`] makes them, from what the processor says.
//!
//! # Safety
//!
//! Intrinsics are unsafe where the processor may be without them. All of them are here, in methods
//! of vectors that no other module can name, and vectors are made only below the functions with a
//! `target_feature`. Those are called by methods of [`Avx2`] and [`Avx512`] only, which exist only
//! where the processor was found to have the feature. Memory is read and written through references
//! to arrays of the size of the vector.
#![expect(clippy::inline_always, reason = "a vector in a function without its feature is memory")]

use super::sha512;

/// 32 bytes in each lane: four words of eight bytes, most significant first.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub(super) struct Nodes<const N: usize>(pub(super) [[u64; N]; 4]);

impl<const N: usize> Nodes<N> {
    /// From the words of each lane.
    #[inline(always)]
    pub(super) fn new(lanes: [[u64; 4]; N]) -> Self {
        let mut columns = [[0; N]; 4];
        for (lane, words) in lanes.iter().enumerate() {
            for (column, word) in columns.iter_mut().zip(words) {
                column.get_mut(lane).into_iter().for_each(|slot| *slot = *word);
            }
        }
        Self(columns)
    }

    /// The words of one lane.
    #[inline(always)]
    pub(super) fn lane(&self, lane: usize) -> [u64; 4] {
        self.0.each_ref().map(|column| column.get(lane).copied().unwrap_or_default())
    }
}

/// Hashes `N` messages at once by SHA-512/256.
pub(super) trait Lanes<const N: usize>: Copy {
    /// `H(0x01 ‖ left ‖ right)`.
    fn join(self, left: &Nodes<N>, right: &Nodes<N>) -> Nodes<N>;

    /// The hash of padded messages of `bits` bits, whose further words are zero.
    fn short<const WORDS: usize>(self, words: &[[u64; N]; WORDS], bits: u64) -> Nodes<N>;
}

/// A way to hash that this machine has.
///
/// The scalar one is everywhere; the others are found at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backend(pub(super) Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scalar(Scalar),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
}

impl Backend {
    /// All that this machine has, the slowest first.
    pub fn available() -> impl Iterator<Item = Self> {
        let scalar = std::iter::once(Kind::Scalar(Scalar));
        #[cfg(target_arch = "x86_64")]
        let vectors = [Avx2::detect().map(Kind::Avx2), Avx512::detect().map(Kind::Avx512)];
        #[cfg(not(target_arch = "x86_64"))]
        let vectors = [None];
        scalar.chain(vectors.into_iter().flatten()).map(Self)
    }

    /// The fastest that this machine has.
    #[must_use]
    pub fn best() -> Self {
        Self::available().last().unwrap_or(Self(Kind::Scalar(Scalar)))
    }

    /// Its name, as benches and tests print it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self.0 {
            Kind::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512(_) => "avx512",
        }
    }
}

/// Equal words side by side, with what SHA-2 does to them.
pub(super) trait Vector: Copy {
    fn splat(word: u64) -> Self;
    fn add(self, other: Self) -> Self;
    fn or(self, other: Self) -> Self;
    /// All three, exclusively.
    fn xor(self, second: Self, third: Self) -> Self;
    /// Bits of `set` where those of `self` are set, of `unset` elsewhere.
    fn choose(self, set: Self, unset: Self) -> Self;
    /// What most of the three bits are.
    fn majority(self, second: Self, third: Self) -> Self;
    fn shift_left<const BY: i32>(self) -> Self;
    fn shift_right<const BY: i32>(self) -> Self;
    /// To the right `BY` bits, which is `BACK` to the left.
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self;
}

/// One message after the other, on any machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Scalar;

impl Lanes<1> for Scalar {
    #[inline(never)]
    fn join(self, left: &Nodes<1>, right: &Nodes<1>) -> Nodes<1> {
        Nodes(
            sha512::join(left.0.map(|[word]| word), right.0.map(|[word]| word)).map(|word| [word]),
        )
    }

    #[inline(never)]
    fn short<const WORDS: usize>(self, words: &[[u64; 1]; WORDS], bits: u64) -> Nodes<1> {
        Nodes(sha512::short(words.map(|[word]| word), bits).map(|word| [word]))
    }
}

impl Vector for u64 {
    #[inline(always)]
    fn splat(word: u64) -> Self {
        word
    }

    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.wrapping_add(other)
    }

    #[inline(always)]
    fn or(self, other: Self) -> Self {
        self | other
    }

    #[inline(always)]
    fn xor(self, second: Self, third: Self) -> Self {
        self ^ second ^ third
    }

    #[inline(always)]
    fn choose(self, set: Self, unset: Self) -> Self {
        unset ^ (self & (set ^ unset))
    }

    #[inline(always)]
    fn majority(self, second: Self, third: Self) -> Self {
        second ^ ((self ^ second) & (second ^ third))
    }

    #[inline(always)]
    fn shift_left<const BY: i32>(self) -> Self {
        self << BY
    }

    #[inline(always)]
    fn shift_right<const BY: i32>(self) -> Self {
        self >> BY
    }

    #[inline(always)]
    fn rotate<const BY: i32, const BACK: i32>(self) -> Self {
        self >> BY | self << BACK
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
#[expect(
    unsafe_code,
    reason = "intrinsics of instructions that not every processor has; see above"
)]
mod x86 {
    use std::arch::x86_64::{
        __m256i, __m512i, _mm_cvtsi32_si128, _mm256_add_epi64, _mm256_and_si256, _mm256_or_si256,
        _mm256_set1_epi64x, _mm256_slli_epi64, _mm256_srli_epi64, _mm256_xor_si256,
        _mm512_add_epi64, _mm512_or_si512, _mm512_ror_epi64, _mm512_set1_epi64, _mm512_sll_epi64,
        _mm512_srl_epi64, _mm512_ternarylogic_epi64,
    };

    use super::{Lanes, Nodes, Vector, sha512};

    macro_rules! lanes {
        ($(#[$doc:meta])* $token:ident $vector:ident $raw:ident $n:literal $feature:tt) => {
            $(#[$doc])*
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub(in super::super) struct $token(());

            #[derive(Clone, Copy)]
            struct $vector($raw);

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
        Avx2 Quad __m256i 4 "avx2"
    );
    lanes!(
        /// Eight messages at once, where the processor has AVX-512.
        Avx512 Octet __m512i 8 "avx512f"
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
            let [one, two] = [(self, second), (second, third)]
                .map(|(a, b)| op!(Self, _mm256_xor_si256(a.0, b.0)));
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
}
