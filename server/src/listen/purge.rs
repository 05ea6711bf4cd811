//! Returns freed memory that the allocator still has.
//!
//! mimalloc returns pages to the system a second after they were freed, but looks for them only when it frees
//! others. A server that has just sent hundreds of megabytes, and then has nothing to do, frees none: they
//! would count as its memory, perhaps in a control group with a limit, until the next request. So the server
//! allocates and frees a page now and then. It never writes to the page, so this takes no memory, and some
//! microseconds.

use std::hint::black_box;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

/// The time between two allocations.
const TICK: Duration = Duration::from_millis(500);

/// Bytes of a page large enough to be freed at once: mimalloc keeps shorter ones for a while.
const PAGE_BYTES: usize = 4 << 20;

/// Makes mimalloc return freed memory, again and again; never ends.
pub(super) async fn run() {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        drop(black_box(Vec::<u8>::with_capacity(PAGE_BYTES)));
    }
}
