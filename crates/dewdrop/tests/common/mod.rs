//! A development server for the tests of the command line, and the program under test.
//!
//! `DEWDROP_TEST_SERVER_BIN` names another server program (for instance `bao`); the default is the program itself.

#![allow(dead_code, reason = "each test program uses a part of it")]

pub mod etcd;
pub mod http;
pub mod kept;
pub mod postgres;
pub mod state;
pub mod transcript;

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// A server in memory with the root token `root`. Stopped when dropped.
pub struct Server {
    process: Child,
    port: u16,
    home: tempfile::TempDir,
}

impl Server {
    /// Starts a server on a free port, and waits until it answers.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = tempfile::tempdir().unwrap();
        let process = spawn(&dev(port), home.path());
        let server = Self { process, port, home };
        server.await_ready();
        server
    }

    /// Starts a server that is not initialised, in memory, on a free port.
    pub fn uninitialised() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let home = tempfile::tempdir().unwrap();
        let config = format!(
            "storage \"inmem\" {{}}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\n\
             api_addr = \"http://127.0.0.1:{port}\"\n"
        );
        let file = home.path().join("server.hcl");
        std::fs::write(&file, config).unwrap();
        let process = spawn(&["server".into(), format!("-config={}", file.display())], home.path());
        let server = Self { process, port, home };
        eventually("the server answers", || server.run(&["operator", "init", "-status"]).status.code() == Some(2));
        server
    }

    fn await_ready(&self) {
        eventually("the server answers", || {
            TcpStream::connect(("127.0.0.1", self.port)).is_ok() && self.run(&["status"]).status.success()
        });
    }

    /// Kills the server, as a crash would, and starts an empty one in its place.
    pub fn replace(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        self.process = spawn(&dev(self.port), self.home.path());
        self.await_ready();
    }

    /// Stops the server's process in the middle of everything, or lets it go on.
    pub fn freeze(&self, frozen: bool) {
        let signal = if frozen { rustix::process::Signal::STOP } else { rustix::process::Signal::CONT };
        send(self.process.id(), signal);
    }

    /// Sends requests to it.
    pub fn http(&self) -> http::Http {
        http::Http::to(self.port)
    }

    /// The server's address.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// A folder of this server's user.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The program under test, with nothing of our own environment in it.
    pub fn dewdrop(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dewdrop"));
        command.args(args).env_clear().current_dir(self.home.path()).stdin(Stdio::null());
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", self.home.path());
        command.env("DEWDROP_ADDR", self.address()).env("DEWDROP_TOKEN", "root").env("DEWDROP_MAX_RETRIES", "0");
        command
    }

    /// Runs the program to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.dewdrop(args).output().unwrap()
    }

    /// Runs the program, which must succeed, and returns what it printed.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// The accessors of all tokens there are.
    pub fn accessors(&self) -> Vec<String> {
        let listed = self.ok(&["list", "-format=json", "auth/token/accessors"]);
        serde_json::from_str(&listed).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.freeze(false);
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn dev(port: u16) -> Vec<String> {
    let address = format!("-dev-listen-address=127.0.0.1:{port}");
    vec!["server".into(), "-dev".into(), "-dev-no-store-token".into(), "-dev-root-token-id=root".into(), address]
}

fn spawn(args: &[String], home: &Path) -> Child {
    Command::new(server_program())
        .args(args)
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// The server under test.
pub fn server_program() -> std::ffi::OsString {
    std::env::var_os("DEWDROP_TEST_SERVER_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_dewdrop").into())
}

/// Sends a signal to a process that a test started.
pub fn send(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

/// Waits until something is so; fails after half a minute.
pub fn eventually(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    panic!("not within 30 s: {what}");
}
