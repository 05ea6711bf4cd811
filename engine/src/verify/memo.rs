use super::backend::Nodes;

/// Slots of a [`Table`]: as many keys as are looked for at a time.
const SLOTS: usize = 1 << 10;

/// Keys that a table has at most when it is asked for more.
const KEYS_MAX: usize = 4 << 10;

/// The place of no key.
const NOWHERE: u32 = u32::MAX;

/// Hashes of what was hashed before, by all that goes into them: some for each key.
///
/// # Shape
///
/// Each key is given a place, in ascending order. Keys whose slot is the same push each other out,
/// which costs a hash when the first comes again, and nothing else: a place belongs to its key
/// until [`Table::make_room`].
#[derive(Debug)]
pub(super) struct Table<const WORDS: usize, const NODES: usize> {
    slots: Box<[u32]>,
    keys: Vec<[u64; WORDS]>,
    /// Of the first keys; those of the last ones are still to be made.
    nodes: Vec<[[u64; 4]; NODES]>,
}

impl<const WORDS: usize, const NODES: usize> Table<WORDS, NODES> {
    pub(super) fn new() -> Self {
        Self { slots: [NOWHERE; SLOTS].into(), keys: Vec::new(), nodes: Vec::new() }
    }

    /// Forgets everything, places too, if there is not room enough for `more` keys.
    pub(super) fn make_room(&mut self, more: usize) {
        if self.keys.len().saturating_add(more) > KEYS_MAX {
            self.slots.fill(NOWHERE);
            self.keys.clear();
            self.nodes.clear();
        }
    }

    /// The place of `key`; a new one, unless the key is in its slot.
    #[inline]
    pub(super) fn place(&mut self, key: [u64; WORDS]) -> u32 {
        let slot = slot(&key);
        let Some(slot) = self.slots.get_mut(slot) else { return NOWHERE };
        if self.keys.get(*slot as usize) != Some(&key) {
            // There is room for far fewer.
            *slot = u32::try_from(self.keys.len()).unwrap_or(NOWHERE);
            self.keys.push(key);
        }
        *slot
    }

    /// Makes the hashes that are still to be made, `N` at a time; the last ones with copies of the
    /// first of them beside them.
    pub(super) fn settle<const N: usize>(
        &mut self,
        hash: impl Fn([[u64; N]; WORDS]) -> [Nodes<N>; NODES],
    ) {
        let Some(keys) = self.keys.get(self.nodes.len()..) else { return };
        for keys in keys.chunks(N) {
            let [first, ..] = keys else { return };
            let mut columns = first.map(|word| [word; N]);
            for (lane, key) in keys.iter().enumerate() {
                for (column, word) in columns.iter_mut().zip(key) {
                    column.get_mut(lane).into_iter().for_each(|slot| *slot = *word);
                }
            }
            let nodes = hash(columns);
            let lanes = 0..keys.len();
            self.nodes.extend(lanes.map(|lane| nodes.each_ref().map(|node| node.lane(lane))));
        }
    }

    /// The hashes of the key at `place`.
    #[inline]
    pub(super) fn nodes(&self, place: u32) -> &[[u64; 4]; NODES] {
        self.nodes.get(place as usize).unwrap_or(&[[0; 4]; NODES])
    }
}

/// Which slot a key belongs to, by its first words: the upper bits of a product.
#[inline]
fn slot<const WORDS: usize>(key: &[u64; WORDS]) -> usize {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
    const LOWER_BITS: u32 = u64::BITS - SLOTS.ilog2();
    let mixed = key
        .iter()
        .take(2)
        .fold(0, |mixed: u64, word| (mixed.rotate_left(29) ^ word).wrapping_mul(FACTOR));
    usize::try_from(mixed >> LOWER_BITS).unwrap_or(0)
}
