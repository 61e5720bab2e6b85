//! How connections to the API server are read. It writes what it answers piece by piece, and a piece that is carried alone costs a
//! wake-up, a record of TLS and a write. So what is there is read at once, whatever TLS asks for (4 KB), and nobody goes to sleep
//! before he has looked whether more came meanwhile. Once an answer is long, it is written more slowly than it is carried: what
//! comes then waits in the socket for a moment, and is carried together; nobody is woken by it.

use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::Speech;

/// Answers that are shorter go through as they come.
const LONG: usize = 256 << 10;
/// How long pieces wait for each other.
const REST: Duration = Duration::from_millis(3);
/// After such a pause it is news that comes, and no long answer any more.
const PAUSE: Duration = Duration::from_millis(50);
/// Bytes that are read at once, at most, over what was asked for.
const AHEAD: usize = 64 << 10;
/// So many buffers of this size are kept for the next ones who read.
const BUFFERS: usize = 4;

/// A connection whose long answers are read with rests.
pub struct Paced {
    socket: Socket,
    speech: Speech,
    /// Bytes since the last pause.
    row: usize,
    /// When the last piece came.
    last: Option<Instant>,
    /// The last rest brought nothing: the next one comes after the next piece.
    is_vain: bool,
    /// Somebody waits until he can write, and would not hear of it in a rest.
    is_full: bool,
    ahead: Ahead,
}

/// The connection itself.
enum Socket {
    /// Its news wake the task.
    Heard(TcpStream),
    /// Nobody is woken by it.
    Resting(std::net::TcpStream, Rest),
    /// It could not be turned from one into the other.
    Lost,
}

/// A rest.
struct Rest {
    end: Pin<Box<Sleep>>,
    /// Who waits for its end.
    reader: Option<Waker>,
}

/// What was read and not asked for yet.
struct Ahead {
    buffers: Buffers,
    /// `None`: nothing.
    buffer: Option<Box<[u8]>>,
    start: usize,
    end: usize,
}

/// Buffers for what is read, shared by the connections of a lane: most of them have nothing in it.
#[derive(Clone, Default)]
pub struct Buffers(Arc<Mutex<Vec<Box<[u8]>>>>);

// === impl Paced ===

impl Paced {
    /// Over a connection.
    #[must_use]
    pub fn new(socket: TcpStream, speech: Speech, buffers: Buffers) -> Self {
        let ahead = Ahead { buffers, buffer: None, start: 0, end: 0 };
        Self { socket: Socket::Heard(socket), speech, row: 0, last: None, is_vain: false, is_full: false, ahead }
    }

    /// A piece came.
    fn came(&mut self, bytes: usize) {
        let now = Instant::now();
        if self.last.is_some_and(|last| now - last > PAUSE) {
            self.row = 0;
        }
        self.row = self.row.saturating_add(bytes);
        self.last = Some(now);
        self.is_vain = false;
    }

    /// Reads what is there. When there is nothing, the next look comes with the next piece; when an answer is long, the last rest
    /// was not in vain and nobody waits to write, after a rest.
    fn poll_more(&mut self, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let read = match &mut self.socket {
                Socket::Heard(socket) => match poll_heard(socket, cx, || self.ahead.read(socket, into)) {
                    Poll::Pending if self.row < LONG || self.is_vain || self.is_full => return Poll::Pending,
                    Poll::Pending => None,
                    Poll::Ready(read) => Some(read?),
                },
                Socket::Resting(socket, rest) => {
                    ready!(rest.poll(cx));
                    some_now(self.ahead.read(socket, into))?
                }
                Socket::Lost => return Poll::Ready(Err(lost())),
            };
            match read {
                Some(bytes) => {
                    self.came(bytes);
                    return Poll::Ready(Ok(()));
                }
                None => self.rest()?,
            }
        }
    }

    /// There is nothing now.
    fn rest(&mut self) -> io::Result<()> {
        match &mut self.socket {
            Socket::Resting(_, rest) if self.last.is_some_and(|last| last >= rest.end.deadline()) => {
                rest.end.as_mut().reset(Instant::now() + REST);
                Ok(())
            }
            Socket::Resting(..) => {
                self.is_vain = true;
                self.hear().map(drop)
            }
            _ => {
                let Socket::Heard(socket) = std::mem::replace(&mut self.socket, Socket::Lost) else {
                    return Err(lost());
                };
                self.socket = Socket::Resting(socket.into_std()?, Rest { end: Box::pin(sleep(REST)), reader: None });
                Ok(())
            }
        }
    }

    /// The connection such that its news wake the task. Who waits for the end of a rest that this ends looks again.
    fn hear(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Socket::Resting(..) = &self.socket
            && let Socket::Resting(socket, rest) = std::mem::replace(&mut self.socket, Socket::Lost)
        {
            self.socket = Socket::Heard(TcpStream::from_std(socket)?);
            rest.reader.into_iter().for_each(Waker::wake);
        }
        let Socket::Heard(socket) = &mut self.socket else { return Err(lost()) };
        Ok(Pin::new(socket))
    }
}

