//! One connection to the API server. Whoever asks over it drives it, in his own task: a piece of an answer goes from socket to
//! socket without a hop between tasks, which would cost more than all that is done to it. So while nobody reads an answer, nothing
//! more of its request is sent; what goes both ways at once is an upgrade, and has a task of its own.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use dewdrop_core::Clock;
use http::{Request, Response};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::client::conn::{TrySendError, http1};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio_rustls::client::TlsStream;

use super::pace::Paced;
use super::shared::Place;
use crate::body::Asked;

/// Connections that wait for a request, at most.
const MOST: usize = 256;
/// They wait so long; API servers keep them for longer.
const LONGEST: Duration = Duration::from_secs(30);

/// A connection that was asked nothing, or whose last answer is read.
pub struct Line {
    sender: http1::SendRequest<Asked>,
    /// `None`: it is over.
    http: Option<Box<http1::Connection<TokioIo<TlsStream<Paced>>, Asked>>>,
}

/// The API server's answer on its way. Reading it drives its connection, which waits for the next request when it is read whole.
pub struct Answer {
    incoming: Incoming,
    by: By,
}

/// What an answer comes by.
enum By {
    /// A connection that whoever reads it drives.
    Line(Line, Arc<Idle>),
    /// A place on a connection that others use as well; a task of its own drives it.
    Place(#[expect(dead_code, reason = "what counts is when it is dropped")] Place),
    /// A connection that a task of its own drives, or one that has gone back to the others.
    Task,
}

/// Connections that wait for a request, the last one that came back first; and since when.
pub struct Idle {
    lines: Mutex<Vec<(Line, Duration)>>,
    clock: Arc<dyn Clock>,
}

// === impl Line ===

impl Line {
    /// Speaks HTTP/1.1 over a connection.
    ///
    /// # Errors
    /// It broke.
    pub async fn over(stream: TlsStream<Paced>) -> Result<Self, hyper::Error> {
        let (sender, http) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, http: Some(Box::new(http)) })
    }

    /// Asks. The line goes to `idle` when the answer is read.
    ///
    /// # Errors
    /// There is no answer. The error holds the request when nothing of it was sent.
    pub async fn ask(
        mut self,
        request: Request<Asked>,
        idle: &Arc<Idle>,
    ) -> Result<Response<Answer>, TrySendError<Request<Asked>>> {
        let mut answer = pin!(self.sender.try_send_request(request));
        let answered = std::future::poll_fn(|cx| {
            drive(&mut self.http, cx);
            answer.as_mut().poll(cx)
        });
        let response = answered.await?;
        Ok(response.map(|incoming| Answer::new(incoming, By::Line(self, idle.clone()))))
    }

    /// Whether it can be asked: it is not broken, not closed, and nothing of the last request is left.
    fn is_free(&mut self) -> bool {
        drive(&mut self.http, &mut Context::from_waker(Waker::noop()));
        self.http.is_some() && self.sender.is_ready()
    }
}

/// Reads and writes as far as that is possible now.
fn drive<F: Future<Output = hyper::Result<()>> + Unpin>(http: &mut Option<F>, cx: &mut Context<'_>) {
    let Some(Poll::Ready(ended)) = http.as_mut().map(|http| Pin::new(http).poll(cx)) else { return };
    *http = None;
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection to the API server broke");
    }
}

// === impl Answer ===

impl Answer {
    /// An answer whose connection has a task of its own.
    #[must_use]
    pub fn alone(incoming: Incoming) -> Self {
        Self::new(incoming, By::Task)
    }

    /// An answer over a connection that others use as well.
    pub fn shared(incoming: Incoming, place: Place) -> Self {
        Self::new(incoming, By::Place(place))
    }

    fn new(incoming: Incoming, by: By) -> Self {
        Self { incoming, by }
    }

    /// The next piece as far as it is there now.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        // Asked first, so that the connection knows that somebody wants a piece.
        let polled = Pin::new(&mut self.incoming).poll_frame(cx);
        if polled.is_pending()
            && let By::Line(line, _) = &mut self.by
        {
            drive(&mut line.http, cx);
            return Pin::new(&mut self.incoming).poll_frame(cx);
        }
        polled
    }

    fn give_back(&mut self) {
        if let By::Line(line, idle) = std::mem::replace(&mut self.by, By::Task) {
            idle.put(line);
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<hyper::Result<Frame<Bytes>>>> {
        let polled = self.poll_piece(cx);
        if let Poll::Ready(None) = &polled {
            self.give_back();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // Who knows the length does not ask for the end.
        if self.incoming.is_end_stream() {
            self.give_back();
        }
    }
}

// === impl Idle ===

impl Idle {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { lines: Mutex::default(), clock })
    }

    /// One that can be asked.
    pub fn take(&self) -> Option<Line> {
        loop {
            let (mut line, since) = self.lines.lock().pop()?;
            if self.is_fresh(since) && line.is_free() {
                return Some(line);
            }
        }
    }

    /// Closes those that waited too long.
    pub fn tidy(&self) {
        self.lines.lock().retain(|(_, since)| self.is_fresh(*since));
    }

    fn put(&self, mut line: Line) {
        let since = self.clock.steady();
        if !line.is_free() {
            return;
        }
        let mut lines = self.lines.lock();
        if lines.len() < MOST {
            lines.push((line, since));
        }
    }

    fn is_fresh(&self, since: Duration) -> bool {
        self.clock.steady().saturating_sub(since) < LONGEST
    }
}
