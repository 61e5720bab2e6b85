//! One request and its answer: from hyper's types to ours and back, with the limits between.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout, timeout_at};

use super::body::Body;
use super::guard::Phase;
use super::run::{Hold, ToTheEnd};
use super::{Connection, Handler, Peer, Request, Response, Stats, forwarded};
use crate::config::{Listener, ResponseHeaders};

/// What all connections of a listener share.
pub(super) struct Shared {
    pub handler: Arc<dyn Handler>,
    pub settings: Listener,
    pub stats: Arc<Stats>,
    pub hold: Hold,
}

/// The service of one connection.
#[derive(Clone)]
pub(super) struct Exchange {
    pub shared: Arc<Shared>,
    pub connection: Arc<Connection>,
    pub phase: Arc<Phase>,
    /// The listener is full: every request is answered with 503.
    pub overflow: bool,
}

impl hyper::service::Service<http::Request<Incoming>> for Exchange {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: http::Request<Incoming>) -> Self::Future {
        let exchange = self.clone();
        Box::pin(async move { Ok(exchange.answer(request).await) })
    }
}

/// A refusal; boxed, as it is rare.
type Refused = Box<Response>;

impl Exchange {
    async fn answer(self, request: http::Request<Incoming>) -> http::Response<Body> {
        let flight = self.phase.begin();
        let _count = Counted::new(&self.shared.stats.in_flight);
        let (parts, body) = request.into_parts();
        let version = parts.version;
        let mut response = match self.admit(parts, body).await {
            Ok(request) => self.handled(request).await,
            Err(refused) => {
                self.shared.stats.refused.fetch_add(1, Ordering::Relaxed);
                let mut refused = *refused;
                if version < Version::HTTP_2 {
                    // What is left of the body is not to be taken for the next request.
                    refused.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                refused
            }
        };
        response.body.hold(flight);
        self.dressed(response)
    }

    /// Everything that is checked before the handler is asked.
    async fn admit(&self, parts: Parts, body: Incoming) -> Result<Request, Refused> {
        if self.overflow {
            let busy = Response::errors(StatusCode::SERVICE_UNAVAILABLE, &["too many connections; try again"]);
            return Err(Box::new(busy.retry_after(1)));
        }
        if parts.version == Version::HTTP_11 && !parts.headers.contains_key(header::HOST) {
            return Err(refusal(StatusCode::BAD_REQUEST, "missing required Host header"));
        }
        let expects = parts.headers.get(header::EXPECT);
        if expects.is_some_and(|expect| !expect.as_bytes().eq_ignore_ascii_case(b"100-continue")) {
            return Err(refusal(StatusCode::EXPECTATION_FAILED, "the only expectation that is known is 100-continue"));
        }
        let address = self.address(&parts.headers).map_err(|why| refusal(StatusCode::BAD_REQUEST, &why))?;
        let body = if body.is_end_stream() { Bytes::new() } else { self.body(&parts, body).await? };
        self.not_too_complex(&parts, &body)?;
        let target = match parts.uri.path_and_query() {
            Some(target) => target.clone(),
            None => PathAndQuery::from_static("/"),
        };
        Ok(Request {
            id: request_id(),
            method: parts.method,
            target,
            version: parts.version,
            headers: parts.headers,
            body,
            peer: Peer { address, connection: Arc::clone(&self.connection) },
        })
    }

    fn address(&self, headers: &HeaderMap) -> Result<Option<IpAddr>, String> {
        let Some(remote) = self.connection.remote else { return Ok(None) };
        match &self.shared.settings.forwarded {
            None => Ok(Some(remote.ip().to_canonical())),
            Some(rules) => forwarded::client(rules, remote.ip(), headers).map(Some),
        }
    }

    async fn body(&self, parts: &Parts, mut body: Incoming) -> Result<Bytes, Refused> {
        let limits = &self.shared.settings.limits;
        let most = limits.body_bytes.unwrap_or(u64::MAX);
        let deadline = Instant::now() + limits.body;
        let announced = body.size_hint().exact();
        if announced.is_some_and(|length| length > most) {
            // A client that waits for "100 Continue" hears the refusal instead; one that has begun to send is listened to
            // for a while, as it would take a closed connection for a failure of the network.
            if parts.version < Version::HTTP_2 && !parts.headers.contains_key(header::EXPECT) {
                let _ = timeout_at(deadline, skip(&mut body, most)).await;
            }
            return Err(too_large());
        }
        let mut whole = BytesMut::new();
        let mut first = Bytes::new();
        loop {
            let frame = timeout_at(deadline, body.frame())
                .await
                .map_err(|_| refusal(StatusCode::REQUEST_TIMEOUT, "the request body did not arrive in due time"))?;
            let data = match frame {
                None => break,
                Some(Err(_)) => return Err(refusal(StatusCode::BAD_REQUEST, "the request body is not complete")),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => data,
                    Err(_) => continue,
                },
            };
            let length = whole.len().max(first.len()) as u64;
            if length + data.len() as u64 > most {
                if parts.version < Version::HTTP_2 {
                    let _ = timeout_at(deadline, skip(&mut body, most)).await;
                }
                return Err(too_large());
            }
            // Most bodies come in one piece, which is kept as it is.
            if first.is_empty() && whole.is_empty() {
                first = data;
                continue;
            }
            if whole.is_empty() {
                let room = announced.unwrap_or(0).min(1 << 20);
                whole.reserve(usize::try_from(room).unwrap_or(0).max(first.len() + data.len()));
                whole.extend_from_slice(&std::mem::take(&mut first));
            }
            whole.extend_from_slice(&data);
        }
        Ok(if whole.is_empty() { first } else { whole.freeze() })
    }

