//! A server that knows one grant, and an API server that knows one pod, one long list and silent watches.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::Result;
use bytes::Bytes;
use dewdrop_core::SystemClock;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, Issuer, KeyPair, SanType};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

pub const CLUSTER: &str = "prod";
const GRANT: &str = "g1";
/// Pods of the list, and bytes of each.
const PODS: usize = 10_000;
const POD: usize = 2200;
/// Go's TLS gets its HTTP in pieces of this size, each of which becomes a record.
const RECORD: usize = 4096;
/// An API server needs so long to write one of them (22 MB in 0.21 s, as measured).
const WRITING: Duration = Duration::from_micros(38);
const HTTP2: &[u8] = b"h2";
/// As API servers have it.
const STREAMS: u32 = 100;

/// All that stands around a proxy.
pub struct Town {
    /// The server's address.
    pub vault: String,
    /// The API server's address.
    pub api: String,
    authority: Arc<Authority>,
    lines: Arc<AtomicUsize>,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Town {
    /// Begins to serve; `dir` gets what a proxy reads.
    pub async fn open(dir: &Path) -> Result<Self> {
        let authority = Arc::new(Authority::new()?);
        std::fs::write(dir.join("ca.crt"), &authority.pem)?;
        std::fs::write(dir.join("token"), "token-of-the-proxy")?;
        let (vault, api) = (TcpListener::bind("127.0.0.1:0").await?, TcpListener::bind("127.0.0.1:0").await?);
        let town = Self {
            vault: format!("http://{}", vault.local_addr()?),
            api: format!("https://{}", api.local_addr()?),
            authority: authority.clone(),
            lines: Arc::default(),
        };
        let (chain, key) = authority.certify(SanType::IpAddress([127, 0, 0, 1].into()))?;
        let mut tls = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key)?;
        tls.alpn_protocols = vec![HTTP2.to_vec(), b"http/1.1".to_vec()];
        tokio::spawn(serve_api(api, TlsAcceptor::from(Arc::new(tls))));
        tokio::spawn(serve_vault(vault, authority, town.lines.clone()));
        Ok(town)
    }

    /// How a person with the grant connects.
    pub fn client_tls(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.authority.pem.as_bytes())?)?;
        let (chain, key) = self.authority.certify(SanType::URI(format!("dewdrop://access/{GRANT}").try_into()?))?;
        let mut config = ClientConfig::builder().with_root_certificates(roots).with_client_auth_cert(chain, key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Lines of the record that the server got so far.
    pub fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }
}

impl Authority {
    fn new() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::new(params, key), pem })
    }

    fn certify(&self, name: SanType) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![name];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok((vec![certificate.der().clone()], PrivatePkcs8KeyDer::from(key.serialize_der()).into()))
    }

    /// The proxy's own certificate.
    fn sign(&self, csr: &str) -> Result<String> {
        let csr = CertificateSigningRequestParams::from_pem(csr)?;
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        Ok(params.signed_by(&csr.public_key, &self.issuer)?.pem())
    }
}

async fn serve_vault(listener: TcpListener, authority: Arc<Authority>, lines: Arc<AtomicUsize>) {
    while let Ok((stream, _)) = listener.accept().await {
        let (authority, lines) = (authority.clone(), lines.clone());
        let service = service_fn(move |request| {
            let (authority, lines) = (authority.clone(), lines.clone());
            async move { Ok::<_, Infallible>(answer(request, &authority, &lines).await) }
        });
        let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
        tokio::spawn(connection);
    }
}

async fn answer(request: Request<Incoming>, authority: &Authority, lines: &AtomicUsize) -> Response<Full<Bytes>> {
    let (path, query) = (request.uri().path().to_owned(), request.uri().query().unwrap_or_default().to_owned());
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let data = match path.rsplit('/').next() {
        Some("live") => {
            if query.contains("version=1") {
                tokio::time::sleep(Duration::from_secs(3)).await;
            }
            json!({
                "version": "1", "certificate_authority": authority.pem,
                "grants": [{
                    "id": GRANT, "user": "ann", "role": "look", "ends_at": "2099-01-01T00:00:00Z", "groups": ["devs"],
                    "scope": {
                        "clusters": [CLUSTER], "namespaces": ["shop", "bank"],
                        "rules": [{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }],
                    },
                }],
            })
        }
        Some("certificate") => match authority.sign(body["csr"].as_str().unwrap_or_default()) {
            Ok(certificate) => json!({ "certificate": certificate, "issuing_ca": authority.pem }),
            Err(_) => return status(StatusCode::BAD_REQUEST),
        },
        _ => {
            lines.fetch_add(body["lines"].as_array().map_or(0, Vec::len), Ordering::Relaxed);
            return status(StatusCode::NO_CONTENT);
        }
    };
    Response::new(json!({ "data": data }).to_string().into())
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = code;
    response
}

async fn serve_api(listener: TcpListener, tls: TlsAcceptor) {
    let pod = json!({ "kind": "Pod", "metadata": { "name": "web", "note": "x".repeat(POD) } }).to_string();
    let mut whole = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n", pod.len());
    let _ = write!(whole, "Audit-Id: 0\r\nCache-Control: no-cache, private\r\n\r\n{pod}");
    let answers = Arc::new([whole.into_bytes(), long_list()]);
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answers) = (tls.clone(), answers.clone());
        tokio::spawn(async move {
            // A connection that breaks is the client's to notice.
            let _ = api_connection(stream, tls, &answers).await;
        });
    }
}

/// As Go sends it: a chunk for each object.
fn long_list() -> Vec<u8> {
    let mut text =
        String::from("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..PODS {
        let _ = write!(text, "{POD:x}\r\n{}\r\n", "p".repeat(POD));
    }
    text += "0\r\n\r\n";
    text.into_bytes()
}

async fn api_connection(stream: TcpStream, tls: TlsAcceptor, answers: &[Vec<u8>; 2]) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = tls.accept(stream).await?;
    if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
        let service = service_fn(async |_| Ok::<_, Infallible>(Response::new(Silence)));
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        let served = builder.max_concurrent_streams(STREAMS).serve_connection(TokioIo::new(stream), service);
        return served.await.map_err(std::io::Error::other);
    }
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await?;
        head.extend_from_slice(&buffer[..read]);
        if read == 0 {
            return Ok(());
        }
        if !head.ends_with(b"\r\n\r\n") {
            continue;
        }
        let first = head.split(|byte| *byte == b'\r').next().map(String::from_utf8_lossy).unwrap_or_default();
        let [pod, list] = answers;
        if first.contains("watch=1") {
            stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await?;
        } else if first.contains("/bank/pods ") {
            for record in list.chunks(RECORD) {
                let clock = SystemClock::shared();
                let start = clock.steady();
                while clock.steady().saturating_sub(start) < WRITING {
                    std::hint::spin_loop();
                }
                stream.write_all(record).await?;
                stream.flush().await?;
            }
        } else {
            stream.write_all(pod).await?;
        }
        stream.flush().await?;
        head.clear();
    }
}

/// What a watch without news says.
struct Silence;

impl Body for Silence {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}
