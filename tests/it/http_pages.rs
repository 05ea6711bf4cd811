//! Ascending lists: `GET chain/{chain}/hash` and `GET chain/{chain}/header`.

use serde_json::Value;
use testkit::http::Request;

use crate::http_data::{
    FORKED_HEIGHT, JSON, LONG_HEIGHT, NOBODY, OBJECT, OCTETS, base64url, joined, on, page, reason,
    served, served_with, world,
};

#[test]
fn hashes_come_ascending_with_4096_on_a_page() {
    let (server, tree) = (served(), &world().long);
    let all = tree.hashes(&tree.ascending());
    for query in ["", "?limit=4096", "?limit=4097", "?limit=99999999999999999999999"] {
        let page = page(&server.get(&on(1, &format!("hash{query}"))));
        assert_eq!(page.items, all[..4096], "{query}");
        assert_eq!(page.next, Some(format!("inclusive:{}", all[4096])), "{query}");
    }
    let rest = page(&server.get(&on(1, &format!("hash?next=inclusive:{}", all[4096]))));
    assert_eq!(rest.items, all[4096..]);
    assert_eq!(rest.next, Some(format!("exclusive:{}", all[all.len() - 1])));
}

#[test]
fn headers_come_ascending_with_360_on_a_page() {
    let (server, tree) = (served(), &world().forked);
    let all = tree.ascending();
    let text = |place: &usize| base64url(tree.block(*place).as_bytes());
    for query in ["", "?limit=360", "?limit=361", "?limit=18446744073709551616"] {
        let page = page(&server.get(&on(0, &format!("header{query}"))));
        assert_eq!(page.items, all[..360].iter().map(text).collect::<Vec<_>>(), "{query}");
        assert_eq!(page.next, Some(format!("inclusive:{}", tree.hash(all[360]))), "{query}");
    }
}

