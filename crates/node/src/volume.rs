//! A volume on the node: a tmpfs of its own at kubelet's target path, and the files in it, replaced all at once.

mod render;
mod swap;

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::spec::VolumeSpec;
pub use dewdrop_api::variables::Fields;
use rustix::fs::statfs;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

/// The folder of the wrapper in a volume.
pub const OURS: &str = ".dewdrop";
/// The wrapper in it: a mount of its own.
pub const PROGRAM: &str = ".dewdrop/exec";

/// The magic number of a tmpfs (statfs(2)).
const TMPFS: i64 = 0x0102_1994;
/// No volume holds more.
const SIZE: &str = "size=1m,nr_inodes=1k,mode=0755";
/// Swapping would write secrets to a disk. Known to Linux 6.4 and later.
const NO_SWAP: &str = ",noswap";

/// A failure of a volume. It names paths and fields, never what is in them.
#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    /// The system refused.
    #[error("the volume at {path}: {act}: {cause}")]
    System {
        /// Where.
        path: String,
        /// What was tried.
        act: &'static str,
        /// Why it failed.
        cause: io::Error,
    },
    /// What the server gave does not fit what the pod asked for.
    #[error("{0}")]
    Content(String),
}

/// A mounted volume.
#[derive(Debug)]
pub struct Volume {
    target: PathBuf,
}

/// Whether one of our volumes is mounted at a path.
///
/// # Errors
/// The path cannot be looked at.
pub fn is_mounted(target: &Path) -> Result<bool, VolumeError> {
    let parent = target.parent().unwrap_or(target);
    match (fs::metadata(target), fs::metadata(parent)) {
        (Ok(here), Ok(above)) => {
            use std::os::unix::fs::MetadataExt;
            let kind = statfs(target).map_err(|e| system(target, "look at it", e.into()))?;
            Ok(here.dev() != above.dev() && kind.f_type == TMPFS)
        }
        (Err(e), _) | (_, Err(e)) if e.kind() == ErrorKind::NotFound => Ok(false),
        (Err(e), _) | (_, Err(e)) => Err(system(target, "look at it", e)),
    }
}

// === impl Volume ===

impl Volume {
    /// Mounts the tmpfs; one that is there already is kept.
    ///
    /// # Errors
    /// The system refuses.
    pub fn mount(target: &Path) -> Result<Self, VolumeError> {
        if !is_mounted(target)? {
            fs::create_dir_all(target).map_err(|e| system(target, "make the folder", e))?;
            let flags = MountFlags::NODEV | MountFlags::NOSUID | MountFlags::NOEXEC;
            let with = |data: String| {
                let data = std::ffi::CString::new(data).unwrap_or_default();
                mount("dewdrop", target, "tmpfs", flags, data.as_c_str())
            };
            with(format!("{SIZE}{NO_SWAP}"))
                .or_else(|_| with(SIZE.into()))
                .map_err(|e| system(target, "mount a tmpfs", e.into()))?;
        }
        Ok(Self { target: target.to_owned() })
    }

    /// Replaces the files by those of what the server gave. A reader sees the old ones or the new ones.
    ///
    /// # Errors
    /// A template names what is not there; the system refuses. The old files stay.
    pub fn write(&self, spec: &VolumeSpec, fs_group: Option<u32>, fields: &Fields) -> Result<(), VolumeError> {
        let files = render::files(&spec.layout, fields)?;
        let gid = spec.gid.or(fs_group).unwrap_or(0);
        // With an fsGroup the group must be able to read, as with kubelet's own volumes.
        let mode = if fs_group.is_some() && spec.gid.is_none() { spec.mode | 0o040 } else { spec.mode };
        let owner = swap::Owner { mode, uid: spec.uid, gid };
        swap::replace(&self.target, &files, owner).map_err(|e| system(&self.target, "write the files", e))
    }

    /// Wipes the files, unmounts the tmpfs and removes the folder. Not there is fine.
    ///
    /// # Errors
    /// The system refuses.
    pub fn unmount(target: &Path) -> Result<(), VolumeError> {
        // More than one can lie there when an agent was killed between two calls of kubelet.
        while is_mounted(target)? {
            // The wrapper, if it is there. Should it stay, the next steps say so.
            unmount(target.join(PROGRAM), UnmountFlags::NOFOLLOW | UnmountFlags::DETACH).ok();
            swap::wipe(target).map_err(|e| system(target, "wipe the files", e))?;
            let done = unmount(target, UnmountFlags::NOFOLLOW);
            // Somebody looks at it still: it goes when they are done.
            let done = done.or_else(|_| unmount(target, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH));
            done.map_err(|e| system(target, "unmount it", e.into()))?;
        }
        match fs::remove_dir(target) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(system(target, "remove the folder", e)),
            _ => Ok(()),
        }
    }
}

fn system(path: &Path, act: &'static str, cause: io::Error) -> VolumeError {
    VolumeError::System { path: path.display().to_string(), act, cause }
}

#[cfg(test)]
mod tests;
