//! `exec --install PATH`: the init container of agentless mode copies this program to where the pod's containers start it
//! from, and says beside it what it is for.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::fail::Fail;
use crate::place::{AGENTLESS, MODE};

/// The flag.
pub const FLAG: &str = "--install";
/// All may read and start it, nobody may write.
const PROGRAM: u32 = 0o555;

/// Copies this program; the arguments are those behind the flag.
pub fn run(mut args: impl Iterator<Item = OsString>) -> Result<(), Fail> {
    let (Some(path), None) = (args.next(), args.next()) else {
        return Err(Fail::Credential("usage: exec --install PATH".into()));
    };
    let path = PathBuf::from(path);
    copy(&path).map_err(|e| Fail::Credential(format!("the wrapper cannot be copied to {}: {e}", path.display())))
}

fn copy(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    replace(&folder.join(MODE), 0o444, |new| fs::write(new, AGENTLESS))?;
    replace(path, PROGRAM, |new| fs::copy("/proc/self/exe", new).map(drop))
}

/// Whole or not at all: the init container may have been killed the first time.
fn replace(path: &Path, mode: u32, write: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<()> {
    let new = path.with_extension("new");
    match fs::remove_file(&new) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => write(&new)?,
    }
    fs::set_permissions(&new, Permissions::from_mode(mode))?;
    fs::rename(&new, path)
}
