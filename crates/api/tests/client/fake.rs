//! A server that gives the answers it was told to, one after the other, and remembers what it was asked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

type Told = Arc<Mutex<Vec<String>>>;
type Answers = Arc<Mutex<std::vec::IntoIter<String>>>;

pub struct Fake {
    address: Option<SocketAddr>,
    told: Told,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A certificate authority, a server certificate for 127.0.0.1 and vault.internal, and a client's.
pub struct Pki {
    folder: tempfile::TempDir,
}

pub fn reply(status: u16, body: &str) -> String {
    format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
}

pub fn redirect(target: &str) -> String {
    format!("HTTP/1.1 307 X\r\nLocation: {target}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
}

impl Fake {
    pub async fn plain(answers: Vec<String>) -> Self {
        Self::listen(None, answers).await
    }

    pub async fn tls(pki: &Pki, ask_client: bool, answers: Vec<String>) -> Self {
        Self::listen(Some(pki.acceptor(ask_client)), answers).await
    }

    async fn listen(tls: Option<TlsAcceptor>, answers: Vec<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (told, answers): (Told, Answers) = (Told::default(), Arc::new(Mutex::new(answers.into_iter())));
        let remembered = Arc::clone(&told);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (told, answers) = (Arc::clone(&told), Arc::clone(&answers));
                match &tls {
                    None => serve(stream, &told, &answers).await,
                    Some(tls) => {
                        if let Ok(stream) = tls.accept(stream).await {
                            serve(stream, &told, &answers).await;
                        }
                    }
                }
            }
        });
        Self { address: Some(address), told: remembered, task }
    }

    pub async fn unix(path: &Path, answers: Vec<String>) -> Self {
        let listener = UnixListener::bind(path).unwrap();
        let told = Told::default();
        let remembered = Arc::clone(&told);
        let answers: Answers = Arc::new(Mutex::new(answers.into_iter()));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &told, &answers).await;
            }
        });
        Self { address: None, told: remembered, task }
    }

    pub fn http(&self) -> String {
        format!("http://{}", self.address.unwrap())
    }

    pub fn https(&self) -> String {
        format!("https://{}", self.address.unwrap())
    }

    pub fn asked(&self) -> Vec<String> {
        self.told.lock().unwrap().clone()
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, told: &Told, answers: &Answers) {
    let Some(request) = request(&mut stream).await else {
        // Not HTTP: what a plain server says to a TLS client.
        let _ = stream
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n")
            .await;
        return;
    };
    told.lock().unwrap().push(request);
    let answer = answers.lock().unwrap().next();
    if let Some(answer) = answer {
        let _ = stream.write_all(answer.as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

/// The head of a request, and as much body as it announces.
async fn request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut text = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        let count = stream.read(&mut chunk).await.ok().filter(|c| *c > 0)?;
        text.extend_from_slice(&chunk[..count]);
        if !text.first()?.is_ascii_uppercase() {
            return None;
        }
        let all = String::from_utf8_lossy(&text).into_owned();
        if let Some((head, body)) = all.split_once("\r\n\r\n") {
            let announced =
                head.lines().find_map(|l| l.to_lowercase().strip_prefix("content-length: ")?.parse::<usize>().ok());
            if body.len() >= announced.unwrap_or(0) {
                return Some(all);
            }
        }
    }
}

impl Pki {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        std::fs::create_dir(folder.path().join("cas")).unwrap();
        std::fs::write(folder.path().join("cas/ca.pem"), ca.pem()).unwrap();
        for (name, hosts) in [("server", vec!["127.0.0.1", "vault.internal"]), ("client", vec!["client"])] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(hosts.into_iter().map(String::from).collect::<Vec<_>>()).unwrap();
            std::fs::write(folder.path().join(format!("{name}.pem")), params.signed_by(&key, &ca).unwrap().pem())
                .unwrap();
            std::fs::write(folder.path().join(format!("{name}.key")), key.serialize_pem()).unwrap();
        }
        Self { folder }
    }

    pub fn ca(&self) -> PathBuf {
        self.ca_folder().join("ca.pem")
    }

    pub fn ca_folder(&self) -> PathBuf {
        self.folder.path().join("cas")
    }

    pub fn client(&self) -> (PathBuf, PathBuf) {
        (self.folder.path().join("client.pem"), self.folder.path().join("client.key"))
    }

    fn acceptor(&self, ask_client: bool) -> TlsAcceptor {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let cert = |file: PathBuf| CertificateDer::from_pem_file(file).unwrap();
        let builder = rustls::ServerConfig::builder();
        let builder = if ask_client {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(cert(self.ca())).unwrap();
            let verifier = rustls::server::WebPkiClientVerifier::builder(Arc::new(roots)).build().unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        let key = PrivateKeyDer::from_pem_file(self.folder.path().join("server.key")).unwrap();
        let config = builder.with_single_cert(vec![cert(self.folder.path().join("server.pem"))], key).unwrap();
        TlsAcceptor::from(Arc::new(config))
    }
}
