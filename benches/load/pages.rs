//! Pages of 360 headers on sixteen connections.

use fixtures::media::{self, JSON, OBJECTS, OCTETS};
use fixtures::{PAGE, Row, Target, ask};
use plait_engine::{BlockHeight, Heights, RangeQuery};

use crate::{Bench, float, wrk};

const CONNECTIONS: usize = 16;

pub(crate) fn measure(bench: &mut Bench) {
    let (address, tip) = (bench.plait.address, bench.fixtures.chain().tip());
    let low = bench.fixtures.shape().top - bench.fixtures.shape().deep;
    let limit = format!("?limit={PAGE}");
    let (deep, up) = (format!("{limit}&maxheight={low}"), format!("{limit}&minheight={low}"));
    let chain = bench.fixtures.chain();
    let tips = chain.branch(&ask::below_tip(&bench.fixtures));
    let lows = chain.branch(&ask::branch(&bench.fixtures, "maxheight_low"));
    let heights = Heights { min: Some(BlockHeight::new(low)), max: None };
    let ups = chain.range(&RangeQuery { heights, limit: PAGE, cursor: None });
    for (name, target, expected) in [
        ("http/branch_360/json", Target::branch(address, JSON, &limit, tip), &tips),
        ("http/branch_360/octets", Target::branch(address, OCTETS, &limit, tip), &tips),
        ("http/branch_360/object", Target::branch(address, OBJECTS, &limit, tip), &tips),
        ("http/branch_360_low/json", Target::branch(address, JSON, &deep, tip), &lows),
        ("http/range_360/json", Target::headers(address, JSON, &up), &ups),
        ("http/range_360/octets", Target::headers(address, OCTETS, &up), &ups),
    ] {
        if !wrk::is_here() {
            bench.rows.push(Row::missing(name, "not measured: wrk is not installed"));
            continue;
        }
        let body = target.fetch();
        media::check(target.accept, &body, expected);
        let file = bench.nginx.as_ref().map(|nginx| {
            nginx.put("page", &body);
            let file = Target::file(nginx.address, "page");
            assert!(file.fetch() == body);
            file
        });
        let rate = |target| wrk::run(target, CONNECTIONS, bench.time).requests_per_second;
        let Some(file) = file else {
            let row = Row::new(name, rate(&target), "requests/s");
            bench.rows.push(row.note("no ratio: nginx is not installed"));
            continue;
        };
        let pairs: Vec<_> = (0..bench.rounds).map(|_| (rate(&target), rate(&file))).collect();
        let row = Row::pairs(name, "requests/s", &pairs);
        let rate = row.value.unwrap_or(0.0);
        let headers = rate * float(PAGE as u64) / 1e6;
        let bytes = rate * float(body.len() as u64) / 1e6;
        let note = format!(
            "A: {headers:.2} M headers/s, {bytes:.0} MB/s; {CONNECTIONS} connections, {} bytes a page",
            body.len()
        );
        bench.rows.push(row.note(note));
    }
}
