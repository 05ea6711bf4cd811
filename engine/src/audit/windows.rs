use super::Flaw;
use super::chain::{Chain, OwnLevel, Sealed};
use super::parts::Parts;
use crate::header::{HeaderRef, LEN};
use crate::store::{Column, IndexEntry, Snapshot, StoreError};
use crate::types::{BlockHeight, ChainId, RunLength};
use crate::verify::Level;
use crate::walk::{Source, Window};

/// Heights that are read and verified together: 6.5 MB of twenty chains, orphans aside.
const HEIGHTS: u64 = 1024;

/// What there is to say of the blocks of a window.
#[derive(Debug, Default)]
pub(super) struct Note {
    /// How far each block is said to be verified.
    pub(super) levels: Vec<Level>,
    /// Chains of which not all blocks could be read, here or in the window below.
    pub(super) holes: Vec<ChainId>,
    /// What is wrong with the rows.
    pub(super) flaws: Vec<Flaw>,
    /// The last height.
    pub(super) last: BlockHeight,
}

/// A window that is being read.
#[derive(Default)]
pub(super) struct Draft {
    /// Whole headers.
    pub(super) bytes: Vec<u8>,
    pub(super) own_levels: Vec<OwnLevel>,
    pub(super) note: Note,
}

impl Draft {
    /// The number of blocks so far.
    pub(super) const fn blocks(&self) -> usize {
        self.bytes.len() / LEN
    }

    /// Notes rows that cannot be read, from a height on.
    pub(super) fn unreadable(
        &mut self,
        column: Column,
        chain: ChainId,
        from: BlockHeight,
        error: StoreError,
    ) {
        let place = format!("{}, chain {chain}, from height {from} on", column.name());
        self.note.flaws.push(Flaw::Unreadable { place, error });
    }

    /// The records of a run.
    pub(super) fn run(&self, run: &Sealed) -> &[u8] {
        let blocks =
            usize::try_from(run.heights.end.saturating_sub(run.heights.start)).unwrap_or_default();
        self.bytes
            .get(
                run.first.saturating_mul(LEN)..run.first.saturating_add(blocks).saturating_mul(LEN),
            )
            .unwrap_or_default()
    }

    /// The block of these runs at a height.
    pub(super) fn sealed(&self, runs: &[Sealed], height: BlockHeight) -> Option<HeaderRef<'_>> {
        let start = number(runs, height)?.saturating_mul(LEN);
        HeaderRef::parse(self.bytes.get(start..start.saturating_add(LEN))?).ok()
    }

    /// Sets how far the block of these runs at a height is verified.
    pub(super) fn set_sealed(
        &mut self,
        runs: &[Sealed],
        chain: ChainId,
        height: BlockHeight,
        level: Level,
    ) {
        let slot = number(runs, height).and_then(|number| self.note.levels.get_mut(number));
        match slot {
            Some(slot) => *slot = level,
            None if level == Level::Full || self.note.holes.contains(&chain) => {}
            None => self.note.flaws.push(Flaw::Level { chain, height, hash: None }),
        }
    }

    /// The window, when all is read.
    fn finish(self) -> Window<Note> {
        let mut window = Window::new(self.bytes, self.note);
        for OwnLevel { chain, rank, level } in self.own_levels {
            let number = window.number(&rank.hash).filter(|number| {
                let header = window.header(*number);
                header.is_some_and(|header| header.rank() == rank && header.chain() == chain)
            });
            let note = &mut window.note;
            match number.and_then(|number| note.levels.get_mut(number)) {
                Some(slot) => *slot = level,
                None if note.holes.contains(&chain) => {}
                None => {
                    let (height, hash) = (rank.height, Some(rank.hash));
                    note.flaws.push(Flaw::Level { chain, height, hash });
                }
            }
        }
        window
    }
}

/// The number of the block of these runs at a height.
fn number(runs: &[Sealed], height: BlockHeight) -> Option<usize> {
    let run = runs.iter().find(|run| run.heights.contains(&height.get()))?;
    Some(
        run.first
            .saturating_add(usize::try_from(height.get().checked_sub(run.heights.start)?).ok()?),
    )
}

/// Every block of a database, by ascending height.
pub(super) struct Windows<'a> {
    chains: Vec<Chain<'a>>,
    run_length: RunLength,
    /// Of the last window.
    holes: Vec<ChainId>,
    /// What was read so far.
    pub(super) parts: Parts,
}

impl<'a> Windows<'a> {
    pub(super) fn new(snapshot: &'a Snapshot) -> Self {
        let meta = snapshot.meta();
        Self {
            chains: meta.version.chain_ids().map(|chain| Chain::new(snapshot, chain)).collect(),
            run_length: meta.run_length,
            holes: Vec::new(),
            parts: Parts::default(),
        }
    }

    /// Reads the blocks of the next heights; `None` behind the last.
    pub(super) fn read(&mut self) -> Option<Draft> {
        let next = self.chains.iter().filter_map(Chain::next_height).min()?;
        // Whole runs, as many as there is room for.
        let length = u64::from(self.run_length.get());
        let first = self.run_length.start(next);
        let heights = HEIGHTS.checked_div(length).unwrap_or(0).max(1).saturating_mul(length);
        let last = BlockHeight::new(first.get().saturating_add(heights.saturating_sub(1)));
        let mut draft = Draft { note: Note { last, ..Note::default() }, ..Draft::default() };
        for chain in &mut self.chains {
            chain.read(first, last, &mut draft);
        }
        let holes = draft.note.holes.clone();
        draft.note.holes.append(&mut self.holes);
        self.holes = holes;
        Some(draft)
    }
}

impl Source for Windows<'_> {
    type Note = Note;
    type Error = StoreError;

    fn next_window(&mut self) -> Result<Option<Window<Note>>, Self::Error> {
        let Some(mut draft) = self.read() else { return Ok(None) };
        let flaws = std::mem::take(&mut draft.note.flaws).into_iter().map(Flaw::of_data);
        draft.note.flaws = flaws.collect::<Result<_, _>>()?;
        let window = draft.finish();
        for record in window.records() {
            if let Ok(header) = HeaderRef::new(record) {
                self.parts.add(&IndexEntry::of(header));
            }
        }
        Ok(Some(window))
    }
}

/// Lends where every block is to `visit`, as far as it can be read.
pub(super) fn lend(snapshot: &Snapshot, visit: &mut dyn FnMut(&IndexEntry)) {
    let mut windows = Windows::new(snapshot);
    while let Some(draft) = windows.read() {
        let headers = draft.bytes.chunks_exact(LEN).map(HeaderRef::parse);
        headers.flatten().map(IndexEntry::of).for_each(|entry| visit(&entry));
    }
}
