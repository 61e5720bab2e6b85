//! What the API server itself tells: its audit webhook (`--audit-webhook-config-file`) sends events here. They are joined to the
//! grants, and what went round the proxy shows as such. An answer of 200 means that the lines are on the audit chain.

mod event;

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use dewdrop_api::door::{self, Door, Guest};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::event::EventList;
pub use self::event::Reader;
use crate::carrier::Carrier;
use crate::door::Tls;
use crate::record::{BATCH, Line};

/// Connections at once.
const CONNECTIONS: usize = 32;
/// Batches at once; whoever comes then is told to come again.
const BATCHES: usize = 2;
/// The API server sends 400 events at once when nothing else is said.
const LONGEST: usize = 8 << 20;
/// The API server keeps connections open between batches.
const IDLE: Duration = Duration::from_secs(60);
/// Requests at once on one connection.
const STREAMS: u32 = 8;
const BODY: Duration = Duration::from_secs(20);
/// Whoever has not shown the token by then is cut: else a few strangers would keep the API server out.
const STRANGER: Duration = Duration::from_secs(10);
/// Events that are known again; twice as many are kept.
const KNOWN: usize = 20_000;

/// What must be known to hear.
#[derive(Debug, Clone)]
pub struct Hearing {
    /// Where the API server sends its events.
    pub listen: SocketAddr,
    /// A file with the bearer token that it shows.
    pub token: PathBuf,
    /// Starts of names whose events are left out.
    pub skip: Vec<String>,
}

/// Hears.
pub struct Ear {
    /// How events are read.
    pub reader: Reader,
    /// A file with the bearer token.
    pub token: PathBuf,
    /// Takes lines to the server.
    pub carrier: Arc<dyn Carrier>,
    /// Batches under way.
    pub places: Semaphore,
    /// Events that are on the chain already: the API server sends a batch again whose answer it missed.
    known: Mutex<[HashSet<Mark>; 2]>,
}

/// By what an event is known again.
type Mark = Vec<u8>;

// === impl Ear ===

impl Ear {
    /// One that has heard nothing.
    #[must_use]
    pub fn new(reader: Reader, token: PathBuf, carrier: Arc<dyn Carrier>) -> Self {
        Self { reader, token, carrier, places: Semaphore::new(BATCHES), known: Mutex::default() }
    }

    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener, tls: Tls) -> Infallible {
        let ear = Arc::new(self);
        Door::new(listener, CONNECTIONS).each(|guest| connection(guest, tls.load_full(), Arc::clone(&ear))).await
    }

    async fn answer(&self, request: Request<Incoming>) -> (StatusCode, &'static str) {
        if !self.knows(request.headers()) {
            return (StatusCode::UNAUTHORIZED, "the bearer token is not the one of the proxy's file");
        }
        if request.method() != Method::POST {
            return (StatusCode::METHOD_NOT_ALLOWED, "events are sent by POST");
        }
        let Ok(_place) = self.places.try_acquire() else {
            return (StatusCode::TOO_MANY_REQUESTS, "other events are being written; send these again");
        };
        let too_long =
            (StatusCode::PAYLOAD_TOO_LARGE, "a batch has at most 8 MiB: lower --audit-webhook-batch-max-size");
        if request.body().size_hint().lower() > LONGEST as u64 {
            return too_long;
        }
        let body = match timeout(BODY, Limited::new(request.into_body(), LONGEST).collect()).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(_)) => return too_long,
            Err(_) => return (StatusCode::REQUEST_TIMEOUT, "the events did not come in time"),
        };
        match self.take(&body).await {
            Ok(()) => (StatusCode::OK, "ok"),
            Err(told) => told,
        }
    }

    fn knows(&self, headers: &HeaderMap) -> bool {
        let shown = headers.get(header::AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        let token = std::fs::read(&self.token).map(zeroize::Zeroizing::new);
        let (Some(shown), Ok(token)) = (shown, token) else { return false };
        let token = token.trim_ascii();
        token.len() >= 16 && verify_slices_are_equal(shown.trim_ascii(), token).is_ok()
    }

    /// Writes the lines of a batch; all of them, or the whole comes again.
    async fn take(&self, body: &[u8]) -> Result<(), (StatusCode, &'static str)> {
        let none = (StatusCode::BAD_REQUEST, "this is no EventList of audit.k8s.io/v1");
        let events = events(body).ok_or(none)?;
        let lines: Vec<Line> = events.iter().filter_map(|event| self.reader.line(event)).collect();
        for chunk in lines.chunks(BATCH) {
            let new: Vec<Line> = chunk.iter().filter(|line| !self.is_known(&mark(line))).cloned().collect();
            if new.is_empty() {
                continue;
            }
            if let Err(why) = self.carrier.carry(&new).await {
                tracing::warn!(%why, "events of the API server cannot be written; it sends them again");
                return Err((StatusCode::SERVICE_UNAVAILABLE, "the record cannot be written now; send these again"));
            }
            self.keep(&new);
        }
        Ok(())
    }

    fn is_known(&self, mark: &Mark) -> bool {
        self.known.lock().iter().any(|known| known.contains(mark))
    }

    fn keep(&self, lines: &[Line]) {
        let mut known = self.known.lock();
        let [new, old] = &mut *known;
        if new.len() >= KNOWN {
            *old = std::mem::take(new);
        }
        new.extend(lines.iter().map(mark));
    }
}

