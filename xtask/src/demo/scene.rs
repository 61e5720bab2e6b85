//! The stage of the demo: the database, the server, the programs.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::parts::postgres::{self, CREATE_ROLE, Postgres};
use crate::parts::{Process, TempDir, free_port, output_of, repo_root};
use crate::{say, tools};

const ROOT_TOKEN: &str = "demo-root";
const LOOK_AGAIN: Duration = Duration::from_millis(10);
const START: Duration = Duration::from_secs(15);

/// The programs' users, in order.
const USERS: &str = "select rolname from pg_roles where rolcanlogin and not rolsuper order by rolname";
/// The same with the end that PostgreSQL itself knows.
pub const USERS_FOR_PEOPLE: &str = "select rolname, 'until ' || rolvaliduntil::timestamptz(0) from pg_roles where rolcanlogin and not rolsuper order by rolname";

/// What the programs do: write a row now and then, with what `dewdrop run` put into their environment. They end when
/// the folder of the demo is gone.
const WORK: &str = r#"
user=$(env | sed -n 's/^[A-Za-z0-9_]*USERNAME=//p' | head -n 1)
PGPASSWORD=$(env | sed -n 's/^[A-Za-z0-9_]*PASSWORD=//p' | head -n 1)
export PGPASSWORD
echo "$$ $user" > "$DEMO_DIR/$1.new" && mv "$DEMO_DIR/$1.new" "$DEMO_DIR/$1.who"
while [ -d "$DEMO_DIR" ]; do
    psql -h 127.0.0.1 -p "$DEMO_PORT" -U "$user" -d postgres -X -q -c "insert into beats (program) values ('$1')"
    sleep 0.1
done
"#;

/// Everything that runs. Fields are dropped in order: programs have ended before the database does.
pub struct Scene {
    server: Process,
    /// The database.
    pub postgres: Postgres,
    /// `http://127.0.0.1:...`.
    pub address: String,
    token: String,
    dewdrop: PathBuf,
    psql_dir: PathBuf,
    dir: TempDir,
}

/// A program under `dewdrop run`.
pub struct Program {
    /// Its name in this demo.
    pub name: String,
    /// Its own process id.
    pub pid: u32,
    /// Its database user.
    pub user: String,
    /// `dewdrop run`.
    pub wrapper: Process,
}

