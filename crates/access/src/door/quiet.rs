//! Connections on which nothing is asked. Each holds a place, so it goes after a while: pings show that somebody is there,
//! not that he wants anything, and before its first bytes no limit of HTTP holds for a connection.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::{Body, Frame, SizeHint};
use tokio::time::sleep;

/// How long the first request may take to come.
const FIRST: Duration = Duration::from_secs(30);
/// How long nothing may be asked after that. Clients of Go let an idle connection go after 90 s.
const PAUSE: Duration = Duration::from_secs(300);

/// What is asked on one connection.
#[derive(Clone, Default)]
pub struct Traffic(Arc<Counts>);

#[derive(Default)]
struct Counts {
    under_way: AtomicUsize,
    /// Begins and ends of requests.
    changes: AtomicUsize,
}

/// A request is under way until this is dropped.
pub struct UnderWay(Arc<Counts>);

/// The body of an answer; while it flows, its request is under way.
pub struct Flowing<B> {
    body: B,
    _under_way: UnderWay,
}

// === impl Traffic ===

impl Traffic {
    /// A request begins.
    pub fn begin(&self) -> UnderWay {
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(&self.0))
    }

    /// Serves a connection until it ends, or until nothing was asked on it for too long. `end` asks it to take no more requests.
    pub async fn serve<C, E>(&self, mut connection: Pin<Box<C>>, end: impl FnOnce(Pin<&mut C>)) -> Result<(), E>
    where
        C: Future<Output = Result<(), E>>,
    {
        tokio::select! {
            biased;
            ended = &mut connection => return ended,
            () = self.quiet() => {}
        }
        // What is asked in this very moment is still answered.
        end(connection.as_mut());
        tokio::select! {
            biased;
            ended = connection => ended,
            () = self.quiet() => Ok(()),
        }
    }

    /// Waits until nothing was asked for a whole pause, that is for two at most.
    async fn quiet(&self) {
        let Counts { under_way, changes } = &*self.0;
        loop {
            let before = changes.load(Ordering::SeqCst);
            sleep(if before == 0 { FIRST } else { PAUSE }).await;
            if under_way.load(Ordering::SeqCst) == 0 && changes.load(Ordering::SeqCst) == before {
                return;
            }
        }
    }
}

// === impl UnderWay ===

impl UnderWay {
    /// It ends with the body of its answer.
    pub fn flows<B>(self, body: B) -> Flowing<B> {
        Flowing { body, _under_way: self }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.changes.fetch_add(1, Ordering::SeqCst);
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

// === impl Flowing ===

impl<B: Body + Unpin> Body for Flowing<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
