//! A server on disk, of either program, that is made ready, killed and started again by one run.
//!
//! Both get the same configuration language, a static seal (so that a restart needs nobody), and an audit log.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Process, TempDir, free_port};
use crate::say::Stopwatch;

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `bao`, with raft storage and a file audit device.
    OpenBao,
    /// `dewdrop`, with redb and its own chained audit log.
    Dewdrop,
}

impl Kind {
    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::OpenBao => "OpenBao",
            Self::Dewdrop => "Dewdrop",
        }
    }
}

/// How long a server may take until it serves.
const START: Duration = Duration::from_secs(60);
/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(300);

const COMMON: &str = r#"listener "tcp" {
  address = "{host}:{port}"
  tls_disable = true
}
seal "static" {
  current_key_id = "one"
  current_key = "file://{dir}/seal.key"
}
api_addr = "http://{host}:{port}"
log_level = "warn"
"#;
const OPENBAO: &str = r#"storage "raft" {
  path = "{dir}/data"
  node_id = "n1"
}
cluster_addr = "http://127.0.0.1:{cluster}"
disable_mlock = true
audit "file" "file" {
  options {
    file_path = "{dir}/audit.log"
  }
}
"#;
/// A listener beside it that speaks TLS.
const TLS: &str = r#"listener "tcp" {
  address = "{host}:{tls}"
  tls_cert_file = "{dir}/tls.pem"
  tls_key_file = "{dir}/tls-key.pem"
}
"#;
const DEWDROP: &str = "storage \"redb\" {\n  path = \"{dir}/data\"\n}\n";

/// A server with its folder. The process is killed and the folder removed when it is dropped.
#[derive(Debug)]
pub struct Vault {
    /// Which program.
    pub kind: Kind,
    /// `http://127.0.0.1:port`.
    pub address: String,
    /// `https://127.0.0.1:port`, with the certificate `tls.pem` of the folder; empty: it speaks no TLS.
    pub tls: String,
    /// The root token.
    pub root: String,
    /// Made anew with each process: no connection of a dead one is tried.
    agent: ureq::Agent,
    program: PathBuf,
    process: Option<Process>,
    // Last, so that the process is gone before its folder is.
    dir: TempDir,
}

impl Vault {
    /// A new server: configured, initialised, unsealed, serving.
    pub fn open(kind: Kind, program: &Path) -> Result<Self> {
        Self::open_with(kind, program, "127.0.0.1", None)
    }

    /// The same at an address of this machine, with TLS for those who want it.
    pub fn open_beside_tls(kind: Kind, program: &Path, host: &str) -> Result<Self> {
        Self::open_with(kind, program, host, Some(free_port()?))
    }

    fn open_with(kind: Kind, program: &Path, host: &str, tls: Option<u16>) -> Result<Self> {
        let dir = TempDir::new(&format!("vault-{}", kind.name().to_lowercase()))?;
        std::fs::create_dir_all(dir.path().join("data"))?;
        // Any 32 bytes: what it seals lives as long as this run.
        std::fs::write(dir.path().join("seal.key"), [0x5a; 32])?;
        let (port, cluster) = (free_port()?, free_port()?);
        let own = if kind == Kind::OpenBao { OPENBAO } else { DEWDROP };
        let more = if let Some(tls) = tls { beside(dir.path(), host, tls)? } else { String::new() };
        let config = format!("{COMMON}{more}{own}").replace("{port}", &port.to_string()).replace("{host}", host);
        let config = config.replace("{cluster}", &cluster.to_string()).replace("{dir}", &dir.path().to_string_lossy());
        std::fs::write(dir.path().join("server.hcl"), config)?;
        let mut vault = Self {
            kind,
            address: format!("http://{host}:{port}"),
            tls: tls.map_or_else(String::new, |port| format!("https://{host}:{port}")),
            root: String::new(),
            agent: agent(),
            program: program.to_path_buf(),
            process: None,
            dir,
        };
        vault.spawn()?;
        vault.until_health(&[200, 501, 503])?;
        vault.initialise()?;
        Ok(vault)
    }

    fn initialise(&mut self) -> Result<()> {
        let made = self.ask("POST", "sys/init", Some(json!({ "recovery_shares": 1, "recovery_threshold": 1 })))?;
        self.root = made.get("root_token").and_then(Value::as_str).context("sys/init gave no root token")?.to_owned();
        self.until_health(&[200])?;
        Ok(())
    }

