//! Slow, large and many.

use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::rig::*;
use crate::config::{JsonLimits, Limits};
use crate::http::json::{TooComplex, check};

const SHORT: Duration = Duration::from_millis(60);

#[tokio::test]
async fn a_header_that_trickles_in_is_408() {
    let mut settings = listener();
    settings.limits.header = SHORT;
    let server = start(settings);
    let answer = server.say("GET / HTTP/1.1\r\nHost: x\r\nX-A:").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(&format!("Content-Length: {}", body.len())), "{answer}");
    assert!(serde_json::from_str::<serde_json::Value>(body).is_ok());
    // A second request on the connection is watched like the first.
    let mut stream = server.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    one_answer(&mut stream).await;
    let answer = exchange(&mut stream, "GE").await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    // And whoever says nothing at all is not talked to.
    assert_eq!(server.say("").await, "");
}

#[tokio::test]
async fn a_body_that_trickles_in_is_408() {
    let mut settings = listener();
    settings.limits.body = SHORT;
    let server = start(settings);
    let answer = server.say("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{\"da").await;
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("connection: close"), "{answer}");
    assert_eq!(server.stats.requests.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn an_idle_connection_is_closed_and_a_working_one_is_not() {
    let mut settings = listener();
    settings.limits.idle = SHORT;
    settings.limits.header = SHORT;
    let server = start(settings);
    let mut stream = server.connect().await;
    stream.write_all(b"POST /slow HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    server.toy.begun.notified().await;
    tokio::time::sleep(SHORT * 3).await;
    server.toy.go.notify_one();
    let answer = exchange(&mut stream, "").await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("slow"), "{answer}");
}

#[tokio::test]
async fn an_idle_http2_connection_is_closed() {
    let mut settings = listener();
    settings.limits.idle = SHORT;
    let server = start(settings);
    let io = hyper_util::rt::TokioIo::new(server.connect().await);
    let executor = hyper_util::rt::TokioExecutor::new();
    let (client, connection) =
        hyper::client::conn::http2::handshake::<_, _, http_body_util::Empty<bytes::Bytes>>(executor, io).await.unwrap();
    tokio::time::timeout(Duration::from_secs(20), connection).await.expect("the connection ends").ok();
    drop(client);
}

#[tokio::test]
async fn bodies_over_the_limit_are_413() {
    let mut settings = listener();
    settings.limits.body_bytes = Some(100_000);
    let server = start(settings);
    let large = "x".repeat(150_000);
    let announced = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 150000\r\n\r\n{large}");
    let chunked = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{large}\r\n0\r\n\r\n",
        large.len()
    );
    let waiting = "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 150000\r\n\r\n".to_owned();
    for request in [announced, chunked, waiting] {
        let answer = server.say(request).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.ends_with("{\"errors\":[\"http: request body too large\"]}\n"), "{answer}");
    }
    let fits = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 100000\r\n\r\n{}",
        &large[..100_000]
    );
    assert!(server.say(fits).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.toy.last.lock().clone().unwrap().body.len(), 100_000);
    let chunks: String = (0..50).map(|_| format!("{:x}\r\n{}\r\n", 2000, &large[..2000])).collect();
    let fits = format!(
        "POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
    );
    assert!(server.say(fits).await.starts_with("HTTP/1.1 200 "));
    assert_eq!(server.toy.last.lock().clone().unwrap().body, &large.as_bytes()[..100_000]);
}

#[tokio::test]
async fn long_headers_pass_and_longer_ones_are_431() {
    let server = start(listener());
    let ask = |length: usize| {
        format!("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Vault-Token: {}\r\n\r\n", "a".repeat(length))
    };
    for length in [10_000, 60_000] {
        assert!(server.say(ask(length)).await.starts_with("HTTP/1.1 200 "), "{length}");
    }
    let answer = server.say(ask(70_000)).await;
    assert!(answer.starts_with("HTTP/1.1 431 ") || answer.is_empty(), "{answer}");
    let many: String = (0..200).map(|i| format!("X-{i}: a\r\n")).collect();
    assert!(server.say(format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n")).await.starts_with("HTTP/1.1 431 "));
}

#[tokio::test]
async fn a_full_listener_says_503_and_recovers() {
    let mut settings = listener();
    settings.limits.connections = 1;
    let server = start(settings);
    let mut first = server.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    one_answer(&mut first).await;
    let answer = server.say("GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("retry-after: 1"), "{answer}");
    drop(first);
    until("the place is free", || server.stats.open.load(Ordering::Relaxed) == 0).await;
    let answer = server.say("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(server.stats.overflowed.load(Ordering::Relaxed), 1);
}

#[test]
fn json_is_weighed_before_it_is_parsed() {
    let usual = Limits::default().json;
    let list = |n: usize| format!("{{\"a\":[{}]}}", vec!["\"x\""; n].join(","));
    assert_eq!(check(list(900).as_bytes(), usual), Ok(()));
    assert_eq!(check(list(100_000).as_bytes(), usual), Err(TooComplex::Strings));
    let deep = format!("{}{}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(check(deep.as_bytes(), usual), Err(TooComplex::Depth));
    assert_eq!(check(vec![b','; 2_000_000].as_slice(), usual), Err(TooComplex::Memory));
    let open = JsonLimits { strings: None, memory: None };
    assert_eq!(check(list(100_000).as_bytes(), open), Ok(()));
    // Signs within strings do not count, escaped quotes do not end them, and cut-off text does no harm.
    assert_eq!(check(br#"{"a":"[[[[\"{{{{,,,,"}"#, JsonLimits { strings: Some(2), memory: Some(300) }), Ok(()));
    assert_eq!(check(b"\"\\", usual), Ok(()));
}
