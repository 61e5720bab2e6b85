//! HTTP/1.1, HTTP/2, unix sockets, panics, hang-ups and the end.

use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::AsyncWriteExt;

use super::rig::*;
use crate::config::Bind;
use crate::http::bind;

#[tokio::test]
async fn keeps_connections_and_adds_the_usual_headers() {
    let server = start(listener());
    let mut stream = server.connect().await;
    for _ in 0..3 {
        stream.write_all(b"POST /echo?a=b HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi").await.unwrap();
        let answer = one_answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nhi"), "{answer}");
        for header in ["cache-control: no-store", "strict-transport-security: max-age=31536000", "date: "] {
            assert!(answer.contains(header), "{header} is not in {answer}");
        }
    }
    let seen = server.toy.last.lock().clone().unwrap();
    assert_eq!((seen.target.query(), seen.peer.address.unwrap().to_string()), (Some("a=b"), "127.0.0.1".to_owned()));
    assert_eq!(uuid::Uuid::parse_str(&seen.id).unwrap().get_version_num(), 4);
    assert_eq!((server.stats.accepted.load(Ordering::Relaxed), server.stats.requests.load(Ordering::Relaxed)), (1, 3));
}

#[tokio::test]
async fn odd_requests_get_a_4xx() {
    let server = start(listener());
    for (bytes, status) in [
        ("GET / HTTP/1.1\r\n\r\n", "400"),
        ("GARBAGE\r\n\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: x\r\nX-Vault-Token: a\x01b\r\n\r\n", "400"),
        ("GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", "400"),
        ("POST / HTTP/1.1\r\nHost: x\r\nExpect: the-impossible\r\nContent-Length: 1\r\n\r\nx", "417"),
        ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"),
    ] {
        let answer = server.say(bytes).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{bytes:?}: {answer}");
    }
    assert!(server.say("GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"));
}

#[tokio::test]
async fn a_client_may_wait_for_100_continue() {
    let server = start(listener());
    let mut stream = server.connect().await;
    stream.write_all(b"PUT /e HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n").await.unwrap();
    assert!(one_answer(&mut stream).await.starts_with("HTTP/1.1 100 Continue"));
    stream.write_all(b"ok").await.unwrap();
    assert!(one_answer(&mut stream).await.ends_with("\r\n\r\nok"));
}

#[tokio::test]
async fn speaks_http2_without_an_upgrade() {
    let server = start(listener());
    let io = TokioIo::new(server.connect().await);
    let (mut client, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    tokio::spawn(connection);
    let ask = |path: &str| {
        http::Request::builder().uri(format!("http://x{path}")).body(Full::new(Bytes::from_static(b"two"))).unwrap()
    };
    let (one, two) = tokio::join!(client.clone().send_request(ask("/echo")), client.send_request(ask("/missing")));
    assert_eq!(one.unwrap().into_body().collect().await.unwrap().to_bytes(), "two");
    assert_eq!(two.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(server.stats.accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_body_can_come_in_pieces() {
    let server = start(listener());
    let answer = server.say("GET /pieces HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(
        answer.contains("transfer-encoding: chunked") && answer.ends_with("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"),
        "{answer}"
    );
}

#[tokio::test]
async fn head_has_no_body() {
    let server = start(listener());
    let answer = server.say("HEAD /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 404") && answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_panic_is_answered_and_counted_and_tells_nothing() {
    let server = start(listener());
    let answer = server.say("GET /panic HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    let id = server.toy.last.lock().clone().unwrap().id;
    assert!(answer.starts_with("HTTP/1.1 500") && answer.contains(&*id) && !answer.contains("hunter2"), "{answer}");
    assert_eq!(server.stats.panics.load(Ordering::Relaxed), 1);
    assert!(server.say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn a_client_that_hangs_up_does_not_undo_the_work() {
    for method in ["POST", "GET"] {
        let server = start(listener());
        let mut stream = server.connect().await;
        stream.write_all(format!("{method} /slow HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        server.toy.begun.notified().await;
        drop(stream);
        until("the hang-up is noticed", || server.stats.abandoned.load(Ordering::Relaxed) == 1).await;
        server.toy.go.notify_one();
        server.toy.ended.notified().await;
        assert_eq!(server.toy.finished.load(Ordering::SeqCst), 1, "{method}");
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_answered_and_goes_on() {
    let mut settings = listener();
    settings.limits.request = Duration::from_millis(50);
    let server = start(settings);
    let answer = server.say("POST /slow HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("retry-after: 5"), "{answer}");
    server.toy.go.notify_one();
    server.toy.ended.notified().await;
    assert_eq!(server.stats.overdue.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_end_waits_for_requests_and_closes_idle_connections() {
    let server = start(listener());
    let mut idle = server.connect().await;
    idle.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    one_answer(&mut idle).await;
    let mut busy = server.connect().await;
    busy.write_all(b"POST /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.toy.begun.notified().await;
    let (toy, address) = (server.toy.clone(), server.address);
    let drained = tokio::spawn(server.drain());
    assert_eq!(exchange(&mut idle, "").await, "", "idle connections are closed at once");
    until("the socket is closed", || std::net::TcpStream::connect(address).is_err()).await;
    toy.go.notify_one();
    let answer = exchange(&mut busy, "").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("slow"), "{answer}");
    assert!(drained.await.unwrap().clean);
}

#[tokio::test]
async fn the_end_waits_for_work_whose_client_is_gone_but_not_for_ever() {
    let server = start_bound(bind(&[listener()]).unwrap(), Duration::from_millis(200));
    let mut stream = server.connect().await;
    stream.write_all(b"POST /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.toy.begun.notified().await;
    drop(stream);
    until("the hang-up is noticed", || server.stats.abandoned.load(Ordering::Relaxed) == 1).await;
    assert!(!server.drain().await.clean);
}

#[tokio::test]
async fn serves_unix_sockets_with_their_mode() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    let mut settings = listener();
    settings.bind = Bind::Unix { path: path.clone(), mode: 0o660, user: None, group: None };
    // What a dead process left is no obstacle.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start(settings.clone());
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o660);
    let mut stream = tokio::net::UnixStream::connect(&path).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    one_answer(&mut stream).await;
    let peer = server.toy.last.lock().clone().unwrap().peer;
    assert_eq!((peer.address, peer.connection.unix_user), (None, Some(rustix::process::getuid().as_raw())));
    assert!(bind(&[settings]).is_err(), "a living process keeps its socket");
    drop(stream);
    assert!(server.drain().await.clean);
    assert!(!path.exists());
}