    /// Starts the program on what the last one left. Says how long it took until it served.
    pub fn start(&mut self) -> Result<Duration> {
        let clock = Stopwatch::start();
        self.spawn()?;
        self.until_health(&[200])?;
        Ok(clock.elapsed())
    }

    fn spawn(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        command.arg("server").arg(format!("-config={}", self.dir.path().join("server.hcl").display()));
        command.env("HOME", self.dir.path()).current_dir(self.dir.path());
        self.process = Some(Process::start(command, &self.dir.path().join("server.log"))?);
        self.agent = agent();
        Ok(())
    }

    fn until_health(&mut self, wanted: &[u16]) -> Result<()> {
        let process = self.process.as_mut().context("no process")?;
        let url = format!("{}/v1/sys/health", self.address);
        let clock = Stopwatch::start();
        while clock.elapsed() < START {
            if self.agent.get(&url).call().is_ok_and(|answer| wanted.contains(&answer.status().as_u16())) {
                return Ok(());
            }
            if !process.alive() {
                bail!("{} ended while starting:\n{}", self.kind.name(), process.log_tail());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("{} does not serve after {START:?}:\n{}", self.kind.name(), process.log_tail())
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop("-TERM", START);
        }
    }

    /// SIGKILL, and waits for the end.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// The process id of the server that runs now.
    pub fn pid(&self) -> Result<u32> {
        Ok(self.process.as_ref().context("the server does not run")?.pid())
    }

    /// What the server said last.
    pub fn log_tail(&self) -> String {
        self.process.as_ref().map_or_else(String::new, Process::log_tail)
    }

    /// The folder of configuration, data and logs.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// All that Dewdrop's audit log says, in order.
    pub fn record(&self) -> Result<String> {
        let files = std::fs::read_dir(self.dir().join("data/audit"))?;
        let mut files = files.map(|file| Ok(file?.path())).collect::<Result<Vec<_>>>()?;
        files.sort();
        // One of them may be going just now.
        let texts = files.iter().map(|file| std::fs::read(file).unwrap_or_default());
        Ok(texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect())
    }

    /// A caller for another thread.
    pub fn caller(&self) -> Caller {
        Caller { address: self.address.clone(), token: self.root.clone(), agent: agent() }
    }

    /// One call with the root token; an error with the server's words unless it says 2xx.
    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let (status, answer) = send(&self.agent, &self.address, &self.root, method, path, body)?;
        if !(200..300).contains(&status) {
            bail!("{}: {method} {path}: {status} {answer}", self.kind.name());
        }
        Ok(answer)
    }
}

/// The configuration of a listener with TLS, and its certificate.
fn beside(dir: &Path, host: &str, port: u16) -> Result<String> {
    let own = rcgen::generate_simple_self_signed(vec![host.to_owned()])?;
    std::fs::write(dir.join("tls.pem"), own.cert.pem())?;
    std::fs::write(dir.join("tls-key.pem"), own.signing_key.serialize_pem())?;
    Ok(TLS.replace("{tls}", &port.to_string()))
}

/// Somebody with a token who calls a server.
#[derive(Debug, Clone)]
pub struct Caller {
    address: String,
    /// Empty for none.
    token: String,
    agent: ureq::Agent,
}

impl Caller {
    /// The same way to the server, with another token.
    pub fn with_token(&self, token: &str) -> Self {
        Self { token: token.to_owned(), ..self.clone() }
    }

    /// One call: status and body. An error means that no answer came.
    pub fn send(&self, method: &str, path: &str, body: Option<Value>) -> Result<(u16, Value)> {
        send(&self.agent, &self.address, &self.token, method, path, body)
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into()
}

fn send(
    agent: &ureq::Agent,
    address: &str,
    token: &str,
    method: &str,
    path: &str,
    body: Option<Value>,
) -> Result<(u16, Value)> {
    let mut request = ureq::http::Request::builder().method(method).uri(format!("{address}/v1/{path}"));
    if !token.is_empty() {
        request = request.header("X-Vault-Token", token);
    }
    let mut answer = match body {
        Some(body) => agent.run(request.header("Content-Type", "application/json").body(body.to_string())?)?,
        None => agent.run(request.body(())?)?,
    };
    let status = answer.status().as_u16();
    let text = answer.body_mut().with_config().limit(1 << 30).read_to_string()?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Value::Null)))
}
