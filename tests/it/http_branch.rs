//! Branches: `POST chain/{chain}/hash/branch` and `POST chain/{chain}/header/branch`.

use std::slice::from_ref;

use testkit::http::Request;

use crate::http_data::{
    Chance, NOBODY, base64url, bounds, joined, on, page, reason, served, served_with, world,
};

#[test]
fn branch_is_descending_and_leaves_the_orphans_out() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let tip = world.trunk[700];
    let body = bounds(&[tree.hash(tip)], &[]);
    let expected: Vec<usize> = world.trunk.iter().rev().copied().collect();
    let whole = page(&server.post(&on(0, "hash/branch"), &body));
    assert_eq!(whole.items, tree.hashes(&expected));
    assert_eq!(whole.next, None);
    let headers = page(&server.post(&on(0, "header/branch"), &body));
    let texts: Vec<String> =
        expected.iter().map(|at| base64url(tree.block(*at).as_bytes())).collect();
    assert_eq!(headers.items, texts[..360]);
    assert_eq!(headers.next, Some(format!("inclusive:{}", tree.hash(expected[360]))));
}

#[test]
fn branch_pages_have_4096_hashes_or_360_headers() {
    let (server, tree) = (served(), &world().long);
    let body = bounds(&[tree.hash(tree.len() - 1)], &[]);
    for (path, most) in [("hash/branch", 4096), ("header/branch", 360)] {
        for query in ["", "?limit=5000", "?limit=99999999999999999999999"] {
            let page = page(&server.post(&on(1, &format!("{path}{query}")), &body));
            assert_eq!(page.items.len(), most, "{path}{query}");
            let next = tree.hash(tree.len() - 1 - most);
            assert_eq!(page.next, Some(format!("inclusive:{next}")), "{path}{query}");
        }
    }
}

#[test]
fn limit_zero_is_an_empty_page_with_a_cursor() {
    let (server, tree) = (served(), &world().forked);
    let tip = tree.hash(world().trunk[700]);
    let body = bounds(from_ref(&tip), &[]);
    for path in ["hash/branch?limit=0", "header/branch?limit=0"] {
        let text = format!(r#"{{"limit":0,"items":[],"next":"inclusive:{tip}"}}"#);
        assert_eq!(server.post(&on(0, path), &body).text(), text);
    }
}

#[test]
fn two_upper_bounds_on_sibling_blocks_return_both() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let tips = [world.trunk[700], world.rival];
    let body = bounds(&tree.hashes(&tips), &[]);
    let page = page(&server.post(&on(0, "hash/branch?limit=3"), &body));
    assert_eq!(page.items, tree.hashes(&tree.branch(&tips, &[])[..3]));
    assert!(tree.hashes(&tips).iter().all(|tip| page.items[..2].contains(tip)));
    assert_eq!(page.items[2], tree.hash(world.trunk[699]));
}

#[test]
fn lower_bounds_take_their_ancestors_out() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let (side, twig) = (world.side[29], world.twig[4]);
    for (upper, lower) in [
        (vec![side], vec![world.trunk[700]]),
        (vec![side, twig], vec![world.trunk[200]]),
        (vec![twig], vec![side]),
        (vec![side], vec![side]),
        (vec![world.trunk[100]], vec![world.trunk[101]]),
        (vec![world.trunk[101]], vec![world.trunk[100], world.bush[3]]),
        (vec![], vec![side]),
        (vec![0], vec![]),
    ] {
        let body = bounds(&tree.hashes(&upper), &tree.hashes(&lower));
        let page = page(&server.post(&on(0, "hash/branch"), &body));
        assert_eq!(page.items, tree.hashes(&tree.branch(&upper, &lower)), "{upper:?} {lower:?}");
        assert_eq!(page.next, None);
    }
}

#[test]
fn heights_filter_the_result_and_do_not_drop_lower_upper_bounds() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let (low, high) = (world.side[4], world.trunk[700]);
    for (min, max) in [(0, 300), (150, 203), (204, 210), (206, 9999), (0, 0), (700, 700), (5, 4)] {
        let body = bounds(&tree.hashes(&[low, high]), &[]);
        let inside = |at: &usize| (min..=max).contains(&tree.height(*at));
        let expected: Vec<usize> =
            tree.branch(&[low, high], &[]).into_iter().filter(inside).collect();
        let path = on(0, &format!("hash/branch?minheight={min}&maxheight={max}"));
        let page = page(&server.post(&path, &body));
        assert_eq!(page.items, tree.hashes(&expected), "{min} {max}");
        assert_eq!(page.next, None);
    }
}

