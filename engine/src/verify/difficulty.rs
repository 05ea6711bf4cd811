//! What target a block must have, and when its epoch began.
//!
//! Every rule of the main network's history, by height. Numbers are exact: where the reference
//! computes with rationals and then stores 256 bits, the same bits come out here, also where they
//! wrap around.

use ruint::aliases::{U256, U512};

use crate::header::HeaderRef;
use crate::types::{BlockHeight, ChainwebVersion, Micros, Target};

/// How hard it is to meet a target: the number of hashes it takes on average, less rounding.
/// `None` for a target of 0, which nothing meets.
#[must_use]
pub fn difficulty(target: Target) -> Option<U256> {
    U256::MAX.checked_div(target.get())
}

/// Whether this is the [`difficulty`] of a target: a quotient is checked without a division.
pub(crate) fn is_difficulty(got: U256, target: Target) -> bool {
    let target = target.get();
    let (product, too_large) = got.overflowing_mul(target);
    // What is left of the dividend, 2^256 − 1, is its complement.
    !too_large && !product < target
}

/// The target of a block with this parent, these adjacent parents and this creation time. `None`
/// where the reference has none either, but divides by zero.
///
/// # Source
///
/// `powTarget`
pub(crate) fn target(
    parent: HeaderRef<'_>,
    adjacents: &[HeaderRef<'_>],
    creation_time: Micros,
) -> Option<Target> {
    let version = ChainwebVersion::from_code(parent.version_code())?;
    let window = window(version, parent.height());
    let slow = version.slow_epoch_guard(parent.height())
        && span(parent.epoch_start(), creation_time)
            > nominal_span(version, version.window()).saturating_mul(5);
    if !slow && !is_last_in_epoch(version, parent.height()) {
        return Some(parent.target());
    }
    let nominal = nominal_span(version, window);
    if parent.height().child().is_some_and(|height| version.old_da_guard(height)) {
        let old_rule = version.old_target_guard(parent.height());
        let end = if old_rule { creation_time } else { parent.creation_time() };
        return adjust_old(parent.target(), span(parent.epoch_start(), end), nominal);
    }
    let headers = std::iter::once(parent).chain(adjacents.iter().copied());
    let targets = headers.map(|header| {
        let actual = span(header.epoch_start(), header.creation_time());
        U512::from(adjust(header.target(), actual, nominal))
    });
    // Four numbers of 256 bits at most: the sum has room, and the mean has 256 bits again.
    let (sum, count) = targets.fold((U512::ZERO, 0_u64), |(sum, n), target| {
        (sum.saturating_add(target), n.saturating_add(1))
    });
    sum.checked_div(U512::from(count)).map(|mean| Target::new(mean.to()))
}

/// When the epoch of a block with this parent and this creation time began.
///
/// # Source
///
/// `epochStart`
pub(crate) fn epoch_start(parent: HeaderRef<'_>, creation_time: Micros) -> Option<Micros> {
    let version = ChainwebVersion::from_code(parent.version_code())?;
    let height = parent.height();
    let first = version.genesis_height(parent.chain())?;
    let begins_late = version.fixes_first_epoch() && height == BlockHeight::new(1);
    let is_second = height > BlockHeight::new(1) && Some(height) == first.child();
    Some(if begins_late || is_second {
        parent.creation_time()
    } else if is_last_in_epoch(version, height) {
        if version.old_target_guard(height) { creation_time } else { parent.creation_time() }
    } else {
        parent.epoch_start()
    })
}

/// Blocks of the epoch that the block at `height` is in: shorter ones in the beginning.
fn window(version: ChainwebVersion, height: BlockHeight) -> u64 {
    let window = version.window();
    if height.get() <= window { (window / 10).max(1) } else { window }
}

/// Whether the next block begins an epoch.
pub(crate) fn is_last_in_epoch(version: ChainwebVersion, height: BlockHeight) -> bool {
    let window = window(version, height);
    height.child().is_some_and(|next| next.get().is_multiple_of(window))
}

/// Microseconds that an epoch of so many blocks should take.
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "63 bits times 64 bits are 127, beside the sign"
    )
)]
fn nominal_span(version: ChainwebVersion, window: u64) -> i128 {
    i128::from(version.block_delay().get()) * i128::from(window)
}

#[cfg_attr(
    not(test),
    expect(clippy::arithmetic_side_effects, reason = "a difference of 64 bits has 65")
)]
fn span(from: Micros, to: Micros) -> i128 {
    i128::from(to.get()) - i128::from(from.get())
}

