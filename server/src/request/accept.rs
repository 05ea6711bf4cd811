use http::HeaderMap;
use http::header::ACCEPT;

use crate::error::Error;

/// What an answer can be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// JSON; headers as base64url strings.
    Json,
    /// JSON; headers as objects.
    Object,
    /// The 318 bytes of each header, one after another; of payloads the bytes that nodes send.
    Octets,
}

impl Media {
    /// What the endpoints of headers offer, the preferred first.
    pub(crate) const HEADERS: &'static [Self] = &[Self::Json, Self::Object, Self::Octets];

    /// What the endpoints of payloads offer.
    pub(crate) const PAYLOADS: &'static [Self] = &[Self::Json, Self::Octets];

    /// What the other endpoints offer.
    pub(crate) const JSON: &'static [Self] = &[Self::Json];

    /// The value of `Content-Type`.
    pub(crate) const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json;charset=utf-8",
            Self::Object => "application/json;blockheader-encoding=object",
            Self::Octets => "application/octet-stream",
        }
    }
}

/// Chooses among `offered` by the `Accept` headers of a request.
///
/// The highest quality wins, then the range that names the type most closely, then the order of
/// `offered`. The quality of a type is that of the closest range that covers it, so `q=0` on a
/// close range excludes it from a wide one. No header means the first offered.
///
/// # Errors
///
/// [`Error::Accept`] if no range covers an offered type with a quality above zero.
pub(crate) fn negotiate(headers: &HeaderMap, offered: &[Media]) -> Result<Media, Error> {
    let mut ranges = Vec::new();
    for value in headers.get_all(ACCEPT) {
        let text = String::from_utf8_lossy(value.as_bytes());
        ranges.extend(text.split(',').filter_map(Range::parse));
    }
    if ranges.is_empty() {
        ranges.push(Range { closeness: 0, quality: 1000, covers: Covers::All });
    }
    let mut best: Option<(u16, u8, Media)> = None;
    for media in offered.iter().copied() {
        let covering = ranges.iter().filter(|range| range.covers(media, offered));
        let Some(range) = covering.max_by_key(|range| (range.closeness, range.quality)) else {
            continue;
        };
        let rank = (range.quality, range.closeness);
        if range.quality > 0 && best.is_none_or(|(quality, close, _)| rank > (quality, close)) {
            best = Some((range.quality, range.closeness, media));
        }
    }
    best.map(|(_, _, media)| media).ok_or_else(|| {
        let types: Vec<&str> = offered.iter().map(|media| media.content_type()).collect();
        Error::Accept(types.join(", "))
    })
}

/// One media range of an `Accept` header.
#[derive(Clone, Copy, Debug)]
struct Range {
    /// How closely it names a type: 0 for `*/*`, up to 3 for a type with its parameter.
    closeness: u8,
    /// Thousandths.
    quality: u16,
    covers: Covers,
}

#[derive(Clone, Copy, Debug)]
enum Covers {
    All,
    Application,
    /// `application/json`, with `blockheader-encoding=object` or without.
    Json {
        object: bool,
    },
    Octets,
    /// A type that no endpoint has.
    Other,
}

impl Range {
    fn covers(self, media: Media, offered: &[Media]) -> bool {
        match (self.covers, media) {
            (Covers::All | Covers::Application, _)
            | (Covers::Json { object: false }, Media::Json | Media::Object)
            | (Covers::Json { object: true }, Media::Object)
            | (Covers::Octets, Media::Octets) => true,
            // Where no headers are written, their encoding asks for nothing.
            (Covers::Json { object: true }, Media::Json) => !offered.contains(&Media::Object),
            (Covers::Json { .. } | Covers::Octets | Covers::Other, _) => false,
        }
    }

    /// Reads one element of the header; `None` for an empty one.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let essence = parts.next().filter(|essence| !essence.is_empty())?.to_ascii_lowercase();
        let (mut quality, mut encoding) = (1000, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => {
                    quality = thousandths(value);
                    break;
                }
                "blockheader-encoding" => encoding = Some(value.eq_ignore_ascii_case("object")),
                // `charset` and what we do not know: the type is still the one asked for.
                _ => {}
            }
        }
        let (closeness, covers) = match (essence.as_str(), encoding) {
            ("*/*" | "*", _) => (0, Covers::All),
            ("application/*", _) => (1, Covers::Application),
            ("application/json", None) => (2, Covers::Json { object: false }),
            ("application/json", Some(true)) => (3, Covers::Json { object: true }),
            ("application/octet-stream", _) => (2, Covers::Octets),
            _ => (2, Covers::Other),
        };
        Some(Self { closeness, quality, covers })
    }
}

