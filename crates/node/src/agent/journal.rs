//! What the agent must still know after it was killed: one file for each volume, and one for each start that is to be
//! ended. All of it lies in a folder of a tmpfs (`/run`), mode 0700: the tokens in it never reach a disk.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use super::fail::Fail;

/// No record is larger.
const MOST: u64 = 1 << 20;

/// One folder of records, each in a file of its own.
#[derive(Debug, Clone)]
pub struct Journal {
    folder: PathBuf,
}

// === impl Journal ===

impl Journal {
    /// The folder, made when it is not there.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn open(folder: &Path) -> Result<Self, Fail> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(|e| odd("make", folder, &e))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// Writes a record, whole or not at all.
    ///
    /// # Errors
    /// The name cannot be one, or the file cannot be written.
    pub fn put<T: Serialize>(&self, name: &str, record: &T) -> Result<(), Fail> {
        let path = self.path(name)?;
        let bytes = serde_json::to_vec(record).map(Zeroizing::new);
        let bytes = bytes.map_err(|e| Fail::odd(format!("the record {name} cannot be encoded: {e}")))?;
        let new = path.with_extension("new");
        let write = || -> std::io::Result<()> {
            let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
            file.write_all(&bytes)?;
            fs::rename(&new, &path)
        };
        write().map_err(|e| odd("write", &path, &e))
    }

    /// Removes a record; not there is fine.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn remove(&self, name: &str) -> Result<(), Fail> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(e) if e.kind() != ErrorKind::NotFound => Err(odd("remove", &path, &e)),
            _ => Ok(()),
        }
    }

    /// All records. A file that cannot be read is named in the log and left where it is.
    ///
    /// # Errors
    /// The folder cannot be listed.
    pub fn all<T: DeserializeOwned>(&self) -> Result<Vec<T>, Fail> {
        let listed = fs::read_dir(&self.folder).map_err(|e| odd("list", &self.folder, &e))?;
        let mut records = Vec::new();
        for entry in listed.flatten().filter(|e| e.path().extension().is_some_and(|x| x == "json")) {
            match read(&entry.path()) {
                Ok(record) => records.push(record),
                Err(why) => {
                    tracing::warn!(file = %entry.path().display(), %why, "a record of the agent cannot be read")
                }
            }
        }
        Ok(records)
    }

    fn path(&self, name: &str) -> Result<PathBuf, Fail> {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if name.is_empty() || name.len() > 200 || !name.chars().all(plain) {
            return Err(Fail::odd(format!("{name:?} cannot be the id of a volume")));
        }
        Ok(self.folder.join(name).with_extension("json"))
    }
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Fail> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).map_err(|e| odd("open", path, &e))?;
    file.take(MOST).read_to_end(&mut bytes).map_err(|e| odd("read", path, &e))?;
    // The cause may quote what it read, so it is not told.
    serde_json::from_slice(&bytes)
        .map_err(|e| Fail::odd(format!("it is no record (line {}, column {})", e.line(), e.column())))
}

fn odd(act: &str, path: &Path, error: &std::io::Error) -> Fail {
    Fail::odd(format!("the agent's record {} cannot be used ({act}): {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_put_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("volumes");
        let journal = Journal::open(&folder).unwrap();
        journal.put("csi-1", &"one").unwrap();
        journal.put("csi-2", &"two").unwrap();
        journal.put("csi-2", &"three").unwrap();
        journal.remove("csi-1").unwrap();
        journal.remove("csi-1").unwrap();
        let again = Journal::open(&folder).unwrap();
        assert_eq!(again.all::<String>().unwrap(), ["three"]);
    }

    #[test]
    fn only_root_may_look() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("volumes");
        Journal::open(&folder).unwrap().put("csi-1", &"one").unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        assert_eq!(mode(&folder.join("csi-1.json")), 0o600);
    }

    #[test]
    fn a_torn_or_foreign_file_does_not_hide_the_others_and_a_name_cannot_leave_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        journal.put("good", &"good").unwrap();
        fs::write(dir.path().join("torn.json"), b"\"to").unwrap();
        fs::write(dir.path().join("half.new"), b"\"half").unwrap();
        assert_eq!(journal.all::<String>().unwrap(), ["good"]);
        for name in ["", "../up", "a/b", "a.b", &"x".repeat(300)] {
            assert!(journal.put(name, &"x").is_err(), "{name:?}");
        }
    }
}
