use super::{Admission, OtherGenesis};
use crate::header::{DEGREE, Header, HeaderRef};
use crate::types::{BlockHash, ChainId};
use crate::verify::{Adjacents, Checked, Failure, Failures, Level, Parent, Verifier};
use crate::write::{WriteError, Writer};

/// What comes of a header when it meets the blocks below it.
pub(crate) enum Link<'a> {
    /// It is staged, at this level.
    Staged(HeaderRef<'a>, Level),
    /// It was there before.
    Known,
    /// A block below it is not there, which is the failure.
    Waits(HeaderRef<'a>, Failure),
    /// It breaks these rules.
    Broken(Failures),
}

/// The blocks below a header on the neighbouring chains, or the first that is not there.
type Neighbours = Result<[Header; DEGREE], (ChainId, BlockHash)>;

/// Stages blocks one by one: of a replay, and those that are pushed.
pub(crate) struct Linker<'a> {
    pub(crate) writer: &'a mut Writer,
    pub(crate) verifier: &'a Verifier,
    pub(crate) admission: &'a Admission,
    /// Blocks that were admitted without what is below them, and that turn out to be wrong by what
    /// arrives.
    pub(crate) wrong_starts: Vec<(Header, Failures)>,
}

impl Linker<'_> {
    /// Stages a block if it is right and not stored yet.
    ///
    /// `more` says whether blocks that it needs may still come: where any block is admitted, one
    /// is admitted without them only if not.
    pub(crate) fn link<'h>(
        &mut self,
        checked: Checked<'h>,
        more: bool,
    ) -> Result<Link<'h>, WriteError> {
        let header = checked.header();
        // A block that is wrong in itself may have the hash of another.
        let sound = checked.failures().is_empty();
        if sound && self.writer.holds(header)? {
            return Ok(Link::Known);
        }
        let genesis = self.verifier.is_genesis(header);
        let full = self.verifier.level() == Level::Full && !genesis;
        let parent = self.writer.find(header.parent())?;
        let neighbours = if full { Some(self.neighbours(header)?) } else { None };
        let admitted = self.admission.admits(header.hash())
            && !(full && more && *self.admission == Admission::Any);
        let missing = match (&parent, &neighbours) {
            (_, Some(Err((chain, hash)))) => {
                Some(Failure::MissingAdjacentParent { chain: *chain, hash: *hash })
            }
            (None, _) if !genesis => Some(Failure::MissingParent { parent: header.parent() }),
            _ => None,
        };
        if missing.is_some()
            && sound
            && !admitted
            && let Some(failure) = self.other_genesis(header)?
        {
            return Ok(Link::Broken(checked.with(failure)));
        }
        Ok(match missing {
            // One that is wrong in itself is not worth waiting for.
            Some(failure) if !admitted && sound && full => Link::Waits(header, failure),
            Some(failure) if !admitted => Link::Broken(checked.with(failure)),
            _ => self.conclude(checked, parent.as_ref(), neighbours.as_ref(), admitted)?,
        })
    }

    /// That a block which has no parent here never gets one: its chain begins with another genesis
    /// block, and this history has the network's.
    fn other_genesis(&self, header: HeaderRef<'_>) -> Result<Option<Failure>, WriteError> {
        let Some(other) = OtherGenesis::of(header, self.writer.version()) else { return Ok(None) };
        let OtherGenesis { chain, expected, got } = other;
        let is_full = self.writer.find(expected)?.is_some() && self.writer.find(got)?.is_none();
        Ok(is_full.then_some(Failure::OtherGenesis { chain, got, expected }))
    }

    /// Verifies a block against what is there, and stages it.
    fn conclude<'h>(
        &mut self,
        checked: Checked<'h>,
        parent: Option<&Header>,
        neighbours: Option<&Neighbours>,
        admitted: bool,
    ) -> Result<Link<'h>, WriteError> {
        let below = match parent {
            Some(parent) => Parent::Block(parent.view()),
            None if admitted => Parent::Admitted,
            None => Parent::Missing,
        };
        let adjacents = match neighbours {
            Some(Ok(blocks)) => Adjacents::Blocks(blocks.each_ref().map(Header::view)),
            Some(Err((chain, hash))) if !admitted => Adjacents::Missing(*chain, *hash),
            Some(Err(_)) | None => Adjacents::Admitted,
        };
        let verified = match self.verifier.conclude(checked, below, adjacents) {
            Ok(verified) => verified,
            Err(failures) => return Ok(Link::Broken(failures)),
        };
        let header = verified.header();
        if matches!(below, Parent::Admitted) {
            self.writer.stage_root(verified);
        } else {
            self.writer.stage(verified);
        }
        if matches!(below, Parent::Admitted) || matches!(neighbours, Some(Err(_))) {
            self.writer.note_start(self.verifier, header)?;
        }
        self.wrong_starts.extend(self.writer.wrong_starts(self.verifier, header)?);
        Ok(Link::Staged(header, verified.level()))
    }

    /// The adjacent parents of a header, from wherever they are: staged, stored, or genesis blocks.
    fn neighbours(&self, header: HeaderRef<'_>) -> Result<Neighbours, WriteError> {
        let mut blocks = Vec::with_capacity(DEGREE);
        for (chain, hash) in header.adjacents().iter() {
            let found = match self.writer.find(hash)? {
                Some(block) => Some(block),
                None => self.verifier.genesis_block(chain, hash),
            };
            match found {
                Some(block) => blocks.push(block),
                None => return Ok(Err((chain, hash))),
            }
        }
        Ok(blocks.try_into().map_err(|_| (header.chain(), header.hash())))
    }
}
