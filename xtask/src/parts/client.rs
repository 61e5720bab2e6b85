//! A connection to an API server, or to the proxy in front of it: HTTP/1.1 over TLS with a client's certificate, as little
//! as a load needs.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Longer than any answer may take, so that a run ends.
const PATIENCE: Duration = Duration::from_secs(60);

/// Who asks, and whom.
#[derive(Clone)]
pub struct Way {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
    address: String,
}

/// One kept connection.
pub struct Line {
    stream: BufReader<StreamOwned<ClientConnection, TcpStream>>,
    address: String,
    /// The last answer is compressed.
    is_packed: bool,
}

/// How the end of a body is known.
enum Body {
    Length(u64),
    Chunks,
}

// === impl Way ===

impl Way {
    /// To `https://HOST:PORT`, with files in PEM.
    pub fn new(server: &str, ca: &Path, certificate: &Path, key: &Path) -> Result<Self> {
        let address = server.trim_start_matches("https://").to_owned();
        let (host, _) = address.rsplit_once(':').context("no port")?;
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(ca)? {
            roots.add(certificate?)?;
        }
        let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(certificate)?.collect();
        let key = PrivateKeyDer::from_pem_file(key)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let config = config.with_root_certificates(roots).with_client_auth_cert(chain?, key)?;
        Ok(Self { config: Arc::new(config), name: ServerName::try_from(host.to_owned())?, address })
    }

    /// Connects.
    pub fn open(&self) -> Result<Line> {
        let stream = TcpStream::connect(&self.address).with_context(|| format!("connect to {}", self.address))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let tls = ClientConnection::new(self.config.clone(), self.name.clone())?;
        let stream = BufReader::with_capacity(32 << 10, StreamOwned::new(tls, stream));
        Ok(Line { stream, address: self.address.clone(), is_packed: false })
    }
}

// === impl Line ===

impl Line {
    /// Asks and reads the whole answer; how many bytes its body has. Any answer but a good one is an error.
    pub fn get(&mut self, path: &str) -> Result<u64> {
        self.send("GET", path, "", "")?;
        self.answer(path, &mut std::io::sink())
    }

    /// The same of an answer that is compressed, as kubectl asks for all; how many bytes come over the network.
    pub fn get_packed(&mut self, path: &str) -> Result<u64> {
        self.send("GET", path, "Accept-Encoding: gzip\r\n", "")?;
        let bytes = self.answer(path, &mut std::io::sink())?;
        ensure!(self.is_packed, "{}{path}: the answer is not compressed", self.address);
        Ok(bytes)
    }

    /// The same with the body.
    pub fn read(&mut self, path: &str) -> Result<Vec<u8>> {
        self.send("GET", path, "", "")?;
        let mut body = Vec::new();
        self.answer(path, &mut body)?;
        Ok(body)
    }

    /// Sends an object.
    pub fn post(&mut self, path: &str, body: &str) -> Result<u64> {
        self.send("POST", path, "", body)?;
        self.answer(path, &mut std::io::sink())
    }

    /// Begins an answer without an end: nothing of its body is read.
    pub fn begin(&mut self, path: &str) -> Result<()> {
        self.send("GET", path, "", "")?;
        self.head(path).map(drop)
    }

    /// Sends bytes as they are; all that comes back until the other side closes or says nothing for a while.
    pub fn raw(&mut self, bytes: &str) -> Result<String> {
        self.stream.get_mut().sock.set_read_timeout(Some(Duration::from_secs(2)))?;
        self.say(bytes)?;
        let mut told = Vec::new();
        // A connection that was cut, or kept open without a word, is an answer as well.
        drop(self.stream.read_to_end(&mut told));
        Ok(String::from_utf8_lossy(&told).into_owned())
    }

    /// Sends bytes as they are.
    pub fn say(&mut self, bytes: &str) -> Result<()> {
        let stream = self.stream.get_mut();
        stream.write_all(bytes.as_bytes()).and_then(|()| stream.flush()).context("the connection broke")
    }

    /// Reads until a text has come; all that came.
    pub fn hears(&mut self, text: &str) -> Result<String> {
        let mut told = String::new();
        while !told.contains(text) {
            let bytes = self.stream.fill_buf().with_context(|| format!("{text:?} did not come, but {told:?}"))?;
            ensure!(!bytes.is_empty(), "closed before {text:?} came; it said {told:?}");
            told += &String::from_utf8_lossy(bytes);
            let read = bytes.len();
            self.stream.consume(read);
        }
        Ok(told)
    }

    /// Reads on until the other side ends it. That has to come in time.
    pub fn ends(mut self, limit: Duration) -> Result<()> {
        self.stream.get_mut().sock.set_read_timeout(Some(limit.max(Duration::from_millis(1))))?;
        match std::io::copy(&mut self.stream, &mut std::io::sink()) {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                bail!("{} does not end within {limit:?}", self.address)
            }
            // A connection that was cut is at its end as well.
            _ => Ok(()),
        }
    }

    fn send(&mut self, method: &str, path: &str, headers: &str, body: &str) -> Result<()> {
        let mut text =
            format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nAccept: application/json\r\n{headers}", self.address);
        if !body.is_empty() {
            text += &format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        }
        text += "\r\n";
        text += body;
        self.say(&text)
    }

    fn answer(&mut self, path: &str, to: &mut dyn Write) -> Result<u64> {
        match self.head(path)? {
            Body::Length(length) => self.pass(length, to),
            Body::Chunks => {
                let mut total = 0;
                loop {
                    let line = self.line()?;
                    let length = u64::from_str_radix(line.trim(), 16).context("no length of a chunk")?;
                    total += self.pass(length, to)?;
                    self.line()?;
                    if length == 0 {
                        return Ok(total);
                    }
                }
            }
        }
    }

    fn pass(&mut self, length: u64, to: &mut dyn Write) -> Result<u64> {
        let copied = std::io::copy(&mut (&mut self.stream).take(length), to)?;
        ensure!(copied == length, "the answer broke off");
        Ok(copied)
    }

    fn head(&mut self, path: &str) -> Result<Body> {
        let status = self.line()?;
        let mut body = Body::Length(0);
        self.is_packed = false;
        loop {
            let line = self.line()?.trim().to_ascii_lowercase();
            if line.is_empty() {
                break;
            }
            match line.split_once(':') {
                Some(("content-length", length)) => body = Body::Length(length.trim().parse()?),
                Some(("content-encoding", coding)) => self.is_packed = coding.trim() == "gzip",
                Some(("transfer-encoding", coding)) if coding.trim() == "chunked" => body = Body::Chunks,
                _ => {}
            }
        }
        if !status.starts_with("HTTP/1.1 20") {
            let mut why = vec![0; 400];
            let length = if let Body::Length(length) = body { length.min(400) } else { 0 };
            why.truncate(usize::try_from(length)?);
            self.stream.read_exact(&mut why)?;
            bail!("{}{path}: {} {}", self.address, status.trim(), String::from_utf8_lossy(&why));
        }
        Ok(body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        ensure!(self.stream.read_line(&mut line)? > 0, "the connection was closed");
        Ok(line)
    }
}
