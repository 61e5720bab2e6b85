//! Connections: TLS with the client's certificate, then HTTP/1.1 or HTTP/2.

mod quiet;

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dewdrop_api::door::{self, Door};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::net::TcpListener;

use self::quiet::Traffic;
use crate::lanes::Lanes;
use crate::tls;
use crate::walk::{Desk, Guest};

/// Connections at once; the next ones wait in the kernel.
const CONNECTIONS: usize = 8192;
const HEADERS: Duration = Duration::from_secs(30);
/// Requests at once on one connection: one person's watches.
const STREAMS: u32 = 1000;

/// The set-up for handshakes; none before the server was heard.
pub type Tls = Arc<ArcSwapOption<ServerConfig>>;

/// Lets connections in until `shutdown` resolves.
pub async fn serve(listener: TcpListener, tls: Tls, lanes: &Lanes, shutdown: impl Future<Output = ()>) {
    let door = Door::new(listener, CONNECTIONS);
    tokio::pin!(shutdown);
    loop {
        let guest = tokio::select! {
            guest = door.next() => guest,
            () = &mut shutdown => return,
        };
        let Some(config) = tls.load_full() else { continue };
        lanes.serve(guest, config);
    }
}

/// One connection from its handshake to its end.
pub async fn connection(guest: door::Guest, config: Arc<ServerConfig>, desk: Arc<Desk>) {
    let source = guest.peer.ip().to_canonical().to_string();
    let Some((stream, _place)) = guest.greet(config).await else { return };
    let leaf = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
    let guest = Arc::new(Guest { grant: leaf.and_then(tls::grant_of), source: source.clone() });
    let traffic = Traffic::default();
    let begins = traffic.clone();
    let service = service_fn(move |request| {
        let (desk, guest, under_way) = (Arc::clone(&desk), Arc::clone(&guest), begins.begin());
        // In a box: the connection keeps room for it as long as it lives, and an answer can flow for hours.
        Box::pin(async move {
            let response = desk.answer(&guest, request).await;
            Ok::<_, Infallible>(response.map(|body| under_way.flows(body)))
        })
    });
    let is_http2 = door::is_http2(&stream);
    // In boxes: until it is served it is moved, and each place on its way keeps room for it.
    let stream = TokioIo::new(stream);
    // What is switched to is spoken over HTTP/1.1 alone.
    let served = if is_http2 {
        let connection = Box::pin(door::http2(STREAMS).serve_connection(stream, service));
        traffic.serve(connection, |it| it.graceful_shutdown()).await
    } else {
        let connection = Box::pin(door::http1(HEADERS).serve_connection(stream, service).with_upgrades());
        traffic.serve(connection, |it| it.graceful_shutdown()).await
    };
    if let Err(error) = served {
        tracing::debug!(%source, %error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a connection takes beside what is in boxes.
    fn room<F: Future>(_: impl FnOnce(door::Guest, Arc<ServerConfig>, Arc<Desk>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_takes_little_room() {
        let room = room(connection);
        assert!(room <= 1024, "{room}");
    }
}
