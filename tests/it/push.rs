//! Blocks that are pushed: what comes of each, and what is stored.

use std::time::Duration;

use plait_engine::generate::{History, Plan};
use plait_engine::header::{RawHeader, merkle};
use plait_engine::push::{Block, Counts, Outcome, Pusher};
use plait_engine::store::History as Kind;
use plait_engine::verify::Level;
use plait_engine::{ChainwebVersion, Engine, Header, Micros, Reader};
use proptest::prelude::*;
use tempfile::TempDir;
use testkit::block::dump;
use testkit::process::replay_file;
use testkit::{sorted, stored};

pub(crate) const NETWORK: ChainwebVersion = ChainwebVersion::Development;

/// After all blocks.
const NOW: Micros = Micros::new(i64::MAX);

/// A generated history of all chains, parents first, without the genesis blocks.
pub(crate) fn generated(heights: u64, seed: u64, forks: f64) -> Vec<Header> {
    let plan = Plan { seed, forks, fork_depth: 6, ..Plan::new(NETWORK, heights) };
    History::new(&plan).unwrap().collect()
}

/// `headers` and the genesis blocks, sorted.
pub(crate) fn with_genesis(headers: &[Header]) -> Vec<Header> {
    let genesis: Vec<Header> = NETWORK.genesis_headers().collect();
    sorted(headers.iter().chain(&genesis))
}

fn raws<'a>(headers: impl IntoIterator<Item = &'a Header>) -> Vec<Block> {
    headers.into_iter().map(|header| Block::from(*header.view().raw())).collect()
}

fn pusher() -> (Pusher, Reader, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let opened = Engine::open_or_create(folder.path(), Some(NETWORK), Kind::Full);
    let (writer, reader) = opened.unwrap();
    (Pusher::new(writer, Level::Full, true), reader, folder)
}

fn counted(outcomes: &[Outcome]) -> Counts {
    let mut counts = Counts::default();
    counts.add(outcomes);
    counts
}

/// The same block with another time, and the hash that it asks for.
fn altered(header: &Header) -> Header {
    let raw = *header.view().raw();
    let raw = RawHeader { creation_time: (raw.creation_time.get() - (1 << 50)).into(), ..raw };
    let hash = merkle::block_hash(Header::new(raw).unwrap().view());
    Header::new(RawHeader { hash, ..raw }).unwrap()
}

#[test]
fn a_batch_has_an_outcome_for_each_block_in_its_order() {
    let (mut pusher, reader, _folder) = pusher();
    let headers = generated(4, 1, 0.0);
    // From the highest down, one of them twice, one that is wrong, one whose parents are not there.
    let wrong = altered(&headers[7]);
    let far = generated(9, 1, 0.0).pop().unwrap();
    let mut batch = raws(headers.iter().rev());
    batch.extend(raws([&headers[3], &wrong, &far]));
    let outcomes = pusher.push(&batch, NOW).unwrap();
    let (own, [twice, refused, waits]) = outcomes.split_at(headers.len()) else { panic!() };
    assert!(own.iter().all(|outcome| matches!(outcome, Outcome::Stored(Level::Full))));
    assert!(matches!(twice, Outcome::Known), "{twice:?}");
    let Outcome::Refused(refused) = refused else { panic!("{refused:?}") };
    assert!(refused.names().any(|name| name == "CreatedBeforeParent"), "{refused}");
    let Outcome::Waits(failure) = waits else { panic!("{waits:?}") };
    assert_eq!(failure.name(), "MissingAdjacentParent");
    assert_eq!(reader.view().cut(None).unwrap().height(), 4 * 20, "views show it");
    let again = pusher.push(&batch, NOW).unwrap();
    let expected = Counts { known: 81, waiting: 1, refused: 1, ..Counts::default() };
    assert_eq!(counted(&again), expected);
}

#[test]
fn what_waits_is_not_kept_and_is_stored_when_it_comes_again() {
    let (mut pusher, reader, _folder) = pusher();
    let headers = generated(2, 1, 0.0);
    let (below, above) = headers.split_at(20);
    let waits = pusher.push(&raws(above), NOW).unwrap();
    assert_eq!(counted(&waits).waiting, 20);
    assert_eq!(reader.view().count_pending().unwrap(), 0);
    assert_eq!(counted(&pusher.push(&raws(below), NOW).unwrap()).stored, 20);
    assert_eq!(reader.view().cut(None).unwrap().height(), 20, "the others are not there by that");
    assert_eq!(counted(&pusher.push(&raws(above), NOW).unwrap()).stored, 20);
}

