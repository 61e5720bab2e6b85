//! Processes that outlive the chore that started them. A process is known by its pid and the moment it began, so that
//! another process that got the same pid later is left alone.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::cgroup;
use super::record::Cluster;
use crate::say::Stopwatch;

/// Pause between two looks at a thing that is starting or stopping.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How much of a log is shown when its daemon failed.
/// How long a killed process may take to be gone.
const LAST_BREATH: Duration = Duration::from_secs(20);

const TAIL: u64 = 3000;

/// A process in the background.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Daemon {
    /// What it is called here: the program, and the node where there are several.
    pub name: String,
    /// Its process id.
    pub pid: u32,
    /// When it began, in the kernel's ticks since boot.
    pub began: u64,
    /// Its output.
    pub log: PathBuf,
}

impl Daemon {
    /// Whether it runs.
    pub fn alive(&self) -> bool {
        began(self.pid) == Some(self.began)
    }

    /// Waits until it is gone, after it was killed.
    pub fn wait_until_gone(&self) -> Result<()> {
        let clock = Stopwatch::start();
        while self.alive() {
            if clock.elapsed() > LAST_BREATH {
                bail!("{} (pid {}) does not end", self.name, self.pid);
            }
            sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// The end of its log.
    pub fn log_tail(&self) -> String {
        tail(&self.log)
    }

    /// Waits for `ready`; an error with the end of the log when the process ends before, or after `limit`.
    pub fn wait_until(&self, what: &str, limit: Duration, mut ready: impl FnMut() -> bool) -> Result<()> {
        let clock = Stopwatch::start();
        while clock.elapsed() < limit {
            if ready() {
                return Ok(());
            }
            if !self.alive() {
                bail!("{} ended while starting; the end of {}:\n{}", self.name, self.log.display(), self.log_tail());
            }
            sleep(LOOK_AGAIN);
        }
        bail!("{what} not after {limit:?}; the end of {}:\n{}", self.log.display(), self.log_tail())
    }
}

/// What to start.
#[derive(Debug)]
pub struct Start<'a> {
    /// Name of the daemon and of its log.
    pub name: String,
    /// Its control group below the cluster's.
    pub group: String,
    /// The network namespace, if not the machine's.
    pub netns: Option<&'a Path>,
    /// Program of the cluster's folder of binaries.
    pub program: &'a str,
    /// Its arguments.
    pub args: Vec<String>,
}

/// Starts a daemon and notes it in the record. A daemon of the same name that ended before makes place for it.
pub fn start(cluster: &mut Cluster, wish: Start<'_>) -> Result<Daemon> {
    let log = cluster.log_of(&wish.name);
    let out = File::options().create(true).append(true).open(&log);
    let out = out.with_context(|| format!("cannot write {}", log.display()))?;
    let mut command = in_group(&cgroup::make(&cluster.cgroup, &wish.group)?);
    if let Some(netns) = wish.netns {
        // Not `ip netns exec`: that would hide the mounts below /sys.
        command.arg("nsenter").arg(format!("--net={}", netns.display())).arg("--");
    }
    command.arg(cluster.bin.join(wish.program)).args(&wish.args);
    // The runtime finds its shims, and kubelet its helpers, on the PATH. Nothing else of our own surroundings is theirs:
    // a proxy or a setting of Go would change how they behave.
    command.env_clear().env("PATH", super::path_with(&cluster.bin)).env("HOME", &cluster.state);
    command.current_dir(&cluster.state);
    // A group of its own: Ctrl-C at the terminal is for the chore.
    command.process_group(0).stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
    let child = command.spawn().with_context(|| format!("cannot start {}", wish.program))?;
    let pid = child.id();
    // When it is gone already, waiting for it tells with its log.
    let daemon = Daemon { name: wish.name, pid, began: began(pid).unwrap_or(0), log };
    cluster.daemons.retain(|other| other.name != daemon.name);
    cluster.daemons.push(daemon.clone());
    cluster.save()?;
    Ok(daemon)
}

/// A shell that enters the control groups and then becomes the command that is appended as its arguments. Whatever that
/// starts is in the groups, too: that is how `down` finds the shims, which leave their parent.
fn in_group(folders: &[PathBuf]) -> Command {
    let enters: Vec<String> = folders.iter().map(|dir| format!("echo $$ > '{}/cgroup.procs'", dir.display())).collect();
    let mut command = Command::new("sh");
    command.arg("-c").arg(format!("{}; exec \"$@\"", enters.join(" && "))).arg("sh");
    command
}

/// When a running process began; none when there is no such process, or nothing but its exit status is left of it.
pub fn began(pid: u32) -> Option<u64> {
    began_in(&std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The fields after the name, which stands in brackets and may hold anything, brackets and spaces too.
fn began_in(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    // The first thread may be over while others still hold the program's sockets.
    let is_over = match *fields.first()? {
        "X" => true,
        "Z" => *fields.get(17)? == "1",
        _ => false,
    };
    if is_over { None } else { fields.get(19)?.parse().ok() }
}

/// The last of a file.
pub fn tail(log: &Path) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = File::open(log) {
        let length = file.metadata().map_or(0, |m| m.len());
        if file.seek(SeekFrom::Start(length.saturating_sub(TAIL))).is_ok() {
            drop(file.read_to_end(&mut text));
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "77 (a ) b) S 1 77 77 0 -1 4194560 1 0 0 0 3 4 0 0 20 0 9 0 424242 1 2 3";

    #[test]
    fn the_beginning_is_found_behind_any_name() {
        assert_eq!(began_in(STAT), Some(424_242));
        assert_eq!(began_in("77 (short) S 1"), None);
        assert_eq!(began_in(""), None);
    }

    #[test]
    fn a_zombie_does_not_run() {
        let zombie = STAT.replace(") S", ") Z");
        assert_eq!(began_in(&zombie), Some(424_242), "eight of its threads still hold its sockets");
        assert_eq!(began_in(&zombie.replace(" 0 9 0 ", " 0 1 0 ")), None);
    }

    #[test]
    fn another_process_with_the_same_pid_is_another() {
        let pid = std::process::id();
        let own = Daemon { name: "me".into(), pid, began: began(pid).expect("we run"), log: "/dev/null".into() };
        assert!(own.alive());
        assert!(!Daemon { began: own.began + 1, ..own }.alive());
    }

    #[test]
    fn a_daemon_that_ended_shows_its_log() {
        let dir = crate::parts::TempDir::new("clu").expect("folder");
        let log = dir.path().join("x.log");
        std::fs::write(&log, format!("{}the reason", "x".repeat(9000))).expect("write");
        let gone = Daemon { name: "etcd".into(), pid: std::process::id(), began: 1, log };
        let error = gone.wait_until("etcd answers", Duration::from_secs(5), || false).expect_err("ended");
        let text = error.to_string();
        assert!(text.contains("the reason") && text.len() < 4000, "{text}");
    }
}
