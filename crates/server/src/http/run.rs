//! A request's work, which no client can stop.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_util::future::BoxFuture;
use tokio::sync::mpsc::Sender;

/// Held by everything that must end before the server may.
pub(super) type Hold = Sender<()>;

/// Runs a future in place; dropped before its end (the client hung up, or time is up), it goes on as a task of its own.
/// That costs nothing where nobody hangs up, and needs no list of verbs that must not be interrupted: a credential may be
/// minted by `GET`. Ends with `None` when the future panics.
pub(super) struct ToTheEnd<T: 'static> {
    work: Option<BoxFuture<'static, T>>,
    hold: Option<Hold>,
}

impl<T: Send + 'static> ToTheEnd<T> {
    pub fn new(work: BoxFuture<'static, T>, hold: Hold) -> Self {
        Self { work: Some(work), hold: Some(hold) }
    }
}

impl<T> Future for ToTheEnd<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let Some(work) = &mut self.work else { return Poll::Ready(None) };
        // A future that panicked is never polled again: it is dropped below.
        let step = catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(cx)));
        match step {
            Ok(Poll::Pending) => Poll::Pending,
            Ok(Poll::Ready(value)) => {
                self.work = None;
                Poll::Ready(Some(value))
            }
            Err(_) => {
                self.work = None;
                Poll::Ready(None)
            }
        }
    }
}

impl<T: 'static> Drop for ToTheEnd<T> {
    fn drop(&mut self) {
        if let (Some(work), Ok(runtime)) = (self.work.take(), tokio::runtime::Handle::try_current()) {
            let hold = self.hold.take();
            // A panic there is reported by the panic hook like any other.
            runtime.spawn(async move {
                let _end = work_end(work).await;
                drop(hold);
            });
        }
    }
}

/// Only that it ended matters.
async fn work_end<T>(work: BoxFuture<'static, T>) {
    drop(work.await);
}
