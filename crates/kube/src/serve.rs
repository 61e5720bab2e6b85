//! TLS and HTTP around the judge: limits first, then the question, then a verdict. A body that is no question gets 400 in
//! words; what could not be looked up gets 503, and `failurePolicy` decides.

mod answer;
mod guests;

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::certs::Tls;
use crate::judge::Judge;

use guests::{Guest, Guests};

/// Connections at once; the next ones wait in the kernel.
const CONNECTIONS: usize = 2048;
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The API server keeps connections open between questions.
const IDLE: Duration = Duration::from_secs(120);
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
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let guests = Guests::new(room);
    let graceful = GracefulShutdown::new();
    tokio::pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, most likely: asking faster does not help.
                tracing::warn!(error = %e, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let guest = guests.from(peer.ip().to_canonical());
        let Ok(own_place) = Arc::clone(&guest.connections).try_acquire_owned() else {
            tracing::debug!(%peer, "too many connections from this address");
            continue;
        };
        let desk = Arc::new(Desk { judge: Arc::clone(&judge), guest });
        let (config, watcher) = (tls.current(), graceful.watcher());
        tokio::spawn(async move {
            connection(stream, peer, TlsAcceptor::from(config), desk, watcher).await;
            drop((place, own_place));
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

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    acceptor: TlsAcceptor,
    desk: Arc<Desk>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Small answers should not wait for more.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(e)) => return tracing::debug!(%peer, error = %e, "no TLS"),
        Err(_) => return tracing::debug!(%peer, "the TLS handshake took too long"),
    };
    let service = service_fn(move |request| {
        let desk = Arc::clone(&desk);
        async move { Ok::<http::Response<Full<Bytes>>, Infallible>(answer::answer(&desk, request).await) }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(IDLE).max_buf_size(64 << 10);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(16)
        .max_header_list_size(64 << 10)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    let served = watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned());
    if let Err(e) = served.await {
        tracing::debug!(%peer, error = %e, "a connection broke");
    }
}
