//! The pace at which long answers are read. An API server writes them piece by piece, slower than a proxy carries them: taken up
//! one by one, each piece costs a wake-up, a look at the socket and a record of TLS. So once an answer is long, what comes waits
//! in the socket for a moment, and is carried together. Nothing of it is held here.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// Answers that are shorter go through as they come.
const LONG: usize = 256 << 10;
/// How long pieces wait for each other.
const REST: Duration = Duration::from_millis(1);
/// After such a pause it is news that comes, and no long answer any more.
const PAUSE: Duration = Duration::from_millis(50);

/// How an answer has come so far.
#[derive(Default)]
pub struct Pace {
    /// Bytes since the last pause.
    row: usize,
    /// When the last piece came.
    last: Option<Instant>,
    rest: Option<Pin<Box<Sleep>>>,
    is_resting: bool,
}

// === impl Pace ===

impl Pace {
    /// Whether it is time to look for a piece. If it is not, the task is woken when it is.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(rest) = self.rest.as_mut().filter(|_| self.is_resting) {
            ready!(rest.as_mut().poll(cx));
            self.is_resting = false;
        }
        Poll::Ready(())
    }

    /// A piece came.
    pub fn came(&mut self, bytes: usize) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > PAUSE) {
            self.row = 0;
        }
        self.row = self.row.saturating_add(bytes);
        self.last = Some(now);
    }

    /// There is no piece now. The next look comes after a rest, unless the last rest brought nothing: then with the next piece.
    pub fn dry(&mut self, cx: &mut Context<'_>) {
        let rested = self.rest.as_ref().map(|rest| rest.deadline());
        if self.row < LONG || self.last < rested {
            return;
        }
        let until = Instant::now() + REST;
        let rest = self.rest.get_or_insert_with(|| Box::pin(sleep(REST)));
        rest.as_mut().reset(until);
        self.is_resting = rest.as_mut().poll(cx).is_pending();
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    /// Says that it is dry, and how long it is until the next look without a piece; `None`: for ever.
    async fn rest(pace: &mut Pace) -> Option<Duration> {
        let start = Instant::now();
        poll_fn(|cx| {
            pace.dry(cx);
            Poll::Ready(())
        })
        .await;
        if !pace.is_resting {
            return None;
        }
        poll_fn(|cx| pace.poll_ready(cx)).await;
        Some(start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_long_answer_is_waited_for() {
        let mut pace = Pace::default();
        pace.came(LONG - 1);
        assert_eq!(rest(&mut pace).await, None);
        pace.came(1);
        assert_eq!(rest(&mut pace).await, Some(REST));
        pace.came(1);
        assert_eq!(rest(&mut pace).await, Some(REST));
    }

    #[tokio::test(start_paused = true)]
    async fn where_nothing_comes_nobody_looks() {
        let mut pace = Pace::default();
        pace.came(LONG);
        assert_eq!(rest(&mut pace).await, Some(REST));
        for _ in 0..3 {
            assert_eq!(rest(&mut pace).await, None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn news_after_a_pause_is_carried_at_once() {
        let mut pace = Pace::default();
        pace.came(LONG);
        tokio::time::advance(PAUSE * 2).await;
        pace.came(100);
        assert_eq!(rest(&mut pace).await, None);
    }
}
