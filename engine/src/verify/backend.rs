//! What hashes messages side by side, and which of that this machine has.
#![expect(clippy::inline_always, reason = "a vector in a function without its feature is memory")]

#[cfg(target_arch = "x86_64")]
use super::lanes::{Avx2, Avx512};
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

/// Hashes `N` messages at once by SHA-512/256. To have one is to know that the processor can.
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