#[test]
fn a_block_of_the_future_is_refused_until_its_time_has_come() {
    let (mut pusher, _reader, _folder) = pusher();
    let headers = generated(1, 1, 0.0);
    let times = headers.iter().map(|header| header.view().creation_time().get());
    let (first, last) = (times.clone().min().unwrap(), times.max().unwrap());
    let outcomes = pusher.push(&raws(&headers), Micros::new(first - 1)).unwrap();
    for outcome in &outcomes {
        let Outcome::Refused(wrong) = outcome else { panic!("{outcome:?}") };
        assert_eq!(wrong.names().collect::<Vec<_>>(), ["BlockInTheFuture"]);
    }
    let outcomes = pusher.push(&raws(&headers), Micros::new(last)).unwrap();
    assert_eq!(counted(&outcomes).stored, 20);
}

#[test]
fn any_318_bytes_are_refused_and_nothing_is_stored() {
    let (mut pusher, reader, _folder) = pusher();
    let mut raw = *generated(1, 1, 0.0)[0].view().raw();
    raw.adjacents = zeroed();
    let outcomes = pusher.push(&[raw.into()], NOW).unwrap();
    assert!(matches!(outcomes.as_slice(), [Outcome::Refused(_)]), "{outcomes:?}");
    assert_eq!(reader.view().cut(None).unwrap().height(), 0);
}

fn zeroed() -> plait_engine::header::AdjacentRecord {
    let raw = plait_engine::HeaderRef::parse(&[0; 318]);
    assert!(raw.is_err(), "no adjacent parents");
    let chains = [3, 2, 1]
        .map(|chain| (plait_engine::ChainId::new(chain), plait_engine::BlockHash::new([0; 32])));
    plait_engine::header::AdjacentRecord::new(chains)
}

#[test]
fn what_is_told_to_be_stored_is_there_when_it_is_opened_again() {
    let headers = generated(30, 5, 0.1);
    let (mut pusher, reader, folder) = pusher();
    for batch in headers.chunks(7) {
        assert_eq!(counted(&pusher.push(&raws(batch), NOW).unwrap()).stored, batch.len() as u64);
    }
    // Not closed, as after a crash.
    std::mem::forget((pusher, reader));
    let copy = tempfile::tempdir().unwrap();
    testkit::vectors::copy(folder.path(), copy.path());
    assert_eq!(stored(copy.path()), with_genesis(&headers));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn batches_of_any_size_and_order_store_what_a_replay_does(
        seed in 0_u64..50,
        order in any::<u64>(),
        size in 1_usize..90,
    ) {
        let headers = generated(40, seed, 0.15);
        // Each moved by up to 60 places.
        let mut state = order | 1;
        let mut places: Vec<(u64, usize)> = (0..headers.len()).map(|at| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (at as u64 + (state >> 33) % 60, at)
        }).collect();
        places.sort_unstable();
        let (mut pusher, reader, folder) = pusher();
        let mut todo = raws(places.iter().map(|(_, at)| &headers[*at]));
        let mut total = Counts::default();
        while !todo.is_empty() {
            let mut later = Vec::new();
            for batch in todo.chunks(size) {
                let outcomes = pusher.push(batch, NOW).unwrap();
                total.add(outcomes.iter().filter(|outcome| outcome.is_held()));
                let waits = batch.iter().zip(&outcomes).filter(|(_, outcome)| !outcome.is_held());
                later.extend(waits.map(|(block, _)| Block::from(block.header)));
            }
            prop_assert!(later.len() < todo.len(), "the same {} blocks wait for ever", later.len());
            todo = later;
        }
        prop_assert_eq!((total.stored, total.known), (headers.len() as u64, 0));
        let cut = reader.view().cut(None).unwrap();
        drop((pusher, reader));
        let other = tempfile::tempdir().unwrap();
        let args = ["--verify", "full"];
        let outcome = replay_file(other.path(), &args, "dump", &dump(&headers));
        prop_assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        prop_assert!(stored(folder.path()) == stored(other.path()));
        let replayed = Engine::open_read_only(other.path()).unwrap();
        prop_assert_eq!(replayed.view().cut(None).unwrap(), cut);
    }
}

/// Far more than any limit set here.
pub(crate) const LONG: Duration = Duration::from_secs(30);
