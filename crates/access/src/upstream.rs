//! The API server: connections to it, and the proxy's own token.

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderValue, Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::body::Body;

const CONNECT: Duration = Duration::from_secs(10);
const IDLE: Duration = Duration::from_secs(30);
/// Kubelet writes a new token long before the old one ends.
const READ_TOKEN: Duration = Duration::from_secs(60);

/// Where an API server is.
#[derive(Debug, Clone)]
pub struct Place {
    /// `https://10.96.0.1:443`
    pub address: String,
    /// Its authorities, in PEM.
    pub authorities: PathBuf,
    /// The file with the proxy's own ServiceAccount token.
    pub token: PathBuf,
}

/// Why there is no way to the API server.
#[derive(Debug, thiserror::Error)]
pub enum WayError {
    /// A setting.
    #[error("the API server's {what}: {why}")]
    Setting {
        /// Which one.
        what: &'static str,
        /// Why it is of no use.
        why: String,
    },
    /// The network, or TLS.
    #[error("the API server does not answer: {0}")]
    Connect(#[from] io::Error),
    /// HTTP.
    #[error("the API server does not answer: {0}")]
    Http(#[from] hyper::Error),
    /// HTTP, out of the pool.
    #[error("the API server does not answer: {0}")]
    Pool(#[from] hyper_util::client::legacy::Error),
}

/// The API server.
pub struct ApiServer {
    dial: Dial,
    pool: Client<Dial, Body>,
    token: ArcSwap<HeaderValue>,
    place: Place,
}

// === impl ApiServer ===

impl ApiServer {
    /// Reads certificates and token.
    ///
    /// # Errors
    /// One of them is of no use.
    pub fn open(place: Place) -> Result<Arc<Self>, WayError> {
        let dial = Dial::to(&place)?;
        let mut pool = Client::builder(TokioExecutor::new());
        pool.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE).pool_max_idle_per_host(256);
        let token = ArcSwap::from_pointee(token(&place)?);
        Ok(Arc::new(Self { pool: pool.build(dial.clone()), dial, token, place }))
    }

    /// The proxy's own identity. It may impersonate, and do nothing else.
    pub fn token(&self) -> Arc<HeaderValue> {
        self.token.load_full()
    }

    /// Reads the token anew now and then.
    pub async fn keep_token(self: Arc<Self>) {
        loop {
            tokio::time::sleep(READ_TOKEN).await;
            match token(&self.place) {
                Ok(new) => self.token.store(Arc::new(new)),
                Err(error) => tracing::warn!(%error, "the last token is used on"),
            }
        }
    }

    /// Asks over a pooled connection.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&self, mut request: Request<Body>) -> Result<Response<Incoming>, WayError> {
        *request.uri_mut() = self.dial.uri(request.uri())?;
        Ok(self.pool.request(request).await?)
    }

    /// Asks over a connection of its own, which may become something else than HTTP.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask_alone(&self, mut request: Request<Body>) -> Result<Response<Incoming>, WayError> {
        let stream = self.dial.connect().await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the API server broke");
            }
        });
        let host = self.dial.host.clone();
        request.headers_mut().insert(http::header::HOST, host);
        Ok(sender.send_request(request).await?)
    }
}

fn token(place: &Place) -> Result<HeaderValue, WayError> {
    let bad = |why: String| WayError::Setting { what: "token", why };
    let text = std::fs::read_to_string(&place.token).map_err(|e| bad(format!("{}: {e}", place.token.display())))?;
    let text = zeroize::Zeroizing::new(text);
    let mut value = HeaderValue::from_str(&format!("Bearer {}", text.trim())).map_err(|_| bad("no token".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Makes connections.
#[derive(Clone)]
pub struct Dial {
    tls: TlsConnector,
    name: ServerName<'static>,
    at: String,
    host: HeaderValue,
}

// === impl Dial ===

impl Dial {
    fn to(place: &Place) -> Result<Self, WayError> {
        let bad = |what, why: String| WayError::Setting { what, why };
        let uri: Uri = place.address.parse().map_err(|_| bad("address", "it is no address".into()))?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let host = host.ok_or_else(|| bad("address", "it must start with https://".into()))?;
        let plain = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(plain.clone()).map_err(|e| bad("address", e.to_string()))?;
        let port = uri.port_u16().unwrap_or(443);
        let pem = std::fs::read(&place.authorities)
            .map_err(|e| bad("authorities", format!("{}: {e}", place.authorities.display())))?;
        let mut config = rustls::ClientConfig::builder()
            .with_root_certificates(crate::tls::roots(&pem).map_err(|why| bad("authorities", why))?)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let at = if plain.contains(':') { format!("[{plain}]:{port}") } else { format!("{plain}:{port}") };
        let host = HeaderValue::from_str(&at).map_err(|e| bad("address", e.to_string()))?;
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), name, at, host })
    }

    fn uri(&self, target: &Uri) -> Result<Uri, WayError> {
        let path = target.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let uri = format!("https://{}{path}", self.at);
        uri.parse().map_err(|_| WayError::Setting { what: "address", why: "the path cannot be asked for".into() })
    }

    async fn connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        let stream = timeout(CONNECT, TcpStream::connect(&self.at)).await.map_err(late)??;
        let _ = stream.set_nodelay(true);
        timeout(CONNECT, self.tls.connect(self.name.clone(), stream)).await.map_err(late)?
    }
}

impl tower::Service<Uri> for Dial {
    type Response = Way;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Way>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let dial = self.clone();
        Box::pin(async move { Ok(Way(TokioIo::new(dial.connect().await?))) })
    }
}

/// A pooled connection.
pub struct Way(TokioIo<TlsStream<TcpStream>>);

impl Connection for Way {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl hyper::rt::Read for Way {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Way {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }
}
