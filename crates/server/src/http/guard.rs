//! A stream with deadlines. hyper knows one time limit for headers, which would also end idle connections; here a connection
//! that waits for its next request may wait long, and one that has begun a request may not.
//!
//! Deadlines are looked at only while a read or write has to wait, and timers are set anew only when they must ring earlier,
//! so a busy connection pays one look at the clock per request.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, Sleep};

/// What a client reads that begins a request and does not go on.
const TOO_SLOW: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nContent-Type: application/json\r\nConnection: close\r\n\
Content-Length: 61\r\n\r\n{\"errors\":[\"the request header did not arrive in due time\"]}\n";

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0";

/// How many requests of a connection are being worked on. Shared by the stream and the service.
#[derive(Debug, Default)]
pub(super) struct Phase {
    in_flight: AtomicUsize,
    begun: AtomicU64,
}

/// One request in flight; ends when it is dropped.
#[derive(Debug)]
pub(super) struct Flight(Arc<Phase>);

impl Phase {
    pub fn begin(self: &Arc<Self>) -> Flight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Flight(Arc::clone(self))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The deadlines of a connection.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadlines {
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// Between requests.
    pub idle: Duration,
    /// A write that makes no progress.
    pub write: Duration,
}

/// The kinds of stream.
pub(super) enum Wire {
    Tcp(TcpStream),
    Tls(Box<tokio_rustls::server::TlsStream<TcpStream>>),
    Unix(UnixStream),
}

/// A stream with deadlines.
pub(super) struct Guarded {
    wire: Wire,
    phase: Arc<Phase>,
    deadlines: Deadlines,
    /// When the connection began to wait, and for what.
    waiting: Waiting,
    since: Instant,
    /// Requests that had begun when `waiting` was set.
    seen: u64,
    /// A request was being worked on at the last look.
    busy: bool,
    http2: Option<bool>,
    read_timer: Timer,
    write_timer: Timer,
    write_since: Option<Instant>,
    over: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// For the first byte of the first request.
    First,
    /// For the rest of a header.
    Header,
    /// For the next request.
    Next,
}

/// A timer that is only moved when it must ring earlier.
#[derive(Default)]
struct Timer(Option<(Pin<Box<Sleep>>, Instant)>);

impl Timer {
    /// Ready when the deadline has passed.
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let (sleep, rings) = self.0.get_or_insert_with(|| (Box::pin(tokio::time::sleep_until(deadline)), deadline));
        if *rings > deadline {
            sleep.as_mut().reset(deadline);
            *rings = deadline;
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if *rings >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
            *rings = deadline;
        }
    }
}

impl Guarded {
    pub fn new(wire: Wire, phase: Arc<Phase>, deadlines: Deadlines) -> Self {
        Self {
            wire,
            phase,
            deadlines,
            waiting: Waiting::First,
            since: Instant::now(),
            seen: 0,
            busy: false,
            http2: None,
            read_timer: Timer::default(),
            write_timer: Timer::default(),
            write_since: None,
            over: false,
        }
    }

    /// Notes that a request has begun or ended since the last look. hyper may look rarely: its first read after an answer
    /// can be the one that brings the next request.
    fn look(&mut self) -> bool {
        let begun = self.phase.begun.load(Ordering::Relaxed);
        let busy = self.phase.in_flight.load(Ordering::Relaxed) > 0;
        if busy || self.busy || begun != self.seen {
            self.waiting = Waiting::Next;
            self.since = Instant::now();
            self.seen = begun;
        }
        self.busy = busy;
        busy
    }

    /// Bytes came in.
    fn arrived(&mut self, bytes: &[u8]) {
        let http2 = *self.http2.get_or_insert_with(|| bytes.starts_with(&PREFACE[..bytes.len().min(PREFACE.len())]));
        if http2 || self.look() {
            return;
        }
        // The deadline counts from the first byte; a header in one piece never gets to ask for it.
        if self.waiting == Waiting::Next {
            self.since = Instant::now();
        }
        self.waiting = Waiting::Header;
    }

    /// Nothing came in: ready when it is too late. While a request is worked on the timer goes on, as nobody may look
    /// here again before it rings.
    fn late(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let busy = self.look();
            let limit = match self.waiting {
                Waiting::First | Waiting::Header if self.http2 != Some(true) => self.deadlines.header,
                _ => self.deadlines.idle,
            };
            let deadline = self.since + limit;
            ready!(self.read_timer.poll(deadline, cx));
            if !busy {
                return Poll::Ready(());
            }
        }
    }

    /// A write had to wait: an error when it waits too long.
    fn stalled(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let since = *self.write_since.get_or_insert_with(Instant::now);
        ready!(self.write_timer.poll(since + self.deadlines.write, cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing")))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        if me.over {
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = match &mut me.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Wire::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
        };
        if read.is_ready() {
            let bytes = &buf.filled()[before..];
            if !bytes.is_empty() {
                me.arrived(bytes);
            }
            return read;
        }
        ready!(me.late(cx));
        // hyper sees the end of the stream and closes; nothing was written yet, so these bytes stand alone.
        me.over = true;
        if me.waiting == Waiting::Header && me.http2 == Some(false) {
            let _ = Pin::new(&mut *me).poll_write(cx, TOO_SLOW);
            let _ = Pin::new(&mut *me).poll_flush(cx);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let written = match &mut me.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Wire::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
        };
        if written.is_pending() {
            return me.stalled(cx);
        }
        me.write_since = None;
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let me = self.get_mut();
        let written = match &mut me.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Wire::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        };
        if written.is_pending() {
            return me.stalled(cx);
        }
        me.write_since = None;
        written
    }

    fn is_write_vectored(&self) -> bool {
        match &self.wire {
            Wire::Tcp(stream) => stream.is_write_vectored(),
            Wire::Tls(stream) => stream.is_write_vectored(),
            Wire::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let me = self.get_mut();
        let flushed = match &mut me.wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_flush(cx),
        };
        if flushed.is_pending() {
            return me.stalled(cx).map_ok(|_| ());
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().wire {
            Wire::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Wire::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
