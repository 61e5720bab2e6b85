//! What is no HTTP, or comes too slowly.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::common::http::read_answer;
use crate::common::state::state;
use crate::{assert_unharmed, server};

/// What is no HTTP: the connection may end without an answer, and must end.
#[test]
fn what_is_no_http() {
    let mut server =
        server("http_read_header_timeout = \"1s\"\nhttp_read_timeout = \"1s\"\nhttp_idle_timeout = \"1s\"");
    let before = state(server.http(), &server.root);
    let http = server.http();
    let head = "GET /v1/kv/app HTTP/1.1\r\nHost: x\r\n";
    let flood: String = (0..5000).map(|n| format!("X-{n}: y\r\n")).collect();
    let root = format!("X-Vault-Token: {}\r\n", server.root);
    let requests: Vec<(&str, Vec<u8>)> = vec![
        ("5,000 headers", format!("{head}{flood}\r\n").into()),
        ("a header of 1 MiB", format!("{head}X-A: {}\r\n\r\n", "y".repeat(1 << 20)).into()),
        ("a path of 1 MiB", format!("GET /v1/{} HTTP/1.1\r\nHost: x\r\n\r\n", "y".repeat(1 << 20)).into()),
        ("no host", b"GET /v1/kv/app HTTP/1.1\r\n\r\n".to_vec()),
        ("no version", b"GET /v1/kv/app\r\n\r\n".to_vec()),
        ("a NUL in the path", b"GET /v1/kv/\0app HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("bytes in the path", b"GET /v1/kv/\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n".to_vec()),
        ("a header without a name", format!("{head}: y\r\n\r\n").into()),
        ("two lengths", format!("POST /v1/kv/app HTTP/1.1\r\nHost: x\r\n{root}Content-Length: 2\r\nContent-Length: 9\r\n\r\n{{}}").into()),
        ("length and chunks", format!("POST /v1/kv/app HTTP/1.1\r\nHost: x\r\n{root}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /v1/kv/b HTTP/1.1\r\n\r\n").into()),
        ("a chunk that is none", format!("POST /v1/kv/app HTTP/1.1\r\nHost: x\r\n{root}Transfer-Encoding: chunked\r\n\r\nzz\r\n{{}}\r\n").into()),
        ("a length that is none", format!("POST /v1/kv/app HTTP/1.1\r\nHost: x\r\n{root}Content-Length: -1\r\n\r\n").into()),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec()),
        ("noise", (0..4096u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect()),
        ("a body that never comes", format!("POST /v1/kv/app HTTP/1.1\r\nHost: x\r\n{root}Content-Length: 99\r\n\r\n{{").into()),
        ("a header that never ends", format!("{head}X-A: y").into()),
    ];
    for (what, bytes) in &requests {
        let answer = http.raw(bytes);
        assert!(
            answer.status == 0 || (400..500).contains(&answer.status),
            "{what}: {} {}",
            answer.status,
            answer.text()
        );
    }
    trickled(http.open());
    assert_unharmed(&mut server, &before);
}

/// Slow loris: a byte now and then does not keep the connection open.
fn trickled(mut stream: TcpStream) {
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    stream.write_all(b"GET /v1/kv/app HTTP/1.1\r\nHost: x\r\nX-A: ").unwrap();
    let mut byte = [0u8; 1];
    for _ in 0..200 {
        if stream.write_all(b"y").is_err() {
            return;
        }
        match stream.read(&mut byte) {
            Ok(0) => return,
            Ok(_) => {
                let answer = read_answer(&mut stream);
                assert!(answer.status == 0 || answer.whole.len() < 4096);
                return;
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return,
        }
    }
    panic!("a client that sends a byte now and then keeps its connection");
}
