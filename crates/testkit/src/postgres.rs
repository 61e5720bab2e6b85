//! A throw-away PostgreSQL: its own cluster in a temporary folder, on a free port of 127.0.0.1, run by an unprivileged user
//! when we are root. It takes passwords everywhere and, in the database `certdb`, only client certificates.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use rcgen::{ExtendedKeyUsagePurpose, SanType};
use tempfile::TempDir;

use crate::pki::Ca;

/// Name of the superuser.
pub const SUPERUSER: &str = "root_of_pg";
/// Its password.
pub const PASSWORD: &str = "root-of-pg-Secret1";

/// A running cluster; stopped by its pid when dropped.
pub struct Postgres {
    /// Listening port; it stays the same over `stop` and `start_again`.
    pub port: u16,
    /// PEM of the authority of the server's certificate (for `localhost`), which it also trusts for clients.
    pub ca_cert: String,
    /// PEM of that authority's key.
    pub ca_key: String,
    durable: bool,
    process: Mutex<Option<Child>>,
    // Last, so that the server is gone before its folder is.
    dir: TempDir,
}

impl Postgres {
    /// One cluster for all tests that hold it at a time. Whoever stops or pauses it needs one of its own.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Postgres>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return running;
        }
        let running = Arc::new(Self::start());
        *shared = Arc::downgrade(&running);
        running
    }

    /// A new cluster that does not wait for the disk.
    pub fn start() -> Self {
        Self::start_with(false)
    }

    /// A new cluster; `durable`: with fsync, as in real life.
    pub fn start_with(durable: bool) -> Self {
        let dir = TempDir::with_prefix("dewdrop-pg-").expect("a temporary folder");
        let (ca_cert, ca_key) = write_certificates(dir.path());
        std::fs::write(dir.path().join("password"), PASSWORD).expect("write");
        if is_root() {
            run(Command::new("chown").arg("-R").arg(unprivileged_user()).arg(dir.path()));
        }
        let mut initdb = as_unprivileged(&bin("initdb"));
        initdb.args([
            "--no-sync",
            "--no-instructions",
            "--encoding=UTF8",
            "--locale=C",
            "--auth=scram-sha-256",
            "-U",
            SUPERUSER,
        ]);
        initdb.arg("--pwfile").arg(dir.path().join("password")).arg("-D").arg(dir.path().join("data"));
        run(initdb.current_dir(dir.path()));
        let hba = "hostssl certdb all 127.0.0.1/32 cert\nhost all all 127.0.0.1/32 scram-sha-256\n";
        std::fs::write(dir.path().join("data/pg_hba.conf"), hba).expect("write");
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
        let postgres = Self { port, ca_cert, ca_key, durable, process: Mutex::new(None), dir };
        postgres.start_again();
        postgres.sql("CREATE DATABASE certdb");
        postgres
    }

    /// Starts it again on the same port after `stop`.
    pub fn start_again(&self) {
        let here = self.dir.path();
        let setting = |name: &str, value: String| ["-c".to_owned(), format!("{name}={value}")];
        let mut command = as_unprivileged(&bin("postgres"));
        command.arg("-D").arg(here.join("data")).args(["-p", &self.port.to_string()]);
        command.args(setting("listen_addresses", "127.0.0.1".into()));
        command.args(setting("unix_socket_directories", here.display().to_string()));
        command.args(setting("fsync", self.durable.to_string()));
        command.args(setting("max_connections", "120".into()));
        command.args(setting("log_statement", "all".into()));
        command.args(setting("ssl", "on".into()));
        for (name, file) in [("ssl_cert_file", "server.crt"), ("ssl_key_file", "server.key"), ("ssl_ca_file", "ca.crt")]
        {
            command.args(setting(name, here.join(file).display().to_string()));
        }
        let log = std::fs::File::options().create(true).append(true).open(here.join("log")).expect("a log");
        command.current_dir(here).stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *self.lock() = Some(command.spawn().expect("start PostgreSQL"));
        let ready = || {
            let mut ask = Command::new(bin("pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-p", &self.port.to_string()]);
            ask.status().is_ok_and(|status| status.success())
        };
        for _ in 0..600 {
            if ready() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        panic!("PostgreSQL does not start: {}", self.log());
    }

    /// Fast shutdown: open connections are cut, the data is safe.
    pub fn stop(&self) {
        self.end("-INT");
    }

    /// All its processes stand still: connections are accepted by the kernel and never answered.
    pub fn pause(&self) {
        self.signal_all("-STOP");
    }

    /// They go on.
    pub fn go_on(&self) {
        self.signal_all("-CONT");
    }

    /// URL with placeholders for the engine; `sslmode` and the like in `query`.
    pub fn url(&self, database: &str, query: &str) -> String {
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/{database}?{query}", self.port)
    }

    /// Runs SQL as the superuser in the database `postgres`; rows come as lines, columns separated by `|`.
    pub fn sql(&self, sql: &str) -> String {
        self.sql_in("postgres", sql)
    }

    /// The same in another database.
    pub fn sql_in(&self, database: &str, sql: &str) -> String {
        self.sql_as(SUPERUSER, PASSWORD, database, sql).expect("the superuser's SQL")
    }

    /// Runs SQL as somebody else, through TCP and with a password.
    ///
    /// # Errors
    /// What `psql` printed.
    pub fn sql_as(&self, user: &str, password: &str, database: &str, sql: &str) -> Result<String, String> {
        self.psql(user, database, sql, &[("PGPASSWORD", password), ("PGSSLMODE", "disable")])
    }

    /// Runs SQL in `certdb` as whoever the certificate names.
    ///
    /// # Errors
    /// What `psql` printed.
    pub fn sql_by_certificate(&self, user: &str, certificate: &str, key: &str, sql: &str) -> Result<String, String> {
        let files = TempDir::with_prefix("dewdrop-cert-").expect("a temporary folder");
        let (cert_file, key_file) = (files.path().join("crt"), files.path().join("key"));
        std::fs::write(&cert_file, certificate).expect("write");
        std::fs::write(&key_file, key).expect("write");
        run(Command::new("chmod").arg("600").arg(&key_file));
        let (cert, key) = (cert_file.display().to_string(), key_file.display().to_string());
        self.psql(user, "certdb", sql, &[("PGSSLMODE", "require"), ("PGSSLCERT", &cert), ("PGSSLKEY", &key)])
    }

    /// All that the server logged so far, statements included.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn psql(&self, user: &str, database: &str, sql: &str, env: &[(&str, &str)]) -> Result<String, String> {
        let mut command = Command::new(bin("psql"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", database]);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        command.env("PGCONNECT_TIMEOUT", "10").envs(env.iter().copied());
        let done = command.output().expect("run psql");
        if done.status.success() {
            Ok(String::from_utf8_lossy(&done.stdout).trim_end().to_owned())
        } else {
            Err(String::from_utf8_lossy(&done.stderr).into_owned())
        }
    }

    /// The postmaster and its children.
    fn signal_all(&self, signal: &str) {
        let Some(pid) = self.lock().as_ref().map(Child::id) else { return };
        let children = Command::new("ps").args(["-o", "pid=", "--ppid", &pid.to_string()]).output().expect("run ps");
        let children = String::from_utf8_lossy(&children.stdout).into_owned();
        // The postmaster first, so that no new child appears in between.
        let mut kill = Command::new("kill");
        kill.arg(signal).arg(pid.to_string()).args(children.split_whitespace()).stderr(Stdio::null());
        // A child that has ended meanwhile is no failure.
        drop(kill.status());
    }

    fn end(&self, signal: &str) {
        if let Some(mut child) = self.lock().take() {
            run(Command::new("kill").arg(signal).arg(child.id().to_string()));
            child.wait().expect("wait for PostgreSQL");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Child>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.go_on();
        // At once: there is nothing to keep.
        self.end("-QUIT");
    }
}

/// The authority, and the server's certificate by it.
fn write_certificates(dir: &Path) -> (String, String) {
    let ca = Ca::new("test authority");
    let server = ca.issue("server", |params| {
        params.subject_alt_names = vec![SanType::DnsName("localhost".try_into().expect("a name"))];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    for (file, text) in
        [("ca.crt", ca.pem()), ("server.crt", server.certificate.pem()), ("server.key", server.key.serialize_pem())]
    {
        std::fs::write(dir.join(file), text).expect("write");
    }
    run(Command::new("chmod").arg("600").arg(dir.join("server.key")));
    (ca.pem(), ca.key_pem())
}

fn bin(program: &str) -> PathBuf {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = versions.map(|entry| entry.path().join("bin").join(program)).filter(|path| path.is_file()).max();
    newest.unwrap_or_else(|| PathBuf::from(program))
}

fn is_root() -> bool {
    Command::new("id").arg("-u").output().is_ok_and(|out| out.stdout.trim_ascii() == b"0")
}

fn unprivileged_user() -> &'static str {
    let users = std::fs::read_to_string("/etc/passwd").expect("users");
    if users.lines().any(|line| line.starts_with("postgres:")) { "postgres" } else { "nobody" }
}

/// PostgreSQL refuses to run as root. `setpriv` replaces itself by the program, so the pid is PostgreSQL's own.
fn as_unprivileged(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args([&format!("--reuid={}", unprivileged_user()), "--regid=nogroup", "--clear-groups", "--"]).arg(program);
    command
}

fn run(command: &mut Command) {
    let done = command.output().expect("run a command");
    assert!(done.status.success(), "{command:?}: {}", String::from_utf8_lossy(&done.stderr));
}
