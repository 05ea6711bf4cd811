//! A hash → its header, from anywhere on the chain.

use criterion::Criterion;
use fixtures::{CHAIN, Chain, Fixtures, PAGE};
use plait_engine::{BlockHash, Header, Reader};

use crate::{headers, time};

type Ask = fn(&Chain, &mut fastrand::Rng) -> BlockHash;

const CASES: [(&str, Ask); 3] = [
    ("trunk", |chain, random| chain.trunk(random.u64(..chain.top())).view().hash()),
    ("fork", |chain, random| {
        let all = chain.headers();
        loop {
            let header = all[random.usize(..all.len())].view();
            if chain.trunk(header.height().get()).view().hash() != header.hash() {
                return header.hash();
            }
        }
    }),
    ("absent", |_, random| {
        let mut hash = [0; 32];
        random.fill(&mut hash);
        BlockHash::new(hash)
    }),
];

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let mut group = criterion.benchmark_group("lookup/headers_360");
    group.throughput(headers(PAGE));
    for (name, ask) in CASES {
        let prepare = || {
            let (reader, asked) = (fixtures.reader(), asked(fixtures, ask));
            let slow = asked.iter().map(|hash| slow(fixtures.chain(), name, hash));
            assert!(slow.eq(asked.iter().map(|hash| find(reader, hash))));
            (reader, asked)
        };
        let routine = |(reader, asked): &(&Reader, Vec<BlockHash>)| {
            asked
                .iter()
                .filter_map(|hash| find(reader, hash))
                .map(|header| last_byte(&header))
                .sum::<u64>()
        };
        time(&mut group, name, prepare, routine);
        let prepare = || {
            let (node, asked) = (fixtures.node(), asked(fixtures, ask));
            let slow = asked.iter().map(|hash| slow(fixtures.chain(), name, hash));
            assert!(slow.eq(asked.iter().map(|hash| node.lookup(hash))));
            (node, asked)
        };
        let routine = |(node, asked): &(&peers::Node, Vec<BlockHash>)| {
            asked
                .iter()
                .filter_map(|hash| node.lookup(hash))
                .map(|header| last_byte(&header))
                .sum::<u64>()
        };
        time(&mut group, &format!("{name}/node"), prepare, routine);
    }
    group.finish();
}

fn asked(fixtures: &Fixtures, ask: Ask) -> Vec<BlockHash> {
    let mut random = fastrand::Rng::with_seed(1848);
    (0..PAGE).map(|_| ask(fixtures.chain(), &mut random)).collect()
}

fn find(reader: &Reader, hash: &BlockHash) -> Option<Header> {
    reader.view().header(CHAIN, hash).expect("a lookup")
}

fn last_byte(header: &Header) -> u64 {
    header.view().as_bytes().last().copied().map_or(0, u64::from)
}

/// The slow twin, which looks at all of them.
fn slow(chain: &Chain, case: &str, hash: &BlockHash) -> Option<Header> {
    if case == "absent" {
        return None;
    }
    chain.headers().iter().find(|header| header.view().hash() == *hash).copied()
}
