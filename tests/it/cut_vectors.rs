//! Cuts of the public chain.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use plait_engine::header::text;
use plait_engine::replay::source::{self, Reading};
use plait_engine::replay::{Admission, Replay};
use plait_engine::store::History;
use plait_engine::verify::{Level, Verifier};
use plait_engine::{
    BlockHash, BlockHeight, ChainId, ChainwebVersion, Cut, Engine, Header, Micros, Rank, Weight,
};
use serde_json::Value;
use testkit::say;
use testkit::vectors::folder;

use crate::cut::concurrent;

fn lines(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Chain, height and hash of each member of a recorded cut.
fn recorded(cut: &Value) -> Vec<(ChainId, Rank)> {
    let members = cut["cut"]["hashes"].as_object().unwrap().iter();
    let member = |(chain, block): (&String, &Value)| {
        let height = BlockHeight::new(block["height"].as_u64().unwrap());
        let hash = block["hash"].as_str().unwrap().parse().unwrap();
        (ChainId::new(chain.parse().unwrap()), Rank { height, hash })
    };
    members.map(member).collect()
}

/// The header of each member, if all of them are held.
fn all_of(cut: &Value, held: &HashMap<BlockHash, Header>) -> Option<Vec<Header>> {
    recorded(cut).iter().map(|(_, rank)| held.get(&rank.hash).copied()).collect()
}

fn held(folder: &Path) -> HashMap<BlockHash, Header> {
    let header = |line: &Value| {
        let header = text::from_string(line["b64"].as_str()?).ok()?;
        Some((header.view().hash(), header))
    };
    lines(&folder.join("headers.jsonl")).iter().filter_map(header).collect()
}

#[test]
fn recorded_cuts_have_their_height_weight_and_id() {
    let Some(folder) = folder() else { return };
    let (held, mut weights) = (held(&folder), 0);
    let cuts = lines(&folder.join("cuts.jsonl"));
    for recorded_cut in &cuts {
        let zero = Weight::from_le([0; 32]);
        let members = recorded(recorded_cut).into_iter();
        let weight = |rank: &Rank| held.get(&rank.hash).map_or(zero, |held| held.view().weight());
        let cut = Cut::new(members.map(|(chain, rank)| (chain, rank, weight(&rank))).collect());
        let expected = &recorded_cut["cut"];
        assert_eq!(Some(cut.height()), expected["height"].as_u64());
        for variant in recorded_cut["id_variant"].as_array().unwrap() {
            let id = match variant.as_str().unwrap() {
                "1.5/5" => cut.id(),
                "1.4.3/4" | "1.4.3/5" => cut.id_of_hashable_1_4(),
                "old/4" | "old/5" => cut.id_of_hashable_1_2(),
                other => panic!("order {other}"),
            };
            assert_eq!(Some(id.to_string().as_str()), expected["id"].as_str());
        }
        if all_of(recorded_cut, &held).is_some() {
            assert_eq!(Some(cut.weight().to_string().as_str()), expected["weight"].as_str());
            weights += 1;
        }
    }
    say(&format!("{} cuts, {weights} of them with weights", cuts.len()));
    assert_eq!((cuts.len(), weights), (956, 865));
}

#[test]
fn the_cut_of_the_nodes_database_is_at_least_as_heavy_as_each_that_it_recorded() {
    let Some(folder) = folder() else { return };
    let version = ChainwebVersion::Mainnet01;
    let dir = tempfile::tempdir().unwrap();
    let (mut writer, reader) =
        Engine::open_or_create(dir.path(), Some(version), History::Partial).unwrap();
    let verifier = Verifier::new(version, Level::Full, Micros::new(i64::MAX));
    let stop = AtomicBool::new(false);
    let mut replay = Replay::new(&mut writer, verifier, Admission::Any, false, &stop);
    let source = source::open(&folder.join("node-db"), version, Reading::default()).unwrap();
    replay.run(source, &mut |_| ()).unwrap();
    assert!(replay.finish(&mut |_| ()).unwrap().stored >= 1000);
    writer.publish();

    let view = reader.view();
    let served = view.cut(None).unwrap();
    let header = |(chain, _, hash)| view.header(chain, &hash).unwrap().unwrap();
    let members: Vec<Header> = served.blocks().map(header).collect();
    let graph = version.graph_at(BlockHeight::new(1_800_000));
    assert!(members.len() == 20 && concurrent(graph, &members));

    let held = held(&folder);
    let mut consistent = 0;
    for recorded_cut in lines(&folder.join("cuts.jsonl")) {
        let Some(blocks) = all_of(&recorded_cut, &held) else { continue };
        assert!(concurrent(graph, &blocks));
        consistent += 1;
        let member = |block: &Header| {
            let block = block.view();
            (block.chain(), block.rank(), block.weight())
        };
        assert!(served.weight() >= Cut::new(blocks.iter().map(member).collect()).weight());
    }
    say(&format!("{consistent} cuts are consistent and not heavier"));
    assert_eq!(consistent, 865);

    let lowest = members.iter().map(|block| block.view().height().get()).min().unwrap();
    assert!(lowest > 1_800_040);
    for height in 1_800_000..=lowest {
        let flat = view.cut(Some(height * 20 + height % 20)).unwrap();
        let blocks: Vec<Header> = flat.blocks().map(header).collect();
        assert!(blocks.iter().all(|block| block.view().height().get() == height));
        assert!(blocks.len() == 20 && concurrent(graph, &blocks));
    }
}
