//! The outside programs that the chores drive: a real OpenBao (the oracle) and a real PostgreSQL.
//!
//! Each part knows how to get its program (`ensure`), how to start it for one run, and stops what it started.

pub mod client;
pub mod exec;
pub mod openbao;
pub mod postgres;
pub mod vault;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Pause between two looks at a thing that is starting or stopping.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The root of the repository: the folder above `xtask`.
pub fn repo_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// A TCP port on 127.0.0.1 that nobody listens on at this moment; the next one is free, too.
///
/// OpenBao takes the next port for its cluster traffic without being asked, so ports are given in pairs.
/// `COMPAT_PORTS=21100-21199` narrows the choice, for machines that several people share.
pub fn free_port() -> Result<u16> {
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    let pair = |port: u16| port < u16::MAX && free(port) && free(port + 1) && give_away(port);
    if let Ok(range) = std::env::var("COMPAT_PORTS")
        && let Some((from, to)) = range.split_once('-')
    {
        let (from, to): (u16, u16) = (from.trim().parse()?, to.trim().parse()?);
        let found = (from..to).step_by(2).find(|port| pair(*port));
        return found.with_context(|| format!("no two free ports in COMPAT_PORTS={range}"));
    }
    for _ in 0..1000 {
        let port = TcpListener::bind("127.0.0.1:0").context("no free port on 127.0.0.1")?.local_addr()?.port();
        if pair(port) {
            return Ok(port);
        }
    }
    bail!("no two free ports in a row on 127.0.0.1")
}

/// Notes that the port is somebody's now; false when it was already: two threads must not get the same one while
/// its first owner is still starting.
fn give_away(port: u16) -> bool {
    static GIVEN: std::sync::Mutex<Vec<u16>> = std::sync::Mutex::new(Vec::new());
    let Ok(mut given) = GIVEN.lock() else { return false };
    // Long ago given means started and, if it is free again, stopped.
    if given.len() > 16 {
        given.remove(0);
    }
    let ours = !given.iter().any(|g| g.abs_diff(port) <= 1);
    if ours {
        given.push(port);
    }
    ours
}

/// A new empty folder under the system's temporary folder; gone when dropped.
#[derive(Debug)]
pub struct TempDir(PathBuf);

impl TempDir {
    /// Makes `<tmp>/<prefix>-<pid>-<n>`.
    pub fn new(prefix: &str) -> Result<Self> {
        static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("{prefix}-{}-{n}", std::process::id()));
        if path.exists() {
            std::fs::remove_dir_all(&path)?;
        }
        std::fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        // A leftover in the temporary folder is not worth an error.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A child process with its output in a file; killed by its pid when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stdout and stderr appended to `log`. Standard input is closed.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let out = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("cannot write {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stderr(out.try_clone()?)
            .stdout(out)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        Ok(Self { child, name, log: log.to_path_buf() })
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `ready` says true; an error with the end of its log when the process ends before, or after `limit`.
    pub fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let looks = limit.as_millis() / LOOK_AGAIN.as_millis();
        for _ in 0..looks {
            // First: somebody else may answer on the port that this one could not get.
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status} while starting:\n{}", self.name, self.log_tail());
            }
            if ready() {
                return Ok(());
            }
            sleep(LOOK_AGAIN);
        }
        bail!("{} was not ready after {limit:?}:\n{}", self.name, self.log_tail())
    }

    /// Ends the process: SIGTERM, and SIGKILL when it still runs after `patience`.
    pub fn stop(&mut self, signal: &str, patience: Duration) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        let told = Command::new("kill").args([signal, &self.pid().to_string()]).status();
        if told.is_ok() {
            for _ in 0..patience.as_millis() / LOOK_AGAIN.as_millis() {
                if matches!(self.child.try_wait(), Ok(Some(_))) {
                    return;
                }
                sleep(LOOK_AGAIN);
            }
        }
        self.kill9();
    }

    /// SIGKILL, at once, and waits for the end.
    pub fn kill9(&mut self) {
        // Both fail only when the process is gone already, which is what we want.
        drop(self.child.kill());
        drop(self.child.wait());
    }

    /// True while the process runs.
    pub fn alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// The last few kilobytes of its output.
    pub fn log_tail(&self) -> String {
        let mut text = Vec::new();
        if let Ok(mut file) = File::open(&self.log) {
            let length = file.metadata().map_or(0, |m| m.len());
            if file.seek(SeekFrom::Start(length.saturating_sub(4096))).is_ok() {
                drop(file.read_to_end(&mut text));
            }
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill9();
    }
}

/// True when something answers a TCP connection on that port of 127.0.0.1.
pub fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// Runs a command to its end and returns its standard output; its standard error is in the error.
pub fn output_of(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {name}"))?;
    if !out.status.success() {
        bail!("{name} ended with {}: {}", out.status, String::from_utf8_lossy(&out.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// Finds a program in `PATH`.
pub fn which(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Builds the one program with these more arguments of `cargo build` (`--release`), and says where it is.
pub fn build(more: &[&str]) -> Result<PathBuf> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--package", "dewdrop"]).args(more).current_dir(repo_root());
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("dewdrop does not build");
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(repo_root());
    let metadata: serde_json::Value = serde_json::from_str(&output_of(&mut cargo)?)?;
    let target = metadata.get("target_directory").and_then(|text| text.as_str());
    let profile = if more.contains(&"--release") { "release" } else { "debug" };
    let program = Path::new(target.context("cargo names no target directory")?).join(profile).join("dewdrop");
    program.canonicalize().with_context(|| format!("cargo has built no {}", program.display()))
}
