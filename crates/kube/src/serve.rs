//! TLS and HTTP around the judge: limits first, then the question, then a verdict. A body that is no question gets 400 in
//! words; what could not be looked up gets 503, and `failurePolicy` decides.

mod answer;
mod guests;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dewdrop_api::door::{self, Door};
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::certs::Tls;
use crate::judge::Judge;

use guests::{Guest, Guests};

pub use guests::Limits;

/// The API server keeps connections open between questions.
const IDLE: Duration = Duration::from_secs(120);
/// Questions at once on one connection.
const STREAMS: u32 = 16;
/// The end of a rolling update.
const GRACE: Duration = Duration::from_secs(10);

/// Serves until `shutdown` resolves and what was begun is answered.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    judge: Arc<Judge>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) {
    let door = Door::new(listener, limits.connections);
    let guests = Guests::new(limits);
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let arrived = tokio::select! {
            arrived = door.next() => arrived,
            () = &mut shutdown => break,
        };
        let (peer, guest) = (arrived.peer, Arc::new(guests.enter(arrived.peer.ip().to_canonical())));
        let desk = Arc::new(Desk { judge: Arc::clone(&judge), guest: Arc::clone(&guest) });
        let served = connection(arrived, tls.current(), desk, graceful.watcher());
        tokio::spawn(async move {
            tokio::select! {
                () = served => {}
                () = guest.shown_out() => tracing::debug!(%peer, "cut: another needs the place, and this address has the most"),
            }
        });
    }
    if timeout(GRACE, graceful.shutdown()).await.is_err() {
        tracing::warn!("some connections were cut: they did not end in due time");
    }
}

/// What the questions of a connection are put to.
struct Desk {
    judge: Arc<Judge>,
    guest: Arc<Guest>,
}

async fn connection(arrived: door::Guest, config: Arc<ServerConfig>, desk: Arc<Desk>, watcher: Watcher) {
    let peer = arrived.peer;
    let Some((stream, _place)) = arrived.greet(config).await else { return };
    let service = service_fn(move |request| {
        let (desk, asking) = (Arc::clone(&desk), desk.guest.asks());
        async move {
            let _asking = asking;
            Ok::<http::Response<Full<Bytes>>, Infallible>(answer::answer(&desk, request).await)
        }
    });
    let is_http2 = door::is_http2(&stream);
    let stream = TokioIo::new(stream);
    let served = if is_http2 {
        watcher.watch(door::http2(STREAMS).serve_connection(stream, service)).await
    } else {
        watcher.watch(door::http1(IDLE).serve_connection(stream, service)).await
    };
    if let Err(e) = served {
        tracing::debug!(%peer, error = %e, "a connection broke");
    }
}
