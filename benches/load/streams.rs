//! The whole chain as one answer.

use std::time::Instant;
use std::{fs, iter};

use fixtures::media::OCTETS;
use fixtures::{Connection, Row, Target};
use plait_engine::header::LEN;

use crate::{Bench, float};

pub(crate) fn measure(bench: &mut Bench) {
    let (address, tip) = (bench.plait.address, bench.fixtures.chain().tip());
    let file = bench.fixtures.data().chain();
    let chain = fs::read(&file).expect("the headers of the chain");
    let range = Target::headers(address, OCTETS, "");
    let branch = Target::branch(address, OCTETS, "", tip);
    check(&range, &chain);
    let trunk = float(Connection::open(address).stream(&branch.request(), |_| true));
    for (name, target) in [("http/stream/range", &range), ("http/stream/branch", &branch)] {
        let Some(nginx) = &bench.nginx else {
            let row = Row::new(name, bytes_per_second(target), "bytes/s");
            bench.rows.push(row.note("no ratio: nginx is not installed"));
            continue;
        };
        let file = Target::file(nginx.address, "chain");
        if name.ends_with("range") {
            check(&file, &chain);
        }
        let pair = || (bytes_per_second(target), bytes_per_second(&file));
        let pairs: Vec<_> = iter::repeat_with(pair).take(bench.rounds).collect();
        let bytes = if name.ends_with("range") { float(chain.len() as u64) } else { trunk };
        let row = Row::pairs(name, "bytes/s", &pairs);
        let headers = row.value.unwrap_or(0.0) / float(LEN as u64) / 1e6;
        let megabytes = bytes / 1e6;
        let note = format!("A: {headers:.2} M headers/s; {megabytes:.0} MB on one connection");
        bench.rows.push(row.note(note));
    }
}

/// Reads an answer once and throws it away.
pub(crate) fn bytes_per_second(target: &Target) -> f64 {
    let mut connection = Connection::open(target.address);
    let (request, start) = (target.request(), Instant::now());
    let bytes = connection.stream(&request, |_| true);
    float(bytes) / start.elapsed().as_secs_f64()
}

fn check(target: &Target, expected: &[u8]) {
    let mut rest = expected;
    Connection::open(target.address).stream(&target.request(), |bytes| {
        assert!(rest.starts_with(bytes), "{target:?} is not the chain");
        rest = &rest[bytes.len()..];
        true
    });
    assert!(rest.is_empty(), "{target:?} ends early");
}
