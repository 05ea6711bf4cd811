//! One moment of a database → a folder that is durable and was looked through.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use super::contents::Contents;
use super::job::Origin;
use super::{BackupError, disk, pact};
use crate::failpoint::reached;
use crate::header::HeaderRef;
use crate::open::{Engine, OpenError};
use crate::query::{Reader, View};
use crate::store::{EARLIER, Store, is_table};
use crate::tree::Place;
use crate::types::{BlockHeight, ChainId};

/// Bytes of what is written beside tables: the list of files, options, the contents.
const SIDE_BYTES: u64 = 16 << 20;

/// Makes a backup of `origin` in the folder `draft`, and compares it with what it is of.
pub(super) fn take(
    origin: &Origin,
    draft: &Path,
    with_pact: bool,
    stop: &AtomicBool,
) -> Result<Contents, BackupError> {
    let reader = match origin {
        Origin::Here(reader) => reader.clone(),
        Origin::There(dir) => Engine::open_read_only(dir)?,
    };
    reader.store().require_place()?;
    let dir = reader.dir();
    // All that this view shows must be in the copy.
    let before = reader.view();
    let chains: Vec<ChainId> = if with_pact { chains(&before) } else { Vec::new() };
    require_space(origin, dir, draft, &chains, &reader)?;
    let inner = draft.join("0");
    fs::create_dir(&inner).map_err(BackupError::io(&inner))?;
    reached("backup/inner/after");
    let target = Store::path(draft);
    match origin {
        Origin::Here(reader) => reader.store().checkpoint(&target)?,
        Origin::There(_) => reader.store().link_in_use(&target)?,
    }
    reached("backup/tables/after");
    if with_pact {
        pact::copy_all(dir, draft, &chains, stop)?;
    }
    disk::sync_tree(draft)?;
    reached("backup/sync/after");
    compare_files(&reader.store(), draft, stop)?;
    let copy = Engine::open_read_only(draft)?.view();
    compare(&before, &copy)?;
    // Pact's databases were found by name: that it led elsewhere meanwhile is noticed here.
    reader.store().require_place()?;
    let damage = [&before, &copy].into_iter().find_map(|view| view.snapshot().damaged_log());
    if let Some(damage) = damage {
        // A backup is a database itself, and is restored as one.
        let when = || format!("the log was damaged when the backup was made: {damage}");
        let why = damage.strip_prefix(EARLIER).map_or_else(when, str::to_owned);
        Store::note_loss(draft, &why).map_err(OpenError::from)?;
    }
    let contents = Contents::of(draft, &copy, &before, stop)?;
    reached("backup/contents/before");
    contents.write(draft)?;
    reached("backup/contents/after");
    Ok(contents)
}

/// The chains that have blocks, and so a database of Pact.
fn chains(view: &View) -> Vec<ChainId> {
    view.version().chain_ids().filter(|chain| view.block_count(*chain) > 0).collect()
}

/// Ends with an error where a copy would fill the disk: a database whose tables cannot be written
/// takes nothing more until it is opened anew.
fn require_space(
    origin: &Origin,
    dir: &Path,
    draft: &Path,
    chains: &[ChainId],
    reader: &Reader,
) -> Result<(), BackupError> {
    if let Origin::Here(_) = origin {
        let unflushed = reader.store().unflushed_bytes()?;
        disk::require_space(reader.store().files(), unflushed.saturating_add(SIDE_BYTES))?;
    }
    let mut needed = pact::survey(dir, chains)?.saturating_add(SIDE_BYTES);
    if !disk::share_partition(reader.store().files(), draft)? {
        let bytes = reader.store().file_bytes()?;
        tracing::warn!(
            bytes,
            "the folder of backups is on another partition than the database: this backup is a \
             copy, which takes as much space and time"
        );
        needed = needed.saturating_add(bytes);
    }
    disk::require_space(draft, needed)
}

