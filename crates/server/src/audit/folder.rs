//! The log's folder: `audit-N.log` where `N` is the number of the file's first line, the signing key, the reserve and the
//! devices' cursors. One server at a time.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::AuditError;

/// The folder, held by a lock.
pub struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, and locks it.
    ///
    /// # Errors
    /// It cannot be made or written, or another server has it.
    pub fn hold(path: &Path) -> Result<Self, AuditError> {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io("make", path))?;
        let lock_file = path.join("audit.lock");
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&lock_file);
        let lock = open.map_err(io("open", &lock_file))?;
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| AuditError::Held(path.to_owned()))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file that begins with a line.
    #[must_use]
    pub fn file(&self, first: u64) -> PathBuf {
        file(&self.path, first)
    }

    /// Begins a file. An empty one of that name is left from a crash and used.
    ///
    /// # Errors
    /// It is there already, or cannot be made.
    pub fn begin(&self, first: u64) -> Result<File, AuditError> {
        let path = self.file(first);
        let mut options = OpenOptions::new();
        options.read(true).append(true).create_new(true).mode(0o600);
        if std::fs::metadata(&path).is_ok_and(|found| found.len() == 0) {
            options.create_new(false);
        }
        let file = options.open(&path).map_err(io("make", &path))?;
        let folder = File::open(&self.path).map_err(io("open", &self.path))?;
        folder.sync_all().map_err(io("sync", &self.path))?;
        Ok(file)
    }
}

/// The name of the file that begins with a line.
#[must_use]
pub fn file(folder: &Path, first: u64) -> PathBuf {
    folder.join(format!("audit-{first:020}.log"))
}

/// The log's files in order, by the number of their first line.
///
/// # Errors
/// The folder cannot be read.
pub fn files(folder: &Path) -> Result<Vec<u64>, AuditError> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io("read", folder))? {
        let name = entry.map_err(io("read", folder))?.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".log"));
        found.extend(number.filter(|n| n.len() == 20).and_then(|n| n.parse::<u64>().ok()));
    }
    found.sort_unstable();
    Ok(found)
}

/// Gives an I/O error its place.
pub fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AuditError + use<> {
    let path = path.to_owned();
    move |source| AuditError::Io { doing, path, source }
}
