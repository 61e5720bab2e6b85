//! Over pipes in memory, in paused time.

use std::convert::Infallible;

use bytes::Bytes;
use dewdrop_api::door;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper::client::conn::http2::{self, SendRequest};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::*;

const LONG: Duration = Duration::from_secs(24 * 3600);

/// A body that never ends.
struct Endless;

impl Body for Endless {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Pending
    }
}

/// What was agreed on when the client was greeted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speech {
    Http1,
    Http2,
}

/// A connection to a server like the proxy, which has a short answer and an endless one.
fn connected(speech: Speech) -> (DuplexStream, JoinHandle<bool>) {
    let (ours, theirs) = duplex(1 << 16);
    let serving = tokio::spawn(async move {
        let traffic = Traffic::default();
        let begins = traffic.clone();
        let service = service_fn(move |request: Request<_>| {
            let under_way = begins.begin();
            let body = if request.uri().path() == "/watch" {
                BoxBody::new(Endless)
            } else {
                BoxBody::new(Full::new(Bytes::from_static(b"short")))
            };
            async move { Ok::<_, Infallible>(Response::new(under_way.flows(body))) }
        });
        let theirs = TokioIo::new(theirs);
        match speech {
            Speech::Http1 => {
                let connection = door::http1(Duration::from_secs(30)).serve_connection(theirs, service);
                traffic.serve(Box::pin(connection.with_upgrades()), |it| it.graceful_shutdown()).await.is_ok()
            }
            Speech::Http2 => {
                let connection = door::http2(10).serve_connection(theirs, service);
                traffic.serve(Box::pin(connection), |it| it.graceful_shutdown()).await.is_ok()
            }
        }
    });
    (ours, serving)
}

/// After how long a connection ends; not at all is a failure.
async fn ends_after(serving: JoinHandle<bool>) -> Duration {
    let began = Instant::now();
    timeout(LONG, serving).await.expect("it stays for ever").unwrap();
    began.elapsed()
}

async fn speaks_h2(stream: DuplexStream) -> SendRequest<Empty<Bytes>> {
    let (send, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    send
}

fn ask(path: &str) -> Request<Empty<Bytes>> {
    Request::get(format!("http://proxy{path}")).body(Empty::new()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn whoever_never_asks_goes_whatever_he_has_said() {
    let (http1, http2) = (Speech::Http1, Speech::Http2);
    for (speech, said) in [
        (http1, ""),
        (http1, "G"),
        (http1, "GET / HTTP/1.1\r\nhost: x\r\n"),
        (http2, ""),
        (http2, "PRI * HTTP/2.0\r\n"),
        (http2, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ] {
        let (mut stream, serving) = connected(speech);
        stream.write_all(said.as_bytes()).await.unwrap();
        let after = ends_after(serving).await;
        assert!(after <= FIRST * 2, "{speech:?}, {said:?}: {after:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn pings_alone_keep_nobody() {
    let (stream, serving) = connected(Speech::Http2);
    let _asks_nothing = speaks_h2(stream).await;
    let after = ends_after(serving).await;
    assert!(after <= FIRST * 2, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_has_asked_may_pause() {
    let (stream, serving) = connected(Speech::Http2);
    let mut send = speaks_h2(stream).await;
    for _ in 0..10 {
        let answer = send.send_request(ask("/")).await.unwrap();
        assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "short");
        sleep(PAUSE - Duration::from_secs(1)).await;
    }
    let after = ends_after(serving).await;
    assert!(after <= PAUSE * 2, "{after:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_flows_is_no_silence() {
    let (stream, serving) = connected(Speech::Http2);
    let mut send = speaks_h2(stream).await;
    let watch = send.send_request(ask("/watch")).await.unwrap();
    sleep(LONG).await;
    assert!(!serving.is_finished());
    drop(watch);
    assert!(ends_after(serving).await <= PAUSE * 2);
}

#[tokio::test(start_paused = true)]
async fn the_same_over_http_1() {
    let (mut stream, serving) = connected(Speech::Http1);
    stream.write_all(b"GET /watch HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    sleep(LONG).await;
    assert!(!serving.is_finished());
    let mut head = [0; 12];
    stream.read_exact(&mut head).await.unwrap();
    assert_eq!(&head, b"HTTP/1.1 200");
}
