use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dewdrop_core::{FakeClock, Moment};
use http_body_util::{BodyExt, Either, Full};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;

const WHOLE: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
const CHUNKS: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
const LAST: &[u8] = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok";
const OPEN: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n";

/// An API server that answers `/N` by the N-th of these, and counts its connections.
struct Stand {
    api: Arc<ApiServer>,
    clock: Arc<FakeClock>,
    connections: Arc<AtomicUsize>,
    _dir: tempfile::TempDir,
}

impl Stand {
    async fn open() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("token"), "t").unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let tls = rustls::ServerConfig::builder().with_no_client_auth();
        let tls = TlsAcceptor::from(Arc::new(tls.with_single_cert(vec![made.cert.der().clone()], key).unwrap()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("https://{}", listener.local_addr().unwrap());
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(serve(tls.clone(), stream));
            }
        });
        let (authorities, token) = (dir.path().join("ca"), dir.path().join("token"));
        let clock = FakeClock::at(Moment(0));
        let api = ApiServer::open(Place { address, authorities, token }, clock.clone()).unwrap();
        Self { api, clock, connections, _dir: dir }
    }

    async fn ask(&self, number: usize) -> Response<Answer> {
        let mut request = Request::new(Either::Left(Full::new(Bytes::new())));
        *request.uri_mut() = format!("/{number}").parse().unwrap();
        self.api.ask(request).await.unwrap()
    }

    async fn read(&self, number: usize) -> Bytes {
        self.ask(number).await.into_body().collect().await.unwrap().to_bytes()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn serve(tls: TlsAcceptor, stream: TcpStream) {
    let mut stream = tls.accept(stream).await.unwrap();
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while let Ok(read @ 1..) = stream.read(&mut buffer).await {
        head.extend_from_slice(&buffer[..read]);
        if head.ends_with(b"\r\n\r\n") {
            let number = usize::from(head[b"GET /".len()] - b'0');
            let answer = [WHOLE, CHUNKS, LAST, OPEN][number];
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
            if answer == LAST {
                return stream.shutdown().await.unwrap();
            }
            head.clear();
        }
    }
}

#[tokio::test]
async fn a_connection_is_asked_again_when_its_answer_was_read() {
    let stand = Stand::open().await;
    for number in [0, 1, 0, 1, 1, 0] {
        assert_eq!(stand.read(number).await, "ok");
    }
    assert_eq!(stand.connections(), 1);
    let both = (stand.ask(0).await, stand.ask(1).await);
    assert_eq!(stand.connections(), 2, "one that is being read is not asked");
    drop(both);
}

#[tokio::test]
async fn a_connection_whose_answer_was_not_read_to_its_end_is_closed() {
    let stand = Stand::open().await;
    let mut answer = stand.ask(3).await;
    let piece = answer.body_mut().frame().await.unwrap().unwrap();
    assert_eq!(piece.into_data().unwrap(), "o");
    drop(answer);
    assert_eq!(stand.read(0).await, "ok");
    assert_eq!(stand.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_was_closed_or_waited_too_long_is_not_asked() {
    let stand = Stand::open().await;
    for expected in 1..4 {
        assert_eq!(stand.read(2).await, "ok");
        assert_eq!(stand.connections(), expected);
    }
    assert_eq!(stand.read(0).await, "ok");
    assert_eq!(stand.read(0).await, "ok");
    assert_eq!(stand.connections(), 4);
    stand.clock.advance(Duration::from_secs(60));
    assert_eq!(stand.read(0).await, "ok");
    assert_eq!(stand.connections(), 5);
}
