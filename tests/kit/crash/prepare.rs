//! A new folder to be killed in.

use std::io::Cursor;
use std::path::Path;
use std::sync::{Arc, atomic::AtomicBool};

use plait_engine::Engine;
use plait_engine::replay::Replay;
use plait_engine::replay::source::Binary;

use super::{Entry, Format, Ledger, Model, Number, Random, World, dump};
use crate::archive::{export, read_all};
use crate::block::NETWORK;

/// Makes the folder, in half of the cases with an archive of what is low to be replayed.
///
/// # Panics
///
/// If that cannot be.
pub(super) fn prepare(path: &Path, world: &Arc<World>, random: &mut Random) {
    std::fs::create_dir_all(path.join("dumps")).expect("a new folder");
    if random.happens(50) {
        return;
    }
    let height = 4 + random.below(8);
    let archive = dump::path(path, 0);
    make_archive(&path.join("other"), world, height, &archive);
    let headers = read_all(&archive);
    let blocks: Vec<Number> =
        headers.iter().filter_map(|header| world.find(&header.view().hash())).collect();
    let mut ledger = Ledger::open(path, Model::new(Arc::clone(world)));
    ledger.note(&Entry::Dump(0, Format::Archive, blocks));
}

fn make_archive(db: &Path, world: &World, height: u64, archive: &Path) {
    let (network, sealing) = (Some(NETWORK), World::sealing());
    let opened = Engine::open_or_create_sealing(db, network, world.history(), sealing);
    let (mut writer, reader) = opened.expect("a new database");
    let low = world.blocks.iter().map(|(header, _)| header.view());
    let low = low.filter(|header| header.height().get() <= height);
    let bytes: Vec<u8> = low.flat_map(|header| *header.as_bytes()).collect();
    let source = Binary::streamed("memory".to_owned(), Box::new(Cursor::new(bytes)));
    let (verifier, stop) = (world.verifier(), AtomicBool::new(false));
    let mut replay = Replay::new(&mut writer, verifier, world.admission(), false, &stop);
    let replayed = replay.run(Box::new(source), &mut |_| ());
    replayed.expect("a history that is right");
    writer.publish();
    export(&reader, archive, 5);
    drop((writer, reader));
    std::fs::remove_dir_all(db).expect("it goes");
}
