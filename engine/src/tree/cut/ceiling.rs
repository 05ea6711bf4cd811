use std::collections::BTreeMap;

use ruint::aliases::U256;

use crate::types::{BlockHeight, Weight};

/// An upper bound on the weight of the blocks of one chain that are not sealed, height by height.
///
/// It shows which heights need no search for a heavier cut. The bound may be too high, for example
/// after a block was sealed, but is never too low.
#[derive(Clone, Debug, Default)]
pub struct Ceiling {
    /// [`u128::MAX`] means any greater weight: no real network comes near.
    heights: BTreeMap<u64, u128>,
}

/// The heaviest block of some heights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Most {
    /// Its weight.
    pub weight: U256,
    /// Its height.
    pub height: u64,
    /// Whether no other height can have a block as heavy.
    pub is_alone: bool,
}

impl Ceiling {
    /// Records a block.
    pub fn add(&mut self, height: BlockHeight, weight: Weight) {
        let weight = u128::try_from(weight.get()).unwrap_or(u128::MAX);
        let most = self.heights.entry(height.get()).or_default();
        *most = weight.max(*most);
    }

    /// Records that the only block of a height is sealed.
    pub fn remove(&mut self, height: BlockHeight) {
        self.heights.remove(&height.get());
    }

    /// The weight of the heaviest block at heights from `low` to `high`; `None` if there is none.
    #[must_use]
    pub fn most(&self, low: u64, high: u64) -> Option<Most> {
        let mut found: Option<(u128, u64, bool)> = None;
        for (height, weight) in self.heights.range(low..=high.max(low)) {
            match &mut found {
                Some((most, _, _)) if weight < most => {}
                Some((most, _, is_alone)) if weight == most => *is_alone = false,
                found => *found = Some((*weight, *height, true)),
            }
        }
        let (weight, height, is_alone) = found?;
        let weight = if weight == u128::MAX { U256::MAX } else { U256::from(weight) };
        Some(Most { weight, height, is_alone })
    }
}

impl Most {
    /// The heavier of the two.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        let is_alone = self.weight != other.weight;
        let most = if other.weight > self.weight { other } else { self };
        Self { is_alone: most.is_alone && is_alone, ..most }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_is_that_of_the_heights_that_are_asked_for() {
        let mut ceiling = Ceiling::default();
        let weight = |weight: u64| Weight::new(U256::from(weight));
        for (height, most) in [(3, 30), (4, 20), (4, 40), (5, 40), (9, 10)] {
            ceiling.add(BlockHeight::new(height), weight(most));
        }
        let most = |low, high| {
            let most = ceiling.most(low, high)?;
            Some((u64::try_from(most.weight).unwrap(), most.height, most.is_alone))
        };
        assert_eq!(most(0, 3), Some((30, 3, true)));
        assert_eq!(most(0, 4), Some((40, 4, true)));
        assert_eq!(most(0, 9), Some((40, 4, false)), "5 has one as heavy");
        assert_eq!((most(6, 8), most(6, u64::MAX)), (None, Some((10, 9, true))));
        let mut ceiling = ceiling.clone();
        ceiling.remove(BlockHeight::new(9));
        assert_eq!(ceiling.most(6, 9), None);
        ceiling.add(BlockHeight::new(7), Weight::new(U256::MAX - U256::from(1)));
        assert_eq!(ceiling.most(6, 9).unwrap().weight, U256::MAX, "never too little");
    }
}
