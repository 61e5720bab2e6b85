//! One of the two parties: which program it is, and the servers it runs for the conversations.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::http;
use super::pki::Pki;
use super::script::ServerKind;
use crate::parts::free_port;
use crate::parts::openbao::{self, Server};
use crate::parts::postgres::{self, Postgres};

/// The root token of the shared dev server.
const DEV_ROOT: &str = "root";

/// Which party.
#[derive(Debug, Clone)]
pub enum Program {
    /// `bao`.
    OpenBao(PathBuf),
    /// `dewdrop`.
    Dewdrop(PathBuf),
    /// A server that runs already: only conversations of the dev server can be played.
    Running {
        /// `http://host:port`.
        addr: String,
        /// A root token of it.
        token: String,
    },
}

/// A party with its shared dev server and its PostgreSQL.
pub struct Side {
    program: Program,
    dev: Option<Endpoint>,
    // Why there is none: asked once, not once per conversation.
    no_dev: Option<String>,
    panics: Vec<String>,
    postgres: Option<Postgres>,
    /// Certificates, the same as the other side's.
    pub pki: Arc<Pki>,
}

/// A server that a conversation talks to.
pub struct Endpoint {
    /// `http://127.0.0.1:port`.
    pub addr: String,
    /// Its root token; empty as long as it has none.
    pub root: String,
    /// Its unseal key, when we initialised it.
    pub key: String,
    /// `https://127.0.0.1:port`, when it speaks TLS as well.
    pub tls: String,
    // Held so that it runs as long as somebody talks to it.
    server: Option<Server>,
}

impl Side {
    /// A party that starts its servers when a conversation first needs them.
    pub fn new(program: Program, pki: Arc<Pki>) -> Self {
        Self { program, dev: None, no_dev: None, panics: Vec::new(), postgres: None, pki }
    }

    /// The shared dev server. One that has died is noted and replaced, so that the rest can still be played.
    pub fn dev(&mut self) -> Result<&Endpoint> {
        if let Some(reason) = &self.no_dev {
            bail!("{reason}");
        }
        let died = self.dev.as_mut().and_then(|dev| dev.server.as_mut()).is_some_and(|server| !server.alive());
        if died {
            self.note_panics();
            if let Some(server) = self.dev.take().and_then(|dev| dev.server) {
                self.panics.push(format!("the dev server died:\n{}", server.log_tail()));
            }
        }
        if self.dev.is_none() {
            match self.start_dev() {
                Ok(endpoint) => self.dev = Some(endpoint),
                Err(error) => {
                    self.no_dev = Some(format!("{error:#}"));
                    return Err(error);
                }
            }
        }
        self.dev.as_ref().context("no dev server")
    }

    /// Panics and deaths of the shared server so far: there must be none, whatever it was asked.
    pub fn panics(&mut self) -> Vec<String> {
        self.note_panics();
        std::mem::take(&mut self.panics)
    }

    fn note_panics(&mut self) {
        let log = self.dev.as_ref().and_then(|dev| dev.server.as_ref()).map(Server::log).unwrap_or_default();
        self.panics.extend(
            log.lines().filter(|line| line.contains("panicked at") || line.contains("panic:")).map(str::to_owned),
        );
    }

