//! Numbers of blocks as text: `0-9,12,11` is in that order.

use super::Number;

/// The text of some numbers, in their order.
pub(super) fn render<'a>(numbers: impl IntoIterator<Item = &'a Number>) -> String {
    let mut ranges: Vec<(Number, Number)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            _ => ranges.push((*number, *number)),
        }
    }
    if ranges.is_empty() {
        return "-".to_owned();
    }
    let range = |(first, last): &(Number, Number)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    ranges.iter().map(range).collect::<Vec<_>>().join(",")
}

/// The numbers of a text.
#[must_use]
pub(super) fn parse(text: &str) -> Option<Vec<Number>> {
    let mut numbers = Vec::new();
    if text == "-" {
        return Some(numbers);
    }
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        numbers.extend(first.parse::<Number>().ok()?..=last.parse().ok()?);
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for numbers in [&[] as &[Number], &[7], &[0, 1, 2, 9, 8, 8, 9, 10], &[3, 1]] {
            assert_eq!(parse(&render(numbers)).unwrap(), numbers);
        }
        assert_eq!(render(&[1, 2, 3, 5, 4]), "1-3,5,4");
        assert_eq!(parse("x"), None);
    }
}
