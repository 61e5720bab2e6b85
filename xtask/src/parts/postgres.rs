//! A throw-away PostgreSQL: its own cluster in a temporary folder, on a free port of 127.0.0.1.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Process, TempDir, free_port, output_of, which};

/// Name of the superuser of each cluster.
pub const SUPERUSER: &str = "root_of_pg";
/// Its password. The cluster listens on loopback only and lives as long as one run.
pub const PASSWORD: &str = "pg-secret-for-tests";

/// How the server makes a user here.
pub const CREATE_ROLE: &str =
    r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"#;

/// How long the server may take until it answers, and until it has stopped.
const LIMIT: Duration = Duration::from_secs(30);

/// The folder with `initdb`, `postgres` and `psql`; installs Debian's `postgresql` when we are root and it is missing.
pub fn ensure() -> Result<PathBuf> {
    if let Some(dir) = find() {
        return Ok(dir);
    }
    if !is_root()? || which("apt-get").is_none() {
        bail!(
            "PostgreSQL is missing: no `initdb` under /usr/lib/postgresql/*/bin or in PATH (on Debian, as root: apt-get install postgresql)"
        );
    }
    eprintln!("installing PostgreSQL (apt-get install postgresql)");
    // Without this file the package would start a cluster of its own.
    std::fs::create_dir_all("/etc/postgresql-common/createcluster.d")?;
    std::fs::write("/etc/postgresql-common/createcluster.d/dewdrop.conf", "create_main_cluster = false\n")?;
    output_of(
        Command::new("apt-get")
            .args(["install", "-y", "--no-install-recommends", "postgresql"])
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
    .context("apt-get install postgresql failed (an old package list? run apt-get update)")?;
    find().context("the package postgresql is installed, but there is no /usr/lib/postgresql/*/bin/initdb")
}

/// The newest of /usr/lib/postgresql/*/bin, else the folder in PATH that has `initdb`.
fn find() -> Option<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| (entry.file_name().to_string_lossy().parse().unwrap_or(0), entry.path().join("bin")))
        .filter(|(_, bin)| bin.join("initdb").is_file() && bin.join("postgres").is_file())
        .collect();
    versions.sort();
    match versions.pop() {
        Some((_, bin)) => Some(bin),
        None => which("initdb")
            .and_then(|file| file.canonicalize().ok())
            .and_then(|file| file.parent().map(Path::to_path_buf)),
    }
}

fn is_root() -> Result<bool> {
    Ok(output_of(Command::new("id").arg("-u"))?.trim() == "0")
}

/// A running cluster; stopped by its pid when dropped.
#[derive(Debug)]
pub struct Postgres {
    /// Listening port on 127.0.0.1; it stays the same over `stop` and `start_again`.
    pub port: u16,
    bin: PathBuf,
    data: PathBuf,
    owner: Option<String>,
    process: Option<Process>,
    // Last, so that the server is gone before its folder is.
    dir: TempDir,
}

/// Makes and starts a new cluster in a temporary folder (a sub-folder of `TMPDIR`).
pub fn start() -> Result<Postgres> {
    let bin = ensure()?;
    let dir = TempDir::new("compat-pg")?;
    let owner = if is_root()? { Some(unprivileged_user()?) } else { None };
    if let Some(user) = &owner {
        output_of(Command::new("chown").arg(user).arg(dir.path()))?;
    }
    let data = dir.path().join("data");
    let password = dir.path().join("password");
    std::fs::write(&password, PASSWORD)?;
    if let Some(user) = &owner {
        output_of(Command::new("chown").arg(user).arg(&password))?;
    }
    let mut initdb = as_user(owner.as_deref(), &bin.join("initdb"));
    initdb.args([
        "--no-sync",
        "--no-instructions",
        "--encoding=UTF8",
        "--locale=C",
        "--auth=scram-sha-256",
        "-U",
        SUPERUSER,
    ]);
    initdb.arg("--pwfile").arg(&password).arg("-D").arg(&data).current_dir(dir.path());
    output_of(&mut initdb).context("initdb failed")?;
    let mut postgres = Postgres { port: free_port()?, bin, data, owner, process: None, dir };
    postgres.start_again()?;
    Ok(postgres)
}

