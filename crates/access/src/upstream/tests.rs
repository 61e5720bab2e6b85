use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use dewdrop_core::{FakeClock, Moment};
use http_body_util::{BodyExt, Either, Full};
use hyper::service::service_fn;
use hyper_util::rt::TokioExecutor;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Frame};

use super::shared::STREAMS;
use super::*;
use crate::body::{Broken, whole_if_short};

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
        Self::speaking(&[HTTP1]).await
    }

    /// What it speaks over HTTP/2 is the path that it was asked for, for ever.
    async fn speaking(protocols: &[&[u8]]) -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("ca"), made.cert.pem()).unwrap();
        std::fs::write(dir.path().join("token"), "t").unwrap();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let tls = rustls::ServerConfig::builder().with_no_client_auth();
        let mut tls = tls.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
        tls.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let tls = TlsAcceptor::from(Arc::new(tls));
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
        self.api.ask(asking(&format!("/{number}"))).await.unwrap()
    }

    async fn read(&self, number: usize) -> Bytes {
        self.ask(number).await.into_body().collect().await.unwrap().to_bytes()
    }

    async fn watch(&self, path: &str) -> Response<Answer> {
        self.api.watch(asking(path)).await.unwrap()
    }

    /// So many watches that begin at once.
    async fn watch_often(&self, path: &str, times: usize) -> Vec<Response<Answer>> {
        let mut begun = tokio::task::JoinSet::new();
        for _ in 0..times {
            let (api, request) = (self.api.clone(), asking(path));
            begun.spawn(async move { api.watch(request).await.unwrap() });
        }
        begun.join_all().await
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

fn asking(path: &str) -> Request<Asked> {
    let mut request = Request::new(Either::Left(Full::new(Bytes::new())));
    *request.uri_mut() = path.parse().unwrap();
    request
}

async fn serve(tls: TlsAcceptor, stream: TcpStream) {
    let mut stream = tls.accept(stream).await.unwrap();
    if stream.get_ref().1.alpn_protocol() == Some(HTTP2) {
        let service = service_fn(async |request: Request<Incoming>| {
            Ok::<_, Infallible>(Response::new(Parrot(Bytes::from(format!("{:100}", request.uri().path())))))
        });
        let mut builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        // The connection ends with the client.
        drop(builder.max_concurrent_streams(100).serve_connection(TokioIo::new(stream), service).await);
        return;
    }
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

/// Says the same without an end, as fast as it is heard.
struct Parrot(Bytes);

impl Body for Parrot {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(Some(Ok(Frame::data(self.0.clone()))))
    }
}

async fn first_word(watch: &mut Response<Answer>) -> String {
    let piece = watch.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    String::from_utf8(piece.to_vec()).unwrap().trim().to_owned()
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
async fn a_short_answer_is_given_whole_and_to_nobody_whose_grant_has_ended() {
    let (stand, over) = (Stand::open().await, CancellationToken::new());
    let whole = whole_if_short(stand.ask(0).await.into_body(), &over).await.unwrap();
    assert!(matches!(whole, Either::Left(bytes) if bytes == "ok"));
    let open = whole_if_short(stand.ask(3).await.into_body(), &over).await.unwrap();
    assert!(matches!(open, Either::Right(_)), "what has no known length goes through as it comes");
    let answer = stand.ask(0).await.into_body();
    over.cancel();
    assert!(matches!(whole_if_short(answer, &over).await, Err(Broken::Over)));
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

#[tokio::test]
async fn watches_share_a_connection_until_it_has_no_place() {
    let stand = Stand::speaking(&[HTTP2, HTTP1]).await;
    let mut watches = Vec::new();
    for number in 0..STREAMS {
        watches.push(stand.watch(&format!("/{number}")).await);
    }
    assert_eq!(stand.connections(), 1);
    // None of them was read so far, and each brings small pieces without an end: that holds up no other.
    let last = watches.last_mut().unwrap();
    assert_eq!(first_word(last).await, format!("/{}", STREAMS - 1));
    let mut bytes = 0;
    while bytes < 1 << 20 {
        bytes += last.body_mut().frame().await.unwrap().unwrap().into_data().unwrap().len();
    }
    let mut next = stand.watch("/next").await;
    assert_eq!((stand.connections(), first_word(&mut next).await), (2, "/next".into()));
    watches.swap_remove(0);
    stand.watch("/again").await;
    assert_eq!(stand.connections(), 2, "the place of one that ended is taken again");
    drop((watches, next));
    stand.api.shared.tidy();
    assert!(stand.api.shared.take().is_none(), "a connection without a watch is closed");
}

#[tokio::test]
async fn watches_that_begin_at_once_share_what_the_first_one_made() {
    let stand = Stand::speaking(&[HTTP2, HTTP1]).await;
    let begun = stand.watch_often("/at-once", STREAMS * 2).await;
    assert_eq!((stand.connections(), begun.len()), (2, STREAMS * 2));
    let stand = Stand::open().await;
    let begun = stand.watch_often("/3", 8).await;
    assert_eq!((stand.connections(), begun.len()), (8, 8));
}

#[tokio::test]
async fn an_api_server_that_speaks_http_1_alone_is_watched_as_well() {
    let stand = Stand::open().await;
    let mut watch = stand.watch("/3").await;
    assert_eq!(first_word(&mut watch).await, "o");
    assert_eq!(stand.watch("/1").await.into_body().collect().await.unwrap().to_bytes(), "ok");
    assert_eq!(stand.connections(), 2);
}