/// Builds the one program and says where it is.
pub fn build() -> Result<PathBuf> {
    tools::ensure()?;
    let status = Command::new("cargo").args(["build", "--package", "dewdrop"]).current_dir(repo_root()).status()?;
    if !status.success() {
        bail!("dewdrop does not build");
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(repo_root());
    let metadata: Value = serde_json::from_str(&output_of(&mut cargo)?)?;
    let target = metadata.get("target_directory").and_then(Value::as_str).context("cargo names no target directory")?;
    let program = Path::new(target).join("debug/dewdrop");
    program.canonicalize().with_context(|| format!("cargo has built no {}", program.display()))
}

/// SIGKILL to a process that the demo started.
pub fn kill9(pid: u32) -> Result<()> {
    output_of(Command::new("kill").args(["-9", &pid.to_string()])).map(|_| ())
}

impl Scene {
    /// Starts the database and the server.
    pub fn open(dewdrop: PathBuf) -> Result<Self> {
        let postgres = postgres::start()?;
        postgres
            .psql("create table beats (program text, at timestamptz default now()); grant insert on beats to public")?;
        let dir = TempDir::new("dewdrop-demo")?;
        let listen = format!("127.0.0.1:{}", free_port()?);
        let address = format!("http://{listen}");
        let mut command = Command::new(&dewdrop);
        command.args(["server", "-dev", &format!("-dev-root-token-id={ROOT_TOKEN}")]);
        command.arg(format!("-dev-listen-address={listen}"));
        command.arg(format!("-dev-data-dir={}", dir.path().join("data").display()));
        // The token of the demo is no business of the user's own token file.
        command.env("HOME", dir.path());
        let mut server = Process::start(command, &dir.path().join("server.log"))?;
        server.wait_until(START, || ask(&address, "GET", "sys/health", ROOT_TOKEN, None).is_ok())?;
        let psql_dir = postgres::ensure()?;
        Ok(Self { server, postgres, address, token: String::new(), dewdrop, psql_dir, dir })
    }

    /// Mounts the database engine, and makes a token that may do nothing but read the credential.
    pub fn configure(&mut self) -> Result<()> {
        let root = |path: &str, body: Value| ask(&self.address, "POST", path, ROOT_TOKEN, Some(body));
        root("sys/mounts/database", json!({ "type": "database" }))?;
        root("database/config/demo", self.postgres.connection("app"))?;
        root(
            "database/roles/app",
            json!({ "db_name": "demo", "creation_statements": [CREATE_ROLE], "default_ttl": "1h", "max_ttl": "24h" }),
        )?;
        let policy = r#"path "database/creds/app" { capabilities = ["read"] }"#;
        root("sys/policies/acl/app", json!({ "policy": policy }))?;
        let made = root("auth/token/create", json!({ "policies": ["app"], "ttl": "1h" }))?;
        let token = made.pointer("/auth/client_token").and_then(Value::as_str).context("no token was made")?;
        self.token = token.to_owned();
        Ok(())
    }

    /// Starts a program and waits until it has written its first row.
    pub fn start(&self, name: &str) -> Result<Program> {
        let path =
            [self.psql_dir.clone().into_os_string(), std::env::var_os("PATH").unwrap_or_default()].join(":".as_ref());
        let mut command = Command::new(&self.dewdrop);
        command.args([
            "run",
            "--session-ttl",
            "5s",
            "--creds",
            "database/creds/app",
            "--env",
            "--",
            "sh",
            "-c",
            WORK,
            "sh",
            name,
        ]);
        // Nothing of the user's own environment may be taken for a credential.
        command.env_clear().env("PATH", path).env("HOME", self.dir.path());
        command.env("DEWDROP_ADDR", &self.address).env("DEWDROP_TOKEN", &self.token);
        command.env("DEMO_DIR", self.dir.path()).env("DEMO_PORT", self.postgres.port.to_string());
        let mut wrapper = Process::start(command, &self.dir.path().join(format!("{name}.log")))?;
        let who = self.dir.path().join(format!("{name}.who"));
        wrapper.wait_until(START, || who.exists())?;
        let told = std::fs::read_to_string(&who)?;
        let (pid, user) = told.trim().split_once(' ').context("the program got no database user in its environment")?;
        let program = Program { name: name.into(), pid: pid.parse()?, user: user.into(), wrapper };
        self.wait("its first row", START, || Ok(self.beats(name)? > 0)).with_context(|| program.wrapper.log_tail())?;
        Ok(program)
    }

    /// The users that are not the superuser.
    pub fn users(&self) -> Result<Vec<String>> {
        Ok(self.postgres.psql(USERS)?.lines().map(str::to_owned).collect())
    }

    /// How many rows a program has written.
    pub fn beats(&self, program: &str) -> Result<u64> {
        Ok(self.postgres.psql(&format!("select count(*) from beats where program = '{program}'"))?.parse()?)
    }

    /// Waits until a user is gone; says how long it took.
    pub fn until_gone(&self, user: &str, limit: Duration) -> Result<Duration> {
        self.wait(&format!("user {user} to be gone"), limit, || Ok(!self.users()?.iter().any(|name| name == user)))
    }

    /// Waits for a condition; says how long it took.
    pub fn wait(&self, what: &str, limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<Duration> {
        let clock = say::Stopwatch::start();
        while clock.elapsed() < limit {
            if is_so()? {
                return Ok(clock.elapsed());
            }
            sleep(LOOK_AGAIN);
        }
        bail!("waited {} in vain for {what}; the server says:\n{}", say::time(limit), self.server.log_tail())
    }

    /// Lets the server end by itself.
    pub fn stop_server(&mut self) {
        self.server.stop("-TERM", START);
    }

    /// Where the audit log is.
    pub fn audit_path(&self) -> PathBuf {
        self.dir.path().join("data/audit")
    }

    /// Checks an audit log offline.
    pub fn verify_audit(&self, log: &Path) -> Result<String> {
        output_of(Command::new(&self.dewdrop).args(["audit", "verify"]).arg(log).env("HOME", self.dir.path()))
    }

    /// A copy of the audit log with one byte changed, in the middle of its longest file.
    pub fn forge_audit(&self) -> Result<PathBuf> {
        let copy = self.dir.path().join("forged");
        output_of(Command::new("cp").arg("-r").arg(self.audit_path()).arg(&copy))?;
        let files = std::fs::read_dir(&copy)?.collect::<std::io::Result<Vec<_>>>()?;
        let longest = files.iter().map(std::fs::DirEntry::path).filter(|path| path.is_file()).max_by_key(|path| {
            let text = std::fs::read(path).unwrap_or_default();
            text.iter().rposition(|byte| *byte != 0)
        });
        let longest = longest.context("the audit log has no file")?;
        let mut bytes = std::fs::read(&longest)?;
        let filled = bytes.iter().rposition(|byte| *byte != 0).context("the audit log is empty")?;
        let byte = bytes.get_mut(filled / 2).context("the audit log is empty")?;
        *byte = if *byte == b'x' { b'y' } else { b'x' };
        std::fs::write(&longest, bytes)?;
        Ok(copy)
    }
}

impl Program {
    /// Waits until `dewdrop run` has ended.
    pub fn wrapper_ended(&mut self, limit: Duration) -> Result<String> {
        let clock = say::Stopwatch::start();
        while clock.elapsed() < limit {
            if !self.wrapper.alive() {
                return Ok(format!("after {}", say::time(clock.elapsed())));
            }
            sleep(LOOK_AGAIN);
        }
        bail!("`dewdrop run` of program {} still runs:\n{}", self.name, self.wrapper.log_tail())
    }
}

/// One HTTP call; an error with the server's own words unless it says 2xx.
fn ask(address: &str, method: &str, path: &str, token: &str, body: Option<Value>) -> Result<Value> {
    let agent: ureq::Agent =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(START)).build().into();
    let url = format!("{address}/v1/{path}");
    let mut answer = match body {
        Some(body) => agent.post(&url).header("X-Vault-Token", token).send_json(body)?,
        None => agent.get(&url).header("X-Vault-Token", token).call()?,
    };
    let text = answer.body_mut().read_to_string()?;
    if !answer.status().is_success() {
        bail!("{method} {path}: {} {text}", answer.status());
    }
    Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
}
