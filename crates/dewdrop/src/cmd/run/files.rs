//! Credentials as files: a folder of our own, in memory where possible, emptied and removed at the end.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use dewdrop_api::SecretText;

use super::mint::Minted;
use super::tell;
use crate::failure::{Failure, Result};

/// Tells the program where its files are.
pub const VARIABLE: &str = "DEWDROP_CREDS_DIR";
/// `f_type` of file systems that live in memory (linux/magic.h).
const IN_MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];

/// The folder. Dropping it overwrites and removes the files, and the folder.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    /// Whether the folder itself is ours to remove.
    made: bool,
}

impl Folder {
    /// Makes the folder (0700). One that exists must be empty and closed to others.
    pub fn create(dir: Option<&str>) -> Result<Self> {
        let path = match dir {
            Some(dir) => PathBuf::from(dir),
            None => in_memory()?,
        };
        let made = match fs::DirBuilder::new().mode(0o700).create(&path) {
            Ok(()) => true,
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {
                check(&path)?;
                false
            }
            Err(e) => return Err(Failure::usage(format!("make the folder {}: {e}", path.display()))),
        };
        let path =
            path.canonicalize().map_err(|e| Failure::usage(format!("find the folder {}: {e}", path.display())))?;
        if rustix::fs::statfs(&path).is_ok_and(|s| !IN_MEMORY.contains(&s.f_type)) {
            tell(&format!("{} is not in memory (tmpfs): the credentials touch a disk", path.display()));
        }
        Ok(Self { path, made })
    }

    /// Writes `NAME/FIELD` (0400) for each field, and returns the variables that tell where.
    pub fn fill(&self, minted: &[Minted]) -> Result<BTreeMap<String, SecretText>> {
        let mut variables = BTreeMap::new();
        variables.insert(VARIABLE.to_owned(), SecretText::from(self.path.to_string_lossy().as_ref()));
        for one in minted {
            let folder = self.path.join(one.spec.name.to_lowercase());
            let failed = |e: std::io::Error| {
                Failure::usage(format!("write the credentials of {} to {}: {e}", one.spec.path, folder.display()))
            };
            fs::DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
            for (field, text) in &one.fields {
                let file = folder.join(plain_name(field)?);
                let mut new =
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o400).open(&file).map_err(failed)?;
                new.write_all(text.expose().as_bytes()).map_err(failed)?;
                variables
                    .insert(format!("{}_FILE", one.variable(field)), SecretText::from(file.to_string_lossy().as_ref()));
            }
        }
        Ok(variables)
    }
}

/// A new folder's path in memory: `/dev/shm`, else the user's runtime folder.
fn in_memory() -> Result<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let base = std::iter::once(PathBuf::from("/dev/shm"))
        .chain(runtime)
        .find(|p| rustix::fs::statfs(p).is_ok_and(|s| IN_MEMORY.contains(&s.f_type)));
    let base = base.ok_or_else(|| {
        Failure::usage("there is no folder in memory here (/dev/shm, XDG_RUNTIME_DIR)").hint("name one: -file DIR")
    })?;
    let mut random = [0u8; 8];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    source.fill(&mut random).map_err(|_| Failure::usage("the system gives no random numbers"))?;
    Ok(base.join(format!("dewdrop-run-{}-{:016x}", std::process::id(), u64::from_ne_bytes(random))))
}

