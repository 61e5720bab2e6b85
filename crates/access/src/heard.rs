//! What the API server itself tells: its audit webhook (`--audit-webhook-config-file`) sends events here. They are joined to the
//! grants, and what went round the proxy shows as such. An answer of 200 means that the lines are on the audit chain.

mod event;

use std::collections::HashSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use self::event::EventList;
pub use self::event::Reader;
use crate::carrier::Carrier;
use crate::door::Tls;
use crate::record::Line;

/// Connections at once.
const CONNECTIONS: usize = 32;
/// Batches at once; whoever comes then is told to come again.
const BATCHES: usize = 2;
/// The API server sends 400 events at once when nothing else is said.
const LONGEST: usize = 8 << 20;
const HANDSHAKE: Duration = Duration::from_secs(5);
const BODY: Duration = Duration::from_secs(20);
/// Lines in one request to the server.
const CHUNK: usize = 200;
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
    pub known: Mutex<[HashSet<String>; 2]>,
}

// === impl Ear ===

impl Ear {
    /// One that has heard nothing.
    #[must_use]
    pub fn new(reader: Reader, token: PathBuf, carrier: Arc<dyn Carrier>) -> Self {
        Self { reader, token, carrier, places: Semaphore::new(BATCHES), known: Mutex::default() }
    }

    /// Serves for ever.
    pub async fn serve(self, listener: TcpListener, tls: Tls) {
        let (ear, places) = (Arc::new(self), Arc::new(Semaphore::new(CONNECTIONS)));
        loop {
            let place = Arc::clone(&places).acquire_owned().await;
            let Ok((stream, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Some(config) = tls.load_full() else { continue };
            let ear = Arc::clone(&ear);
            tokio::spawn(async move {
                connection(stream, TlsAcceptor::from(config), ear).await;
                drop(place);
            });
        }
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
        let events = EventList::read(body).ok_or(none)?;
        let lines: Vec<Line> = events.iter().filter_map(|event| self.reader.line(event)).collect();
        for chunk in lines.chunks(CHUNK) {
            let new: Vec<Line> = chunk.iter().filter(|line| !self.is_known(&line.api.audit_id)).cloned().collect();
            if new.is_empty() {
                continue;
            }
            if let Err(why) = self.carrier.carry(&new).await {
                tracing::warn!(%why, "events of the API server cannot be written; it sends them again");
                return Err((StatusCode::SERVICE_UNAVAILABLE, "the record cannot be written now; send these again"));
            }
            self.keep(new);
        }
        Ok(())
    }

    fn is_known(&self, id: &str) -> bool {
        self.known.lock().iter().any(|known| known.contains(id))
    }

    fn keep(&self, lines: Vec<Line>) {
        let mut known = self.known.lock();
        let [new, old] = &mut *known;
        if new.len() >= KNOWN {
            *old = std::mem::take(new);
        }
        new.extend(lines.into_iter().map(|line| line.api.audit_id));
    }
}

async fn connection(stream: TcpStream, acceptor: TlsAcceptor, ear: Arc<Ear>) {
    let Ok(Ok(stream)) = timeout(HANDSHAKE, acceptor.accept(stream)).await else { return };
    let service = service_fn(move |request| {
        let ear = Arc::clone(&ear);
        async move {
            let (code, told) = ear.answer(request).await;
            let mut response = Response::new(Full::new(Bytes::from_static(told.as_bytes())));
            *response.status_mut() = code;
            if code == StatusCode::TOO_MANY_REQUESTS {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            Ok::<_, Infallible>(response)
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(60));
    builder.http2().timer(TokioTimer::new()).max_concurrent_streams(8);
    let _ = builder.serve_connection(TokioIo::new(stream), service).await;
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
