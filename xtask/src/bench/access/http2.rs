//! A client as kubectl and controllers are: one connection of HTTP/2 with many requests on it. It is curl.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use crate::tools;

/// Who asks, and whom.
pub struct Client {
    /// `https://HOST:PORT`
    pub server: String,
    /// The folder with `ca.pem`, `cert.pem` and `key.pem`.
    pub home: PathBuf,
}

/// Requests on one connection whose answers have begun and have no end. Ends with this.
pub struct Streams {
    curl: Child,
    begun: Arc<AtomicUsize>,
    news: mpsc::Receiver<()>,
}

// === impl Client ===

impl Client {
    pub fn new(server: String, home: PathBuf) -> Result<Self> {
        tools::bring("curl", "curl", "asking the access proxy over HTTP/2")?;
        Ok(Self { server, home })
    }

    /// Asks so often, with so many requests at once. Any answer but a good one is an error.
    pub fn get(&self, path: &str, times: usize, at_once: usize) -> Result<()> {
        let mut curl = self.curl(path, times, at_once);
        let out = curl.args(["-o", "/dev/null", "-w", "%{http_version} %{http_code}\n"]).output()?;
        let told = String::from_utf8_lossy(&out.stdout);
        let good = told.lines().filter(|line| *line == "2 200").count();
        ensure!(good == times, "{good} of {times} answers are good: {}", String::from_utf8_lossy(&out.stderr));
        Ok(())
    }

    /// Asks so often, at once, for what has no end; answers when all has begun.
    pub fn begin(&self, path: &str, streams: usize) -> Result<Streams> {
        let mut curl = self.curl(path, streams, streams);
        let mut curl = curl.args(["-o", "/dev/null", "--dump-header", "-"]).stdout(Stdio::piped()).spawn()?;
        let lines = BufReader::new(curl.stdout.take().context("no output")?);
        let begun: Arc<AtomicUsize> = Arc::default();
        let (all, news) = (begun.clone(), mpsc::channel());
        std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                if line.trim_end() == "HTTP/2 200" && all.fetch_add(1, Ordering::Relaxed) + 1 == streams {
                    let _ = news.0.send(());
                }
            }
        });
        let streams = Streams { curl, begun, news: news.1 };
        streams.await_all()?;
        Ok(streams)
    }

    fn curl(&self, path: &str, times: usize, at_once: usize) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--no-progress-meter", "--http2"]);
        curl.args(["--parallel", "--parallel-max", &at_once.to_string()]);
        // To curl as such an API server writes with blanks for people.
        curl.args(["--user-agent", "kubectl", "--header", "Accept: application/json"]);
        for (option, name) in [("--cacert", "ca.pem"), ("--cert", "cert.pem"), ("--key", "key.pem")] {
            curl.arg(option).arg(self.home.join(name));
        }
        // What the API server does not know in a query it does not look at.
        let mark = if path.contains('?') { '&' } else { '?' };
        curl.arg(format!("{}{path}{mark}turn=[1-{times}]", self.server));
        curl
    }
}

// === impl Streams ===

impl Streams {
    fn await_all(&self) -> Result<()> {
        let late = || format!("after {} streams no other began", self.begun.load(Ordering::Relaxed));
        self.news.recv_timeout(Duration::from_secs(60)).with_context(late)
    }
}

impl Drop for Streams {
    fn drop(&mut self) {
        drop(self.curl.kill());
        drop(self.curl.wait());
    }
}
