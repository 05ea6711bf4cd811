//! `application/octet-stream`: pages of 318-byte records, and whole ranges as streams.

use testkit::http::{Request, Response};

use crate::http_data::{OCTETS, bounds, on, reason, served, served_with, world};

fn cursor(response: &Response) -> Option<String> {
    let next = response.header("X-Next").map(str::to_owned);
    let link = response.header("Link").map(str::to_owned);
    assert_eq!(next.is_some(), link.is_some());
    assert!(link.is_none_or(|link| {
        link.contains(&format!("next={}>; rel=\"next\"", next.as_ref().unwrap()))
    }));
    next
}

fn link(response: &Response) -> Option<&str> {
    let link = response.header("Link")?;
    Some(link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap())
}

#[test]
fn page_is_records_with_the_cursor_beside_them() {
    let (server, tree) = (served(), &world().forked);
    let all = tree.ascending();
    let page = server.ask(&Request::get(on(0, "header?limit=3&t=x")).accept(OCTETS));
    assert_eq!(page.status, 200);
    assert_eq!(page.header("Content-Type"), Some(OCTETS));
    assert_eq!(page.header("Content-Length"), Some("954"));
    assert_eq!(page.header("Trailer"), None);
    assert_eq!(page.body, tree.records(&all[..3]));
    assert_eq!(cursor(&page), Some(format!("inclusive:{}", tree.hash(all[3]))));
    let expected = on(0, &format!("header?limit=3&t=x&next=inclusive:{}", tree.hash(all[3])));
    assert_eq!(link(&page), Some(&*expected));
}

#[test]
fn page_of_a_larger_limit_has_360_records() {
    let (server, tree) = (served(), &world().long);
    let body = bounds(&[tree.hash(tree.len() - 1)], &[]);
    for limit in ["360", "361", "99999999999999999999999"] {
        let up = server.ask(&Request::get(on(1, &format!("header?limit={limit}"))).accept(OCTETS));
        assert_eq!(up.body, tree.records(&(0..360).collect::<Vec<_>>()), "{limit}");
        let path = on(1, &format!("header/branch?limit={limit}"));
        let down = server.ask(&Request::post(path, body.clone()).accept(OCTETS));
        let last: Vec<usize> = (tree.len() - 360..tree.len()).rev().collect();
        assert_eq!(down.body, tree.records(&last), "{limit}");
    }
}

#[test]
fn links_lead_from_page_to_page_to_the_end() {
    let (server, tree) = (served(), &world().forked);
    let mut client = server.connect();
    for limit in [50, 360] {
        let mut path = on(0, &format!("header?limit={limit}&minheight=0"));
        let (mut bytes, mut last) = (Vec::new(), None);
        loop {
            let page = client.ask(&Request::get(&path).accept(OCTETS));
            assert_eq!(page.status, 200, "{path}");
            bytes.extend_from_slice(&page.body);
            let Some(next) = cursor(&page) else {
                assert!(page.body.is_empty(), "only an empty page of a list has no next one");
                break;
            };
            link(&page).unwrap().clone_into(&mut path);
            last = Some(next);
        }
        assert_eq!(bytes, tree.records(&tree.ascending()));
        let end = tree.hash(*tree.ascending().last().unwrap());
        assert_eq!(last, Some(format!("exclusive:{end}")));
    }
}

#[test]
fn last_page_of_a_branch_has_no_cursor() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let body = bounds(&[tree.hash(world.twig[4])], &[tree.hash(world.trunk[200])]);
    let expected = tree.branch(&[world.twig[4]], &[world.trunk[200]]);
    let mut path = on(0, "header/branch?limit=4");
    let mut bytes = Vec::new();
    loop {
        let page = server.ask(&Request::post(&path, body.clone()).accept(OCTETS));
        bytes.extend_from_slice(&page.body);
        match link(&page) {
            Some(next) => next.clone_into(&mut path),
            None => break,
        }
    }
    assert_eq!(bytes, tree.records(&expected));
    let empty = server.ask(&Request::post(on(0, "header/branch?limit=4"), "{}").accept(OCTETS));
    assert_eq!((empty.status, empty.body.len(), cursor(&empty)), (200, 0, None));
    assert_eq!(empty.header("Content-Length"), Some("0"));
}

