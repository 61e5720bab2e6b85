//! Where this program lies: the folder `.dewdrop` of the container's own volume, with the agent's socket beside it.

use std::fs::File;
use std::io::Read;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::process::{DumpableBehavior, set_dumpable_behavior};

use crate::fail::Fail;

/// The agent's socket.
const SOCKET: &str = "agent.sock";
/// Says what the volume is for: `env`, `gate` or `agentless`.
pub const MODE: &str = "mode";
/// There is no agent.
pub const AGENTLESS: &str = "agentless";

/// What the container gets through this program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Variables of its environment.
    Env,
    /// Nothing but the moment: its files are there.
    Gate,
    /// Variables, for which this program signs in itself.
    Agentless,
}

/// The folder.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    folder: File,
}

// === impl Place ===

impl Place {
    /// The folder that this very program was started from, whatever it was called by.
    pub fn find() -> Result<Self, Fail> {
        let exe = std::fs::read_link("/proc/self/exe").map_err(|e| {
            Fail::Credential(format!("/proc/self/exe cannot be read ({e}): is /proc mounted in the container?"))
        })?;
        let path = exe.parent().unwrap_or(Path::new("/")).to_owned();
        let folder =
            File::open(&path).map_err(|e| Fail::Credential(format!("{} cannot be opened: {e}", path.display())))?;
        Ok(Self { path, folder })
    }

    /// What the volume is for.
    pub fn mode(&self) -> Result<Mode, Fail> {
        let path = self.path.join(MODE);
        let mut text = String::new();
        let read = File::open(&path).and_then(|file| file.take(16).read_to_string(&mut text));
        match (read, text.trim()) {
            (Ok(_), "env") => Ok(Mode::Env),
            (Ok(_), "gate") => Ok(Mode::Gate),
            (Ok(_), AGENTLESS) => Ok(Mode::Agentless),
            (Ok(_), _) => Err(Fail::Credential(format!("{} says nothing that this program knows", path.display()))),
            (Err(e), _) => Err(Fail::Credential(format!(
                "{} cannot be read ({e}): this program works in a volume of csi.dewdrop.dev, or where it was put with --install",
                path.display()
            ))),
        }
    }

    /// A connection to the agent. The socket is reached through the folder's descriptor, for the path of a socket may
    /// have 107 bytes only and a mount's path may have more.
    pub fn connect(&self) -> std::io::Result<UnixStream> {
        UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", self.folder.as_raw_fd()))
    }
}

/// A core of this process would be written to the node's disk. What it becomes decides for itself again.
pub fn no_core_dumps() {
    if let Err(why) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        eprintln!("dewdrop-exec: core dumps of the wrapper cannot be turned off: {why}");
    }
}
