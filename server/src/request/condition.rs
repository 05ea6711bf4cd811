use http::HeaderMap;
use http::header::IF_NONE_MATCH;

/// Whether the client has the representation with this strong entity tag already, by its
/// `If-None-Match` headers. Weak tags match as strong ones do, `*` matches everything.
pub(crate) fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let values = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    // Our tags have no comma, so cutting a foreign tag in two cannot make one of ours.
    values.flat_map(|list| list.split(',')).map(str::trim).any(|candidate| {
        candidate == "*" || candidate.strip_prefix("W/").unwrap_or(candidate) == tag
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tag_is_found_in_lists_weak_or_strong() {
        let known = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IF_NONE_MATCH, value.parse().unwrap());
            }
            is_known(&headers, "\"a.json\"")
        };
        assert!(known(&["\"a.json\""]));
        assert!(known(&["W/\"a.json\""]));
        assert!(known(&["\"x,y\" , \"a.json\",\"b\""]));
        assert!(known(&["\"b\"", "*"]));
        assert!(!known(&[]));
        assert!(!known(&["a.json"]));
        assert!(!known(&["\"a.object\", \"\""]));
    }
}
