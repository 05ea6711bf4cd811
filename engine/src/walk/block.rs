use hashbrown::HashMap;

use super::{Rules, Walk, Window};
use crate::header::{DEGREE, Header, HeaderRef};
use crate::types::{BlockHash, BlockHeight};
use crate::verify::{Adjacents, Checked, Failures, Level, Parent, Verified, Verifier};

/// The blocks right below a window, where those that it does not have itself nearly always are.
#[derive(Default)]
pub(super) struct Below {
    headers: HashMap<BlockHash, Header>,
    highest: Option<BlockHeight>,
}

impl Below {
    fn find(&self, hash: &BlockHash) -> Option<HeaderRef<'_>> {
        self.headers.get(hash).map(Header::view)
    }

    /// Keeps what the next window needs of this one: the blocks of the highest two heights, as the
    /// upper one may go on there.
    pub(super) fn follow<N>(&mut self, window: &Window<N>) {
        let headers = window.records().iter().filter_map(|record| HeaderRef::new(record).ok());
        let highest = headers.clone().map(HeaderRef::height).chain(self.highest).max();
        let Some(highest) = highest else { return };
        let lowest = highest.parent().unwrap_or(highest);
        self.headers.retain(|_, header| header.view().height() >= lowest);
        let kept = headers.filter(|header| header.height() >= lowest);
        self.headers.extend(kept.map(|header| (header.hash(), header.to_owned())));
        self.highest = Some(highest);
    }
}

impl<R> Walk<'_, R> {
    /// Verifies a block against the blocks below it by the rules of `verifier`; the level that it
    /// reached.
    pub(super) fn block<N>(
        &self,
        verifier: &Verifier,
        window: &Window<N>,
        number: usize,
        checked: Checked<'_>,
    ) -> Result<Level, Failures>
    where
        R: Rules<N>,
    {
        let header = checked.header();
        let mut far: [Option<Header>; DEGREE + 1] = [None; DEGREE + 1];
        let [far_parent, far_adjacents @ ..] = &mut far;
        let parent = header.parent();
        let parent = match self.find(window, &parent, || None, far_parent) {
            Some(parent) => Parent::Block(parent),
            None if self.rules.may_lack(window, number, header.chain()) => Parent::Admitted,
            None => Parent::Missing,
        };
        let adjacents = if verifier.level() < Level::Full {
            // Nothing is asked of them.
            Adjacents::Admitted
        } else {
            self.adjacents(window, number, header, far_adjacents)
        };
        verifier.conclude(checked, parent, adjacents).map(Verified::level)
    }

    /// Verifies a block as one that was admitted without any block below it.
    pub(super) fn first_block(
        verifier: &Verifier,
        header: HeaderRef<'_>,
    ) -> Result<Level, Failures> {
        let checked = verifier.check(header);
        let outcome = verifier.conclude(checked, Parent::Admitted, Adjacents::Admitted);
        outcome.map(Verified::level)
    }

    fn adjacents<'s, N>(
        &'s self,
        window: &'s Window<N>,
        number: usize,
        header: HeaderRef<'s>,
        far: &'s mut [Option<Header>; DEGREE],
    ) -> Adjacents<'s>
    where
        R: Rules<N>,
    {
        let (mut blocks, mut missing) = ([header; DEGREE], None);
        for ((slot, far), (chain, hash)) in
            blocks.iter_mut().zip(far).zip(header.adjacents().iter())
        {
            let genesis = || self.verifier.genesis_block(chain, hash);
            match self.find(window, &hash, genesis, far) {
                Some(block) => *slot = block,
                None => missing = missing.or(Some((chain, hash))),
            }
        }
        match missing {
            None => Adjacents::Blocks(blocks),
            Some((chain, _)) if self.rules.may_lack(window, number, chain) => Adjacents::Admitted,
            Some((chain, hash)) => Adjacents::Missing(chain, hash),
        }
    }

    /// The block with this hash, in this window, below it, as `otherwise` says or wherever it is;
    /// `far` holds it then.
    fn find<'s, N>(
        &'s self,
        window: &'s Window<N>,
        hash: &BlockHash,
        otherwise: impl FnOnce() -> Option<Header>,
        far: &'s mut Option<Header>,
    ) -> Option<HeaderRef<'s>>
    where
        R: Rules<N>,
    {
        let near = window.find(hash).or_else(|| self.below.find(hash));
        if near.is_some() {
            return near;
        }
        *far = otherwise().or_else(|| self.rules.find(hash));
        far.as_ref().map(Header::view)
    }
}