fn check(path: &Path) -> Result<()> {
    let bad = |why: &str| {
        Failure::usage(format!("the folder {} {why}", path.display()))
            .hint("name one that does not exist yet, or an empty one of your own with mode 0700")
    };
    let meta = fs::symlink_metadata(path).map_err(|e| bad(&format!("cannot be looked at: {e}")))?;
    if !meta.is_dir() {
        return Err(bad("is not a folder"));
    }
    if meta.uid() != rustix::process::geteuid().as_raw() {
        return Err(bad("belongs to somebody else"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(bad("is open to others"));
    }
    if fs::read_dir(path).map_err(|e| bad(&format!("cannot be read: {e}")))?.next().is_some() {
        return Err(bad("is not empty"));
    }
    Ok(())
}

/// A field's name as a file's. Names from the server must not lead out of the folder.
fn plain_name(field: &str) -> Result<&str> {
    if field.is_empty() || field.starts_with('.') || field.contains(['/', '\0']) {
        return Err(Failure::usage(format!("the field {field:?} cannot be the name of a file"))
            .hint("use -env, or -env-map for this field"));
    }
    Ok(field)
}

impl Drop for Folder {
    fn drop(&mut self) {
        let folders: Vec<PathBuf> =
            fs::read_dir(&self.path).into_iter().flatten().flatten().map(|e| e.path()).collect();
        for folder in &folders {
            for file in fs::read_dir(folder).into_iter().flatten().flatten().map(|e| e.path()) {
                wipe(&file);
            }
            // What is not empty holds a file that is not ours; it stays, and is told below.
            let _ = fs::remove_dir(folder);
        }
        let left = fs::read_dir(&self.path).map_or(0, Iterator::count);
        if self.made && left == 0 {
            let _ = fs::remove_dir(&self.path);
        }
        if left > 0 {
            tell(&format!("{} still holds something that could not be removed", self.path.display()));
        }
    }
}

/// Overwrites a file before it is removed. In memory this is the end of it; on a disk it is the best that can be done.
fn wipe(file: &Path) {
    let overwrite = || -> std::io::Result<()> {
        fs::set_permissions(file, fs::Permissions::from_mode(0o600))?;
        let length = usize::try_from(fs::metadata(file)?.len()).unwrap_or(0);
        fs::OpenOptions::new().write(true).open(file)?.write_all(&vec![0; length])
    };
    // Removing it matters more than overwriting it; the folder tells what is left.
    let _ = overwrite();
    let _ = fs::remove_file(file);
}

#[cfg(test)]
mod tests {
    use super::super::mint::Spec;
    use super::*;

    fn minted(field: &str) -> Vec<Minted> {
        let spec = Spec { name: "DB".into(), path: "db/creds/app".into() };
        vec![Minted {
            spec,
            lease_id: String::new(),
            lease_duration: 0,
            renewable: false,
            fields: vec![(field.into(), SecretText::from("hunter2"))],
        }]
    }

    #[test]
    fn files_are_closed_to_others_and_gone_at_the_end() {
        let outer = tempfile::tempdir().unwrap();
        let path = outer.path().join("creds");
        let folder = Folder::create(path.to_str()).unwrap();
        let variables = folder.fill(&minted("password")).unwrap();
        let file = PathBuf::from(variables["DB_PASSWORD_FILE"].expose());
        assert_eq!(fs::read_to_string(&file).unwrap(), "hunter2");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o400);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, 0o700);
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn folders_that_others_can_reach_are_refused() {
        let outer = tempfile::tempdir().unwrap();
        let open = outer.path().join("open");
        fs::DirBuilder::new().mode(0o755).create(&open).unwrap();
        assert!(Folder::create(open.to_str()).unwrap_err().to_string().contains("open to others"));
        fs::set_permissions(&open, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(open.join("x"), "").unwrap();
        assert!(Folder::create(open.to_str()).unwrap_err().to_string().contains("not empty"));
        assert!(open.join("x").exists());
    }

    #[test]
    fn fields_cannot_lead_out_of_the_folder() {
        let outer = tempfile::tempdir().unwrap();
        let folder = Folder::create(outer.path().join("c").to_str()).unwrap();
        for bad in ["../x", "a/b", ".", ""] {
            assert!(folder.fill(&minted(bad)).is_err(), "{bad:?} was taken");
            fs::remove_dir_all(folder.path.join("db")).unwrap();
        }
    }
}
