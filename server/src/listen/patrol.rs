use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};

use super::activity::Activity;
use crate::config::Config;

/// The time between two looks at most.
const TICK_MAX: Duration = Duration::from_secs(1);

/// The same at least.
const TICK_MIN: Duration = Duration::from_millis(10);

/// Looks after all connections, and drops those that are over their time.
///
/// One timer for all: ten thousand idle connections that are woken to look after themselves, all of
/// them in the same moment of a second if they came so, keep others waiting for 80 ms.
#[derive(Debug, Default)]
pub(super) struct Patrol {
    watched: Mutex<Vec<Weak<Activity>>>,
}

impl Patrol {
    /// Looks after a connection until it ends.
    pub(super) fn watch(&self, activity: &Arc<Activity>) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(Arc::downgrade(activity));
    }

    /// Looks again and again, for ever.
    pub(super) async fn run(&self, config: &Config) {
        let Config { head_time, idle_time, stall_time, .. } = *config;
        let tick = head_time.min(idle_time).min(stall_time).div_f64(4.0);
        let mut ticks = interval(tick.clamp(TICK_MIN, TICK_MAX));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.look(config);
        }
    }

    fn look(&self, config: &Config) {
        let mut watched = self.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.retain(|activity| {
            let Some(activity) = activity.upgrade() else { return false };
            let overdue = activity.overdue(config);
            if let Some(reason) = overdue {
                activity.drop_for(reason);
            }
            overdue.is_none()
        });
        let (len, capacity) = (watched.len(), watched.capacity());
        if len < capacity / 4 {
            watched.shrink_to(len.saturating_mul(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn connections_over_their_time_are_told_and_those_that_ended_forgotten() {
        let (patrol, config) = (Patrol::default(), Config::default());
        let (old, gone) = (Activity::new(), Activity::new());
        patrol.watch(&old);
        patrol.watch(&gone);
        advance(config.head_time / 2).await;
        let young = Activity::new();
        patrol.watch(&young);
        drop(gone);
        patrol.look(&config);
        assert_eq!(patrol.watched.lock().unwrap().len(), 2);
        advance(config.head_time + TICK_MAX).await;
        patrol.look(&config);
        for activity in [old, young] {
            assert_eq!(activity.dropped().await, "no request came");
        }
        assert!(patrol.watched.lock().unwrap().is_empty());
    }
}
