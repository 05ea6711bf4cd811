//! SHA-512/256 of messages of one block, one in each lane of a vector.
//!
//! Words stay words: what is hashed again is neither turned into bytes nor back. Everything here is
//! inlined into the functions of `lanes` that have the instructions for it.
//!
//! # Source
//!
//! FIPS 180-4, sections 4.1.3, 5.3.6.2 and 6.4.2.
#![expect(clippy::inline_always, reason = "a vector in a function without its feature is memory")]
#![expect(clippy::many_single_char_names, reason = "those of the standard")]

use super::backend::Vector;

/// The state before the first block.
const START: [u64; 8] = [
    0x2231_2194_fc2b_f72c,
    0x9f55_5fa3_c84c_64c2,
    0x2393_b86b_6f53_b151,
    0x9638_7719_5940_eabd,
    0x9628_3ee2_a88e_ffe3,
    0xbe5e_1e25_5386_3992,
    0x2b01_99fc_2c85_b8aa,
    0x0eb7_2ddc_81c5_2ca2,
];

/// What is added in each round.
const ROUNDS: [[u64; 16]; 5] = [
    [
        0x428a_2f98_d728_ae22,
        0x7137_4491_23ef_65cd,
        0xb5c0_fbcf_ec4d_3b2f,
        0xe9b5_dba5_8189_dbbc,
        0x3956_c25b_f348_b538,
        0x59f1_11f1_b605_d019,
        0x923f_82a4_af19_4f9b,
        0xab1c_5ed5_da6d_8118,
        0xd807_aa98_a303_0242,
        0x1283_5b01_4570_6fbe,
        0x2431_85be_4ee4_b28c,
        0x550c_7dc3_d5ff_b4e2,
        0x72be_5d74_f27b_896f,
        0x80de_b1fe_3b16_96b1,
        0x9bdc_06a7_25c7_1235,
        0xc19b_f174_cf69_2694,
    ],
    [
        0xe49b_69c1_9ef1_4ad2,
        0xefbe_4786_384f_25e3,
        0x0fc1_9dc6_8b8c_d5b5,
        0x240c_a1cc_77ac_9c65,
        0x2de9_2c6f_592b_0275,
        0x4a74_84aa_6ea6_e483,
        0x5cb0_a9dc_bd41_fbd4,
        0x76f9_88da_8311_53b5,
        0x983e_5152_ee66_dfab,
        0xa831_c66d_2db4_3210,
        0xb003_27c8_98fb_213f,
        0xbf59_7fc7_beef_0ee4,
        0xc6e0_0bf3_3da8_8fc2,
        0xd5a7_9147_930a_a725,
        0x06ca_6351_e003_826f,
        0x1429_2967_0a0e_6e70,
    ],
    [
        0x27b7_0a85_46d2_2ffc,
        0x2e1b_2138_5c26_c926,
        0x4d2c_6dfc_5ac4_2aed,
        0x5338_0d13_9d95_b3df,
        0x650a_7354_8baf_63de,
        0x766a_0abb_3c77_b2a8,
        0x81c2_c92e_47ed_aee6,
        0x9272_2c85_1482_353b,
        0xa2bf_e8a1_4cf1_0364,
        0xa81a_664b_bc42_3001,
        0xc24b_8b70_d0f8_9791,
        0xc76c_51a3_0654_be30,
        0xd192_e819_d6ef_5218,
        0xd699_0624_5565_a910,
        0xf40e_3585_5771_202a,
        0x106a_a070_32bb_d1b8,
    ],
    [
        0x19a4_c116_b8d2_d0c8,
        0x1e37_6c08_5141_ab53,
        0x2748_774c_df8e_eb99,
        0x34b0_bcb5_e19b_48a8,
        0x391c_0cb3_c5c9_5a63,
        0x4ed8_aa4a_e341_8acb,
        0x5b9c_ca4f_7763_e373,
        0x682e_6ff3_d6b2_b8a3,
        0x748f_82ee_5def_b2fc,
        0x78a5_636f_4317_2f60,
        0x84c8_7814_a1f0_ab72,
        0x8cc7_0208_1a64_39ec,
        0x90be_fffa_2363_1e28,
        0xa450_6ceb_de82_bde9,
        0xbef9_a3f7_b2c6_7915,
        0xc671_78f2_e372_532b,
    ],
    [
        0xca27_3ece_ea26_619c,
        0xd186_b8c7_21c0_c207,
        0xeada_7dd6_cde0_eb1e,
        0xf57d_4f7f_ee6e_d178,
        0x06f0_67aa_7217_6fba,
        0x0a63_7dc5_a2c8_98a6,
        0x113f_9804_bef9_0dae,
        0x1b71_0b35_131c_471b,
        0x28db_77f5_2304_7d84,
        0x32ca_ab7b_40c7_2493,
        0x3c9e_be0a_15c9_bebc,
        0x431d_67c4_9c10_0d4c,
        0x4cc5_d4be_cb3e_42b6,
        0x597f_299c_fc65_7e2a,
        0x5fcb_6fab_3ad6_faec,
        0x6c44_198c_4a47_5817,
    ],
];

