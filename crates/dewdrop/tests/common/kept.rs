//! A server as in production: redb on disk, a static seal, the audit log, the log at its most talkative level.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Signal;
use serde_json::{Value, json};

use super::http::{Answer, Http};
use super::{eventually, send};

/// A server that keeps what it is told, and can be killed and started again.
pub struct Kept {
    process: Child,
    folder: tempfile::TempDir,
    http: Http,
    /// The root token.
    pub root: String,
    /// What `sys/init` answered.
    pub made: Value,
}

impl Kept {
    /// Starts a server that unseals itself, and initializes it.
    pub fn start() -> Self {
        Self::with("seal \"static\" {\n  current_key_id = \"t\"\n  current_key = \"file://SEAL\"\n}\n", "")
    }

    /// The same, with text of one's own for the seal and within the listener. `SEAL` stands for the file of a key.
    pub fn with(seal: &str, listener: &str) -> Self {
        Self::over("storage \"redb\" {\n  path = \"FOLDER/data\"\n}\n", seal, listener)
    }

    /// The same over any storage; `FOLDER` stands for the server's own.
    pub fn over(storage: &str, seal: &str, listener: &str) -> Self {
        let mut server = Self::beside_with(storage, seal, listener);
        server.await_status(&[501]);
        let ask = if seal.is_empty() {
            json!({ "secret_shares": 3, "secret_threshold": 2 })
        } else {
            json!({ "recovery_shares": 3, "recovery_threshold": 2 })
        };
        let made = server.http.json("PUT", "sys/init", "", &ask).ok();
        server.root = made.at("/root_token");
        server.made = made.value();
        if !seal.is_empty() {
            server.await_status(&[200]);
        }
        server
    }

    /// A further server over a storage that another has initialized.
    pub fn beside(storage: &str, seal: &str) -> Self {
        Self::beside_with(storage, seal, "")
    }

    fn beside_with(storage: &str, seal: &str, listener: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("seal.key");
        std::fs::write(&key, [7u8; 32]).unwrap();
        let at = folder.path().display();
        let config = format!(
            "{}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n\
             {listener}\n}}\n{}api_addr = \"http://127.0.0.1:{port}\"\nlog_level = \"trace\"\n\
             audit \"file\" \"beside\" {{\n  options {{\n    file_path = \"{at}/beside.log\"\n  }}\n}}\n\
             telemetry {{\n  disable_hostname = true\n}}\n",
            storage.replace("FOLDER", &at.to_string()),
            seal.replace("SEAL", &key.display().to_string())
        );
        std::fs::write(folder.path().join("server.hcl"), config).unwrap();
        let process = spawn(folder.path());
        Self { process, folder, http: Http::to(port), root: String::new(), made: Value::Null }
    }

    /// Sends requests.
    pub fn http(&self) -> Http {
        self.http
    }

    /// Sends JSON with the root token.
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        self.http.json(method, path, &self.root, body)
    }

    /// Its folder: `data/`, `server.hcl`, `stdout`, `stderr`, `beside.log`.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        self.process.try_wait().unwrap().is_none()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.process.id(), signal);
    }

    /// Waits for its end.
    pub fn ended(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again on what it has kept, and waits until it serves.
    pub fn start_again(&mut self) {
        self.spawn_again();
        self.await_status(&[200]);
    }

    /// Starts it again.
    pub fn spawn_again(&mut self) {
        self.process = spawn(self.folder.path());
    }

    /// The same where people must unseal it.
    pub fn start_again_sealed(&mut self) {
        self.spawn_again();
        self.await_status(&[503]);
    }

    /// Waits until `sys/health` answers with one of these.
    pub fn await_status(&mut self, codes: &[u16]) {
        let http = self.http;
        let process = &mut self.process;
        let log = self.folder.path().join("stderr");
        eventually("the server's state", || {
            if process.try_wait().unwrap().is_some() {
                panic!("the server has ended: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            std::net::TcpStream::connect(("127.0.0.1", http.port)).is_ok()
                && codes.contains(&http.send("GET", "sys/health", "", b"").status)
        });
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Starts the program on the configuration of a folder.
pub fn spawn(folder: &Path) -> Child {
    let append = |name: &str| File::options().create(true).append(true).open(folder.join(name)).unwrap();
    Command::new(super::server_program())
        .arg("server")
        .arg(format!("-config={}", folder.join("server.hcl").display()))
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(append("stdout"))
        .stderr(append("stderr"))
        .spawn()
        .unwrap()
}

/// All files below a folder that nobody writes to any more.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found
}