/// The target of one chain's next epoch: the old one, scaled by how long the epoch took.
///
/// Rounded up, and then cut to 256 bits, before the largest target could limit it; so a result
/// that is too large, or below zero, wraps around.
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "256 bits times 65 bits are 321, and no epoch should take no time"
    )
)]
fn adjust(target: Target, actual: i128, nominal: i128) -> U256 {
    let scaled = U512::from(target.get()) * U512::from(actual.unsigned_abs());
    let nominal = U512::from(nominal.unsigned_abs());
    if actual < 0 {
        // Rounding up is rounding towards zero.
        wrapped(scaled / nominal).wrapping_neg()
    } else {
        wrapped(scaled.div_ceil(nominal))
    }
}

/// The target of the next epoch by the rule before height 771,414 of mainnet01: by difficulty, and
/// for each chain alone.
#[cfg_attr(
    not(test),
    expect(
        clippy::arithmetic_side_effects,
        reason = "256 bits times 127 bits are 383, and `actual` is not zero where it divides"
    )
)]
fn adjust_old(target: Target, actual: i128, nominal: i128) -> Option<Target> {
    let scaled = U512::from(difficulty(target)?) * U512::from(nominal.unsigned_abs());
    let actual_abs = U512::from(actual.unsigned_abs());
    let difficulty = match actual {
        0 => return None,
        ..0 => wrapped(scaled / actual_abs).wrapping_neg(),
        1.. => wrapped(scaled.div_ceil(actual_abs)),
    };
    U256::MAX.checked_div(difficulty).map(Target::new)
}

/// The lower 256 bits.
fn wrapped(value: U512) -> U256 {
    value.wrapping_to()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_difficulty_is_known_without_a_division() {
        let one = U256::from(1);
        let numbers = [0_usize, 1, 2, 3, 64, 127, 128, 200, 255].map(|bit| one << bit);
        let near = numbers.iter().flat_map(|n| [n.wrapping_sub(one), *n, n.wrapping_add(one)]);
        for target in near.chain([U256::ZERO, U256::MAX, U256::MAX - one]).map(Target::new) {
            let found = difficulty(target);
            for got in [U256::ZERO, one, U256::MAX]
                .into_iter()
                .chain(found)
                .flat_map(|n| [n.wrapping_sub(one), n, n.wrapping_add(one)])
            {
                assert_eq!(is_difficulty(got, target), Some(got) == found, "{got} {target:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn any_difficulty_is_known_without_a_division(
            limbs in any::<[u64; 4]>(),
            bits in 0_usize..256,
            other in any::<[u64; 4]>(),
            other_bits in 0_usize..256,
        ) {
            let target = Target::new(U256::from_limbs(limbs) >> bits);
            let found = difficulty(target);
            let other = U256::from_limbs(other) >> other_bits;
            prop_assert_eq!(is_difficulty(other, target), Some(other) == found);
            if let Some(found) = found {
                prop_assert!(is_difficulty(found, target));
                prop_assert!(!is_difficulty(found.wrapping_add(U256::from(1)), target));
                prop_assert!(!is_difficulty(found.wrapping_sub(U256::from(1)), target));
            }
        }
    }

    #[test]
    fn first_epochs_have_twelve_blocks() {
        let main = ChainwebVersion::Mainnet01;
        let first: Vec<u64> =
            (0..500).filter(|height| is_last_in_epoch(main, BlockHeight::new(*height))).collect();
        assert_eq!(first, [11, 23, 35, 47, 59, 71, 83, 95, 107, 119, 239, 359, 479]);
    }

    #[test]
    fn an_epoch_on_time_leaves_the_target() {
        let target = Target::new(U256::MAX / U256::from(1_000_003));
        let nominal = nominal_span(ChainwebVersion::Mainnet01, 120);
        assert_eq!(nominal, 3_600_000_000);
        assert_eq!(adjust(target, nominal, nominal), target.get());
        assert_eq!(adjust(target, 2 * nominal, nominal), target.get() + target.get());
    }

    #[test]
    fn a_target_beyond_256_bits_wraps_around() {
        let target = Target::new(U256::MAX);
        assert_eq!(adjust(target, 2, 1), U256::MAX - U256::from(1));
        assert_eq!(adjust(target, -1, 1), U256::from(1));
        assert_eq!(
            adjust(Target::new(U256::from(5)), -1, 2),
            U256::ZERO.wrapping_sub(U256::from(2))
        );
        assert_eq!(adjust(Target::new(U256::from(5)), 1, 2), U256::from(3));
    }

    #[test]
    fn an_epoch_without_duration_has_no_target_by_the_old_rule() {
        assert_eq!(adjust_old(Target::new(U256::MAX), 0, 1), None);
        assert_eq!(adjust_old(Target::new(U256::ZERO), 1, 1), None);
    }
}
