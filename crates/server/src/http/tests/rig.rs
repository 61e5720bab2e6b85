//! A server in this process with a toy handler, and a client that writes bytes.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;

use crate::config::{Access, Bind, Limits, Listener, ResponseHeaders};
use crate::http::{Bound, Drained, Handler, Request, Response, Stats, bind, serve};

/// Answers by path; what it saw can be asked.
#[derive(Default)]
pub struct Toy {
    /// `/slow` waits for this.
    pub go: Notify,
    /// `/slow` has begun.
    pub begun: Notify,
    /// `/slow` came to its end.
    pub ended: Notify,
    pub finished: AtomicUsize,
    pub last: parking_lot::Mutex<Option<Request>>,
}

/// The handler is shared with the test.
pub struct Shared(pub Arc<Toy>);

impl Handler for Shared {
    fn handle(&self, request: Request) -> BoxFuture<'static, Response> {
        let toy = Arc::clone(&self.0);
        Box::pin(async move {
            *toy.last.lock() = Some(request.clone());
            match request.target.path() {
                "/slow" => {
                    toy.begun.notify_one();
                    toy.go.notified().await;
                    toy.finished.fetch_add(1, Ordering::SeqCst);
                    toy.ended.notify_one();
                    Response::json(StatusCode::OK, "slow")
                }
                "/panic" => panic!("the secret is hunter2"),
                "/missing" => Response::errors(StatusCode::NOT_FOUND, &[]),
                "/pieces" => {
                    let pieces = ["a", "b", "c"].map(|p| Ok(bytes::Bytes::from_static(p.as_bytes())));
                    let mut response = Response::empty(StatusCode::OK);
                    response.body = crate::http::Body::pieces(futures_util::stream::iter(pieces));
                    response
                }
                _ => Response::json(StatusCode::OK, request.body),
            }
        })
    }
}

/// A running server.
pub struct Server {
    pub toy: Arc<Toy>,
    pub stats: Arc<Stats>,
    pub address: std::net::SocketAddr,
    pub stop: Option<oneshot::Sender<()>>,
    pub task: JoinHandle<Drained>,
}

/// A plain listener on a free port with short times.
pub fn listener() -> Listener {
    Listener {
        bind: Bind::Tcp(([127, 0, 0, 1], 0).into()),
        tls: None,
        limits: Limits::default(),
        forwarded: None,
        headers: ResponseHeaders::default(),
        access: Access::default(),
    }
}

pub fn start(listener: Listener) -> Server {
    start_bound(bind(&[listener]).expect("bind"), Duration::from_secs(20))
}

pub fn start_bound(bound: Vec<Bound>, grace: Duration) -> Server {
    let (toy, stats) = (Arc::new(Toy::default()), Arc::new(Stats::default()));
    let address = bound[0].address().unwrap_or_else(|| ([0, 0, 0, 0], 0).into());
    let (stop, stopped) = oneshot::channel::<()>();
    let handler = Arc::new(Shared(Arc::clone(&toy)));
    let task = tokio::spawn(serve(bound, handler, Arc::clone(&stats), grace, async {
        let _ = stopped.await;
    }));
    Server { toy, stats, address, stop: Some(stop), task }
}

impl Server {
    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connect")
    }

    /// Sends bytes and reads until the server closes.
    pub async fn say(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        exchange(&mut stream, bytes).await
    }

    pub async fn drain(mut self) -> Drained {
        drop(self.stop.take());
        self.task.await.expect("the server ends")
    }
}

/// Writes, reads to the end. A reset after the answer counts as the end.
pub async fn exchange(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), bytes: impl AsRef<[u8]>) -> String {
    let _ = stream.write_all(bytes.as_ref()).await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// Reads one answer with a `Content-Length`.
pub async fn one_answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut answer = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&answer).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.strip_prefix("content-length: "))
                .map_or(0, |n| n.parse().expect("a length"));
            if body.len() >= length {
                return text;
            }
        }
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).await.expect("read"), 1, "closed after {text:?}");
        answer.push(byte[0]);
    }
}

/// Waits for a counter, which is set by another task.
pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.unwrap_or_else(|_| panic!("never came: {what}"));
}
