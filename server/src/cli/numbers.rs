//! Numbers on the command line: the error for a value out of range states the range.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A parser of whole numbers of this range, for a flag.
pub(super) fn whole<T>(
    range: RangeInclusive<T>,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: FromStr + PartialOrd + Display + Clone + Send + Sync + 'static,
{
    move |text: &str| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| expected_whole(&range))
    }
}

/// A parser of numbers with a fraction, from 0 to 1, for a flag.
pub(super) fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "expected a number from 0 to 1, as in 0.05 for 5 %".to_owned())
}

/// The error for a number out of this range.
pub(super) fn expected_whole<T: Display>(range: &RangeInclusive<T>) -> String {
    format!("expected a whole number from {} to {}", range.start(), range.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_out_of_range_are_refused_by_the_name_of_the_range() {
        let parse = whole(1..=6_u64);
        assert_eq!((parse("1"), parse("6")), (Ok(1), Ok(6)));
        for text in ["", "abc", "0", "7", "-1", "1.0", "1e0", "18446744073709551616"] {
            assert_eq!(parse(text).unwrap_err(), "expected a whole number from 1 to 6", "{text}");
        }
        assert_eq!(whole(0..=u64::MAX)("18446744073709551615"), Ok(u64::MAX));
    }

    #[test]
    fn shares_are_from_none_to_all() {
        assert_eq!((share("0"), share("0.5"), share("1")), (Ok(0.0), Ok(0.5), Ok(1.0)));
        for text in ["", "5", "1.001", "-0.1", "NaN", "inf", "1e300", "50%"] {
            assert!(share(text).unwrap_err().contains("from 0 to 1"), "{text}");
        }
    }
}
