//! A real etcd on loopback. It ends when this is dropped, and when the test program ends in whatever way.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use super::eventually;

/// A server with a folder of its own.
pub struct Etcd {
    /// Where clients reach it.
    pub port: u16,
    process: Child,
    _folder: tempfile::TempDir,
}

impl Etcd {
    /// Starts one, and waits until it answers.
    pub fn start() -> Self {
        let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let (port, peer) = (free(), free());
        let folder = tempfile::tempdir().unwrap();
        let (client, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        // The shell waits for the end of its input, which comes with the end of this program.
        let script = r#"etcd "$@" & pid=$!; cat >/dev/null; kill -9 $pid"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "etcd", "--name=t", "--logger=zap", "--log-level=error"]);
        command.arg(format!("--data-dir={}", folder.path().join("data").display()));
        command.args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")]);
        command.args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")]);
        command.arg(format!("--initial-cluster=t={peer}"));
        let process = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        eventually("etcd answers (is etcd-server installed?)", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Self { port, process, _folder: folder }
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        drop(self.process.stdin.take());
        let _ = self.process.wait();
    }
}
