use super::link::{Link, Linker};
use super::{Replay, ReplayError};
use crate::header::{DEGREE, HeaderRef};
use crate::types::{BlockHeight, Grow};
use crate::verify::{Adjacents, Checked, Level, Parent};
use crate::write::{Bulk, Held};

impl Replay<'_> {
    /// The same replay, which ends a commit early, while blocks come in order, once they carry so many
    /// bytes.
    #[must_use]
    pub const fn committing_bytes(mut self, bytes: usize) -> Self {
        self.commit_bytes = bytes;
        self
    }

    /// Stages a block if it is right and not stored yet: in order, as long as that goes, and else
    /// one by one.
    pub(super) fn link_any<'h>(&mut self, checked: &Checked<'h>) -> Result<Link<'h>, ReplayError> {
        if self.writer.bulk().is_some() {
            if let Some(link) = self.link_in_order(checked)? {
                self.count(&link);
                return Ok(link);
            }
            self.leave_order()?;
        }
        self.link(checked.clone(), true)
    }

    /// The same one by one; `more` is that of [`Linker::link`].
    pub(super) fn link<'h>(
        &mut self,
        checked: Checked<'h>,
        more: bool,
    ) -> Result<Link<'h>, ReplayError> {
        let (writer, verifier) = (&mut *self.writer, &self.verifier);
        let (admission, wrong_starts) = (&self.admission, Vec::new());
        let mut linker = Linker { writer, verifier, admission, wrong_starts };
        let link = linker.link(checked, more)?;
        self.wrong_starts = linker.wrong_starts;
        self.count(&link);
        Ok(link)
    }

    fn count(&mut self, link: &Link<'_>) {
        match link {
            Link::Staged(header, level) => {
                self.height = header.height();
                self.summary.partial.grow(u64::from(*level < self.verifier.level()));
            }
            Link::Known => self.summary.known.grow(1),
            Link::Waits(..) | Link::Broken(_) => {}
        }
    }

    /// The same in order; `None` if it cannot be told that way what comes of the block.
    fn link_in_order<'h>(
        &mut self,
        checked: &Checked<'h>,
    ) -> Result<Option<Link<'h>>, ReplayError> {
        let Some(bulk) = self.writer.bulk() else { return Ok(None) };
        let header = checked.header();
        match bulk.holds(header)? {
            Held::No => {}
            Held::Unknown => return Ok(None),
            Held::Yes => return Ok(Some(Link::Known)),
        }
        let Some(below) = header.height().parent() else { return Ok(None) };
        let Some(parent) = bulk.find(header.chain(), below, header.parent()) else {
            return Ok(None);
        };
        let adjacents = if self.verifier.level() == Level::Full {
            let Some(blocks) = neighbours(bulk, header, below) else { return Ok(None) };
            Adjacents::Blocks(blocks)
        } else {
            Adjacents::Admitted
        };
        let parent = Parent::Block(parent);
        let verified = match self.verifier.conclude(checked.clone(), parent, adjacents) {
            Ok(verified) => verified,
            Err(failures) => return Ok(Some(Link::Broken(failures))),
        };
        if !bulk.stage(verified) {
            return Ok(None);
        }
        Ok(Some(Link::Staged(header, verified.level())))
    }
}

/// The adjacent parents of a header, if all of them are at hand, at the height below.
fn neighbours<'a>(
    bulk: &'a Bulk,
    header: HeaderRef<'_>,
    below: BlockHeight,
) -> Option<[HeaderRef<'a>; DEGREE]> {
    let mut blocks = [None; DEGREE];
    for (slot, (chain, hash)) in blocks.iter_mut().zip(header.adjacents().iter()) {
        *slot = bulk.find(chain, below, hash);
    }
    match blocks {
        [Some(a), Some(b), Some(c)] => Some([a, b, c]),
        _ => None,
    }
}
