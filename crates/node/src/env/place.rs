//! The wrapper in a volume. It is not copied: one file on the agent's tmpfs is mounted over an empty one in each volume,
//! read-only, so a hundred volumes hold it once, and nothing else in a volume can be executed.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::mount::{MountFlags, mount_bind, mount_remount};

const NAME: &str = "dewdrop-exec";

/// The wrapper's file, as the agent keeps it.
#[derive(Debug)]
pub struct Program {
    file: PathBuf,
}

// === impl Program ===

impl Program {
    /// Copies it into a folder of the agent's. Volumes that have a former one keep it.
    pub fn keep(from: &Path, folder: &Path) -> io::Result<Self> {
        let named = |e: io::Error| io::Error::new(e.kind(), format!("the wrapper {}: {e}", from.display()));
        let bytes = fs::read(from).map_err(named)?;
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let file = folder.join(NAME);
        if fs::read(&file).is_ok_and(|there| there == bytes) {
            return Ok(Self { file });
        }
        let new = folder.join("new");
        write(&new, &bytes, 0o555)?;
        fs::rename(&new, &file)?;
        Ok(Self { file })
    }

    /// Puts it into the folder `.dewdrop` of a volume; once more does no harm.
    pub fn place(&self, folder: &Path, mode: &str) -> io::Result<()> {
        match DirBuilder::new().mode(0o755).create(folder) {
            Err(e) if e.kind() != ErrorKind::AlreadyExists => return Err(e),
            _ => fs::set_permissions(folder, Permissions::from_mode(0o755))?,
        }
        write(&folder.join("mode"), mode.as_bytes(), 0o444)?;
        let at = folder.join("exec");
        // Empty: nothing is mounted over it.
        if fs::metadata(&at).is_ok_and(|about| about.len() > 0) {
            return Ok(());
        }
        write(&at, &[], 0o555)?;
        mount_bind(&self.file, &at)?;
        // The agent's own tmpfs may be mounted noexec (`/run` often is): this mount has flags of its own.
        let flags = MountFlags::BIND | MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
        Ok(mount_remount(&at, flags, "")?)
    }
}

fn write(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.set_permissions(Permissions::from_mode(mode))
}

/// These need root, as the agent does.
#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::volume::{OURS, Volume};

    #[test]
    fn only_the_wrapper_can_be_executed_and_nothing_stays() {
        let dir = tempfile::tempdir().unwrap();
        // As `/run` often is.
        let state = dir.path().join("state");
        drop(Volume::mount(&state).unwrap());
        let program = Program::keep(Path::new("/bin/true"), &state.join("exec")).unwrap();
        let target = dir.path().join("mount");
        drop(Volume::mount(&target).unwrap());
        program.place(&target.join(OURS), "env").unwrap();
        program.place(&target.join(OURS), "env").unwrap();
        let exec = target.join(".dewdrop/exec");
        assert!(Command::new(&exec).status().unwrap().success());
        assert_eq!(fs::metadata(&exec).unwrap().permissions().mode() & 0o7777, 0o555);
        assert!(fs::write(&exec, "x").is_err() && fs::remove_file(&exec).is_err(), "read-only");
        fs::copy("/bin/true", target.join("other")).unwrap();
        assert!(Command::new(target.join("other")).status().is_err(), "the volume itself stays noexec");
        assert_eq!(fs::read_to_string(target.join(".dewdrop/mode")).unwrap(), "env");
        Volume::unmount(&target).unwrap();
        assert!(!target.exists());
        Volume::unmount(&state).unwrap();
    }

    #[test]
    fn a_newer_one_does_not_change_what_is_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let (old, new) = (dir.path().join("old"), dir.path().join("new"));
        fs::write(&old, "old").unwrap();
        fs::write(&new, "newer").unwrap();
        let program = Program::keep(&old, &dir.path().join("exec")).unwrap();
        let target = dir.path().join("mount");
        drop(Volume::mount(&target).unwrap());
        program.place(&target.join(OURS), "gate").unwrap();
        let program = Program::keep(&new, &dir.path().join("exec")).unwrap();
        program.place(&target.join(OURS), "gate").unwrap();
        assert_eq!(fs::read_to_string(target.join(".dewdrop/exec")).unwrap(), "old");
        assert_eq!(fs::read_to_string(&program.file).unwrap(), "newer");
        Volume::unmount(&target).unwrap();
        assert!(Program::keep(&dir.path().join("none"), dir.path()).unwrap_err().to_string().contains("none"));
    }
}
