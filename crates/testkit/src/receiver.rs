//! A receiver of webhooks on this machine, as simple as HTTP can be.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::Value;

/// What was told.
#[derive(Debug, Clone)]
pub struct Told {
    /// The head of the request.
    pub head: String,
    /// Its body as it came.
    pub raw: String,
    /// Its body as JSON.
    pub body: Value,
}

/// What a receiver answers: a status line, or nothing for as long as it lives.
pub type Answers = Box<dyn Fn(&Told) -> Option<&'static str> + Send + Sync>;

/// The receiver. It ends with the test's process.
pub struct Receiver {
    port: u16,
    told: Arc<Mutex<Vec<Told>>>,
}

impl Receiver {
    /// One that takes all.
    #[must_use]
    pub fn start() -> Self {
        Self::on(0, Box::new(|_| Some("204 No Content")))
    }

    /// One on a port of its own; 0: any.
    #[must_use]
    pub fn on(port: u16, answers: Answers) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let told: Arc<Mutex<Vec<Told>>> = Arc::default();
        let all = told.clone();
        let answers = Arc::new(answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (all, answers) = (all.clone(), answers.clone());
                std::thread::spawn(move || serve(stream, &all, &answers));
            }
        });
        Self { port, told }
    }

    /// Its address.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/hooks/T0", self.port)
    }

    /// All that it was told, also what it did not take.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().clone()
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        self.told.lock().len()
    }

    /// The events of that.
    #[must_use]
    pub fn events(&self) -> Vec<String> {
        self.told().iter().map(|told| told.body["event"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// A port on which nobody listens.
#[must_use]
pub fn dead_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn serve(mut stream: TcpStream, all: &Mutex<Vec<Told>>, answers: &Answers) {
    let mut bytes = Vec::new();
    let mut piece = [0u8; 4096];
    let told = loop {
        if let Some(told) = whole(&bytes) {
            break told;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return,
            Ok(read) => bytes.extend_from_slice(&piece[..read]),
        }
    };
    let answer = answers(&told);
    all.lock().push(told);
    match answer {
        Some(line) => {
            let _ = write!(stream, "HTTP/1.1 {line}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        }
        None => std::thread::sleep(Duration::from_secs(60)),
    }
}

fn whole(bytes: &[u8]) -> Option<Told> {
    let text = std::str::from_utf8(bytes).ok()?;
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    (body.len() >= length.unwrap_or(0)).then(|| Told {
        head: head.to_owned(),
        raw: body.to_owned(),
        body: serde_json::from_str(body).unwrap_or_default(),
    })
}

impl Told {
    /// A header of the request; empty when it is not there.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).next().unwrap_or_default()
    }
}