/// What follows the last byte of a message.
const END: u64 = 0x80 << 56;

/// A rotation or a shift takes its distance as a constant, and that of the other way too.
macro_rules! rotate {
    ($x:expr, $by:literal) => {
        $x.rotate::<$by, { 64 - $by }>()
    };
}

/// The hash of an inner node: `H(0x01 ‖ left ‖ right)`.
#[inline(always)]
pub(super) fn join<V: Vector>(left: [V; 4], right: [V; 4]) -> [V; 4] {
    let [a, b, c, d] = left;
    let [e, f, g, h] = right;
    // Each word begins with the last byte of the one before.
    let first = V::splat(1 << 56).or(a.shift_right::<8>());
    let next = |before: V, word: V| before.shift_left::<56>().or(word.shift_right::<8>());
    let last = h.shift_left::<56>().or(V::splat(END >> 8));
    let (zero, bits) = (V::splat(0), V::splat(65 * 8));
    compress([
        first,
        next(a, b),
        next(b, c),
        next(c, d),
        next(d, e),
        next(e, f),
        next(f, g),
        next(g, h),
        last,
        zero,
        zero,
        zero,
        zero,
        zero,
        zero,
        bits,
    ])
}

/// The hash of a message of `bits` bits, padded, whose further words are zero.
#[inline(always)]
pub(super) fn short<V: Vector, const WORDS: usize>(words: [V; WORDS], bits: V) -> [V; 4] {
    let mut block = [V::splat(0); 16];
    for (slot, word) in block.iter_mut().zip(words) {
        *slot = word;
    }
    block[15] = bits;
    compress(block)
}

#[inline(always)]
fn compress<V: Vector>(mut words: [V; 16]) -> [V; 4] {
    let start = START.map(V::splat);
    let [first, second, rest @ ..] = &ROUNDS;
    let state = sixteen(start, words, first);
    // By itself, as most of the words that go into it are constants.
    words = expand(words);
    let mut state = sixteen(state, words, second);
    for constants in rest {
        words = expand(words);
        state = sixteen(state, words, constants);
    }
    let ([a, b, c, d, ..], [s, t, u, v, ..]) = (start, state);
    [a.add(s), b.add(t), c.add(u), d.add(v)]
}

/// The next sixteen words of the message schedule.
#[inline(always)]
fn expand<V: Vector>(mut w: [V; 16]) -> [V; 16] {
    macro_rules! expand {
        ($($t:literal)*) => {$({
            let (early, late) = (w[($t + 1) % 16], w[($t + 14) % 16]);
            let early = rotate!(early, 1).xor(rotate!(early, 8), early.shift_right::<7>());
            let late = rotate!(late, 19).xor(rotate!(late, 61), late.shift_right::<6>());
            w[$t] = w[$t].add(early).add(w[($t + 9) % 16].add(late));
        })*};
    }
    expand!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    w
}

#[inline(always)]
fn sixteen<V: Vector>(state: [V; 8], words: [V; 16], constants: &[u64; 16]) -> [V; 8] {
    let [mut a, mut b, mut c, mut d, mut e, mut f, mut g, mut h] = state;
    macro_rules! round {
        ($a:ident $b:ident $c:ident $d:ident $e:ident $f:ident $g:ident $h:ident $t:expr) => {
            let sum = rotate!($e, 14).xor(rotate!($e, 18), rotate!($e, 41));
            let given = words[$t].add(V::splat(constants[$t])).add($h);
            let mixed = given.add($e.choose($f, $g)).add(sum);
            $d = $d.add(mixed);
            let sum = rotate!($a, 28).xor(rotate!($a, 34), rotate!($a, 39));
            $h = mixed.add($a.majority($b, $c)).add(sum);
        };
    }
    macro_rules! eight {
        ($t:literal) => {
            round!(a b c d e f g h $t);
            round!(h a b c d e f g $t + 1);
            round!(g h a b c d e f $t + 2);
            round!(f g h a b c d e $t + 3);
            round!(e f g h a b c d $t + 4);
            round!(d e f g h a b c $t + 5);
            round!(c d e f g h a b $t + 6);
            round!(b c d e f g h a $t + 7);
        };
    }
    eight!(0);
    eight!(8);
    [a, b, c, d, e, f, g, h]
}
