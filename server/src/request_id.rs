//! The name of a request: in its answer, and in all that is logged of it.
//!
//! - `I-1` A name has 1 to 64 characters of `A-Z a-z 0-9 . _ -`, whoever made it.
//! - `I-2` What runs for a request runs in its [`RequestId::scope`], on whatever thread.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue};

/// The header of requests and answers.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Characters of a client's name at most.
const LEN_MAX: usize = 64;

/// Bits of one character of ours.
const DIGIT_BITS: u32 = 5;

/// The digits of ours: none that is easily taken for another.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// Digits that tell two runs of a server apart: 50 bits.
const PREFIX_LEN: u32 = 10;

/// Characters of a name of ours: the prefix, a dash, and the number.
const NAME_LEN: usize = PREFIX_LEN as usize + 1 + 13;

/// What all names of this process begin with, drawn when the first is made.
static PREFIX: LazyLock<[u8; PREFIX_LEN as usize]> = LazyLock::new(|| {
    // Seeded by the system.
    let random = RandomState::new().hash_one(std::process::id());
    std::array::from_fn(|at| {
        digit(
            random.unbounded_shr(DIGIT_BITS.saturating_mul(u32::try_from(at).unwrap_or_default())),
        )
    })
});

static NEXT: AtomicU64 = AtomicU64::new(1);

tokio::task_local! {
    static CURRENT: RequestId;
}

/// The name of a request. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(HeaderValue);

impl RequestId {
    /// A name that no other request has, of this process or another.
    ///
    /// # Cost
    ///
    /// One addition and one allocation; no call of the system.
    pub(crate) fn unique() -> Self {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let mut name = BytesMut::with_capacity(NAME_LEN);
        name.put_slice(&*PREFIX);
        name.put_u8(b'-');
        let bits = u64::BITS.saturating_sub(number.leading_zeros());
        let digits = bits.div_ceil(DIGIT_BITS).max(1);
        for at in (0..digits).rev() {
            name.put_u8(digit(number.unbounded_shr(DIGIT_BITS.saturating_mul(at))));
        }
        Self(value(name.freeze()))
    }

    /// The name that the client gave the request, if it is one, else a new one.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let given = headers.get(&X_REQUEST_ID).filter(|given| is_name(given.as_bytes()));
        given.map_or_else(Self::unique, |given| Self(given.clone()))
    }

    /// The name of the request that this code runs for; `-` if it runs for none.
    pub(crate) fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or(Self(HeaderValue::from_static("-")))
    }

    /// Runs `future` for this request. It is moved; a large one is better pinned before.
    pub(crate) fn scope<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(self, future)
    }

    /// Runs `work` for this request.
    pub(crate) fn run<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    /// As a header.
    pub(crate) fn value(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.to_str().unwrap_or("-"))
    }
}

fn digit(bits: u64) -> u8 {
    let at = usize::try_from(bits % (1 << DIGIT_BITS)).unwrap_or_default();
    DIGITS.get(at).copied().unwrap_or(b'0')
}

fn value(bytes: Bytes) -> HeaderValue {
    HeaderValue::from_maybe_shared(bytes).unwrap_or(HeaderValue::from_static("-"))
}

fn is_name(bytes: &[u8]) -> bool {
    let is_right = |byte: &u8| byte.is_ascii_alphanumeric() || b"._-".contains(byte);
    (1..=LEN_MAX).contains(&bytes.len()) && bytes.iter().all(is_right)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(given: &[u8]) -> String {
        let given = HeaderValue::from_bytes(given).unwrap();
        RequestId::of(&HeaderMap::from_iter([(X_REQUEST_ID, given)])).to_string()
    }

    #[test]
    fn names_of_ours_differ_and_are_names() {
        let names: Vec<String> = (0..100).map(|_| RequestId::unique().to_string()).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(is_name(name.as_bytes()) && name.len() <= 24, "{name}");
            assert!(!names[..at].contains(name), "{name}");
            assert_eq!(of(name.as_bytes()), *name);
        }
    }

    #[test]
    fn clients_name_is_taken_only_if_it_is_one() {
        let longest = "x".repeat(LEN_MAX);
        for given in ["a", "A.b_c-9", &longest] {
            assert_eq!(of(given.as_bytes()), given);
        }
        let longer = "x".repeat(LEN_MAX + 1);
        for given in ["", " ", "a b", "a,b", "a/b", "\"a\"", "a=1", &longer] {
            assert_ne!(of(given.as_bytes()), given);
        }
        assert_ne!(of(b"\xff").as_bytes(), b"\xff");
    }

    #[tokio::test]
    async fn name_is_known_to_what_runs_for_the_request() {
        assert_eq!(RequestId::current().to_string(), "-");
        let name = RequestId::unique();
        name.clone()
            .scope(async {
                tokio::task::yield_now().await;
                assert_eq!(RequestId::current(), name);
            })
            .await;
        assert_eq!(name.clone().run(RequestId::current), name);
        assert_eq!(RequestId::current().to_string(), "-");
    }
}