    /// A small body may stand for much memory once it is parsed.
    fn not_too_complex(&self, parts: &Parts, body: &Bytes) -> Result<(), Refused> {
        let octets = parts
            .headers
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet-stream"));
        if octets || !body.trim_ascii_start().starts_with(b"{") {
            return Ok(());
        }
        super::json::check(body, self.shared.settings.limits.json)
            .map_err(|why| refusal(StatusCode::BAD_REQUEST, &why.to_string()))
    }

    async fn handled(&self, request: Request) -> Response {
        let shared = &self.shared;
        shared.stats.requests.fetch_add(1, Ordering::Relaxed);
        let id = Arc::clone(&request.id);
        let head = request.method == Method::HEAD;
        let left = Abandoned { stats: &shared.stats, answered: false };
        let work = ToTheEnd::new(shared.handler.handle(request), shared.hold.clone());
        let answer = timeout(shared.settings.limits.request, work).await;
        left.answered();
        match answer {
            Ok(Some(mut response)) => {
                if head {
                    response.body = Body::empty();
                }
                response
            }
            Ok(None) => {
                shared.stats.panics.fetch_add(1, Ordering::Relaxed);
                tracing::error!(request_id = %id, "the handler of a request panicked");
                let told = format!("internal error; the server's log tells more about request {id}");
                Response::errors(StatusCode::INTERNAL_SERVER_ERROR, &[&told])
            }
            Err(_) => {
                shared.stats.overdue.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(request_id = %id, "a request takes longer than max_request_duration; it goes on without its client");
                let told = format!("the request takes longer than max_request_duration; it goes on as request {id}");
                Response::errors(StatusCode::SERVICE_UNAVAILABLE, &[&told]).retry_after(5)
            }
        }
    }

    /// Adds the headers that every answer has, and those of the configuration.
    fn dressed(&self, response: Response) -> http::Response<Body> {
        let Response { status, headers, body } = response;
        let mut answer = http::Response::new(body);
        *answer.status_mut() = status;
        let dressed = answer.headers_mut();
        *dressed = headers;
        let mut usual = |name, value| {
            if !dressed.contains_key(&name) {
                dressed.insert(name, HeaderValue::from_static(value));
            }
        };
        usual(header::CACHE_CONTROL, "no-store");
        usual(header::STRICT_TRANSPORT_SECURITY, "max-age=31536000; includeSubDomains");
        let custom = &self.shared.settings.headers;
        if !(custom.always.is_empty() && custom.by_status.is_empty()) {
            custom_headers(custom, status.as_u16(), dressed);
        }
        answer
    }
}

/// The closest rule for each header counts: its status, then its class, then the default.
fn custom_headers(rules: &ResponseHeaders, code: u16, headers: &mut HeaderMap) {
    let of = |key: u16| rules.by_status.get(&key).map(Vec::as_slice).unwrap_or_default();
    let mut set: Vec<&HeaderName> = Vec::new();
    for rule in [of(code), of(code / 100), &rules.always] {
        let earlier = set.len();
        for (name, value) in rule {
            if set[..earlier].contains(&name) {
                continue;
            }
            if set.contains(&name) {
                headers.append(name, value.clone());
            } else {
                headers.insert(name, value.clone());
                set.push(name);
            }
        }
    }
}

fn refusal(status: StatusCode, why: &str) -> Refused {
    Box::new(Response::errors(status, &[why]))
}

/// In the words of OpenBao.
fn too_large() -> Refused {
    refusal(StatusCode::PAYLOAD_TOO_LARGE, "http: request body too large")
}

/// Reads and forgets up to so many bytes.
async fn skip(body: &mut Incoming, most: u64) {
    let mut skipped = 0u64;
    while let Some(Ok(frame)) = body.frame().await {
        skipped += frame.data_ref().map_or(0, |data| data.len() as u64);
        if skipped > most {
            break;
        }
    }
}

/// A random UUID. Random bytes are fetched for many at a time: the kernel's are dear.
fn request_id() -> Arc<str> {
    use std::cell::RefCell;
    thread_local! {
        static POOL: RefCell<([u8; 1024], usize)> = const { RefCell::new(([0; 1024], 1024)) };
    }
    let bytes = POOL.with_borrow_mut(|(pool, used)| {
        if *used == pool.len() {
            match aws_lc_rs::rand::fill(pool) {
                Ok(()) => *used = 0,
                // Names need not be secret: without random bytes they still differ.
                Err(_) => return uuid::Uuid::new_v4().into_bytes(),
            }
        }
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&pool[*used..*used + 16]);
        *used += 16;
        bytes
    });
    let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
    Arc::from(&*uuid::Builder::from_random_bytes(bytes).as_uuid().hyphenated().encode_lower(&mut text))
}

/// One more while it lives.
struct Counted<'a>(&'a AtomicU64);

impl<'a> Counted<'a> {
    fn new(counter: &'a AtomicU64) -> Self {
        counter.fetch_add(1, Ordering::Relaxed);
        Self(counter)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Notices that the client went away: then the future is dropped between asking and answering.
struct Abandoned<'a> {
    stats: &'a Stats,
    answered: bool,
}

impl Abandoned<'_> {
    fn answered(mut self) {
        self.answered = true;
    }
}

impl Drop for Abandoned<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.stats.abandoned.fetch_add(1, Ordering::Relaxed);
        }
    }
}
