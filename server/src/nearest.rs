//! The most likely correction of a misspelt word.

/// The word of `known` that is closest to `got`, if at most a third of the characters of `got`
/// differ. Case, `-` and `_` are ignored.
#[must_use]
pub fn nearest<'k>(got: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let got = folded(got);
    let near = |known: &'k str| (edits(&got, &folded(known)), known);
    let (edits, known) = known.into_iter().map(near).min_by_key(|(edits, _)| *edits)?;
    (edits.saturating_mul(3) <= got.len()).then_some(known)
}

/// At most the first 64 letters, so that a comparison is cheap whatever a client sends.
fn folded(text: &str) -> Vec<char> {
    let letters = text.chars().filter(|letter| !matches!(letter, '-' | '_'));
    letters.map(|letter| letter.to_ascii_lowercase()).take(64).collect()
}

/// The number of characters to insert, delete or replace to turn `a` into `b`.
fn edits(a: &[char], b: &[char]) -> usize {
    // One row of the table of distances between the beginnings of both: row `i` holds those from the first
    // `i` characters of `a` to each beginning of `b`.
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = i;
        let mut left = i.saturating_add(1);
        for (cell, to) in row.iter_mut().skip(1).zip(b) {
            let above = *cell;
            let replaced = diagonal.saturating_add(usize::from(from != to));
            *cell = replaced.min(above.saturating_add(1)).min(left.saturating_add(1));
            (diagonal, left) = (above, *cell);
        }
        if let Some(first) = row.first_mut() {
            *first = i.saturating_add(1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATS: [&str; 4] = ["by", "maxheight", "minheight", "step"];

    #[test]
    fn misspellings_are_recognized_and_other_words_are_not() {
        for (got, expected) in [
            ("minHeight", Some("minheight")),
            ("min-height", Some("minheight")),
            ("MAX_HEIGHT", Some("maxheight")),
            ("maxheigth", Some("maxheight")),
            ("steps", Some("step")),
            ("stp", Some("step")),
            ("BY", Some("by")),
            ("limit", None),
            ("t", None),
            ("", None),
            ("height", None),
        ] {
            assert_eq!(nearest(got, STATS), expected, "{got}");
        }
        assert_eq!(nearest("x", []), None);
        assert_eq!(nearest(&"é".repeat(100_000), STATS), None);
    }

    #[test]
    fn edits_are_those_of_the_definition() {
        fn slow(a: &[char], b: &[char]) -> usize {
            match (a, b) {
                ([], rest) | (rest, []) => rest.len(),
                ([x, a @ ..], [y, b @ ..]) if x == y => slow(a, b),
                ([_, a_rest @ ..], [_, b_rest @ ..]) => {
                    1 + slow(a_rest, b_rest).min(slow(a, b_rest)).min(slow(a_rest, b))
                }
            }
        }
        for a in ["", "a", "abc", "kitten", "flaw"] {
            for b in ["", "b", "acb", "sitting", "lawn"] {
                let chars = |text: &str| text.chars().collect::<Vec<_>>();
                assert_eq!(edits(&chars(a), &chars(b)), slow(&chars(a), &chars(b)), "{a} {b}");
            }
        }
    }
}
