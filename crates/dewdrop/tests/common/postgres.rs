//! A throw-away PostgreSQL for one test (Debian's `postgresql` package).

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::eventually;

/// A running PostgreSQL, open to everybody on 127.0.0.1. Stopped when dropped.
pub struct Postgres {
    process: Child,
    /// Its port.
    pub port: u16,
    // Removed after the process has ended.
    folder: tempfile::TempDir,
}

impl Postgres {
    /// Makes a new cluster and starts it.
    pub fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let folder = tempfile::tempdir().unwrap();
        if rustix::process::geteuid().is_root() {
            assert!(Command::new("chown").arg("postgres").arg(folder.path()).status().unwrap().success());
        }
        let data = folder.path().join("data");
        let made = as_user("initdb").args(["-A", "trust", "-U", "postgres", "-N", "-D"]).arg(&data).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let process = as_user("postgres")
            .arg("-D")
            .arg(&data)
            .args(["-p", &port.to_string(), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-k"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let postgres = Self { process, port, folder };
        eventually("PostgreSQL answers", || postgres.psql("postgres", "", "select 1").is_some());
        postgres
    }

    /// What a query returns for a user; `None` when the user may not even ask.
    pub fn psql(&self, user: &str, password: &str, query: &str) -> Option<String> {
        let output = Command::new(program("psql"))
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", "postgres", "-Atc", query])
            .env("PGPASSWORD", password)
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    }

    /// Whether a user exists.
    pub fn has_user(&self, name: &str) -> bool {
        self.psql("postgres", "", &format!("select count(*) from pg_roles where rolname = '{name}'")).unwrap() == "1"
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        super::send(self.process.id(), rustix::process::Signal::QUIT);
        let _ = self.process.wait();
        let _ = self.folder.path();
    }
}

/// PostgreSQL refuses to run as root, so root becomes the user `postgres`.
fn as_user(name: &str) -> Command {
    if !rustix::process::geteuid().is_root() {
        return Command::new(program(name));
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program(name)).current_dir("/");
    command
}

fn program(name: &str) -> PathBuf {
    let folders =
        std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|e| e.path().join("bin"));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = folders.chain(std::env::split_paths(&path)).map(|f| f.join(name)).find(|p| p.is_file());
    found.unwrap_or_else(|| panic!("{name} is missing: apt-get install postgresql"))
}