#[test]
fn no_upper_bound_is_an_empty_page() {
    let server = served();
    let empty = r#"{"limit":0,"items":[],"next":null}"#;
    for body in [
        "{}",
        r#"{"upper":[],"lower":[]}"#,
        r#"{"upper":null,"lower":null}"#,
        r#"{"upper":[]}"#,
        r#"{"lower":[]}"#,
        r#"{"lower":null}"#,
        "\r\n\t {  } \n",
        r#"{"others":[1,{"deep":[null]}],"upper":[]}"#,
    ] {
        for path in ["hash/branch", "header/branch?limit=5"] {
            assert_eq!(server.post(&on(0, path), body).text(), empty, "{path} {body}");
        }
    }
}

#[test]
fn bounds_and_cursors_that_are_not_on_the_chain_are_not_found() {
    let (server, world) = (served(), world());
    let (known, elsewhere) = (world.forked.hash(world.trunk[5]), world.long.hash(7));
    for hash in [NOBODY.to_owned(), elsewhere] {
        let not_found = format!(r#"{{"key":"{hash}","reason":"key not found"}}"#);
        let one = [hash.clone()];
        for path in ["hash/branch", "header/branch"] {
            let upper = server.post(&on(0, path), &bounds(&one, &[]));
            assert_eq!((upper.status, upper.text()), (404, &*not_found));
            let lower = server.post(&on(0, path), &bounds(from_ref(&known), &one));
            assert_eq!((lower.status, lower.text()), (404, &*not_found));
            let cursor = on(0, &format!("{path}?next=inclusive:{hash}"));
            let cursor = server.post(&cursor, &bounds(from_ref(&known), &[]));
            assert_eq!((cursor.status, cursor.text()), (404, &*not_found));
        }
    }
}

#[test]
fn unknown_lower_bounds_can_be_ignored() {
    let server = served_with(&["--unknown-lower-bound", "ignore"]);
    let tree = &world().forked;
    let upper = [tree.hash(world().trunk[1])];
    let lower = [NOBODY.to_owned()];
    let page = page(&server.post(&on(0, "hash/branch"), &bounds(&upper, &lower)));
    assert_eq!(page.items, tree.hashes(&[world().trunk[1], 0]));
    assert_eq!(server.post(&on(0, "hash/branch"), &bounds(&lower, &[])).status, 404);
}

#[test]
fn cursor_that_is_not_in_the_result_makes_an_empty_page() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let body = bounds(&[tree.hash(world.trunk[500])], &[tree.hash(world.trunk[50])]);
    for outside in [world.trunk[501], world.trunk[50], world.trunk[3], world.bush[0], world.side[7]]
    {
        for kind in ["inclusive", "exclusive"] {
            let path = on(0, &format!("hash/branch?next={kind}:{}", tree.hash(outside)));
            let text = server.post(&path, &body).text().to_owned();
            assert_eq!(text, r#"{"limit":0,"items":[],"next":null}"#, "{kind} {outside}");
        }
    }
}

#[test]
fn up_to_32_different_bounds_are_taken_on_each_side() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let bush = tree.hashes(&world.bush);
    let (most, more) = (&bush[..32], &bush[..33]);
    for path in ["hash/branch", "header/branch"] {
        assert_eq!(page(&server.post(&on(0, path), &bounds(most, &[]))).items.len(), 42);
        assert_eq!(page(&server.post(&on(0, path), &bounds(most, most))).items.len(), 0);
        for (body, side) in [(bounds(more, &[]), "upper"), (bounds(most, more), "lower")] {
            let reason = reason(&server.post(&on(0, path), &body), 400);
            assert!(
                reason.contains("32") && reason.contains("33") && reason.contains(side),
                "{reason}"
            );
        }
        let equal = vec![bush[0].clone(); 33];
        assert_eq!(page(&server.post(&on(0, path), &bounds(&equal, &[]))).items.len(), 11);
        let twice = [most, most].concat();
        assert_eq!(page(&server.post(&on(0, path), &bounds(&twice, &twice[..1]))).items.len(), 31);
    }
}

