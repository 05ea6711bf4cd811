use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// Who is told once.
type Listener = Box<dyn FnOnce() + Send>;

/// A number that grows with everything that is shown, and those who wait for that.
///
/// # Cost
///
/// To whoever shows something: two additions in memory, and one call for each listener that came
/// since the last time. A listener that is slow to come back is told less often, and costs less.
#[derive(Default)]
pub(super) struct News {
    number: AtomicU64,
    /// Whether there may be listeners.
    is_awaited: AtomicBool,
    /// With the number that each has seen.
    listeners: Mutex<Vec<(u64, Listener)>>,
}

impl News {
    /// How often something was shown.
    pub(super) fn number(&self) -> u64 {
        self.number.load(Ordering::SeqCst)
    }

    /// Something was shown.
    pub(super) fn tell(&self) {
        self.number.fetch_add(1, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) {
            let told: Vec<_> = {
                let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
                // One that came after the addition above may have seen this number already.
                let number = self.number();
                let told = listeners.extract_if(.., |(seen, _)| *seen < number).collect();
                self.is_awaited.store(!listeners.is_empty(), Ordering::SeqCst);
                told
            };
            for (_, listener) in told {
                listener();
            }
        }
    }

    /// Calls `listener` once: when more is shown than `seen`, be it now.
    pub(super) fn listen(&self, seen: u64, listener: Listener) {
        let mut listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_awaited.store(true, Ordering::SeqCst);
        // Looked at after that: whoever shows something sees either the listener, or this sees the
        // number.
        if self.number() == seen {
            listeners.push((seen, listener));
            return;
        }
        self.is_awaited.store(!listeners.is_empty(), Ordering::SeqCst);
        drop(listeners);
        listener();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::mpsc::channel;
    use std::thread;
    use std::time::Duration;

    use super::*;

    #[test]
    fn listeners_are_told_once_of_what_they_have_not_seen() {
        let (news, told) = (News::default(), Arc::new(AtomicU64::new(0)));
        let listen = |seen| {
            let told = Arc::clone(&told);
            let listener = move || {
                told.fetch_add(1, Ordering::SeqCst);
            };
            news.listen(seen, Box::new(listener));
        };
        listen(0);
        listen(0);
        assert_eq!(told.load(Ordering::SeqCst), 0);
        news.tell();
        assert_eq!(told.load(Ordering::SeqCst), 2);
        news.tell();
        assert_eq!((told.load(Ordering::SeqCst), news.number()), (2, 2));
        listen(1);
        assert_eq!(told.load(Ordering::SeqCst), 3, "that was shown before it listened");
        listen(2);
        news.tell();
        assert_eq!(told.load(Ordering::SeqCst), 4);
    }

    #[test]
    fn nothing_is_missed_between_looking_and_listening() {
        const SHOWN: u64 = 20_000;
        let news = Arc::new(News::default());
        let writer = {
            let news = Arc::clone(&news);
            thread::spawn(move || (0..SHOWN).for_each(|_| news.tell()))
        };
        let (sender, receiver) = channel();
        let mut seen = 0;
        while seen < SHOWN {
            let sender = sender.clone();
            news.listen(seen, Box::new(move || sender.send(()).unwrap()));
            receiver.recv_timeout(Duration::from_secs(20)).expect("it is told");
            assert!(news.number() > seen);
            seen = news.number();
        }
        writer.join().unwrap();
    }
}
