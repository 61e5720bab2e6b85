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

/// Connections at once; the next ones wait in the kernel.
const CONNECTIONS: usize = 2048;
/// The API server keeps connections open between questions.
const IDLE: Duration = Duration::from_secs(120);
/// Questions at once on one connection.
const STREAMS: u32 = 16;
/// The end of a rolling update.
const GRACE: Duration = Duration::from_secs(10);

/// Bytes of all bodies of one address at once; at least one of the largest must have room.
pub const ROOM: usize = 64 << 20;

/// Serves until `shutdown` resolves and what was begun is answered.
pub async fn serve(
    listener: TcpListener,
    tls: Tls,
    judge: Arc<Judge>,
    room: usize,
    shutdown: impl Future<Output = ()>,
) {
    let door = Door::new(listener, CONNECTIONS);
    let guests = Guests::new(room);
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let arrived = tokio::select! {
            arrived = door.next() => arrived,
            () = &mut shutdown => break,
        };
        let guest = guests.from(arrived.peer.ip().to_canonical());
        let Ok(own_place) = Arc::clone(&guest.connections).try_acquire_owned() else {
            tracing::debug!(peer = %arrived.peer, "too many connections from this address");
            continue;
        };
        let desk = Arc::new(Desk { judge: Arc::clone(&judge), guest });
        let (config, watcher) = (tls.current(), graceful.watcher());
        tokio::spawn(async move {
            connection(arrived, config, desk, watcher).await;
            drop(own_place);
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
        let desk = Arc::clone(&desk);
        async move { Ok::<http::Response<Full<Bytes>>, Infallible>(answer::answer(&desk, request).await) }
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
