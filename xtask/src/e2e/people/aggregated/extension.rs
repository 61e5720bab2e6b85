//! Another API server, which the API server puts requests on to: it serves widgets over TLS to nobody but the API server's front,
//! and keeps all that it is told. It ends with the chore's process.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

/// The group that it serves.
pub const GROUP: &str = "wares.example.com";

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `METHOD TARGET HTTP/1.1`.
    pub line: String,
    /// Its headers, their names in lower case.
    pub headers: Vec<(String, String)>,
    /// Body and trailers.
    pub rest: String,
}

/// What is answered.
enum Answer {
    Object(u16, Value),
    /// Events without an end; this is the first one.
    Watch(Value),
    /// From here on what is heard is said back.
    Echo,
}

/// The server.
pub struct Extension {
    /// Its port.
    pub port: u16,
    /// The certificate that it shows, which is its own authority, in PEM.
    pub authority: String,
    shop: Arc<Shop>,
}

/// What its connections share.
struct Shop {
    tls: Arc<ServerConfig>,
    asked: Mutex<Vec<Asked>>,
    streams: AtomicUsize,
}

type Caller = BufReader<StreamOwned<ServerConnection, TcpStream>>;

// === impl Extension ===

impl Extension {
    /// Listens at an address, under a name, to clients of an authority.
    pub fn start(host: &str, name: &str, clients: &Path) -> Result<Self> {
        let own = rcgen::generate_simple_self_signed([name.to_owned()])?;
        let listener = TcpListener::bind((host, 0))?;
        let port = listener.local_addr()?.port();
        let tls = tls(own.cert.der().clone(), &own.signing_key.serialize_pem(), clients)?;
        let shop = Arc::new(Shop { tls, asked: Mutex::default(), streams: AtomicUsize::new(0) });
        let serving = shop.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shop = serving.clone();
                // A caller who goes away in the middle is no news.
                std::thread::spawn(move || drop(shop.serve(stream)));
            }
        });
        Ok(Self { port, authority: own.cert.pem(), shop })
    }

    /// All that it was asked.
    pub fn asked(&self) -> Vec<Asked> {
        self.shop.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many streams are open.
    pub fn streams(&self) -> usize {
        self.shop.streams.load(Ordering::SeqCst)
    }
}

fn tls(certificate: CertificateDer<'static>, key: &str, clients: &Path) -> Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(clients)? {
        roots.add(certificate?)?;
    }
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()?;
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let config = config.with_client_cert_verifier(verifier);
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
    Ok(Arc::new(config.with_single_cert(vec![certificate], key)?))
}

// === impl Shop ===

impl Shop {
    fn serve(&self, stream: TcpStream) -> Result<()> {
        let tls = ServerConnection::new(self.tls.clone())?;
        let mut caller = BufReader::new(StreamOwned::new(tls, stream));
        while let Some(asked) = Asked::read(&mut caller)? {
            let answer = asked.answer();
            // Before the answer: who has that finds the request here.
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(asked);
            let (head, body) = match &answer {
                Answer::Object(code, object) => {
                    let body = object.to_string();
                    (format!("{code} x\r\nContent-Type: application/json\r\nContent-Length: {}", body.len()), body)
                }
                Answer::Watch(event) => {
                    let event = format!("{event}\n");
                    let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                    ("200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked".to_owned(), chunk)
                }
                Answer::Echo => {
                    ("101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket".to_owned(), String::new())
                }
            };
            write!(caller.get_mut(), "HTTP/1.1 {head}\r\n\r\n{body}")?;
            caller.get_mut().flush()?;
            if !matches!(answer, Answer::Object(..)) {
                self.streams.fetch_add(1, Ordering::SeqCst);
                let ended = echo(&mut caller, matches!(answer, Answer::Echo));
                self.streams.fetch_sub(1, Ordering::SeqCst);
                return ended;
            }
        }
        Ok(())
    }
}

/// Listens until the other side ends it, and says back what it hears if it is to.
fn echo(caller: &mut Caller, is_aloud: bool) -> Result<()> {
    loop {
        let heard = caller.fill_buf()?.to_vec();
        if heard.is_empty() {
            return Ok(());
        }
        caller.consume(heard.len());
        if is_aloud {
            caller.get_mut().write_all(&heard)?;
            caller.get_mut().flush()?;
        }
    }
}

// === impl Asked ===

impl Asked {
    /// `None`: nobody asks any more.
    fn read(from: &mut impl BufRead) -> Result<Option<Self>> {
        let line = line(from)?;
        if line.is_empty() {
            return Ok(None);
        }
        let mut headers = Vec::new();
        loop {
            let line = line_of_head(from)?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        let mut asked = Self { line: line.trim_end().to_owned(), headers, rest: String::new() };
        if asked.all("transfer-encoding").contains(&"chunked") {
            asked.rest = chunks(from)?;
        } else if let Some(length) = asked.all("content-length").first() {
            asked.rest = piece(from, length.parse()?)?;
        }
        Ok(Some(asked))
    }

    /// All values of a header.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_str()).collect()
    }