/// A quality in thousandths; one that does not parse counts as full, for the type is still named.
fn thousandths(text: &str) -> u16 {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit());
    if text.is_empty() || !digits || !whole.trim_matches('0').is_empty() {
        return 1000;
    }
    let padded = fraction.bytes().chain([b'0'; 3]).take(3);
    padded.fold(0, |sum: u16, digit| {
        sum.saturating_mul(10).saturating_add(u16::from(digit.saturating_sub(b'0')))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &[&str], offered: &[Media]) -> Option<Media> {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        negotiate(&headers, offered).ok()
    }

    #[test]
    fn accept_header_chooses_the_form() {
        use Media::{Json, Object, Octets};
        let object = "application/json;blockheader-encoding=object";
        for (accept, expected) in [
            ("", Some(Json)),
            (" , ,", Some(Json)),
            ("*/*", Some(Json)),
            ("*", Some(Json)),
            ("application/*", Some(Json)),
            ("application/json", Some(Json)),
            ("APPLICATION/JSON", Some(Json)),
            ("application/json;charset=utf-8", Some(Json)),
            ("application/json; charset=utf-8; q=0.1", Some(Json)),
            ("application/json, text/plain, */*", Some(Json)),
            ("application/octet-stream", Some(Octets)),
            ("application/octet-stream, */*", Some(Octets)),
            ("application/octet-stream;q=0.5, */*;q=0.4", Some(Octets)),
            ("application/octet-stream;q=0.5, */*", Some(Json)),
            ("*/*;q=0.1, application/octet-stream;q=0.2", Some(Octets)),
            (object, Some(Object)),
            ("application/json; blockheader-encoding=object", Some(Object)),
            ("application/json ; BlockHeader-Encoding = \"object\"", Some(Object)),
            ("application/json;blockheader-encoding=object, application/json", Some(Object)),
            ("application/json;blockheader-encoding=object;q=0.5,application/json", Some(Json)),
            ("application/json;q=0.5, application/json;blockheader-encoding=object", Some(Object)),
            ("application/json;q=0, application/*", Some(Octets)),
            ("application/json;blockheader-encoding=object;q=0, application/json", Some(Json)),
            ("text/html, application/xhtml+xml, */*;q=0.8", Some(Json)),
            ("application/octet-stream;q=0, */*;q=0.1", Some(Json)),
            ("application/json;q=high", Some(Json)),
            ("application/json;q=1.000, application/octet-stream;q=0.999", Some(Json)),
            ("application/json;q=0.0", None),
            ("application/json;blockheader-encoding=xml", None),
            ("application/octet-stream;q=0", None),
            ("text/html", None),
            ("text/*", None),
            ("*/*;q=0", None),
            ("nonsense", None),
            (";q=1", Some(Json)),
        ] {
            assert_eq!(chosen(&[accept], Media::HEADERS), expected, "{accept:?}");
        }
    }

    #[test]
    fn missing_header_means_plain_json() {
        assert_eq!(chosen(&[], Media::HEADERS), Some(Media::Json));
    }

    #[test]
    fn several_headers_are_one_list() {
        let accept = ["text/html", "application/json;q=0.5", "application/octet-stream"];
        assert_eq!(chosen(&accept, Media::HEADERS), Some(Media::Octets));
    }

    #[test]
    fn endpoints_without_headers_answer_json_to_either_encoding() {
        let object = ["application/json;blockheader-encoding=object"];
        assert_eq!(chosen(&object, Media::JSON), Some(Media::Json));
        assert_eq!(chosen(&["application/octet-stream"], Media::JSON), None);
    }

    #[test]
    fn refusal_names_what_is_available() {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, "text/html".parse().unwrap());
        let reason = negotiate(&headers, Media::HEADERS).unwrap_err().to_string();
        assert!(reason.contains("application/octet-stream"), "{reason}");
    }
}
