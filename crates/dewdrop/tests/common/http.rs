//! The smallest HTTP/1.1 client that can also send what no honest client sends.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use serde_json::Value;

/// What came back. `status` is 0 when the server closed the connection without an answer.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All of it, head and body.
    pub whole: Vec<u8>,
    head: usize,
}

/// Sends each request on a connection of its own.
#[derive(Clone, Copy)]
pub struct Http {
    /// The server's port.
    pub port: u16,
    /// The address that requests come from.
    pub source: Ipv4Addr,
}

impl Http {
    /// To a port of this machine.
    pub fn to(port: u16) -> Self {
        Self { port, source: Ipv4Addr::LOCALHOST }
    }

    /// The same from another address of the loopback.
    pub fn from(self, second: u8, last: u8) -> Self {
        Self { source: Ipv4Addr::new(127, 0, second, last), ..self }
    }

    /// Sends a request; `token` may be empty.
    pub fn send(&self, method: &str, path: &str, token: &str, body: &[u8]) -> Answer {
        self.with(method, path, &[("X-Vault-Token", token)], body)
    }

    /// Sends JSON, or nothing when it is null.
    pub fn json(&self, method: &str, path: &str, token: &str, body: &Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.send(method, path, token, body.as_bytes())
    }

    /// Sends a request with headers; those with an empty value are left out.
    pub fn with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut bytes = format!("{method} /v1/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n");
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            bytes.push_str(&format!("{name}: {value}\r\n"));
        }
        if method == "PATCH" && !headers.iter().any(|(name, _)| *name == "Content-Type") {
            bytes.push_str("Content-Type: application/merge-patch+json\r\n");
        }
        bytes.push_str(&format!("Content-Length: {}\r\n\r\n", body.len()));
        self.raw(&[bytes.as_bytes(), body].concat())
    }

    /// Sends bytes as they are and reads until the server closes.
    pub fn raw(&self, bytes: &[u8]) -> Answer {
        let mut stream = self.open();
        // A server that refuses early may close before all is sent; its answer counts all the same.
        let _ = stream.write_all(bytes);
        read_answer(&mut stream)
    }

    /// A connection.
    pub fn open(&self) -> TcpStream {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let stream = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&stream, &SocketAddrV4::new(self.source, 0)).unwrap();
        connect(&stream, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, self.port)).unwrap();
        let stream = TcpStream::from(stream);
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }
}

/// Reads until the server closes the connection.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut whole = Vec::new();
    let _ = stream.read_to_end(&mut whole);
    let head = whole.windows(4).position(|w| w == b"\r\n\r\n").map_or(whole.len(), |at| at + 4);
    let line = String::from_utf8_lossy(&whole[..head]);
    let status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
    Answer { status, whole, head }
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        let body = &self.whole[self.head..];
        let head = String::from_utf8_lossy(&self.whole[..self.head]).to_ascii_lowercase();
        if head.contains("transfer-encoding: chunked") {
            dechunked(body)
        } else {
            String::from_utf8_lossy(body).into_owned()
        }
    }

    /// The body as JSON; null when it is none.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.text()).unwrap_or_default()
    }

    /// A text within the JSON body, by pointer.
    pub fn at(&self, pointer: &str) -> String {
        match self.value().pointer(pointer) {
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
            None => panic!("{pointer} is missing in {} {}", self.status, self.text()),
        }
    }

    /// The answer itself, which must be a success.
    pub fn ok(self) -> Self {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, self.text());
        self
    }
}

fn dechunked(mut body: &[u8]) -> String {
    let mut out = Vec::new();
    while let Some(at) = body.windows(2).position(|w| w == b"\r\n") {
        let size = usize::from_str_radix(&String::from_utf8_lossy(&body[..at]), 16).unwrap_or(0);
        if size == 0 || at + 2 + size > body.len() {
            break;
        }
        out.extend_from_slice(&body[at + 2..at + 2 + size]);
        body = &body[(at + 4 + size).min(body.len())..];
    }
    String::from_utf8_lossy(&out).into_owned()
}
