//! The API server: connections to it, and the proxy's own token.

mod line;
mod pace;
mod shared;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use dewdrop_core::Clock;
use http::{HeaderValue, Request, Response, Uri, header};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub use self::line::Answer;
use self::line::{Idle, Line};
use self::pace::{Buffers, Paced};
use self::shared::Shared;
use crate::body::Asked;

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";
const CONNECT: Duration = Duration::from_secs(10);
/// Kubelet writes a new token long before the old one ends. And what a connection waits for ends later: a lane whose next moment
/// is this one need not be woken to hear of a later one, as it would be with each request.
const ROUND: Duration = Duration::from_secs(10);

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
}

/// The API server.
pub struct ApiServer {
    dial: Dial,
    idle: Arc<Idle>,
    shared: Shared,
    token: ArcSwap<HeaderValue>,
    place: Place,
}

// === impl ApiServer ===

impl ApiServer {
    /// Reads certificates and token.
    ///
    /// # Errors
    /// One of them is of no use.
    pub fn open(place: Place, clock: Arc<dyn Clock>) -> Result<Arc<Self>, WayError> {
        let dial = Dial::to(&place)?;
        let token = ArcSwap::from_pointee(token(&place)?);
        Ok(Arc::new(Self { dial, idle: Idle::new(clock), shared: Shared::default(), token, place }))
    }

    /// The proxy's own identity. It may impersonate, and do nothing else.
    pub fn token(&self) -> Arc<HeaderValue> {
        self.token.load_full()
    }

    /// Reads the token anew now and then, and closes connections that nobody needs.
    pub async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(ROUND).await;
            self.idle.tidy();
            self.shared.tidy();
            match token(&self.place) {
                Ok(new) => self.token.store(Arc::new(new)),
                Err(error) => tracing::warn!(%error, "the last token is used on"),
            }
        }
    }

    /// Asks over a connection that waits, or a new one. `request` has a path, no whole address.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask(&self, mut request: Request<Asked>) -> Result<Response<Answer>, WayError> {
        request.headers_mut().insert(header::HOST, self.dial.host.clone());
        while let Some(line) = self.idle.take() {
            match line.ask(request, &self.idle).await {
                Ok(answer) => return Ok(answer),
                // Closed just now, before anything was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        Box::pin(async { self.ask_over(self.dial.connect(Speech::Http1).await?, request).await }).await
    }

    /// Asks for news, over a connection that other watches use as well. `request` has a path, no whole address.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn watch(&self, mut request: Request<Asked>) -> Result<Response<Answer>, WayError> {
        let path = request.uri().clone();
        *request.uri_mut() = self.dial.whole(&path)?;
        while let Some((mut sender, place)) = self.shared.take() {
            match sender.try_send_request(request).await {
                Ok(answer) => return Ok(answer.map(|incoming| Answer::shared(incoming, place))),
                // Closed just now, before anything was sent.
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let turn = self.shared.turn().await;
        let (mut sender, place) = match self.shared.take() {
            Some(made_meanwhile) => made_meanwhile,
            None => {
                let stream = self.dial.connect(Speech::Http2).await?;
                let is_spoken = stream.get_ref().1.alpn_protocol() == Some(HTTP2);
                self.shared.note_speech(is_spoken);
                if !is_spoken {
                    drop(turn);
                    *request.uri_mut() = path;
                    request.headers_mut().insert(header::HOST, self.dial.host.clone());
                    return self.ask_over(stream, request).await;
                }
                self.shared.open(stream).await?
            }
        };
        drop(turn);
        Ok(sender.send_request(request).await?.map(|incoming| Answer::shared(incoming, place)))
    }

    async fn ask_over(&self, stream: TlsStream<Paced>, request: Request<Asked>) -> Result<Response<Answer>, WayError> {
        let line = Line::over(stream).await?;
        line.ask(request, &self.idle).await.map_err(|error| error.into_error().into())
    }

    /// Asks over a connection of its own, which may become something else than HTTP.
    ///
    /// # Errors
    /// There is no answer.
    pub async fn ask_alone(&self, mut request: Request<Asked>) -> Result<Response<Incoming>, WayError> {
        let stream = self.dial.connect(Speech::Http1).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to the API server broke");
            }
        });
        let host = self.dial.host.clone();
        request.headers_mut().insert(header::HOST, host);
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

/// What is offered to the API server (RFC 7301).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2, or else HTTP/1.1.
    Http2,
}

/// Makes connections.
struct Dial {
    http1: TlsConnector,
    http2: TlsConnector,
    name: ServerName<'static>,
    at: String,
    host: HeaderValue,
    buffers: Buffers,
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
        config.alpn_protocols = vec![HTTP1.to_vec()];
        let mut both = config.clone();
        both.alpn_protocols.insert(0, HTTP2.to_vec());
        let at = if plain.contains(':') { format!("[{plain}]:{port}") } else { format!("{plain}:{port}") };
        let host = HeaderValue::from_str(&at).map_err(|e| bad("address", e.to_string()))?;
        let [http1, http2] = [config, both].map(|config| TlsConnector::from(Arc::new(config)));
        Ok(Self { http1, http2, name, at, host, buffers: Buffers::default() })
    }

    /// The whole address of a path, as HTTP/2 wants it.
    fn whole(&self, path: &Uri) -> Result<Uri, WayError> {
        let path = path.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
        let uri = format!("https://{}{path}", self.at).parse();
        uri.map_err(|_| WayError::Setting { what: "address", why: "the path cannot be asked for".into() })
    }

    async fn connect(&self, speech: Speech) -> io::Result<TlsStream<Paced>> {
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "no connection in time");
        let stream = timeout(CONNECT, TcpStream::connect(&self.at)).await.map_err(late)??;
        let _ = stream.set_nodelay(true);
        let stream = Paced::new(stream, speech, self.buffers.clone());
        let tls = if speech == Speech::Http2 { &self.http2 } else { &self.http1 };
        timeout(CONNECT, tls.connect(self.name.clone(), stream)).await.map_err(late)?
    }
}

#[cfg(test)]
mod tests;
