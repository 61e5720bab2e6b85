//! The agent's numbers over HTTP, for Prometheus. Nothing secret is among them, and nothing can be changed here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dewdrop_api::door::{Door, Guest};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::time::timeout;

/// The most that are served at one time; more wait.
const AT_ONCE: usize = 8;
/// One connection, however often it asks.
const PATIENCE: Duration = Duration::from_secs(60);
const HEADERS: Duration = Duration::from_secs(5);

/// Who knows the numbers.
pub trait Numbers: Send + Sync + 'static {
    /// As a text of Prometheus.
    fn text(&self) -> String;
}

/// Opens the address.
///
/// # Errors
/// It cannot be listened on.
pub async fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await.map_err(|e| io::Error::new(e.kind(), format!("--metrics-address {address}: {e}")))
}

/// Serves for ever.
pub async fn serve(listener: TcpListener, numbers: Arc<dyn Numbers>) -> Infallible {
    serve_within(listener, numbers, HEADERS).await
}

async fn serve_within(listener: TcpListener, numbers: Arc<dyn Numbers>, headers: Duration) -> Infallible {
    Door::new(listener, AT_ONCE).each(|guest| answered(guest, numbers.clone(), headers)).await
}

async fn answered(guest: Guest, numbers: Arc<dyn Numbers>, headers: Duration) {
    let answer = service_fn(move |request| {
        let answer = answer(&request, numbers.as_ref());
        async { Ok::<_, Infallible>(answer) }
    });
    let mut server = hyper::server::conn::http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(headers).max_buf_size(16 << 10);
    // Whoever hangs up has what they wanted.
    drop(timeout(PATIENCE, server.serve_connection(TokioIo::new(guest.stream), answer)).await);
}

fn answer(request: &Request<Incoming>, numbers: &dyn Numbers) -> Response<Full<Bytes>> {
    let (status, text) = match (request.uri().path(), request.method()) {
        ("/metrics", &Method::GET) => (StatusCode::OK, numbers.text()),
        ("/metrics", _) => (StatusCode::METHOD_NOT_ALLOWED, "GET it\n".into()),
        _ => (StatusCode::NOT_FOUND, "there is /metrics and nothing else\n".into()),
    };
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    let kind = hyper::header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(hyper::header::CONTENT_TYPE, kind);
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;

    use super::*;

    struct One;

    impl Numbers for One {
        fn text(&self) -> String {
            "one 1\n".into()
        }
    }

    #[tokio::test]
    async fn numbers_are_read_and_nothing_else() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        let served = tokio::spawn(serve_within(listener, Arc::new(One), Duration::from_millis(200)));
        let ask = async |line: &str| {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream
                .write_all(format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
                .await
                .unwrap();
            let mut text = String::new();
            stream.read_to_string(&mut text).await.unwrap();
            text
        };
        let told = ask("GET /metrics").await;
        assert!(told.starts_with("HTTP/1.1 200") && told.ends_with("\r\n\r\none 1\n"), "{told}");
        assert!(ask("POST /metrics").await.starts_with("HTTP/1.1 405"));
        assert!(ask("GET /").await.starts_with("HTTP/1.1 404"));
        let held: Vec<_> = futures_util::future::join_all((0..AT_ONCE).map(|_| TcpStream::connect(address))).await;
        let late = ask("GET /metrics").await;
        assert!(late.starts_with("HTTP/1.1 200"), "those that say nothing are let go");
        drop(held);
        served.abort();
    }
}
