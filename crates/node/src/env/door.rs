//! The socket in one volume: who comes is looked at before anything is read, asks one thing, and gets one answer.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::cgroup::Whose;
use super::peer::{Peer, Processes};
use super::wire::{Answer, Ask, MOST, VERSION};

/// The socket's name.
const SOCKET: &str = "agent.sock";
/// The most that are served at one time; more wait.
const AT_ONCE: usize = 8;
/// One connection, from its beginning to its end.
const PATIENCE: Duration = Duration::from_secs(15);
/// After the socket could not be made.
const AGAIN: Duration = Duration::from_secs(1);

/// The joint to the agent.
///
/// # Contract
/// Answers within some seconds, with [`Answer::Wait`] when there is nothing better, and refuses whoever is not in the
/// container whose volume this is.
#[async_trait]
pub trait Desk: Send + Sync + 'static {
    /// What a process of this container is told.
    async fn answer(&self, whose: &Whose, image: bool) -> Answer;
}

/// One volume's.
pub struct Door {
    folder: PathBuf,
    processes: Processes,
    desk: Arc<dyn Desk>,
    patience: Duration,
}

// === impl Door ===

impl Door {
    /// In the folder `.dewdrop` of a volume.
    pub fn new(folder: PathBuf, processes: Processes, desk: Arc<dyn Desk>) -> Self {
        Self { folder, processes, desk, patience: PATIENCE }
    }

    /// Listens until it is aborted.
    pub async fn keep(self) {
        loop {
            let why = match listen(&self.folder) {
                Ok(listener) => self.serve(&listener).await,
                Err(why) => why,
            };
            tracing::warn!(folder = %self.folder.display(), %why, "containers cannot ask here for their credential; trying again");
            sleep(AGAIN).await;
        }
    }

    /// Serves until the socket breaks.
    async fn serve(&self, listener: &UnixListener) -> io::Error {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        // Dropped with this future, and all that runs in it as well.
        let mut served = JoinSet::new();
        loop {
            // Never closed.
            let Ok(place) = places.clone().acquire_owned().await else { return io::Error::other("closed") };
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(why) => return why,
            };
            let (processes, desk, patience) = (self.processes.clone(), self.desk.clone(), self.patience);
            served.spawn(async move {
                if let Ok(Err(why)) = timeout(patience, one(stream, &processes, desk.as_ref())).await {
                    tracing::debug!(%why, "a wrapper hung up");
                }
                drop(place);
            });
            while served.try_join_next().is_some() {}
        }
    }
}

/// The socket, for everybody in the container. The path goes through the folder's descriptor, for a socket's may have 107
/// bytes only.
fn listen(folder: &Path) -> io::Result<UnixListener> {
    let opened = File::open(folder)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}/{SOCKET}", opened.as_raw_fd()));
    match fs::remove_file(&path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(&path)?;
    fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    Ok(listener)
}

/// One connection.
async fn one(mut stream: UnixStream, processes: &Processes, desk: &dyn Desk) -> io::Result<()> {
    let answer = match processes.peer(&stream) {
        Ok(peer) => answer(&mut stream, &peer, desk).await?,
        Err(why) => {
            tracing::warn!(%why, "somebody asked for a credential and was refused");
            Answer::Refused
        }
    };
    stream.write_all(&answer.line()).await?;
    stream.shutdown().await
}

async fn answer(stream: &mut UnixStream, peer: &Peer, desk: &dyn Desk) -> io::Result<Answer> {
    let mut line = Vec::new();
    BufReader::new(stream).take(MOST).read_until(b'\n', &mut line).await?;
    let Ok(ask) = serde_json::from_slice::<Ask>(&line) else { return Ok(Answer::Refused) };
    if ask.v != VERSION {
        return Ok(Answer::Refused);
    }
    let answer = desk.answer(&peer.whose, ask.image).await;
    // The number may be another process's by now; the handle is not.
    Ok(if peer.lives() { answer } else { Answer::Refused })
}

#[cfg(test)]
mod tests;
