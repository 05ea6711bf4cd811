//! A page over a socket, one request after the other on one connection, next to nginx.
//!
//! The `load` program measures both with many connections.

use std::cell::{LazyCell, OnceCell, RefCell};

use criterion::{Criterion, Throughput};
use fixtures::{
    Connection, Fixtures, Nginx, PAGE, Plait, Target, ask, blocks, find_program, media,
};

use crate::{headers, is_wanted, time};

pub(crate) fn stage(criterion: &mut Criterion, fixtures: &Fixtures) {
    let (plait, nginx) = (OnceCell::new(), OnceCell::new());
    let mut group = criterion.benchmark_group("http/page_360");
    group.throughput(headers(PAGE));
    for (case, accept) in
        [("json", media::JSON), ("object", media::OBJECTS), ("octets", media::OCTETS)]
    {
        let target = || {
            let plait = plait.get_or_init(|| Plait::serve(&fixtures.data().database()));
            let query = format!("?limit={PAGE}");
            Target::branch(plait.address, accept, &query, fixtures.chain().tip())
        };
        let prepare = || {
            let target = target();
            let expected = fixtures.chain().branch(&ask::below_tip(fixtures));
            media::check(accept, &target.fetch(), &expected);
            connect(&target)
        };
        time(&mut group, case, prepare, answer);
        if find_program("nginx").is_none() {
            continue;
        }
        let prepare = || {
            let nginx = nginx.get_or_init(|| Nginx::start().expect("nginx is installed"));
            let body = target().fetch();
            nginx.put(case, &body);
            let file = Target::file(nginx.address, case);
            assert!(file.fetch() == body);
            connect(&file)
        };
        time(&mut group, &format!("{case}/nginx"), prepare, answer);
    }
    group.finish();
    page_of_blocks(criterion, &nginx);
}

/// A page of blocks, with their payloads.
fn page_of_blocks(criterion: &mut Criterion, nginx: &OnceCell<Nginx>) {
    let mut group = criterion.benchmark_group("http/blocks_360");
    let blocks = LazyCell::new(blocks::blocks);
    let plait = OnceCell::new();
    let target = || {
        let plait = plait.get_or_init(|| Plait::serve(&blocks::database()));
        Target::blocks(plait.address, &format!("?minheight=1&limit={PAGE}"))
    };
    let items = || blocks.iter().map(blocks::item).collect::<Vec<_>>().join(",");
    let is_page = |body: &[u8]| {
        let start = format!("{{\"limit\":{PAGE},\"items\":[{}],\"next\":", items());
        body.starts_with(start.as_bytes())
    };
    if is_wanted("http/blocks_360") {
        let bytes = items().len() as u64;
        group.throughput(Throughput::ElementsAndBytes { elements: PAGE as u64, bytes });
    }
    let prepare = || {
        assert!(is_page(&target().fetch()), "the page is another one");
        connect(&target())
    };
    time(&mut group, "json", prepare, answer);
    if find_program("nginx").is_some() {
        let prepare = || {
            let nginx = nginx.get_or_init(|| Nginx::start().expect("nginx is installed"));
            nginx.put("blocks", &target().fetch());
            let file = Target::file(nginx.address, "blocks");
            assert!(is_page(&file.fetch()));
            connect(&file)
        };
        time(&mut group, "json/nginx", prepare, answer);
    }
    group.finish();
}

type Client = (RefCell<Connection>, Vec<u8>);

fn connect(target: &Target) -> Client {
    (RefCell::new(Connection::open(target.address)), target.request())
}

fn answer((connection, request): &Client) -> Vec<u8> {
    connection.borrow_mut().ask(request)
}
