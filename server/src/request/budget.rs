use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use crate::error::Error;

/// Bodies up to this length may use the part of the budget that is reserved for small ones.
const SMALL_BYTES: usize = 16 << 10;

/// A limit on the bytes of all request bodies in memory.
///
/// A request takes bytes as its body arrives, and returns them once the body is parsed: a client
/// that declares two megabytes and sends nothing takes nothing. The last quarter is reserved for
/// bodies of up to 16 KiB, so clients that send long batches slowly do not block branch queries.
#[derive(Debug)]
pub(crate) struct BodyBudget {
    max: usize,
    taken: AtomicUsize,
}

impl BodyBudget {
    /// A budget of `max` bytes.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, taken: AtomicUsize::new(0) })
    }

    /// A share for one body, empty at first.
    pub(crate) fn share(self: &Arc<Self>) -> BodyShare {
        BodyShare { budget: Arc::clone(self), bytes: 0 }
    }
}

/// The bytes that one body has taken. Dropping this returns them.
#[derive(Debug)]
pub(crate) struct BodyShare {
    budget: Arc<BodyBudget>,
    bytes: usize,
}

impl BodyShare {
    /// Appends `data` to `bytes`, a body of at most `bytes_max` bytes, whose capacity is this share.
    ///
    /// # Errors
    ///
    /// - [`Error::BodyLong`] if the body becomes longer.
    /// - [`Error::BodiesFull`] if the budget has no bytes left.
    pub(crate) fn append(
        &mut self,
        bytes: &mut Vec<u8>,
        data: &[u8],
        bytes_max: usize,
    ) -> Result<(), Error> {
        let len = bytes.len().saturating_add(data.len());
        if len > bytes_max {
            return Err(Error::BodyLong { max: bytes_max });
        }
        if len > bytes.capacity() {
            let capacity = len.max(bytes.capacity().saturating_mul(2).min(bytes_max));
            self.grow(capacity)?;
            bytes.reserve_exact(capacity.saturating_sub(bytes.len()));
        }
        bytes.extend_from_slice(data);
        Ok(())
    }

    /// Grows the share to `bytes` in total; it never shrinks.
    ///
    /// # Errors
    ///
    /// [`Error::BodiesFull`] if the budget does not have them; then nothing changes.
    pub(super) fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        let more = bytes.saturating_sub(self.bytes);
        let max = self.budget.max;
        let max = if bytes <= SMALL_BYTES { max } else { max.saturating_sub(max / 4) };
        let add = |taken: usize| taken.checked_add(more).filter(|taken| *taken <= max);
        let taken = self.budget.taken.fetch_update(Relaxed, Relaxed, add);
        taken.map_err(|_| Error::BodiesFull)?;
        self.bytes = self.bytes.saturating_add(more);
        Ok(())
    }
}

impl Drop for BodyShare {
    fn drop(&mut self) {
        self.budget.taken.fetch_sub(self.bytes, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_bodies_leave_room_for_short_ones_and_give_back_what_they_took() {
        let budget = BodyBudget::new(1 << 20);
        let (mut long, mut other) = (budget.share(), budget.share());
        assert!(long.grow(1 << 19).is_ok());
        assert!(long.grow(3 << 18).is_ok());
        assert!(matches!(long.grow((3 << 18) + 1), Err(Error::BodiesFull)));
        assert!(matches!(other.grow(SMALL_BYTES + 1), Err(Error::BodiesFull)));
        let short: Vec<BodyShare> = (0..16)
            .map(|_| {
                let mut share = budget.share();
                share.grow(SMALL_BYTES).unwrap();
                share
            })
            .collect();
        assert!(matches!(other.grow(1), Err(Error::BodiesFull)));
        drop(long);
        assert!(other.grow(1 << 19).is_ok());
        drop((short, other));
        assert_eq!(budget.taken.load(Relaxed), 0);
    }
}