    fn start_dev(&self) -> Result<Endpoint> {
        let (program, what) = match &self.program {
            Program::Running { addr, token } => {
                return Ok(Endpoint { root: token.clone(), ..Endpoint::at(addr.clone(), None) });
            }
            Program::OpenBao(program) => (program, "OpenBao"),
            Program::Dewdrop(program) => (program, "dewdrop"),
        };
        let server = openbao::start_dev_of(program, free_port()?, &[])
            .with_context(|| format!("starting {what} in dev mode"))?;
        let endpoint = Endpoint { root: DEV_ROOT.into(), ..Endpoint::at(server.addr.clone(), Some(server)) };
        // Listening is a little earlier than being unsealed with the root token in place.
        for _ in 0..500 {
            if endpoint.get("auth/token/lookup-self").is_ok_and(|reply| reply.status == 200) {
                return Ok(endpoint);
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        bail!("{what} -dev at {} does not answer to the token `{DEV_ROOT}`", endpoint.addr)
    }

    /// A server of its own for one conversation; `None` when this party cannot have one.
    pub fn own(&self, kind: ServerKind) -> Result<Option<Endpoint>> {
        let (program, disk) = match &self.program {
            Program::Running { .. } => return Ok(None),
            Program::OpenBao(program) => (program, RAFT),
            Program::Dewdrop(program) => (program, REDB),
        };
        let storage = if kind == ServerKind::Disk { disk } else { "storage \"inmem\" {}" };
        let (port, cluster) = (free_port()?, free_port()?);
        // Dewdrop's audit devices follow its own log, so there must be one, storage in memory or not.
        let ours = if matches!(self.program, Program::Dewdrop(_)) { AUDIT_LOG } else { "" };
        let config = format!("{storage}\n{ours}\n{CONFIG}").replace("{cluster}", &cluster.to_string());
        let tls = free_port()?;
        let config = match kind {
            ServerKind::Tls => {
                format!("{config}{}", TLS.replace("{tls}", &tls.to_string()).replace("{pki}", &self.pki.folder()?))
            }
            _ => config,
        };
        let server = openbao::start_with_config_of(program, port, &config)?;
        let mut endpoint = Endpoint::at(server.addr.clone(), Some(server));
        if kind == ServerKind::Tls {
            endpoint.tls = format!("https://127.0.0.1:{tls}");
        }
        if kind != ServerKind::Bare {
            endpoint.initialise()?;
        }
        Ok(Some(endpoint))
    }

    /// This party's PostgreSQL, started on first use: each has one, so that they cannot disturb one another.
    pub fn postgres(&mut self) -> Result<&Postgres> {
        if self.postgres.is_none() {
            self.postgres = Some(postgres::start()?);
        }
        self.postgres.as_ref().context("no PostgreSQL")
    }
}

const RAFT: &str =
    "storage \"raft\" {\n  path = \"{dir}/data\"\n  node_id = \"n1\"\n}\ncluster_addr = \"http://127.0.0.1:{cluster}\"";
const AUDIT_LOG: &str = "audit_log {\n  path = \"{dir}/audit\"\n}";
const REDB: &str = "storage \"redb\" {\n  path = \"{dir}/data\"\n}";
/// What both parties must understand: OpenBao's configuration language.
const CONFIG: &str = r#"listener "tcp" {
  address = "127.0.0.1:{port}"
  tls_disable = true
  disable_unauthed_rekey_endpoints = false
  disable_unauthed_generate_root_endpoints = false
}
api_addr = "http://127.0.0.1:{port}"
disable_mlock = true
unsafe_allow_api_audit_creation = true
"#;

/// The listener beside it that speaks TLS.
const TLS: &str = r#"listener "tcp" {
  address = "127.0.0.1:{tls}"
  tls_cert_file = "{pki}/server.pem"
  tls_key_file = "{pki}/server.key"
}
"#;

impl Endpoint {
    fn at(addr: String, server: Option<Server>) -> Self {
        Self { addr, root: String::new(), key: String::new(), tls: String::new(), server }
    }

    fn get(&self, path: &str) -> Result<http::Reply> {
        let token = [("X-Vault-Token".to_owned(), self.root.clone())];
        http::send(&self.addr, "GET", &format!("/v1/{path}"), &token, None)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value> {
        let reply = http::send(&self.addr, "POST", &format!("/v1/{path}"), &[], Some(body.to_string().as_bytes()))?;
        if reply.status != 200 {
            bail!("{path} answered {}: {}", reply.status, String::from_utf8_lossy(&reply.body));
        }
        Ok(serde_json::from_slice(&reply.body)?)
    }

    /// One share, unsealed, active.
    fn initialise(&mut self) -> Result<()> {
        let keys = self.post("sys/init", &serde_json::json!({ "secret_shares": 1, "secret_threshold": 1 }))?;
        let text = |value: Option<&Value>| {
            value.and_then(Value::as_str).map(str::to_owned).context("sys/init gave no key or token")
        };
        self.root = text(keys.get("root_token"))?;
        self.key = text(keys.get("keys").and_then(|keys| keys.get(0)))?;
        self.post("sys/unseal", &serde_json::json!({ "key": self.key }))?;
        for _ in 0..1000 {
            if self.get("sys/health").is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        bail!("{} is unsealed but does not become active", self.addr)
    }
}
