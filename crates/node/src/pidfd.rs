//! A handle of a process that stays right when its number is used again.

use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The handle of a process, if there is one by that number.
#[must_use]
pub fn open(pid: u32) -> Option<OwnedFd> {
    let pid = Pid::from_raw(i32::try_from(pid).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

/// Whether the process has not ended.
#[must_use]
pub fn lives(process: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)) == Ok(0)
}

/// Waits until it has ended.
///
/// # Errors
/// The system cannot say.
#[expect(
    deprecated,
    reason = "its successor is unsafe; the descriptor cannot be closed while it is registered: it is owned here"
)]
pub async fn until_exit(process: Arc<OwnedFd>) -> std::io::Result<()> {
    AsyncFd::with_interest(process, Interest::READABLE)?.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_seen() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().unwrap();
        let process = Arc::new(open(child.id()).unwrap());
        assert!(lives(&process));
        let waits = tokio::spawn(until_exit(process.clone()));
        child.kill().unwrap();
        waits.await.unwrap().unwrap();
        assert!(!lives(&process));
        child.wait().unwrap();
        assert!(open(0).is_none());
    }
}
