//! Nodes behind a load balancer: each connection may reach another one, with other orphans, another tip,
//! or another branch.
//!
//! `PLAIT_FOLLOW_ROUNDS=5` prints how long following takes, in 5 rounds, compared with following a
//! single node.

use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use plait_engine::{BlockHash, Header};
use tempfile::TempDir;
use testkit::balance::Balancer;
use testkit::block::dump;
use testkit::braid::{clusters, split};
use testkit::node::Node;
use testkit::process::{replay_file, run};
use testkit::server::{Server, utf8};
use testkit::{say, sorted, stored};

use crate::follow::{blocks, cut_of, end, folder, follower, height, until};
use crate::push::{NETWORK, generated, with_genesis};

fn hashes(blocks: &[Header]) -> HashSet<BlockHash> {
    blocks.iter().map(|block| block.view().hash()).collect()
}

/// Checks that all `expected` blocks are stored, and only blocks of `possible`.
fn assert_holds(db: &Path, expected: &[Header], possible: &[Header]) {
    let (stored, possible) = (hashes(&stored(db)), hashes(&with_genesis(possible)));
    let missing = expected.iter().filter(|block| !stored.contains(&block.view().hash()));
    assert_eq!(missing.count(), 0, "of {} blocks", expected.len());
    assert!(stored.is_subset(&possible));
    assert_eq!(run(["verify", "--db", utf8(db)]).status, Some(0));
}

/// Nodes of either kind, with these blocks.
enum Nodes {
    /// Nodes that answer like a chainweb-node.
    Json(Vec<Node>),
    Plait(Vec<(Server, TempDir)>),
}

impl Nodes {
    fn json(of: &[&[Header]]) -> Self {
        let node = |blocks: &&[Header]| {
            let node = Node::start(NETWORK);
            node.add(blocks);
            node
        };
        Self::Json(of.iter().map(node).collect())
    }

    fn plait(of: &[&[Header]]) -> Self {
        let node = |blocks: &&[Header]| {
            let db = folder();
            let outcome = replay_file(db.path(), &["--verify", "full"], "dump", &dump(*blocks));
            assert_eq!(outcome.status, Some(0), "{}", outcome.err);
            (Server::with(&["--db", utf8(db.path())]), db)
        };
        Self::Plait(of.iter().map(node).collect())
    }

    fn both_kinds(of: &[&[Header]]) -> [Self; 2] {
        [Self::json(of), Self::plait(of)]
    }

    /// The URL of each node.
    fn urls(&self) -> Vec<String> {
        match self {
            Self::Json(nodes) => nodes.iter().map(Node::url).collect(),
            Self::Plait(nodes) => nodes.iter().map(|(server, _)| server.url()).collect(),
        }
    }

    fn balanced(&self) -> Balancer {
        Balancer::start(match self {
            Self::Json(nodes) => nodes.iter().map(Node::address).collect(),
            Self::Plait(nodes) => nodes.iter().map(|(server, _)| server.address()).collect(),
        })
    }
}

/// Follows the nodes behind `balancer` to their cut.
fn once(balancer: &Balancer, db: &Path) {
    let outcome = run(["follow", &balancer.url(), "--db", utf8(db), "--once"]);
    assert_eq!(outcome.status, Some(0), "{}", outcome.err);
    assert!(balancer.connections() > 1);
}

/// If requested, prints how long it takes to follow each node, and both behind a load balancer.
fn say_times(what: &str, nodes: &Nodes) {
    let rounds = std::env::var("PLAIT_FOLLOW_ROUNDS").ok().and_then(|text| text.parse().ok());
    let time = |url: &str| {
        let (db, begin) = (folder(), Instant::now());
        let outcome = run(["follow", url, "--db", utf8(db.path()), "--once"]);
        assert_eq!(outcome.status, Some(0), "{}", outcome.err);
        begin.elapsed().as_secs_f64()
    };
    for round in 0..rounds.unwrap_or(0_u32) {
        let alone: Vec<f64> = nodes.urls().iter().map(|url| time(url)).collect();
        let balanced = time(&nodes.balanced().url());
        let factor = balanced / (alone.iter().sum::<f64>() / 2.0);
        say(&format!(
            "{what}, {round}: alone {alone:.2?} s, balanced {balanced:.2} s, {factor:.2}"
        ));
    }
}

/// Sorts `blocks`, parents first.
fn ordered(blocks: &[Header]) -> Vec<Header> {
    let mut blocks = sorted(blocks);
    blocks.sort_by_key(|block| block.view().height());
    blocks
}

#[test]
fn orphans_that_only_one_of_two_nodes_has_do_not_end_it() {
    let canonical = generated(1500, 1, 0.0);
    let [first, second] = [(10, 1), (17, 2)].map(|(height, nonce)| {
        let clusters = clusters(&canonical, (height, 24), nonce);
        let orphans: Vec<Header> = clusters[..60].concat();
        ordered(&[&canonical[..], &orphans].concat())
    });
    let all = [&first[..], &second].concat();
    for nodes in Nodes::both_kinds(&[&first, &second]) {
        let (db, balancer) = (folder(), nodes.balanced());
        once(&balancer, db.path());
        assert_holds(db.path(), &canonical, &all);
        // Every orphan came with the blocks that it names.
        let stored = hashes(&stored(db.path()));
        assert!(stored.len() > canonical.len() + 20 + 60, "{} blocks", stored.len());
        // A second run changes nothing.
        once(&balancer, db.path());
        say_times("orphans", &nodes);
    }
}

