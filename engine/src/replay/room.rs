use crate::types::Grow;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Bytes that may be held at once.
pub(super) struct Room {
    bytes_max: usize,
    taken: Mutex<usize>,
    given_back: Condvar,
}

/// Some of a [`Room`], which is given back with it.
pub(super) struct Taken {
    room: Arc<Room>,
    bytes: usize,
}

impl Room {
    pub(super) const fn new(bytes_max: usize) -> Self {
        Self { bytes_max, taken: Mutex::new(0), given_back: Condvar::new() }
    }

    /// Takes so many bytes when there is room for them, or when nothing else is taken.
    pub(super) fn take(room: &Arc<Self>, bytes: usize) -> Taken {
        if bytes > 0 {
            let taken = room.taken.lock().unwrap_or_else(PoisonError::into_inner);
            let has_room =
                |taken: &mut usize| *taken > 0 && (*taken).saturating_add(bytes) > room.bytes_max;
            let waited = room.given_back.wait_while(taken, has_room);
            waited.unwrap_or_else(PoisonError::into_inner).grow(bytes);
        }
        Taken { room: Arc::clone(room), bytes }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.taken.lock().unwrap_or_else(PoisonError::into_inner).shrink(self.bytes);
            self.room.given_back.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn no_more_is_held_than_there_is_room_for() {
        let room = Arc::new(Room::new(100));
        let (held, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for bytes in [10, 30, 50, 70, 100] {
                let (room, held, most) = (&room, &held, &most);
                scope.spawn(move || {
                    for _ in 0..20 {
                        let taken = Room::take(room, bytes);
                        let now = held.fetch_add(bytes, Ordering::SeqCst) + bytes;
                        most.fetch_max(now, Ordering::SeqCst);
                        thread::sleep(Duration::from_micros(100));
                        held.fetch_sub(bytes, Ordering::SeqCst);
                        drop(taken);
                    }
                });
            }
        });
        assert!(most.into_inner() <= 100);
    }

    #[test]
    fn what_is_larger_than_the_room_is_held_alone() {
        let room = Arc::new(Room::new(100));
        let small = Room::take(&room, 1);
        let large = thread::scope(|scope| {
            let large = scope.spawn(|| Room::take(&room, 1000));
            thread::sleep(Duration::from_millis(20));
            assert!(!large.is_finished());
            drop(small);
            large.join().unwrap()
        });
        drop(large);
        drop(Room::take(&room, 100));
    }
}
