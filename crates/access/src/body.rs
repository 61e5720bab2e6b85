//! A body on its way through: not held, and cut when the grant ends.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::record::Ticket;
use crate::upstream::Answer;

/// What the API server is sent: known whole, or it goes through.
pub type Asked = Either<Full<Bytes>, Cut<Incoming>>;
/// What the client is sent: known whole, or it goes through.
pub type Told = Either<Full<Bytes>, Cut<Answer>>;

/// An answer that is not longer fits into one record of TLS, and goes to its client when it is whole: with less of it he can do
/// nothing, and each of its pieces would cost a record, a write, and his waking.
const SHORT: u64 = 16 << 10;

/// A body that ends with the grant.
pub struct Cut<B> {
    inner: B,
    over: Pin<Box<WaitForCancellationFutureOwned>>,
    /// Counts what went through; told when the body is done.
    ticket: Option<Box<Ticket>>,
}

/// The grant ended in the middle of a body.
#[derive(Debug, thiserror::Error)]
pub enum Broken {
    /// The grant ended.
    #[error("the grant has ended")]
    Over,
    /// The connection.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// A short answer, whole; any other as it is. An answer that comes when the grant has ended is given to nobody.
///
/// # Errors
/// The grant ended, or the answer broke off.
pub async fn whole_if_short(answer: Answer, over: &CancellationToken) -> Result<Either<Bytes, Answer>, Broken> {
    if answer.size_hint().exact().is_none_or(|length| length > SHORT) {
        return Ok(Either::Right(answer));
    }
    tokio::select! {
        biased;
        () = over.cancelled() => Err(Broken::Over),
        whole = answer.collect() => Ok(Either::Left(whole?.to_bytes())),
    }
}

// === impl Cut ===

impl<B> Cut<B> {
    /// Watches over a body.
    #[must_use]
    pub fn new(inner: B, over: &CancellationToken, ticket: Option<Ticket>) -> Self {
        Self { inner, over: Box::pin(over.clone().cancelled_owned()), ticket: ticket.map(Box::new) }
    }
}

impl<B: Body<Data = Bytes, Error = hyper::Error> + Unpin> Body for Cut<B> {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.over.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Broken::Over)));
        }
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(frame))), Some(ticket)) = (&polled, &mut self.ticket) {
            ticket.count(frame.data_ref().map_or(0, Buf::remaining));
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Broken::Http)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