/// A history of 1,200 heights; another branch that splits off at 300, is ten heights longer and so
/// becomes canonical; and the blocks that both have in common.
fn two_branches() -> [Vec<Header>; 3] {
    let history = generated(1210, 1, 0.0);
    let low = |header: &&Header| header.view().height().get() <= 300;
    let common: Vec<Header> = history.iter().filter(low).copied().collect();
    let lost: Vec<Header> = history[common.len()..1200 * 20].to_vec();
    [split(&history, 300, 1), lost, common]
}

#[test]
fn a_split_of_all_chains_is_followed_once_both_nodes_have_both_branches() {
    let [won, lost, common] = two_branches();
    // Each node received the blocks in its own order.
    let first = [&common[..], &won, &lost].concat();
    let second = [&common[..], &lost, &won].concat();
    for nodes in Nodes::both_kinds(&[&first, &second]) {
        let (db, balancer) = (folder(), nodes.balanced());
        once(&balancer, db.path());
        assert_holds(db.path(), &first, &first);
        say_times("both branches", &nodes);
    }
}

#[test]
fn a_split_of_all_chains_is_followed_where_one_node_has_only_the_branch_that_won() {
    let [won, lost, common] = two_branches();
    let both = ordered(&[&common[..], &won, &lost].concat());
    let winner = [&common[..], &won].concat();
    for nodes in Nodes::both_kinds(&[&both, &winner]) {
        let (db, balancer) = (folder(), nodes.balanced());
        once(&balancer, db.path());
        assert_holds(db.path(), &winner, &both);
        say_times("one has the winner only", &nodes);
    }
}

#[test]
fn a_split_of_all_chains_is_followed_while_each_node_has_one_branch() {
    let [won, lost, common] = two_branches();
    let [first, second] = [&won, &lost].map(|branch| [&common[..], branch].concat());
    let both = [&first[..], &lost].concat();
    for nodes in Nodes::both_kinds(&[&first, &second]) {
        let (db, balancer) = (folder(), nodes.balanced());
        once(&balancer, db.path());
        // To the cut of either node: the other one may be ten heights above.
        assert_holds(db.path(), &common, &both);
        for _ in 0..3 {
            balancer.skip();
            once(&balancer, db.path());
        }
        let stored = stored(db.path());
        let tips = [&won, &lost].map(|branch| stored.contains(branch.last().unwrap()));
        assert!(tips.contains(&true), "neither branch is complete");
        say_times("a branch each", &nodes);
    }
}

#[test]
fn nodes_that_reunite_are_followed_on_by_a_server() {
    let [won, lost, common] = two_branches();
    let [first, second] = [&won, &lost].map(|branch| [&common[..], branch].concat());
    let nodes = Nodes::json(&[&first, &second]);
    let (db, balancer) = (folder(), nodes.balanced());
    let follower = follower(db.path(), &balancer.url(), &["--network", "development"]);
    until("one of the branches", || height(&follower) >= 1200 * 20);
    let Nodes::Json(nodes) = &nodes else { unreachable!() };
    nodes[0].add(&lost);
    nodes[1].add(&won);
    until("the branch that won", || height(&follower) == 1210 * 20);
    // And new blocks that one node receives a little later than the other.
    let more = split(&generated(1230, 1, 0.0), 300, 1);
    for part in more[won.len()..].chunks(50) {
        nodes[0].add(part);
        std::thread::sleep(Duration::from_millis(20));
        nodes[1].add(part);
    }
    until("the new blocks", || height(&follower) == 1230 * 20);
    let cut = cut_of(&follower, NETWORK);
    end(follower);
    assert_eq!(cut["height"], 1230 * 20);
    let canonical = [&common[..], &more].concat();
    assert_holds(db.path(), &canonical, &[&canonical[..], &lost].concat());
}

#[test]
fn a_node_that_is_far_behind_another_one_only_takes_time() {
    let headers = generated(1500, 1, 0.02);
    let behind: Vec<Header> =
        headers.iter().filter(|header| header.view().height().get() <= 200).copied().collect();
    for nodes in Nodes::both_kinds(&[&behind, &headers]) {
        let (db, balancer) = (folder(), nodes.balanced());
        // The cut may be that of the node that is behind.
        let mut runs = 0;
        until("the cut of the first", || {
            once(&balancer, db.path());
            // However many connections that took, the next run asks another node first.
            runs += 1;
            if runs % 2 == 0 {
                balancer.skip();
            }
            stored(db.path()).len() > headers.len()
        });
        assert_eq!(stored(db.path()), with_genesis(&headers));
    }
}

#[test]
fn orphans_near_the_tips_that_one_node_lacks_do_not_end_a_follower() {
    let canonical = generated(400, 1, 0.0);
    let orphans = clusters(&canonical, (360, 3), 1).concat();
    let with_orphans = ordered(&[&canonical[..], &orphans].concat());
    let nodes = Nodes::json(&[&with_orphans, &canonical]);
    let (db, balancer) = (folder(), nodes.balanced());
    let follower = follower(db.path(), &balancer.url(), &[]);
    until("the orphans", || blocks(&follower) == with_orphans.len() as u64 + 20);
    for why in ["content", "unconnected", "rules", "status"] {
        let failures = follower.metric(&format!("plait_follow_failures_total{{why=\"{why}\"}}"));
        assert!(failures.unwrap_or(0.0) < 1.0, "{why}: {}", follower.log());
    }
    end(follower);
}
