//! Environment mode and the gate (docs/decisions/0018): the wrapper `dewdrop-exec` lies in the volume, asks on a socket
//! beside it, and is answered when it is in the container whose volume this is.

mod cgroup;
mod cri;
mod door;
mod peer;
mod place;
mod variables;
mod wire;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::JoinHandle;

pub use cgroup::{Whose, whose};
#[cfg(test)]
pub use cri::tests::runtime as played_runtime;
pub use cri::{Cri, Found, Runs, read as read_cri};
pub use door::Desk;
pub use variables::of as variables;
pub use wire::{Answer, Starts, Variable};

use crate::spec::Wrap;
use crate::volume::OURS;
use peer::Processes;
use place::Program;

/// What the agent has for wrapped containers.
pub struct Env {
    program: Option<Program>,
    /// The runtime, if we may ask it.
    pub cri: Option<Cri>,
    doors: Mutex<HashMap<String, JoinHandle<()>>>,
}

// === impl Env ===

impl Env {
    /// With the wrapper's file and the runtime's socket, where there are any.
    ///
    /// # Errors
    /// The file cannot be copied.
    pub fn open(program: Option<&Path>, state_dir: &Path, cri_socket: Option<PathBuf>) -> std::io::Result<Self> {
        let program = program.map(|file| Program::keep(file, &state_dir.join("exec"))).transpose()?;
        Ok(Self { program, cri: cri_socket.map(Cri::new), doors: Mutex::default() })
    }

    /// Puts the wrapper into a mounted volume. Blocks.
    ///
    /// # Errors
    /// There is no wrapper, or the system refuses.
    pub fn place(&self, wrap: &Wrap, target: &Path) -> std::io::Result<()> {
        let mode = match wrap {
            Wrap::No => return Ok(()),
            Wrap::Gate => "gate",
            Wrap::Env(_) => "env",
        };
        match &self.program {
            Some(program) => program.place(&target.join(OURS), mode),
            None => Err(std::io::Error::other(
                "the agent of this node has no dewdrop-exec (flag --exec-binary), so it cannot publish a volume with env or gate",
            )),
        }
    }

    /// Listens in a volume from now on.
    pub fn open_door(&self, volume_id: &str, target: &Path, desk: Arc<dyn Desk>) {
        let task = tokio::spawn(door::Door::new(target.join(OURS), Processes::of_system(), desk).keep());
        if let Some(former) = self.doors.lock().insert(volume_id.to_owned(), task) {
            former.abort();
        }
    }

    /// Listens there no more; returns when the socket is closed.
    pub async fn close_door(&self, volume_id: &str) {
        let door = self.doors.lock().remove(volume_id);
        if let Some(task) = door {
            task.abort();
            // It says only that it was aborted.
            drop(task.await);
        }
    }
}