    /// Whether something stands anywhere in it.
    pub fn has(&self, text: &str) -> bool {
        let in_headers = self.headers.iter().any(|(name, value)| name.contains(text) || value.contains(text));
        in_headers || self.line.contains(text) || self.rest.contains(text)
    }

    fn answer(&self) -> Answer {
        let mut words = self.line.split(' ');
        let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let root = format!("/apis/{GROUP}/v1");
        let below = path.strip_prefix(&root).unwrap_or("elsewhere");
        match (method, below) {
            _ if !self.all("upgrade").is_empty() => Answer::Echo,
            ("GET", "") => Answer::Object(200, resources()),
            ("GET", _) if below.ends_with("/widgets") && query.contains("watch=") => {
                Answer::Watch(json!({ "type": "ADDED", "object": widget("first") }))
            }
            ("GET", _) if below.ends_with("/widgets") => Answer::Object(200, list()),
            ("GET", _) if below.ends_with("/widgets/first") => Answer::Object(200, widget("first")),
            ("POST", _) if below.ends_with("/widgets") => Answer::Object(201, widget("second")),
            _ => Answer::Object(404, json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 404 })),
        }
    }
}

/// Without `delete` the controllers of the cluster leave it alone.
fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": format!("{GROUP}/v1"),
        "resources": [
            { "name": "widgets", "singularName": "widget", "namespaced": true, "kind": "Widget",
              "verbs": ["create", "get", "list", "watch"] },
            { "name": "widgets/console", "singularName": "", "namespaced": true, "kind": "Widget", "verbs": ["get"] },
        ],
    })
}

fn list() -> Value {
    json!({
        "kind": "WidgetList", "apiVersion": format!("{GROUP}/v1"), "metadata": { "resourceVersion": "1" },
        "items": [widget("first")],
    })
}

fn widget(name: &str) -> Value {
    json!({
        "kind": "Widget", "apiVersion": format!("{GROUP}/v1"),
        "metadata": { "name": name, "namespace": "shop", "resourceVersion": "1" },
    })
}

/// Chunks with their trailers, one after the other.
fn chunks(from: &mut impl BufRead) -> Result<String> {
    let mut all = String::new();
    loop {
        let length = line_of_head(from)?;
        let length = usize::from_str_radix(length.split(';').next().unwrap_or_default(), 16).context("a chunk")?;
        if length == 0 {
            break;
        }
        all += &piece(from, length)?;
        line_of_head(from)?;
    }
    loop {
        let trailer = line_of_head(from)?;
        if trailer.is_empty() {
            return Ok(all);
        }
        all += &format!("\n{trailer}");
    }
}

fn piece(from: &mut impl Read, length: usize) -> Result<String> {
    let mut bytes = vec![0; length];
    from.read_exact(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A line without its end.
fn line_of_head(from: &mut impl BufRead) -> Result<String> {
    Ok(line(from)?.trim_end().to_owned())
}

/// A line with its end; empty: there is none any more.
fn line(from: &mut impl BufRead) -> Result<String> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Asked {
        Asked::read(&mut text.as_bytes()).expect("readable").expect("a request")
    }

    #[test]
    fn all_that_comes_is_kept() {
        let asked = read(
            "POST /x HTTP/1.1\r\nX-Remote-Group: a\r\nx-remote-group: b\r\nTransfer-Encoding: chunked\r\n\r\n\
             3\r\nabc\r\n0\r\nX-Late: forged\r\n\r\n",
        );
        assert_eq!(asked.all("x-remote-group"), ["a", "b"]);
        assert_eq!(asked.rest, "abc\nX-Late: forged");
        assert!(asked.has("forged") && !asked.has("elsewhere"));
        let asked = read("POST /x HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcd");
        assert_eq!((asked.line.as_str(), asked.rest.as_str()), ("POST /x HTTP/1.1", "abc"));
    }

    #[test]
    fn it_serves_widgets() {
        let answer = |method: &str, below: &str, more: &str| {
            read(&format!("{method} /apis/{GROUP}/v1{below} HTTP/1.1\r\n{more}\r\n")).answer()
        };
        assert!(matches!(answer("GET", "", ""), Answer::Object(200, _)));
        assert!(matches!(answer("GET", "/namespaces/shop/widgets", ""), Answer::Object(200, _)));
        assert!(matches!(answer("GET", "/namespaces/shop/widgets?watch=1", ""), Answer::Watch(_)));
        assert!(matches!(answer("POST", "/namespaces/shop/widgets", ""), Answer::Object(201, _)));
        assert!(matches!(answer("GET", "/namespaces/shop/widgets/first/proxy", ""), Answer::Object(404, _)));
        assert!(matches!(answer("GET", "/x/console", "Upgrade: websocket\r\n"), Answer::Echo));
    }
}
