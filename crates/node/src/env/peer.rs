//! Who is at the other end of a socket: a process that lives, and the container that it is in.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::net::UnixStream;

use super::cgroup::{self, Whose};
use crate::pidfd;

/// Where processes are looked at: `/proc`.
#[derive(Debug, Clone)]
pub struct Processes {
    root: PathBuf,
}

/// A process.
#[derive(Debug)]
pub struct Peer {
    /// The container.
    pub whose: Whose,
    process: OwnedFd,
}

// === impl Processes ===

impl Processes {
    /// Those of the machine.
    #[must_use]
    pub fn of_system() -> Self {
        Self::at(Path::new("/proc"))
    }

    /// Those below another folder.
    #[must_use]
    pub fn at(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The process that made a connection, if it is in a container and lives.
    ///
    /// # Errors
    /// In words for the agent's log.
    pub fn peer(&self, stream: &UnixStream) -> io::Result<Peer> {
        let told = |what: &str| io::Error::other(what.to_owned());
        let pid = stream.peer_cred()?.pid().filter(|pid| *pid > 0).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| told("the process is not seen from here: the agent needs hostPID"))?;
        // The handle first: what is read after it is of this process, as long as it lives when we are done.
        let process = pidfd_open(pid, PidfdFlags::empty())?;
        let path = self.root.join(pid.as_raw_nonzero().to_string()).join("cgroup");
        let mut text = String::new();
        File::open(path)?.take(cgroup::MOST).read_to_string(&mut text)?;
        let whose = cgroup::whose(&text).ok_or_else(|| told("the process is in no container of a pod"))?;
        let peer = Peer { whose, process };
        if peer.lives() { Ok(peer) } else { Err(told("the process is gone")) }
    }
}

// === impl Peer ===

impl Peer {
    /// Whether it has not ended.
    #[must_use]
    pub fn lives(&self) -> bool {
        pidfd::lives(&self.process)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_process_is_known_by_its_cgroup_and_only_while_it_lives() {
        let dir = tempfile::tempdir().unwrap();
        let own = dir.path().join(std::process::id().to_string());
        std::fs::create_dir(&own).unwrap();
        let processes = Processes::at(dir.path());
        let (here, _there) = UnixStream::pair().unwrap();
        assert!(processes.peer(&here).is_err(), "nothing can be read");
        std::fs::write(own.join("cgroup"), "0::/user.slice").unwrap();
        assert!(processes.peer(&here).unwrap_err().to_string().contains("in no container"));
        let (uid, id) = ("0".repeat(32), "a".repeat(64));
        std::fs::write(own.join("cgroup"), format!("0::/kubepods/pod{uid}/{id}")).unwrap();
        let peer = processes.peer(&here).unwrap();
        assert_eq!((peer.whose.pod_uid, peer.whose.container_id), (uid, id));
    }

    #[test]
    fn the_end_of_a_process_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
        let peer = Peer { whose: Whose { pod_uid: String::new(), container_id: String::new() }, process };
        assert!(peer.lives());
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!peer.lives());
    }
}
