//! For tests: a server that answers as it is told, and keeps what it was asked.

use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// One request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `METHOD PATH`.
    pub line: String,
    /// The token; empty without one.
    pub bearer: String,
    /// The header `Accept`.
    pub accept: String,
    /// The body; null when it is no JSON.
    pub body: Value,
}

type Answer = Box<dyn Fn(&Asked) -> (u16, String) + Send + Sync>;

/// The server.
pub struct FakeApi {
    /// Its address.
    pub url: String,
    asked: Mutex<Vec<Asked>>,
    answer: Mutex<Answer>,
}

impl FakeApi {
    /// Starts it.
    pub async fn start(answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) -> Arc<Self> {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api = Arc::new(Self { url, asked: Mutex::default(), answer: Mutex::new(Box::new(answer)) });
        let serving = api.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let api = serving.clone();
                tokio::spawn(async move { api.serve(stream).await });
            }
        });
        api
    }

    /// From now on it answers so.
    pub fn answers(&self, answer: impl Fn(&Asked) -> (u16, String) + Send + Sync + 'static) {
        *self.answer.lock() = Box::new(answer);
    }

    /// What it was asked since the last call.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock())
    }

    async fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        let Some(asked) = read(&mut stream).await else { return };
        // As the API server of Kubernetes does.
        let is_refused = asked.line.ends_with("/openid/v1/jwks") && !asked.accept.contains("application/jwk-set+json");
        let (status, body) = if is_refused { (406, String::new()) } else { (self.answer.lock())(&asked) };
        self.asked.lock().push(asked);
        let head = format!(
            "HTTP/1.1 {status} x\r\ncontent-length: {}\r\nlocation: /elsewhere\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        let _ = stream.shutdown().await;
    }
}

async fn read(stream: &mut BufReader<TcpStream>) -> Option<Asked> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok().filter(|length| *length > 0)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    let header = |name: &str| {
        lines
            .iter()
            .filter_map(|line| line.split_once(": "))
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.to_owned())
    };
    let length = header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some(Asked {
        line: lines.first()?.trim_end_matches(" HTTP/1.1").to_owned(),
        bearer: header("authorization").unwrap_or_default().trim_start_matches("Bearer ").to_owned(),
        accept: header("accept").unwrap_or_default(),
        body: serde_json::from_slice(&body).unwrap_or_default(),
    })
}
