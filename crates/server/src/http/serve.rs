//! The accept loop.
//!
//! **Flow.** Each listener takes connections up to its limit, and a few more that are told to come back (503). A connection
//! shakes hands (TLS), then hyper reads requests, HTTP/1.1 or 2 by what the client begins with.
//! **Guarantees.** A request that reached the handler runs to its end: neither a client that hangs up nor `max_request_duration`
//! drops it; only the end of the grace time at shutdown does.
//! **Shutdown.** Nothing new is taken, requests in flight are answered, idle connections are closed; after `grace` the rest is cut.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::exchange::{Exchange, Shared};
use super::guard::{Deadlines, Guarded, Phase, Wire};
use super::listen::{Bound, Socket};
use super::run::Hold;
use super::tls::TlsStore;
use super::{Connection, Handler, Stats};
use crate::config::Limits;

/// Connections beyond the limit that are answered with 503; the next ones wait in the kernel.
const OVERFLOW: usize = 64;
/// How often certificate files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(5);
/// What a client reads that speaks HTTP to a TLS port; the words are those of Go's server.
const NOT_TLS: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

/// How the end went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// Everything was answered and done within the grace time.
    pub clean: bool,
}

/// What connections are told about the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Running,
    Draining,
    Cut,
}

/// Serves until `shutdown` resolves and everything is drained, at most `grace` longer.
pub async fn serve(
    listeners: Vec<Bound>,
    handler: Arc<dyn Handler>,
    stats: Arc<Stats>,
    grace: Duration,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let (stage, staged) = watch::channel(Stage::Running);
    let (alive, mut ended) = mpsc::channel::<()>(1);
    for bound in listeners {
        if let Some(tls) = bound.tls() {
            tokio::spawn(watch_files(tls, staged.clone()));
        }
        let shared = Arc::new(Shared {
            handler: Arc::clone(&handler),
            settings: bound.settings,
            stats: Arc::clone(&stats),
            hold: alive.clone(),
        });
        let gate = Gate::new(&shared.settings.limits, staged.clone(), alive.clone());
        tokio::spawn(accept_loop(bound.index, bound.socket, bound.tls, shared, gate));
    }
    drop((alive, handler));
    shutdown.await;
    let _ = stage.send(Stage::Draining);
    // All senders are gone when every loop, connection and detached request is.
    let clean = timeout(grace, ended.recv()).await.is_ok();
    let _ = stage.send(Stage::Cut);
    if !clean {
        let _ = timeout(Duration::from_millis(500), ended.recv()).await;
    }
    Drained { clean }
}

/// What an accept loop needs to let connections in and out.
struct Gate {
    places: Arc<Semaphore>,
    overflow: Arc<Semaphore>,
    stage: watch::Receiver<Stage>,
    hold: Hold,
}

impl Gate {
    fn new(limits: &Limits, stage: watch::Receiver<Stage>, hold: Hold) -> Self {
        let places = Arc::new(Semaphore::new(limits.connections as usize));
        Self { places, overflow: Arc::new(Semaphore::new(OVERFLOW)), stage, hold }
    }

    /// A place for one more connection: `true` when it can only be told to come back.
    async fn place(&self) -> Option<(OwnedSemaphorePermit, bool)> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Some((place, false));
        }
        Arc::clone(&self.overflow).acquire_owned().await.ok().map(|place| (place, true))
    }
}

