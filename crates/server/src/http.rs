//! The edge: sockets, TLS, HTTP/1.1 and HTTP/2, limits of time and size. What comes out is a [`Request`] whose body has been
//! read and whose sender is known; what goes in is a [`Response`].
//!
//! A request that has begun runs to its end, even when its client hangs up: see [`serve`]. Words and codes of refusals
//! follow what `bao server` 2.7.2 answers, save that what is the client's fault is a 4xx here (a body that stops half-way is
//! 408, not 500).

mod body;
mod exchange;
mod forwarded;
mod guard;
pub mod json;
mod listen;
mod run;
mod serve;
pub mod target;
mod tls;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};

pub use body::Body;
pub use listen::{BindError, Bound, bind};
pub use serve::{Drained, serve};
pub use tls::{TlsError, TlsStore};

/// What the server does with a request. Called for every request that is well-formed as HTTP.
pub trait Handler: Send + Sync {
    /// Answers. The future is never dropped before its end, whatever the client does; it may outlive the connection.
    /// A panic is caught, counted and answered with 500.
    fn handle(&self, request: Request) -> BoxFuture<'static, Response>;
}

/// One request, its body read.
#[derive(Debug, Clone)]
pub struct Request {
    /// Its name in logs, audit and answers: a random UUID.
    pub id: Arc<str>,
    /// The verb, as it was sent.
    pub method: Method,
    /// Path and query, as they were sent.
    pub target: PathAndQuery,
    /// HTTP/1.0, 1.1 or 2.
    pub version: Version,
    /// All headers.
    pub headers: HeaderMap,
    /// The body, within the listener's limit; empty when there is none.
    pub body: Bytes,
    /// Who sent it.
    pub peer: Peer,
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Address of the client, after the rules for proxies; `None` on a unix socket.
    pub address: Option<IpAddr>,
    /// The connection, which many requests may share.
    pub connection: Arc<Connection>,
}

/// One connection.
#[derive(Debug, Clone, Default)]
pub struct Connection {
    /// Index of the listener in the configuration.
    pub listener: usize,
    /// The other end; `None` on a unix socket.
    pub remote: Option<SocketAddr>,
    /// User id of the other end of a unix socket.
    pub unix_user: Option<u32>,
    /// The client's certificate chain in DER, leaf first. Its holder has proven to have the key; whether an authority was
    /// asked depends on the listener.
    pub certificates: Vec<Bytes>,
    /// The TLS version, as `TLSv1_3`; `None` for plain HTTP.
    pub tls: Option<&'static str>,
}

/// One answer.
#[derive(Debug)]
pub struct Response {
    /// The code.
    pub status: StatusCode,
    /// Its headers. The edge adds `Date`, `Content-Length`, `Cache-Control` and `Strict-Transport-Security` where they are not set.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Body,
}

impl Response {
    /// An answer without a body.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: Body::empty() }
    }

    /// An answer in JSON.
    #[must_use]
    pub fn json(status: StatusCode, body: impl Into<Bytes>) -> Self {
        let mut headers = HeaderMap::with_capacity(6);
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Self { status, headers, body: Body::full(body) }
    }

    /// A refusal: `{"errors":[...]}` and a line break, as the API has it.
    #[must_use]
    pub fn errors(status: StatusCode, errors: &[&str]) -> Self {
        let mut body = serde_json::json!({ "errors": errors }).to_string();
        body.push('\n');
        Self::json(status, body)
    }

    /// The same with `Retry-After`, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        self
    }
}

/// What happens at the edge, counted since the start.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections that were taken.
    pub accepted: AtomicU64,
    /// Connections that are open now.
    pub open: AtomicU64,
    /// Connections over the limit, answered with 503.
    pub overflowed: AtomicU64,
    /// TLS handshakes that failed or took too long.
    pub failed_handshakes: AtomicU64,
    /// Requests that reached the handler.
    pub requests: AtomicU64,
    /// Requests that are being worked on now.
    pub in_flight: AtomicU64,
    /// Requests refused here: limits, malformed, proxies' rules.
    pub refused: AtomicU64,
    /// Requests whose client was gone before the answer; they ran to their end.
    pub abandoned: AtomicU64,
    /// Requests that took longer than `max_request_duration`; they ran to their end.
    pub overdue: AtomicU64,
    /// Panics in the handler.
    pub panics: AtomicU64,
}

#[cfg(test)]
mod tests;
