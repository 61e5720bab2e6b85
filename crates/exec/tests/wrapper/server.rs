//! A played server, and the wrapper as the webhook sets it up.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

/// A request: `POST /v1/auth/kubernetes/login`, the token, the body.
#[derive(Debug, Clone)]
pub struct Asked {
    pub line: String,
    pub token: String,
    pub body: String,
}

type Answer = Box<dyn Fn(&Asked, usize) -> (u16, String) + Send + Sync>;

pub struct Server {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

pub const LOGIN: &str = "POST /v1/auth/kubernetes/login";
pub const FETCH: &str = "GET /v1/database/creds/app";
pub const REVOKE: &str = "POST /v1/auth/token/revoke-self";

/// What a good server answers.
pub fn good(asked: &Asked) -> (u16, String) {
    match asked.line.as_str() {
        LOGIN => (200, r#"{"auth":{"client_token":"token-1","lease_duration":60,"renewable":true}}"#.into()),
        FETCH => (
            200,
            r#"{"lease_id":"l-1","lease_duration":3600,"renewable":true,"data":{"username":"v-canary-1","password":"p"}}"#
                .into(),
        ),
        REVOKE => (204, String::new()),
        _ => (404, r#"{"errors":["no such path"]}"#.into()),
    }
}

impl Server {
    /// Answers each request; the number says how many came before it.
    pub fn new(answer: impl Fn(&Asked, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::open(answer, None)
    }

    /// The same over TLS, with the authority that its certificate comes from, in PEM.
    pub fn tls(answer: impl Fn(&Asked, usize) -> (u16, String) + Send + Sync + 'static) -> (Self, String) {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let own = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![own.der().clone()], key).unwrap();
        (Self::open(answer, Some(Arc::new(config))), authority.pem())
    }

    fn open(
        answer: impl Fn(&Asked, usize) -> (u16, String) + Send + Sync + 'static,
        tls: Option<Arc<rustls::ServerConfig>>,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (heard, answer): (_, Arc<Answer>) = (asked.clone(), Arc::new(Box::new(answer)));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, heard, answer) = (stream.unwrap(), heard.clone(), answer.clone());
                let tls = tls.clone().map(|config| rustls::ServerConnection::new(config).unwrap());
                std::thread::spawn(move || match tls {
                    None => talk(stream, &heard, &answer),
                    Some(tls) => talk(rustls::StreamOwned::new(tls, stream), &heard, &answer),
                });
            }
        });
        Self { address, asked }
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// How often a line was asked.
    pub fn count(&self, line: &str) -> usize {
        self.asked().iter().filter(|asked| asked.line == line).count()
    }
}

fn talk(stream: impl Read + Write, heard: &Mutex<Vec<Asked>>, answer: &Answer) {
    let mut reader = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            return;
        }
        let line = first.rsplit_once(" HTTP/").unwrap().0.to_owned();
        let (mut token, mut length) = (String::new(), 0);
        loop {
            let mut header = String::new();
            reader.read_line(&mut header).unwrap();
            let Some((name, value)) = header.trim().split_once(':') else { break };
            match name.to_lowercase().as_str() {
                "x-vault-token" => token = value.trim().to_owned(),
                "content-length" => length = value.trim().parse().unwrap(),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).unwrap();
        let asked = Asked { line, token, body: String::from_utf8(body).unwrap() };
        let before = {
            let mut all = heard.lock().unwrap();
            all.push(asked.clone());
            all.len() - 1
        };
        let (status, text) = answer(&asked, before);
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n{text}", text.len());
        if reader.get_mut().write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

/// A container: the wrapper where the init container puts it, and its token.
pub struct Container {
    dir: tempfile::TempDir,
}

impl Container {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("token"), "pod-jwt\n").unwrap();
        let container = Self { dir };
        let made = Command::new(env!("CARGO_BIN_EXE_dewdrop-exec")).arg("--install").arg(container.program()).status();
        assert!(made.unwrap().success());
        container
    }

    pub fn program(&self) -> PathBuf {
        self.dir.path().join("dewdrop/.dewdrop/exec")
    }

    pub fn token(&self) -> PathBuf {
        self.dir.path().join("token")
    }

    /// The wrapper in front of a shell's script, with what the webhook sets.
    pub fn script(&self, address: SocketAddr, script: &str) -> Command {
        let mut command = Command::new(self.program());
        command.args(["--timeout", "10s", "--", "sh", "-c", script]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("DEWDROP_ADDR", format!("http://{address}")).env("DEWDROP_ROLE", "app");
        command.env("DEWDROP_CREDENTIALS", "db = database/creds/app").env("DEWDROP_TOKEN_FILE", self.token());
        command
    }
}