enum Accepted {
    Tcp(TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

async fn accept_loop(index: usize, socket: Socket, tls: Option<Arc<TlsStore>>, shared: Arc<Shared>, mut gate: Gate) {
    let builder = Arc::new(builder(&shared.settings.limits));
    let mut stage = gate.stage.clone();
    loop {
        let next = async {
            let accepted = accept(&socket).await;
            (accepted, gate.place().await)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            _ = stage.wait_for(|stage| *stage != Stage::Running) => return,
        };
        let Some((place, overflow)) = place else { return };
        let accepted = match accepted {
            Ok(accepted) => accepted,
            Err(e) => {
                // Out of file descriptors, most likely: it gets better when connections end, not by asking faster.
                tracing::warn!(error = %e, "a connection could not be taken");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        shared.stats.accepted.fetch_add(1, Ordering::Relaxed);
        if overflow {
            shared.stats.overflowed.fetch_add(1, Ordering::Relaxed);
        }
        let task = ConnectionTask {
            listener: index,
            tls: tls.clone(),
            shared: Arc::clone(&shared),
            builder: Arc::clone(&builder),
            stage: gate.stage.clone(),
            overflow,
        };
        let hold = gate.hold.clone();
        tokio::spawn(async move {
            task.run(accepted).await;
            drop((place, hold));
        });
        gate.stage.borrow_and_update();
    }
}

async fn accept(socket: &Socket) -> io::Result<Accepted> {
    match socket {
        Socket::Tcp(listener) => listener.accept().await.map(|(stream, peer)| Accepted::Tcp(stream, peer)),
        Socket::Unix(listener, _) => listener.accept().await.map(|(stream, _)| Accepted::Unix(stream)),
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    // Times are kept by the guarded stream; hyper keeps sizes.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(limits.header_bytes as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.header_bytes)
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// One connection, from its socket to its end.
struct ConnectionTask {
    listener: usize,
    tls: Option<Arc<TlsStore>>,
    shared: Arc<Shared>,
    builder: Arc<auto::Builder<TokioExecutor>>,
    stage: watch::Receiver<Stage>,
    overflow: bool,
}

impl ConnectionTask {
    async fn run(mut self, accepted: Accepted) {
        let stats = Arc::clone(&self.shared.stats);
        stats.open.fetch_add(1, Ordering::Relaxed);
        let mut connection = Connection { listener: self.listener, ..Connection::default() };
        let wire = match accepted {
            Accepted::Unix(stream) => {
                connection.unix_user = stream.peer_cred().ok().map(|cred| cred.uid());
                Some(Wire::Unix(stream))
            }
            Accepted::Tcp(stream, peer) => {
                connection.remote = Some(peer);
                let _ = stream.set_nodelay(true);
                match self.tls.clone() {
                    None => Some(Wire::Tcp(stream)),
                    Some(tls) => self.handshake(&tls, stream, &mut connection).await,
                }
            }
        };
        if let Some(wire) = wire {
            self.converse(wire, connection).await;
        }
        stats.open.fetch_sub(1, Ordering::Relaxed);
    }

    /// `None`: no handshake came about.
    async fn handshake(&mut self, tls: &TlsStore, stream: TcpStream, connection: &mut Connection) -> Option<Wire> {
        let acceptor = TlsAcceptor::from(tls.current());
        let limit = self.shared.settings.limits.handshake;
        let shaken = async {
            let mut first = [0u8; 1];
            let seen = stream.peek(&mut first).await?;
            // A TLS record of the handshake begins with 22; HTTP begins with a letter.
            if seen == 1 && first[0].is_ascii_alphabetic() {
                answer_plainly(stream).await;
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            acceptor.accept(stream).await
        };
        let shaken = tokio::select! {
            shaken = timeout(limit, shaken) => shaken,
            _ = self.stage.wait_for(|stage| *stage != Stage::Running) => return None,
        };
        let Ok(Ok(stream)) = shaken else {
            self.shared.stats.failed_handshakes.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let (_, session) = stream.get_ref();
        connection.tls = session.protocol_version().and_then(|version| version.as_str());
        let chain = session.peer_certificates().unwrap_or_default();
        connection.certificates = chain.iter().map(|cert| Bytes::copy_from_slice(cert)).collect();
        Some(Wire::Tls(Box::new(stream)))
    }

    /// HTTP, until either side ends it.
    async fn converse(mut self, wire: Wire, connection: Connection) {
        let limits = &self.shared.settings.limits;
        let phase = Arc::new(Phase::default());
        let deadlines = Deadlines { header: limits.header, idle: limits.idle, write: limits.write };
        let io = TokioIo::new(Guarded::new(wire, Arc::clone(&phase), deadlines));
        let exchange = Exchange {
            shared: Arc::clone(&self.shared),
            connection: Arc::new(connection),
            phase,
            overflow: self.overflow,
        };
        let mut conversation = pin!(self.builder.serve_connection(io, exchange));
        tokio::select! {
            _ = conversation.as_mut() => return,
            _ = self.stage.wait_for(|stage| *stage != Stage::Running) => {}
        }
        conversation.as_mut().graceful_shutdown();
        tokio::select! {
            _ = conversation => {}
            _ = self.stage.wait_for(|stage| *stage == Stage::Cut) => {}
        }
    }
}

/// Tells a client that speaks HTTP to a TLS port what is wrong, and reads what it still sends, lest the answer be lost.
async fn answer_plainly(mut stream: TcpStream) {
    let _ = stream.write_all(NOT_TLS).await;
    let _ = stream.shutdown().await;
    let mut rest = [0u8; 4096];
    let drain = async {
        for _ in 0..16 {
            if !matches!(stream.read(&mut rest).await, Ok(1..)) {
                break;
            }
        }
    };
    let _ = timeout(Duration::from_secs(1), drain).await;
}

/// Reads certificates again when their files change.
async fn watch_files(tls: Arc<TlsStore>, mut stage: watch::Receiver<Stage>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            _ = stage.wait_for(|stage| *stage != Stage::Running) => return,
        }
        let store = Arc::clone(&tls);
        let outcome = tokio::task::spawn_blocking(move || store.reload_if_changed()).await;
        let file = tls.certificate().display();
        match outcome {
            Ok(Some(Ok(()))) => tracing::info!(certificate = %file, "the certificate was read again"),
            Ok(Some(Err(e))) => {
                let cause = std::error::Error::source(&e).map(ToString::to_string).unwrap_or_default();
                tracing::error!(certificate = %file, error = %e, %cause, "the certificate was not changed: the old one stays");
            }
            Ok(None) | Err(_) => {}
        }
    }
}
