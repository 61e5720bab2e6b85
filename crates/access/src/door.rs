//! Connections: TLS with the client's certificate, then HTTP/1.1 or HTTP/2.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::tls;
use crate::walk::{Desk, Guest};

/// Connections at once; the next ones wait in the kernel.
const CONNECTIONS: usize = 8192;
const HANDSHAKE: Duration = Duration::from_secs(5);
const HEADERS: Duration = Duration::from_secs(30);
const LARGEST_HEADERS: u32 = 64 << 10;

/// The set-up for handshakes; none before the server was heard.
pub type Tls = Arc<ArcSwapOption<ServerConfig>>;

/// Serves until `shutdown` resolves. What is open is cut: kubectl asks again elsewhere.
pub async fn serve(listener: TcpListener, tls: Tls, desk: Arc<Desk>, shutdown: impl Future<Output = ()>) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    tokio::pin!(shutdown);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = &mut shutdown => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: asking faster does not help.
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Some(config) = tls.load_full() else { continue };
        let desk = Arc::clone(&desk);
        tokio::spawn(async move {
            connection(stream, peer, TlsAcceptor::from(config), desk).await;
            drop(place);
        });
    }
}

async fn connection(stream: TcpStream, source: SocketAddr, acceptor: TlsAcceptor, desk: Arc<Desk>) {
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%source, %error, "no TLS"),
        Err(_) => return tracing::debug!(%source, "the TLS handshake took too long"),
    };
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let guest = Arc::new(Guest { grant: leaf.and_then(tls::grant_of), source });
    let service = service_fn(move |request| {
        let (desk, guest) = (Arc::clone(&desk), Arc::clone(&guest));
        // In a box: the connection keeps room for it as long as it lives, and an answer can flow for hours.
        Box::pin(async move { Ok::<_, Infallible>(desk.answer(&guest, request).await) })
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADERS).max_buf_size(LARGEST_HEADERS as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(1000)
        .max_header_list_size(LARGEST_HEADERS)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(20));
    if let Err(error) = builder.serve_connection_with_upgrades(TokioIo::new(stream), service).await {
        tracing::debug!(%source, %error, "a connection broke");
    }
}
