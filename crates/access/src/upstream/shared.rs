//! Connections to the API server that many watches share (HTTP/2): one that waits for news costs a stream there, and no
//! connection of its own.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::sync::MutexGuard;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use super::pace::Paced;
use crate::body::Asked;

/// Watches on one connection, at most. API servers take 100 at once; one more would wait until another ends.
pub const STREAMS: usize = 64;
/// Bytes that come for a watch before its client reads them, at most. Clients that read nothing hold up no other.
const WINDOW: u32 = 32 << 10;
/// The same for all of a connection. More than its watches can fill: h2 closes a connection that brings many small pieces which
/// nobody reads, and half of this is what it forgives.
const WHOLE_WINDOW: u32 = 8 << 20;
/// Whether the API server is still there is asked this often, and waited for this long.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(15));
/// Whoever finds no place waits so long for the connection that another one makes just now.
const TURN: Duration = Duration::from_secs(1);

/// The connections.
#[derive(Default)]
pub struct Shared {
    lines: Mutex<Vec<Line>>,
    /// Held by the one that makes a connection.
    making: tokio::sync::Mutex<()>,
    /// The API server speaks HTTP/1.1 alone: nobody's connection is of use to another.
    is_futile: AtomicBool,
}

/// One of them.
struct Line {
    sender: SendRequest<Asked>,
    /// Held by each of its watches.
    places: Arc<Places>,
}

/// So many watches the API server allows on a connection.
struct Places(AtomicUsize);

/// A watch's place on its connection, free again when it is dropped.
pub struct Place(#[expect(dead_code, reason = "what counts is when it is dropped")] Arc<Places>);

// === impl Shared ===

impl Shared {
    /// A place on a connection that has one.
    pub fn take(&self) -> Option<(SendRequest<Asked>, Place)> {
        let mut lines = self.lines.lock();
        lines.retain(|line| !line.sender.is_closed());
        lines.iter().find(|line| line.has_place()).map(Line::place)
    }

    /// The turn to make a connection: one at a time, so that a hundred watches that begin at once share what the first one
    /// made. Whoever has it looks for a place once more. `None`: it takes too long, or there is nothing to share.
    pub async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        let is_of_use = || !self.is_futile.load(Ordering::Relaxed);
        if !is_of_use() {
            return None;
        }
        timeout(TURN, self.making.lock()).await.ok().filter(|_| is_of_use())
    }

    /// The last connection has shown whether the API server speaks HTTP/2.
    pub fn note_speech(&self, is_spoken: bool) {
        self.is_futile.store(!is_spoken, Ordering::Relaxed);
    }

    /// Speaks HTTP/2 over a new connection; the first place on it.
    ///
    /// # Errors
    /// It broke.
    pub async fn open(&self, stream: TlsStream<Paced>) -> Result<(SendRequest<Asked>, Place), hyper::Error> {
        let (every, patience) = ALIVE;
        let mut builder = Builder::new(TokioExecutor::new());
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WHOLE_WINDOW)
            .keep_alive_interval(every)
            .keep_alive_timeout(patience);
        let (sender, mut connection) = builder.handshake(TokioIo::new(stream)).await?;
        let line = Line { sender, places: Arc::new(Places(AtomicUsize::new(STREAMS))) };
        let places = Arc::downgrade(&line.places);
        tokio::spawn(async move {
            let ended = poll_fn(|cx| {
                let polled = Pin::new(&mut connection).poll(cx);
                if let Some(places) = places.upgrade() {
                    places.0.store(connection.current_max_send_streams().min(STREAMS), Ordering::Relaxed);
                }
                polled
            });
            if let Err(error) = ended.await {
                tracing::debug!(%error, "a connection of watches to the API server broke");
            }
        });
        let taken = line.place();
        self.lines.lock().push(line);
        Ok(taken)
    }

    /// Closes those without a watch.
    pub fn tidy(&self) {
        self.lines.lock().retain(Line::is_used);
    }
}

// === impl Line ===

impl Line {
    fn place(&self) -> (SendRequest<Asked>, Place) {
        (self.sender.clone(), Place(self.places.clone()))
    }

    fn has_place(&self) -> bool {
        self.watches() < self.places.0.load(Ordering::Relaxed)
    }

    fn is_used(&self) -> bool {
        self.watches() > 0
    }

    fn watches(&self) -> usize {
        Arc::strong_count(&self.places) - 1
    }
}
