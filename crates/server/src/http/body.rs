//! Bodies of answers.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::Stream;
use futures_util::stream::BoxStream;
use hyper::body::{Frame, SizeHint};

use super::guard::Flight;

/// The body of an answer: all of it at once, or piece by piece.
pub struct Body(Kind);

enum Kind {
    Full(Bytes),
    Pieces { stream: BoxStream<'static, std::io::Result<Bytes>>, flight: Option<Flight> },
}

impl Body {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::full(Bytes::new())
    }

    /// All of it.
    pub fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Kind::Full(bytes.into()))
    }

    /// Piece by piece, for what has no end or should not be held in memory. An error cuts the connection.
    pub fn pieces(stream: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static) -> Self {
        Self(Kind::Pieces { stream: Box::pin(stream), flight: None })
    }

    /// The bytes, when all of it is here.
    #[must_use]
    pub fn bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Kind::Full(bytes) => Some(bytes),
            Kind::Pieces { .. } => None,
        }
    }

    /// While pieces are still to come the connection is not idle.
    pub(super) fn hold(&mut self, guard: Flight) {
        if let Kind::Pieces { flight, .. } = &mut self.0 {
            *flight = Some(guard);
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Full(bytes) => write!(f, "Body({} bytes)", bytes.len()),
            Kind::Pieces { .. } => f.write_str("Body(pieces)"),
        }
    }
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.get_mut().0 {
            Kind::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Kind::Pieces { stream, .. } => stream.as_mut().poll_next(cx).map(|piece| piece.map(|p| p.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Pieces { .. } => SizeHint::default(),
        }
    }
}