#[test]
fn without_a_limit_the_whole_range_is_streamed() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let all = tree.ascending();
    let mut client = server.connect();
    for (query, expected) in [
        (String::new(), all.clone()),
        (format!("?next=inclusive:{}", tree.hash(all[400])), all[400..].to_vec()),
        (format!("?next=exclusive:{}", tree.hash(all[400])), all[401..].to_vec()),
        (
            "?minheight=195&maxheight=205".to_owned(),
            all.iter().copied().filter(|at| (195..=205).contains(&tree.height(*at))).collect(),
        ),
        ("?minheight=701".to_owned(), vec![]),
        (format!("?maxheight=5&next=inclusive:{}", tree.hash(all[400])), vec![]),
    ] {
        let path = on(0, &format!("header{query}"));
        let stream = client.ask(&Request::get(&path).accept(OCTETS).header("TE", "trailers"));
        assert_eq!(stream.status, 200, "{path}");
        assert!(stream.chunked, "{path}");
        assert_eq!(stream.header("Content-Type"), Some(OCTETS));
        assert_eq!(stream.header("Trailer"), Some("X-Next"));
        assert_eq!(stream.header("Content-Length"), None);
        assert_eq!((stream.header("X-Next"), stream.trailers.len()), (None, 0), "whole: {path}");
        assert!(stream.body == tree.records(&expected), "{path}");
    }
}

#[test]
fn streams_are_as_long_as_the_chain() {
    let (server, tree) = (served(), &world().long);
    let body = bounds(&[tree.hash(tree.len() - 1)], &[]);
    let up = server.ask(&Request::get(on(1, "header")).accept(OCTETS));
    assert!(up.body == tree.records(&(0..tree.len()).collect::<Vec<_>>()));
    let down = server.ask(&Request::post(on(1, "header/branch"), body).accept(OCTETS));
    assert!(down.body == tree.records(&(0..tree.len()).rev().collect::<Vec<_>>()));
}

#[test]
fn streamed_branch_is_the_pages_joined() {
    let (server, world) = (served(), world());
    let tree = &world.forked;
    let upper = [world.trunk[700], world.rival, world.side[29], world.twig[4]];
    let lower = [world.trunk[3]];
    let body = bounds(&tree.hashes(&upper), &tree.hashes(&lower));
    let expected = tree.branch(&upper, &lower);
    let stream = server.ask(&Request::post(on(0, "header/branch"), body.clone()).accept(OCTETS));
    assert!(stream.body == tree.records(&expected));
    let from =
        format!("header/branch?maxheight=600&next=inclusive:{}", tree.hash(world.trunk[500]));
    let rest = server.ask(&Request::post(on(0, &from), body).accept(OCTETS));
    let at = expected.iter().position(|place| *place == world.trunk[500]).unwrap();
    assert!(rest.body == tree.records(&expected[at..]));
}

#[test]
fn size_of_a_read_does_not_show() {
    let server = served_with(&["--stream-headers", "7"]);
    let tree = &world().forked;
    let stream = server.ask(&Request::get(on(0, "header")).accept(OCTETS));
    assert!(stream.body == tree.records(&tree.ascending()));
    let body = bounds(&[tree.hash(world().side[29])], &[]);
    let branch = server.ask(&Request::post(on(0, "header/branch"), body).accept(OCTETS));
    assert!(branch.body == tree.records(&tree.branch(&[world().side[29]], &[])));
}

#[test]
fn stream_to_an_old_client_ends_with_the_connection() {
    let (server, tree) = (served(), &world().forked);
    let request = Request::get(on(0, "header")).accept(OCTETS).version("HTTP/1.0");
    let stream = server.ask(&request);
    assert_eq!((stream.version.as_str(), stream.chunked), ("HTTP/1.0", false));
    assert_eq!((stream.header("Content-Length"), stream.header("Transfer-Encoding")), (None, None));
    assert!(stream.body == tree.records(&tree.ascending()));
}

#[test]
fn errors_are_found_before_a_stream_begins() {
    let server = served();
    let nobody = crate::http_data::NOBODY;
    let path = on(0, &format!("header?next=inclusive:{nobody}"));
    assert_eq!(reason(&server.ask(&Request::get(path).accept(OCTETS)), 404), "key not found");
    let body = bounds(&[nobody.to_owned()], &[]);
    let branch = Request::post(on(0, "header/branch"), body).accept(OCTETS);
    assert_eq!(reason(&server.ask(&branch), 404), "key not found");
}
