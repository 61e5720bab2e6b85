//! Hashing a password takes tens of milliseconds of a core and 19 MiB. So it runs off the async threads, on at most as
//! many threads as there are cores, with a bounded queue before them: a flood of logins meets 429 and not a server
//! without memory.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use dewdrop_core::{Fault, Kind};
use tokio::sync::Semaphore;

/// How many may wait for each thread.
const QUEUE_PER_THREAD: usize = 32;

/// The threads that hash.
pub struct Pool {
    admitted: Arc<Semaphore>,
    running: Arc<Semaphore>,
}

impl Pool {
    /// The one pool of this process.
    pub fn of_process() -> Arc<Self> {
        static POOL: OnceLock<Arc<Pool>> = OnceLock::new();
        let threads = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        POOL.get_or_init(|| Arc::new(Self::new(threads(), threads() * QUEUE_PER_THREAD))).clone()
    }

    /// `threads` at work, `queue` waiting.
    pub fn new(threads: usize, queue: usize) -> Self {
        Self { admitted: Arc::new(Semaphore::new(threads + queue)), running: Arc::new(Semaphore::new(threads)) }
    }

    /// Runs work that blocks. When the caller goes away, what runs still holds its place to its end.
    ///
    /// # Errors
    /// 429 when the queue is full; 500 when the work panicked.
    pub async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
        let admitted = self.admitted.clone().try_acquire_owned().map_err(|_| full())?;
        let running = self.running.clone().acquire_owned().await.map_err(|_| full())?;
        let work = move || {
            let result = work();
            drop((running, admitted));
            result
        };
        tokio::task::spawn_blocking(work).await.map_err(|e| Fault::internal(format!("a hashing thread: {e}")))
    }
}

fn full() -> Fault {
    let mut fault = Fault::new(Kind::TooMany, "too many logins at a time: try again in a second");
    fault.retry_after = Some(Duration::from_secs(1));
    fault
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_full_queue_says_when_to_come_back() {
        let pool = Arc::new(Pool::new(1, 1));
        let (open, gate) = std::sync::mpsc::channel::<()>();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let first = tokio::spawn({
            let pool = pool.clone();
            async move {
                let work = move || {
                    let _ = started.send(());
                    gate.recv().is_ok()
                };
                pool.run(work).await
            }
        });
        has_started.await.unwrap();
        let second = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|| true).await }
        });
        while pool.admitted.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let third = pool.run(|| true).await.unwrap_err();
        assert_eq!((third.kind, third.retry_after), (Kind::TooMany, Some(Duration::from_secs(1))));
        open.send(()).unwrap();
        assert!(first.await.unwrap().unwrap() && second.await.unwrap().unwrap());
        assert!(pool.run(|| true).await.unwrap(), "there is room again");
    }
}
