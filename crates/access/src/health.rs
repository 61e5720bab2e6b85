//! Whether the proxy lives and may be asked, over plain HTTP on a port of its own: whoever asks shows no certificate.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dewdrop_api::door::{Door, Guest};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;

use crate::door::Tls;
use crate::grants::Grants;
use crate::record::Record;

/// Questions at once; the next ones wait in the kernel.
const AT_ONCE: usize = 16;
const PATIENCE: Duration = Duration::from_secs(5);

/// What is looked at.
pub struct Health {
    /// The certificate.
    pub tls: Tls,
    /// The grants.
    pub grants: Arc<Grants>,
    /// The record.
    pub record: Record,
}

// === impl Health ===

impl Health {
    /// Answers `/healthz` and `/readyz` for ever.
    pub async fn serve(self, listener: TcpListener) -> Infallible {
        let health = Arc::new(self);
        Door::new(listener, AT_ONCE).each(|guest| answered(guest, Arc::clone(&health))).await
    }

    /// Why nobody should be sent here now.
    fn missing(&self) -> Option<String> {
        if self.tls.load().is_none() {
            return Some("there is no certificate yet".to_owned());
        }
        if let Some(why) = self.record.closed() {
            return Some(format!("the record cannot be written: {why}"));
        }
        self.grants.is_stale().then(|| "the server was not heard for too long".to_owned())
    }
}

async fn answered(guest: Guest, health: Arc<Health>) {
    let service = service_fn(|request: Request<Incoming>| {
        let answer = answer(request.uri().path(), health.missing());
        async move { Ok::<_, Infallible>(answer) }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(PATIENCE).keep_alive(false);
    let served = builder.serve_connection(TokioIo::new(guest.stream), service);
    let _ = tokio::time::timeout(PATIENCE * 2, served).await;
}

fn answer(path: &str, missing: Option<String>) -> Response<Full<Bytes>> {
    let (code, text) = match (path, missing) {
        ("/healthz", _) | ("/readyz", None) => (StatusCode::OK, Bytes::from_static(b"ok")),
        ("/readyz", Some(why)) => (StatusCode::SERVICE_UNAVAILABLE, why.into()),
        _ => (StatusCode::NOT_FOUND, Bytes::from_static(b"there are /healthz and /readyz")),
    };
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_asked_is_told() {
        assert_eq!(answer("/healthz", Some("x".into())).status(), 200);
        assert_eq!(answer("/readyz", None).status(), 200);
        assert_eq!(answer("/readyz", Some("x".into())).status(), 503);
        assert_eq!(answer("/api", None).status(), 404);
    }
}