#[test]
fn page_says_how_many_items_it_has_and_nothing_else() {
    let (server, tree) = (served(), &world().forked);
    let all = tree.hashes(&tree.ascending());
    let two = server.get(&on(0, "hash?limit=2"));
    let expected = format!(
        r#"{{"limit":2,"items":["{}","{}"],"next":"inclusive:{}"}}"#,
        all[0], all[1], all[2]
    );
    assert_eq!(two.text(), expected);
    let none = server.get(&on(0, "hash?limit=0"));
    assert_eq!(none.text(), format!(r#"{{"limit":0,"items":[],"next":"inclusive:{}"}}"#, all[0]));
    let high = server.get(&on(0, "hash?limit=5&minheight=701"));
    assert_eq!(high.text(), r#"{"limit":0,"items":[],"next":null}"#);
    let last = server.get(&on(0, &format!("hash?limit=5&minheight={FORKED_HEIGHT}")));
    let [.., a, b] = all.as_slice() else { panic!("two tips") };
    let expected = format!(r#"{{"limit":2,"items":["{a}","{b}"],"next":"exclusive:{b}"}}"#);
    assert_eq!(last.text(), expected);
}

#[test]
fn orphans_are_listed_and_ties_go_by_hash() {
    let (server, tree) = (served(), &world().forked);
    let here: Vec<usize> =
        tree.ascending().into_iter().filter(|at| tree.height(*at) == 10).collect();
    assert_eq!(here.len(), 41);
    let page = page(&server.get(&on(0, "hash?minheight=10&maxheight=10")));
    assert_eq!(page.items, tree.hashes(&here));
    assert!(here.windows(2).all(|pair| tree.block(pair[0]).hash() < tree.block(pair[1]).hash()));
}

#[test]
fn heights_cut_the_list_on_both_sides() {
    let (server, tree) = (served(), &world().forked);
    for (min, max) in
        [(0, 0), (0, 5), (1, 1), (9, 11), (199, 260), (699, 700), (700, 9999), (11, 10)]
    {
        let inside = |at: &usize| (min..=max).contains(&tree.height(*at));
        let expected: Vec<usize> = tree.ascending().into_iter().filter(inside).collect();
        for name in ["hash", "header"] {
            let page =
                page(&server.get(&on(0, &format!("{name}?minheight={min}&maxheight={max}"))));
            assert_eq!(page.items.len(), expected.len(), "{name} {min} {max}");
            let next = expected.last().map(|at| format!("exclusive:{}", tree.hash(*at)));
            assert_eq!(page.next, next, "{name} {min} {max}");
            if name == "hash" {
                assert_eq!(page.items, tree.hashes(&expected), "{min} {max}");
            }
        }
    }
    let over = page(&server.get(&on(0, "hash?minheight=99999999999999999999999")));
    assert_eq!((over.items.len(), over.next), (0, None));
}

#[test]
fn cursor_resumes_with_its_block_or_behind_it() {
    let (server, tree) = (served(), &world().forked);
    let all = tree.hashes(&tree.ascending());
    for at in [0, 1, 2, 11, 12, 50, 51, 300, all.len() - 2, all.len() - 1] {
        let (inclusive, exclusive) = (&all[at..], &all[at + 1..]);
        for (kind, rest) in [("inclusive", inclusive), ("exclusive", exclusive)] {
            let path = on(0, &format!("hash?limit=3&next={kind}:{}", all[at]));
            let page = page(&server.get(&path));
            assert_eq!(page.items, rest[..rest.len().min(3)], "{kind} {at}");
            let next = match rest.len() {
                0 => None,
                count @ 1..=3 => Some(format!("exclusive:{}", rest[count - 1])),
                _ => Some(format!("inclusive:{}", rest[3])),
            };
            assert_eq!(page.next, next, "{kind} {at}");
        }
    }
}

#[test]
fn cursor_outside_of_the_heights_makes_an_empty_page() {
    let (server, world) = (served(), world());
    let cursor = world.forked.hash(world.trunk[100]);
    for heights in ["minheight=102", "maxheight=99", "minheight=200&maxheight=300"] {
        for kind in ["inclusive", "exclusive"] {
            let path = on(0, &format!("header?{heights}&next={kind}:{cursor}"));
            assert_eq!(server.get(&path).text(), r#"{"limit":0,"items":[],"next":null}"#, "{path}");
        }
    }
}

#[test]
fn pages_joined_are_the_whole_list_for_every_limit() {
    let (server, tree) = (served(), &world().forked);
    let all = tree.hashes(&tree.ascending());
    let texts: Vec<String> =
        tree.ascending().iter().map(|at| base64url(tree.block(*at).as_bytes())).collect();
    for limit in [3, 41, 64, 359, 360, 1000] {
        let hashes =
            joined(&server, |cursor| Request::get(on(0, &format!("hash?limit={limit}{cursor}"))));
        assert_eq!(hashes, all, "{limit}");
        let headers =
            joined(&server, |cursor| Request::get(on(0, &format!("header?limit={limit}{cursor}"))));
        assert_eq!(headers, texts, "{limit}");
    }
    let path = |cursor: &str| on(0, &format!("hash?limit=7&minheight=5&maxheight=230{cursor}"));
    let part = joined(&server, |cursor| Request::get(path(cursor)));
    let inside = |at: &usize| (5..=230).contains(&tree.height(*at));
    assert_eq!(part, tree.hashes(&tree.ascending().into_iter().filter(inside).collect::<Vec<_>>()));
}

#[test]
fn unknown_parameters_are_ignored() {
    let server = served();
    let plain = server.get(&on(0, "header?limit=3")).body;
    for query in [
        "limit=3&t=json",
        "chain=0&limit=3",
        "limit=3&",
        "&&limit=3",
        "limit=3&x",
        "limit=3&=&==",
        "LIMIT=7&limit=3",
        "limit=3&%ff=%ff&%zz=%",
        "limit=3&minheight",
        "limit=3&limits[]=4",
        "next&limit=3",
    ] {
        assert_eq!(server.get(&on(0, &format!("header?{query}"))).body, plain, "{query}");
    }
}

#[test]
fn parameters_are_percent_decoded() {
    let (server, tree) = (served(), &world().forked);
    let cursor = tree.hash(tree.ascending()[5]);
    let plain = server.get(&on(0, &format!("hash?limit=2&next=inclusive:{cursor}"))).body;
    for query in [
        format!("limit=2&next=inclusive%3A{cursor}"),
        format!("limit=2&next=inclusive%3a{cursor}"),
        format!("%6cimit=%32&n%65xt=%69nclusive%3A{cursor}"),
        format!("limit=002&next=inclusive:{cursor}"),
    ] {
        assert_eq!(server.get(&on(0, &format!("hash?{query}"))).body, plain, "{query}");
    }
}

#[test]
fn values_that_do_not_parse_are_refused_with_their_name() {
    let server = served();
    let cursor = format!("inclusive:{NOBODY}");
    for (name, values) in [
        (
            "limit",
            &["-1", "1e9", "", "x", "1.0", "+1", "%201", "0x10", "%00", "1%00", "%FF", "1,2"][..],
        ),
        ("minheight", &["-1", "1e9", "", "ten", "%20"]),
        ("maxheight", &["-0", "1_000", "", "null", "%C3%28"]),
        ("next", &["", "null", "inclusive", "inclusive:", "Inclusive:AAAA", "next:AAAA", "%00"]),
        (
            "next",
            &[
                &cursor[..52],
                &format!("{cursor}A"),
                &format!("{cursor}=="),
                &format!("{cursor}%00"),
            ],
        ),
        (
            "next",
            &[
                &cursor.replace(":A", ":*"),
                &cursor.replace(":A", ":+"),
                &format!("{}B", &cursor[..52]),
            ],
        ),
    ] {
        for value in values {
            for path in ["hash", "header"] {
                let path = on(0, &format!("{path}?t=json&{name}={value}"));
                let reason = reason(&server.get(&path), 400);
                assert!(reason.contains(name), "{path}: {reason}");
            }
        }
    }
}

#[test]
fn unknown_cursor_is_not_found_by_its_name() {
    let (server, world) = (served(), world());
    let elsewhere = world.long.hash(1);
    for hash in [NOBODY, &elsewhere] {
        for kind in ["inclusive", "exclusive"] {
            for path in ["hash", "header"] {
                let response = server.get(&on(0, &format!("{path}?next={kind}:{hash}")));
                assert_eq!(response.status, 404);
                assert_eq!(
                    response.text(),
                    format!(r#"{{"key":"{hash}","reason":"key not found"}}"#)
                );
            }
        }
    }
}

#[test]
fn headers_as_objects_have_the_fields_of_their_bytes() {
    let (server, tree) = (served(), &world().forked);
    let response = server.ask(&Request::get(on(0, "header?limit=2")).accept(OBJECT));
    assert_eq!(response.header("Content-Type"), Some(OBJECT));
    let all = tree.ascending();
    let text = |at: usize| {
        let block = tree.block(at);
        let (raw, at) = (block.raw(), |from: usize| base64url(&block.as_bytes()[from..from + 32]));
        // The order of adjacents is that of a hash map, compared elsewhere.
        let text = response.text();
        let adjacents = text.split("\"adjacents\":").find(|part| part.contains(&at(286))).unwrap();
        let adjacents = &adjacents[..=adjacents.find('}').unwrap()];
        for (chain, hash) in block.adjacents().iter() {
            assert!(adjacents.contains(&format!("\"{chain}\":\"{hash}\"")), "{adjacents}");
        }
        format!(
            concat!(
                r#"{{"nonce":"{}","creationTime":{},"parent":"{}","adjacents":{},"target":"{}","#,
                r#""payloadHash":"{}","chainId":{},"weight":"{}","height":{},"#,
                r#""chainwebVersion":"development","epochStart":{},"featureFlags":{},"hash":"{}"}}"#
            ),
            raw.nonce,
            raw.creation_time,
            at(16),
            adjacents,
            at(158),
            at(190),
            raw.chain,
            at(226),
            raw.height,
            raw.epoch_start,
            raw.feature_flags,
            at(286),
        )
    };
    let expected = format!(
        r#"{{"limit":2,"items":[{},{}],"next":"inclusive:{}"}}"#,
        text(all[0]),
        text(all[1]),
        tree.hash(all[2])
    );
    assert_eq!(response.text(), expected);
}

#[test]
fn chain_that_has_only_its_genesis_block_lists_it() {
    let server = served();
    let page = page(&server.get(&on(19, "hash")));
    assert_eq!(page.items.len(), 1);
    assert_eq!(page.next, Some(format!("exclusive:{}", page.items[0])));
}

#[test]
fn page_sizes_can_be_configured() {
    let server = served_with(&["--max-page-hashes", "10", "--max-page-headers", "4"]);
    for (path, most) in [("hash", 10), ("header", 4)] {
        for (query, count) in [("", most), ("?limit=1000", most), ("?limit=3", 3)] {
            let page = page(&server.get(&on(1, &format!("{path}{query}"))));
            assert_eq!(page.items.len(), count, "{path}{query}");
        }
    }
}

#[test]
fn list_of_a_long_chain_is_reached_at_every_depth() {
    let (server, tree) = (served(), &world().long);
    let mut client = server.connect();
    for height in [0, 1, 255, 256, 257, 4095, 4096, LONG_HEIGHT] {
        let path = on(1, &format!("header?limit=1&minheight={height}"));
        let page = page(&client.ask(&Request::get(path).accept(JSON)));
        let place = usize::try_from(height).unwrap();
        assert_eq!(page.items, [base64url(tree.block(place).as_bytes())]);
    }
}

#[test]
fn an_exclusive_cursor_below_the_lowest_height_goes_on_in_every_form() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let cursor = tree.hash(world.trunk[100]);
    let expected: Vec<usize> =
        tree.ascending().into_iter().filter(|at| (101..=450).contains(&tree.height(*at))).collect();
    for limit in ["", "&limit=5"] {
        let count = if limit.is_empty() { expected.len().min(360) } else { 5 };
        let target = |name| {
            on(0, &format!("{name}?minheight=101&maxheight=450&next=exclusive:{cursor}{limit}"))
        };
        let hashes = page(&server.get(&target("hash")));
        let whole = expected.len().min(if limit.is_empty() { 4096 } else { 5 });
        assert_eq!(hashes.items, tree.hashes(&expected[..whole]), "{limit}");
        for media in [JSON, OBJECT] {
            let headers = server.ask(&Request::get(target("header")).accept(media));
            let headers: Value = serde_json::from_str(headers.text()).unwrap();
            assert_eq!(headers["limit"], count, "{media} {limit}");
        }
        let octets = server.ask(&Request::get(target("header")).accept(OCTETS));
        let some = if limit.is_empty() { &expected[..] } else { &expected[..5] };
        assert_eq!(octets.body, tree.records(some), "without a limit all of it: {limit}");
    }
    let inclusive = on(0, &format!("hash?minheight=101&next=inclusive:{cursor}"));
    assert_eq!(server.get(&inclusive).text(), r#"{"limit":0,"items":[],"next":null}"#);
}