/// PostgreSQL refuses to run as root, so somebody else has to: its own user if there is one.
fn unprivileged_user() -> Result<String> {
    let users = std::fs::read_to_string("/etc/passwd")?;
    ["postgres", "nobody"]
        .into_iter()
        .find(|name| users.lines().any(|line| line.starts_with(&format!("{name}:"))))
        .map(str::to_owned)
        .context("PostgreSQL refuses to run as root, and there is no user `postgres` or `nobody` to run it as")
}

fn as_user(owner: Option<&str>, program: &Path) -> Command {
    match owner {
        None => Command::new(program),
        // setpriv replaces itself by the program, so the pid that we hold is PostgreSQL's own.
        Some(user) => {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={user}"), "--regid=nogroup", "--clear-groups", "--"]).arg(program);
            command
        }
    }
}

impl Postgres {
    /// What a server is told of it at `database/config/NAME`.
    pub fn connection(&self, allowed_roles: &str) -> Value {
        let port = self.port;
        json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres?sslmode=disable"),
            "username": SUPERUSER,
            "password": PASSWORD,
            "allowed_roles": allowed_roles,
        })
    }

    /// Starts it again on the same port after `stop` or `kill9`.
    pub fn start_again(&mut self) -> Result<()> {
        // After a SIGKILL, PostgreSQL refuses to start until the last orphaned child is gone: a second or two.
        for _ in 0..20 {
            if self.start_once().is_ok() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(250));
        }
        self.start_once()
    }

    fn start_once(&mut self) -> Result<()> {
        let mut command = as_user(self.owner.as_deref(), &self.bin.join("postgres"));
        command.arg("-D").arg(&self.data).args(["-p", &self.port.to_string()]);
        command.args(["-c", "listen_addresses=127.0.0.1", "-c", "max_connections=200"]);
        command.arg("-c").arg(format!("unix_socket_directories={}", self.dir.path().display()));
        command.current_dir(self.dir.path());
        let mut process = Process::start(command, &self.dir.path().join("postgres.log"))?;
        let ready = self.bin.join("pg_isready");
        let port = self.port.to_string();
        process.wait_until(LIMIT, || {
            let asked = Command::new(&ready).args(["-q", "-h", "127.0.0.1", "-p", &port]).status();
            asked.is_ok_and(|status| status.success())
        })?;
        self.process = Some(process);
        Ok(())
    }

    /// Fast shutdown: open connections are cut, the data is safe.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop("-INT", LIMIT);
        }
    }

    /// SIGKILL to the postmaster; its children notice and end.
    pub fn kill9(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill9();
        }
    }

    /// Runs SQL as the superuser; rows come as lines, columns separated by `|`. A failing statement is an error.
    pub fn psql(&self, sql: &str) -> Result<String> {
        self.psql_as(SUPERUSER, PASSWORD, sql)
    }

    /// A psql of the superuser that reads statements from its input; answers as `psql` does.
    pub fn psql_command(&self) -> Command {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", SUPERUSER, "-d", "postgres"]);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]).env("PGPASSWORD", PASSWORD);
        command
    }

    /// Runs SQL as somebody else, through the TCP port and with a password.
    pub fn psql_as(&self, user: &str, password: &str, sql: &str) -> Result<String> {
        let mut command = Command::new(self.bin.join("psql"));
        command.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", user, "-d", "postgres"]);
        command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        command.env("PGPASSWORD", password).env("PGCONNECT_TIMEOUT", "10");
        Ok(output_of(&mut command)?.trim_end().to_owned())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(process) = self.process.as_mut() {
            // SIGQUIT: at once and with all its children; there is nothing to keep.
            process.stop("-QUIT", Duration::from_secs(5));
        }
    }
}
