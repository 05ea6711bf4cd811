use super::params::decode;
use crate::error::{Error, excerpt};

/// What an endpoint does with query parameters that it does not know. Each route declares it, in
/// `Route::query_rule`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QueryRule {
    /// It ignores them, as chainweb-node does: existing clients add `?t=json` or `?chain=0`.
    Ignore,
    /// It rejects all others. Otherwise a misspelt `minHeight` would return the whole history
    /// instead of a part.
    Only(&'static [&'static str]),
}

impl QueryRule {
    /// Checks the query of a URI, the part after `?`.
    ///
    /// # Errors
    ///
    /// [`Error::UnknownParameter`] if it has a parameter that the endpoint rejects.
    pub(crate) fn check(self, query: Option<&str>) -> Result<(), Error> {
        let Self::Only(known) = self else { return Ok(()) };
        let pairs = query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
        let mut names =
            pairs.map(|pair| decode(pair.split_once('=').map_or(pair, |(name, _)| name)));
        match names.find(|name| !known.contains(&&**name)) {
            Some(name) => Err(Error::UnknownParameter { got: excerpt(&name), known }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: &[&str] = &["by", "maxheight", "minheight", "step"];

    #[test]
    fn only_known_parameters_pass_where_others_are_refused() {
        let only = QueryRule::Only(STATS);
        for query in ["", "&&", "step=1", "m%69nheight=3&by=chain", "step", "step=x", "by=1&by=2"] {
            only.check(Some(query)).unwrap();
        }
        only.check(None).unwrap();
        for query in ["minHeight=1", "step=1&limit=2", "=", "=1", "x", "step%00=1", "%FF", "by+=1"]
        {
            let error = only.check(Some(query)).unwrap_err();
            assert!(matches!(error, Error::UnknownParameter { .. }), "{query}");
            QueryRule::Ignore.check(Some(query)).unwrap();
        }
        assert!(QueryRule::Only(&[]).check(Some("t=1")).is_err());
    }

    #[test]
    fn sentence_names_the_parameter_and_those_that_there_are() {
        let sentence =
            |got| Error::UnknownParameter { got: str::to_owned(got), known: STATS }.to_string();
        let all = "this endpoint knows by, maxheight, minheight, step";
        assert_eq!(
            sentence("minHeight"),
            format!("query parameter \"minHeight\" is unknown: use \"minheight\"; {all}")
        );
        assert_eq!(sentence("t"), format!("query parameter \"t\" is unknown: {all}"));
        let none = Error::UnknownParameter { got: "t".to_owned(), known: &[] }.to_string();
        assert_eq!(none, "query parameter \"t\" is unknown: this endpoint has none");
    }
}
