//! TLS: versions, client certificates, reload, and HTTP where TLS is spoken.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dewdrop_testkit::pki::{Ca, Issued};
use rcgen::KeyPair;
use rustls::{ClientConfig, NamedGroup, RootCertStore};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use tempfile::TempDir;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::rig::*;
use crate::config::{ClientCertificates, Listener, TlsFiles};
use crate::http::bind;

/// An authority, and files of a server's certificate from it.
struct Pki {
    dir: TempDir,
    authority: Ca,
}

impl Pki {
    fn new() -> Self {
        let pki = Self { dir: tempfile::tempdir().unwrap(), authority: Ca::new("authority") };
        std::fs::write(pki.path("ca.pem"), pki.authority.pem()).unwrap();
        pki.write_server();
        pki
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn issue(&self, name: &str) -> Issued {
        self.authority.issue(name, |_| {})
    }

    /// A new certificate of the server; its DER form.
    fn write_server(&self) -> Vec<u8> {
        let server = self.authority.server();
        std::fs::write(self.path("key.pem"), server.key.serialize_pem()).unwrap();
        std::fs::write(self.path("cert.pem"), server.certificate.pem()).unwrap();
        server.certificate.der().to_vec()
    }

    fn listener(&self, clients: ClientCertificates) -> Listener {
        let mut listener = listener();
        listener.tls = Some(TlsFiles {
            certificate: self.path("cert.pem"),
            key: self.path("key.pem"),
            clients,
            client_authorities: Some(self.path("ca.pem")),
            tls12: true,
            tls13: true,
            tls12_suites: vec!["TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384".into()],
        });
        listener
    }

    fn client(&self, with: Option<Issued>, version: &'static rustls::SupportedProtocolVersion) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.der().to_vec().into()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        match with {
            None => builder.with_no_client_auth(),
            Some(issued) => {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(issued.key.serialize_der()));
                builder.with_client_auth_cert(vec![issued.certificate.der().clone()], key).unwrap()
            }
        }
    }
}

async fn connect(server: &Server, config: ClientConfig) -> std::io::Result<TlsStream<tokio::net::TcpStream>> {
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect(ServerName::try_from("localhost").unwrap(), server.connect().await).await
}

const ASK: &str = "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

#[tokio::test]
async fn shakes_hands_with_a_post_quantum_group_and_tells_the_version() {
    let pki = Pki::new();
    let server = start(pki.listener(ClientCertificates::Asked));
    let mut stream = connect(&server, pki.client(None, &rustls::version::TLS13)).await.unwrap();
    let group = stream.get_ref().1.negotiated_key_exchange_group().map(|g| g.name());
    assert_eq!(group, Some(NamedGroup::X25519MLKEM768));
    assert!(exchange(&mut stream, ASK).await.starts_with("HTTP/1.1 200 "));
    let peer = server.toy.last.lock().clone().unwrap().peer;
    assert_eq!((peer.connection.tls, peer.connection.certificates.len()), (Some("TLSv1_3"), 0));
    let mut stream = connect(&server, pki.client(None, &rustls::version::TLS12)).await.unwrap();
    assert_eq!(
        format!("{:?}", stream.get_ref().1.negotiated_cipher_suite().unwrap().suite()),
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"
    );
    assert!(exchange(&mut stream, ASK).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn http2_is_chosen_by_alpn() {
    let pki = Pki::new();
    let server = start(pki.listener(ClientCertificates::Off));
    let mut config = pki.client(None, &rustls::version::TLS13);
    config.alpn_protocols = vec![b"h2".to_vec()];
    let stream = connect(&server, config).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut client, connection) =
        hyper::client::conn::http2::handshake(hyper_util::rt::TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let request =
        http::Request::builder().uri("https://localhost/").body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
    assert_eq!(client.send_request(request).await.unwrap().status(), 200);
}

#[tokio::test]
async fn a_client_certificate_reaches_the_handler_whoever_signed_it() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let server = start(pki.listener(ClientCertificates::Asked));
    for issuer in [&pki, &stranger] {
        let issued = issuer.issue("me");
        let certificate = issued.certificate.der().clone();
        let mut stream = connect(&server, pki.client(Some(issued), &rustls::version::TLS13)).await.unwrap();
        assert!(exchange(&mut stream, ASK).await.starts_with("HTTP/1.1 200 "));
        let peer = server.toy.last.lock().clone().unwrap().peer;
        assert_eq!(peer.connection.certificates, [certificate.as_ref()]);
    }
}

#[tokio::test]
async fn a_required_certificate_must_come_from_the_right_authority() {
    let (pki, stranger) = (Pki::new(), Pki::new());
    let server = start(pki.listener(ClientCertificates::Required));
    for (with, welcome) in [(None, false), (Some(stranger.issue("me")), false), (Some(pki.issue("me")), true)] {
        // In TLS 1.3 the client hears of the refusal with its first read.
        let answer = match connect(&server, pki.client(with, &rustls::version::TLS13)).await {
            Ok(mut stream) => exchange(&mut stream, ASK).await,
            Err(_) => String::new(),
        };
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), welcome, "{answer}");
    }
    assert_eq!(server.stats.failed_handshakes.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn certificates_are_exchanged_while_connections_live() {
    let pki = Pki::new();
    let bound = bind(&[pki.listener(ClientCertificates::Off)]).unwrap();
    let tls = bound[0].tls().unwrap();
    let server = start_bound(bound, Duration::from_secs(5));
    let mut old = connect(&server, pki.client(None, &rustls::version::TLS13)).await.unwrap();
    assert!(tls.reload_if_changed().is_none());
    // Half of an exchange is no exchange: the old certificate stays until the new one is whole.
    std::fs::write(pki.path("key.pem"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(tls.reload().is_err());
    std::fs::write(pki.path("cert.pem"), "nothing").unwrap();
    assert!(tls.reload().is_err());
    connect(&server, pki.client(None, &rustls::version::TLS13)).await.unwrap();
    let fresh = pki.write_server();
    tls.reload_if_changed().expect("the files have changed").unwrap();
    let new = connect(&server, pki.client(None, &rustls::version::TLS13)).await.unwrap();
    assert_eq!(new.get_ref().1.peer_certificates().unwrap()[0].as_ref(), fresh);
    assert!(exchange(&mut old, ASK).await.starts_with("HTTP/1.1 200 "), "an open connection goes on");
}

#[tokio::test]
async fn http_on_a_tls_port_is_told_so_and_silence_is_cut() {
    let pki = Pki::new();
    let mut settings = pki.listener(ClientCertificates::Off);
    settings.limits.handshake = Duration::from_millis(60);
    let server = start(settings);
    let answer = server.say(ASK).await;
    assert_eq!(answer, "HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n");
    assert_eq!(server.say("").await, "");
    assert_eq!(server.say([0x16u8, 3, 1]).await, "");
}

#[tokio::test]
async fn mistakes_in_tls_files_name_the_file() {
    let pki = Pki::new();
    let mut settings = pki.listener(ClientCertificates::Off);
    if let Some(tls) = &mut settings.tls {
        tls.certificate = pki.path("none.pem");
    }
    let error = bind(&[settings]).unwrap_err();
    let chain = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    assert!(chain.contains("none.pem") && chain.contains("127.0.0.1"), "{chain}");
}
