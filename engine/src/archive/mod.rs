//! Store ↔ immutable files with a manifest.
//!
//! Enters: a view of a database, or a folder. Leaves: an archive, every flaw of one, or its records
//! by ascending height.
//!
//! An archive is a folder. Each of its files has the canonical blocks of one chain and some range
//! of heights, or the orphans of both; `manifest.json` names them. Canonical is what the member of
//! the chain in the cut has below it.
//!
//! - `I-1` What an export writes depends on the blocks that are held and on nothing else: not on
//!   the order in which they came, nor on what is sealed.
//! - `I-2` The name of a file has the beginning of its checksum, so it never stands for two
//!   contents, and whoever keeps a file may keep it for ever.
//! - `I-3` The manifest is written last, and replaced in one step: whenever an export ends, there is
//!   a whole archive or none.
//! - `I-4` One flipped bit, in whatever file, is found, and the file is named.
//! - `I-5` An archive is taken to be made by an enemy: names are those that follow from what the
//!   manifest says of a file, and no number in it makes us reserve memory.

mod check;
mod checksum;
mod draft;
mod error;
mod export;
mod folder;
mod inspect;
mod layout;
mod manifest;
mod outline;
mod read;
mod stamp;
mod target;

pub use check::{Event, Report, check};
pub use checksum::{Checksum, Hasher};
pub use error::{ArchiveError, Damage, Fault, Flaw, RecordFlaw};
pub use export::{Export, Progress, Summary};
pub use folder::{Folder, Listed};
pub use layout::{FORMAT_VERSION, FileHeader, FileHeights, Kind};
pub use manifest::{Entry, MANIFEST, Manifest, Member};
pub use read::{Place, Reader, Records};