/// The events of a body; `None`: it is none.
pub fn events(body: &[u8]) -> Option<Vec<event::Event>> {
    EventList::read(body)
}

/// The name of an event alone is not enough: whoever asks the API server may give all his requests the same one (`Audit-ID`).
/// When a request came is the API server's own word, to the microsecond.
fn mark(line: &Line) -> Mark {
    let what = &line.what;
    let texts = [&line.api.audit_id, &line.time, &line.user, &what.verb, &what.target, &what.namespace, &what.name];
    let mut context = Context::new(&SHA256);
    for text in texts {
        context.update(&text.len().to_be_bytes());
        context.update(text.as_bytes());
    }
    context.finish().as_ref().to_vec()
}

/// Without a certificate nobody is greeted.
async fn connection(guest: Guest, config: Option<Arc<ServerConfig>>, ear: Arc<Ear>) {
    let Some(config) = config else { return };
    let Some((stream, _place)) = guest.greet(config).await else { return };
    let is_known = Arc::new(AtomicBool::new(false));
    let knows = Arc::clone(&is_known);
    let service = service_fn(move |request: Request<Incoming>| {
        let (ear, knows) = (Arc::clone(&ear), Arc::clone(&knows));
        async move {
            knows.fetch_or(ear.knows(request.headers()), Ordering::Relaxed);
            let (code, told) = ear.answer(request).await;
            let mut response = Response::new(Full::new(Bytes::from_static(told.as_bytes())));
            *response.status_mut() = code;
            if code == StatusCode::TOO_MANY_REQUESTS {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let is_http2 = door::is_http2(&stream);
    let stream = TokioIo::new(stream);
    if is_http2 {
        unless_a_stranger(&is_known, door::http2(STREAMS).serve_connection(stream, service)).await;
    } else {
        unless_a_stranger(&is_known, door::http1(IDLE).serve_connection(stream, service)).await;
    }
}

/// Serves, for a moment only where nobody shows the token.
async fn unless_a_stranger<T>(is_known: &AtomicBool, serving: impl Future<Output = T>) {
    tokio::pin!(serving);
    if timeout(STRANGER, &mut serving).await.is_err() && is_known.load(Ordering::Relaxed) {
        serving.await;
    }
}

/// Who the proxy is to the API server, by its own token.
#[must_use]
pub fn name_of(token: &str) -> Option<String> {
    use base64::Engine as _;
    let claims = token.trim().split('.').nth(1)?;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&claims).ok()?;
    Some(claims.get("sub")?.as_str()?.to_owned())
}

#[cfg(test)]
mod tests;