#[test]
fn bodies_of_another_form_are_refused_with_a_reason() {
    let server = served();
    let hash = world().forked.hash(5);
    let deep = "[".repeat(30_000);
    let long = format!(r#"{{"upper":["{}"]}}"#, "A".repeat(10_000));
    for body in [
        "",
        " ",
        "{",
        "nope",
        "[]",
        "{}{}",
        "{} x",
        "1",
        "\"\"",
        "\u{feff}{}",
        "\0",
        r#"{"upper":"x"}"#,
        r#"{"upper":[1]}"#,
        r#"{"upper":[null]}"#,
        r#"{"upper":{}}"#,
        r#"{"lower":[[]]}"#,
        r#"{"lower":["short"]}"#,
        r#"{"upper":[""]}"#,
        &format!(r#"{{"upper":["{hash}=="]}}"#),
        &format!(r#"{{"upper":["{hash}A"]}}"#),
        &format!(r#"{{"upper":["{}"]}}"#, &hash[..42]),
        &format!(r#"{{"upper":["{}*"]}}"#, &hash[..42]),
        &format!(r#"{{"upper":["{}B"]}}"#, &hash[..42]),
        &format!(r#"{{"upper":["{hash}",]}}"#),
        &format!(r#"{{"upper":["{hash}"],"upper":[]}}"#),
        &deep,
        &long,
    ] {
        for path in ["hash/branch", "header/branch"] {
            reason(&server.post(&on(0, path), body), 400);
        }
    }
    for bytes in [&b"\xff\xfe{}"[..], b"{\"upper\":[\"\xc3\x28\"]}", &[0; 100]] {
        reason(&server.ask(&Request::post(on(0, "hash/branch"), bytes)), 400);
    }
}

#[test]
fn body_is_json_or_not_declared() {
    let server = served();
    let request = || Request::post(on(0, "hash/branch"), "{}");
    let typed = |kind: &str| request().without("Content-Type").header("Content-Type", kind);
    for good in ["application/json", "application/json;charset=utf-8", "Application/Json ; x=y"] {
        assert_eq!(server.ask(&typed(good)).status, 200, "{good}");
    }
    assert_eq!(server.ask(&request().without("Content-Type")).status, 200);
    for bad in
        ["text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "json", ""]
    {
        reason(&server.ask(&typed(bad)), 415);
    }
    let both = typed("application/json").header("Content-Type", "text/plain");
    reason(&server.ask(&both), 415);
}

#[test]
fn chunked_bodies_are_read() {
    let (server, tree) = (served(), &world().forked);
    let body = bounds(&[tree.hash(world().trunk[2])], &[]);
    let head = Request::new("POST", on(0, "hash/branch")).header("Transfer-Encoding", "chunked");
    let mut client = server.connect();
    client.send(head.to_bytes()).unwrap();
    for byte in body.as_bytes() {
        client.send([b"1;ext=1\r\n", &[*byte][..], b"\r\n"].concat()).unwrap();
    }
    client.send("0\r\nTrailer: ignored\r\n\r\n").unwrap();
    assert_eq!(page(&client.read("POST").unwrap()).items.len(), 3);
    assert_eq!(client.ask(&Request::get("/health-check")).status, 200, "the connection lives on");
}

#[test]
fn random_queries_answer_as_the_naive_search_does() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let mut chance = Chance::new(20_240_716);
    let mut client = server.connect();
    for round in 0..250 {
        let mut some = |most: usize| -> Vec<usize> {
            (0..chance.below(most)).map(|_| chance.below(tree.len())).collect()
        };
        let (upper, lower) = (some(6), some(5));
        let (min, max) = match chance.below(4) {
            0 => (0, u64::MAX),
            1 => (chance.below(300) as u64, u64::MAX),
            2 => (0, chance.below(720) as u64),
            _ => (chance.below(300) as u64, 200 + chance.below(500) as u64),
        };
        let inside = |at: &usize| (min..=max).contains(&tree.height(*at));
        let whole: Vec<usize> = tree.branch(&upper, &lower).into_iter().filter(inside).collect();
        let limit = chance.below(12);
        let body = bounds(&tree.hashes(&upper), &tree.hashes(&lower));
        let (mut from, mut query) = (0, format!("limit={limit}&minheight={min}&maxheight={max}"));
        if !whole.is_empty() && chance.below(2) == 0 {
            from = chance.below(whole.len());
            let kind = chance.one_of(&["inclusive", "exclusive"]);
            query.extend(["&next=", kind, ":", &tree.hash(whole[from])]);
            from += usize::from(kind == "exclusive");
        }
        let to = whole.len().min(from + limit);
        let answer = client.ask(&Request::post(on(0, &format!("hash/branch?{query}")), body));
        let got = page(&answer);
        assert_eq!(got.items, tree.hashes(&whole[from..to]), "round {round}: {query}");
        let next = whole.get(to).map(|at| format!("inclusive:{}", tree.hash(*at)));
        assert_eq!(got.next, next, "round {round}: {query}");
    }
}

#[test]
fn branch_pages_joined_are_the_whole_branch_for_every_limit() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let upper = [world.trunk[700], world.rival, world.side[29], world.twig[4], world.bush[7]];
    let lower = [world.trunk[3]];
    let body = bounds(&tree.hashes(&upper), &tree.hashes(&lower));
    let expected = tree.branch(&upper, &lower);
    for limit in [3, 64, 359, 4096] {
        let hashes = joined(&server, |cursor| {
            Request::post(on(0, &format!("hash/branch?limit={limit}{cursor}")), body.clone())
        });
        assert_eq!(hashes, tree.hashes(&expected), "{limit}");
        let headers = joined(&server, |cursor| {
            Request::post(on(0, &format!("header/branch?limit={limit}{cursor}")), body.clone())
        });
        let texts: Vec<String> =
            expected.iter().map(|at| base64url(tree.block(*at).as_bytes())).collect();
        assert_eq!(headers, texts, "{limit}");
    }
}
