//! The tasks of HTTP/2 streams, each of which can be ended by itself.
//!
//! hyper answers each stream in a task of its own. Dropping that task resets the stream (`RST_STREAM`), and
//! the connection stays open for the others: a proxy shares one connection among many clients, so one
//! client that does not read must not cost the others their responses.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::{select, task_local};

task_local! {
    static STREAM: Arc<StreamTask>;
}

/// Runs each stream as a task that can be ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        let task = Arc::new(StreamTask::default());
        let run = {
            let task = Arc::clone(&task);
            async move {
                let ending = Ending(task);
                select! {
                    biased;
                    () = ending.0.cut.notified() => {}
                    () = stream => {}
                }
            }
        };
        tokio::spawn(STREAM.scope(task, run));
    }
}

/// The task of one stream.
#[derive(Debug, Default)]
pub(super) struct StreamTask {
    cut: Notify,
    has_ended: AtomicBool,
}

impl StreamTask {
    /// The task that runs this code; `None` if it belongs to no stream, as over HTTP/1.
    pub(super) fn current() -> Option<Arc<Self>> {
        STREAM.try_with(Arc::clone).ok()
    }

    /// Ends the task.
    pub(super) fn cut(&self) {
        self.cut.notify_one();
    }

    /// Whether the task has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Relaxed)
    }
}

/// Records that a task has ended, however it ended.
struct Ending(Arc<StreamTask>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.has_ended.store(true, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_stream_is_ended_without_others() {
        let (tasks, ends): (Vec<_>, Vec<_>) = (0..2)
            .map(|_| {
                let (task, ours) = oneshot::channel();
                let (alive, ended) = oneshot::channel::<()>();
                StreamExecutor.execute(async move {
                    let _ = task.send(StreamTask::current());
                    let _alive = alive;
                    std::future::pending::<()>().await;
                });
                (ours, ended)
            })
            .unzip();
        let mut running = Vec::new();
        for task in tasks {
            running.push(task.await.unwrap().unwrap());
        }
        assert!(!running[0].has_ended());
        running[0].cut();
        let [first, mut second] = ends.try_into().unwrap();
        assert!(first.await.is_err());
        assert!(running[0].has_ended());
        assert!(second.try_recv().unwrap_err().to_string().contains("empty"));
        assert!(StreamTask::current().is_none());
    }
}
