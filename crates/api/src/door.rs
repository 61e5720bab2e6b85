//! The door of a program of ours that serves HTTP: connections are let in one by one, as many as there are places, and are
//! greeted (TLS) within a time. What is said then is the program's own affair.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

/// Out of file descriptors, most likely: asking faster does not help.
const BACK_OFF: Duration = Duration::from_millis(50);
/// A client that says nothing for longer while it is greeted has no business here.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// Whether the other end of a connection of HTTP/2 is still there is asked this often, and waited for this long.
const ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// Bytes of all headers of a request.
const HEADERS: u32 = 64 << 10;

/// Where connections come in.
pub struct Door {
    listener: TcpListener,
    places: Arc<Semaphore>,
}

/// A connection that was let in. Its place is free again when this is dropped.
pub struct Guest {
    /// The connection.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Its place.
    pub place: Place,
}

/// One of the places; to be held as long as the connection lives.
#[must_use]
pub struct Place(#[expect(dead_code, reason = "what counts is when it is dropped")] OwnedSemaphorePermit);

impl Door {
    /// At most so many are in at once; the next ones wait in the kernel.
    #[must_use]
    pub fn new(listener: TcpListener, most: usize) -> Self {
        Self { listener, places: Arc::new(Semaphore::new(most)) }
    }

    /// The next connection, as soon as there is a place for it. Whoever drops this before its end loses none.
    pub async fn next(&self) -> Guest {
        // Nobody closes the places. Were they closed, nobody would come in any more.
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else {
            match std::future::pending::<Infallible>().await {}
        };
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    // Small answers should not wait for more.
                    let _ = stream.set_nodelay(true);
                    return Guest { stream, peer, place: Place(place) };
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be taken");
                    sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Lets them in for ever; each is served by itself.
    pub async fn each<F: Future<Output = ()> + Send + 'static>(self, serve: impl Fn(Guest) -> F) -> Infallible {
        loop {
            tokio::spawn(serve(self.next().await));
        }
    }
}

impl Guest {
    /// The TLS handshake. `None`: there was none, or it took too long; the log says so.
    /// In boxes: whoever serves it for hours keeps no room for the handshake.
    pub async fn greet(self, config: Arc<ServerConfig>) -> Option<(Box<TlsStream<TcpStream>>, Place)> {
        let Self { stream, peer, place } = self;
        match Box::pin(timeout(HANDSHAKE, TlsAcceptor::from(config).accept(stream))).await {
            Ok(Ok(stream)) => return Some((Box::new(stream), place)),
            Ok(Err(error)) => tracing::debug!(%peer, %error, "no TLS"),
            Err(_) => tracing::debug!(%peer, "the TLS handshake took too long"),
        }
        None
    }
}

/// Whether a guest speaks HTTP/2: that was agreed on when he was greeted (RFC 7301).
#[must_use]
pub fn is_http2(stream: &TlsStream<TcpStream>) -> bool {
    stream.get_ref().1.alpn_protocol() == Some(b"h2")
}

/// HTTP/1.1 with limits. `headers`: how long a client may take for the headers of a request, the pause before them included.
#[must_use]
pub fn http1(headers: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(headers).max_buf_size(HEADERS as usize);
    builder
}

/// HTTP/2 with limits. `streams`: requests at once on one connection.
#[must_use]
pub fn http2(streams: u32) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    let (every, patience) = ALIVE;
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(streams)
        .max_header_list_size(HEADERS)
        .keep_alive_interval(Some(every))
        .keep_alive_timeout(patience);
    builder
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio_rustls::rustls::pki_types::PrivateKeyDer;

    use super::*;

    async fn door(most: usize) -> (Door, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (Door::new(listener, most), address)
    }

    #[tokio::test]
    async fn nobody_comes_in_without_a_place() {
        let (door, address) = door(1).await;
        let _clients = (TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap());
        let first = door.next().await;
        assert!(door.next().now_or_never().is_none(), "there is one place");
        drop(first.stream);
        assert!(door.next().now_or_never().is_none(), "the place is held, not the stream");
        drop(first.place);
        assert_eq!(door.next().await.peer.ip(), address.ip());
    }

    #[tokio::test]
    async fn a_question_that_is_given_up_loses_nobody() {
        let (door, address) = door(1).await;
        assert!(door.next().now_or_never().is_none());
        let client = TcpStream::connect(address).await.unwrap();
        assert_eq!(door.next().await.peer, client.local_addr().unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_says_nothing_is_shown_out() {
        let (door, address) = door(1).await;
        let _silent = TcpStream::connect(address).await.unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .unwrap();
        assert!(door.next().await.greet(Arc::new(config)).await.is_none());
        let _next = TcpStream::connect(address).await.unwrap();
        door.next().await;
    }
}