// === impl Rest ===

impl Rest {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let over = self.end.as_mut().poll(cx);
        self.reader = over.is_pending().then(|| cx.waker().clone());
        over
    }
}

/// Reads as soon as there is something. That a read brought less than it could does not end the looking: more may have come since.
fn poll_heard(
    socket: &TcpStream,
    cx: &mut Context<'_>,
    mut read: impl FnMut() -> io::Result<usize>,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(socket.poll_read_ready(cx))?;
        match socket.try_io(Interest::READABLE, &mut read) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            done => return Poll::Ready(done),
        }
    }
}

fn lost() -> io::Error {
    ErrorKind::NotConnected.into()
}

/// `None`: not now.
fn some_now(done: io::Result<usize>) -> io::Result<Option<usize>> {
    match done {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.ahead.gives(into) { Poll::Ready(Ok(())) } else { self.poll_more(cx, into) }
    }
}

impl AsyncWrite for Paced {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // It is a question, or a word of a dialogue, whose answer should not wait. HTTP/2 also says how much may come.
        if self.speech == Speech::Http1 {
            self.row = 0;
        }
        if let Socket::Resting(socket, _) = &mut self.socket
            && let Some(written) = some_now(socket.write_vectored(bytes))?
        {
            return Poll::Ready(Ok(written));
        }
        let written = self.hear()?.poll_write_vectored(cx, bytes);
        self.is_full = written.is_pending();
        written
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.socket {
            Socket::Resting(socket, _) => Poll::Ready(socket.shutdown(Shutdown::Write)),
            _ => self.hear()?.poll_shutdown(cx),
        }
    }
}

// === impl Ahead ===

impl Ahead {
    /// Reads what is there; what was not asked for is kept.
    fn read(&mut self, socket: &impl AsFd, into: &mut ReadBuf<'_>) -> io::Result<usize> {
        let mut buffer = self.buffers.take();
        let asked = into.initialize_unfilled();
        let most = asked.len();
        let read = rustix::io::readv(socket, &mut [IoSliceMut::new(asked), IoSliceMut::new(&mut buffer)]);
        let more = read.map_or(0, |read| read.saturating_sub(most));
        if more > 0 {
            (self.buffer, self.start, self.end) = (Some(buffer), 0, more);
        } else {
            self.buffers.give(buffer);
        }
        let read = read?;
        into.advance(read - more);
        Ok(read)
    }

    /// Gives what is kept; `false`: nothing is.
    fn gives(&mut self, into: &mut ReadBuf<'_>) -> bool {
        let Some(buffer) = &self.buffer else { return false };
        let kept = buffer.get(self.start..self.end).unwrap_or_default();
        let given = kept.get(..into.remaining()).unwrap_or(kept);
        into.put_slice(given);
        self.start += given.len();
        if self.start == self.end
            && let Some(buffer) = self.buffer.take()
        {
            self.buffers.give(buffer);
        }
        true
    }
}

// === impl Buffers ===

impl Buffers {
    fn take(&self) -> Box<[u8]> {
        self.0.lock().pop().unwrap_or_else(|| vec![0; AHEAD].into())
    }

    fn give(&self, buffer: Box<[u8]>) {
        let mut buffers = self.0.lock();
        if buffers.len() < BUFFERS {
            buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests;