/// Compares tables that are copies with those they are of, as far as these are there still. Links
/// are the same file.
fn compare_files(store: &Store, draft: &Path, stop: &AtomicBool) -> Result<(), BackupError> {
    let from = store.files();
    for copy in disk::entries(&Store::path(draft))? {
        let name = copy.file_name().unwrap_or_default();
        let source = from.join(name);
        if !is_table(&name.to_string_lossy())
            || !source.exists()
            || disk::is_same_file(&source, &copy).unwrap_or(true)
        {
            continue;
        }
        let expected = match disk::checksum(&source, stop) {
            Ok(checksum) => checksum,
            // Deleted meanwhile, as tables are that were merged.
            Err(BackupError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                continue;
            }
            Err(error) => return Err(error),
        };
        if disk::checksum(&copy, stop)? != expected {
            let what = format!("{} is not {}", copy.display(), source.display());
            return Err(BackupError::Differs { what });
        }
    }
    Ok(())
}

/// Compares a copy with a view of a moment before it was made: it must have all blocks of that, and
/// may have more.
fn compare(before: &View, copy: &View) -> Result<(), BackupError> {
    let differs = |what: String| Err(BackupError::Differs { what });
    if before.version() != copy.version() {
        return differs(format!("it is of {}, not of {}", copy.version(), before.version()));
    }
    for chain in before.version().chain_ids() {
        let (expected, got) = (before.block_count(chain), copy.block_count(chain));
        if got < expected {
            return differs(format!("chain {chain} has {got} blocks of {expected}"));
        }
        let Some(tip) = before.tip(chain) else { continue };
        let (expected, got) = (before.header(chain, &tip.hash)?, copy.header(chain, &tip.hash)?);
        if got.is_none() || got != expected {
            return differs(format!("chain {chain} does not have block {}", tip.hash));
        }
        if let Some(header) = got {
            compare_payload(header.view(), before, copy)?;
        }
        compare_index(chain, before, copy)?;
    }
    let (expected, got) = (before.cut(None)?, copy.cut(None)?);
    if got.weight() < expected.weight() {
        return differs(format!("its cut is {}, below {}", got.id(), expected.id()));
    }
    Ok(())
}

/// Looks some sealed blocks up by hash, which nothing else here does: the index comes to a database
/// in tables of its own.
fn compare_index(chain: ChainId, before: &View, copy: &View) -> Result<(), BackupError> {
    if !copy.snapshot().is_indexed() {
        // Each look-up would read a 256th of all rows that are not sorted yet.
        return Ok(());
    }
    let Some((blocks, trunk)) = before.blocks(chain).zip(before.trunk(chain)) else {
        return Ok(());
    };
    let (first, end) = (trunk.first().get(), trunk.end().get());
    let heights = [first.midpoint(end), end.saturating_sub(1)].map(BlockHeight::new);
    for height in heights.into_iter().filter(|height| trunk.contains(*height)) {
        let block = blocks.header(Place::Trunk(height))?;
        let hash = block.view().hash();
        if copy.header(chain, &hash)?.is_none() {
            let what = format!("block {hash} of chain {chain} is not in its hash index");
            return Err(BackupError::Differs { what });
        }
        compare_payload(block.view(), before, copy)?;
    }
    Ok(())
}

/// A block of the copy carries what it carried before, which is found by its hash, too.
fn compare_payload(header: HeaderRef<'_>, before: &View, copy: &View) -> Result<(), BackupError> {
    let Some(payload) = before.block_payload(header)? else { return Ok(()) };
    let (chain, hash) = (header.chain(), header.payload_hash());
    // As for blocks: each look-up would read much while the index is not sorted.
    let by_hash = copy.snapshot().is_indexed();
    if copy.block_payload(header)?.is_none_or(|found| found.view().hash() != payload.view().hash())
        || (by_hash && copy.payload(chain, &hash, None)?.is_none())
    {
        let what = format!("chain {chain} does not have payload {hash}");
        return Err(BackupError::Differs { what });
    }
    Ok(())
}
