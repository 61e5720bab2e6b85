//! The file below redb: who may see it, how full its disk is, and whether a sync has ever failed.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, Database, DatabaseError, StorageBackend, StorageError};

use super::OpenError;

type MakeBackend = dyn Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync;

/// Opens the database, and opens it again after an I/O error (redb refuses to go on then).
pub(super) struct Opener {
    name: String,
    backend: Box<MakeBackend>,
    folder: Option<PathBuf>,
    health: Arc<Health>,
}

/// What the file told us.
#[derive(Debug, Default)]
struct Health {
    sync_failed: AtomicBool,
    bytes: AtomicU64,
}

/// Notes failed syncs on their way.
struct Observed {
    inner: Box<dyn StorageBackend>,
    health: Arc<Health>,
}

/// Checks the folder, makes file and folder if they are missing, and makes their names durable.
pub(super) fn prepare(path: &Path) -> Result<(), OpenError> {
    let folder = folder_of(path);
    let failed = |path: &Path| {
        let path = path.display().to_string();
        move |source| OpenError::Io { path, source }
    };
    if !folder.exists() {
        DirBuilder::new().mode(0o700).create(&folder).map_err(failed(&folder))?;
        sync_folder(&folder_of(&folder)).map_err(failed(&folder))?;
    }
    let about = folder.metadata().map_err(failed(&folder))?;
    if !about.is_dir() {
        return Err(OpenError::Unfit(format!("{} is not a folder", folder.display())));
    }
    if about.mode() & 0o002 != 0 && about.mode() & 0o1000 == 0 {
        return Err(OpenError::Unfit(format!(
            "everybody may write into {0}; take that away (chmod o-w {0}) or choose another folder",
            folder.display()
        )));
    }
    let file = open_file(path).map_err(failed(path))?;
    let about = file.metadata().map_err(failed(path))?;
    if !about.is_file() {
        return Err(OpenError::Unfit(format!("{} is not a file", path.display())));
    }
    if about.mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600)).map_err(failed(path))?;
        tracing::warn!(file = %path.display(), "others could open the storage file; its mode is now 0600");
    }
    sync_folder(&folder).map_err(failed(&folder))
}

fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    }
}

/// A new name in a folder survives power loss only after this.
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn open_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

// === impl Opener ===

impl Opener {
    /// Of a file.
    pub(super) fn file(path: &Path) -> Self {
        let at = path.to_owned();
        let backend = move || -> io::Result<Box<dyn StorageBackend>> {
            Ok(Box::new(FileBackend::new(open_file(&at)?).map_err(io::Error::other)?))
        };
        Self {
            name: path.display().to_string(),
            backend: Box::new(backend),
            folder: Some(folder_of(path)),
            health: Arc::default(),
        }
    }

    /// Of a disk that a test makes.
    #[cfg(test)]
    pub(super) fn of(backend: impl Fn() -> io::Result<Box<dyn StorageBackend>> + Send + Sync + 'static) -> Self {
        Self { name: "test disk".into(), backend: Box::new(backend), folder: None, health: Arc::default() }
    }

    /// Opens, and repairs what a crash left.
    pub(super) fn open(&self, cache_bytes: usize) -> Result<Database, OpenError> {
        let inner = (self.backend)().map_err(|source| OpenError::Io { path: self.name.clone(), source })?;
        let length = inner.len().map_err(|source| OpenError::Io { path: self.name.clone(), source })?;
        self.health.bytes.store(length, Ordering::Relaxed);
        let name = self.name.clone();
        let opened = Database::builder()
            .set_cache_size(cache_bytes)
            .set_repair_callback(move |session| {
                tracing::info!(file = name, progress = session.progress(), "repairing the storage file after a crash");
            })
            .create_with_backend(Observed { inner, health: self.health.clone() });
        opened.map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => OpenError::InUse(self.name.clone()),
            // redb tells that a file is none of its own by this kind.
            DatabaseError::Storage(StorageError::Io(source)) if source.kind() != io::ErrorKind::InvalidData => {
                OpenError::Io { path: self.name.clone(), source }
            }
            other => OpenError::Damaged { path: self.name.clone(), why: other.to_string() },
        })
    }

    /// Whether a sync has failed. What it should have written may be gone although later reads show it (the kernel marks
    /// the pages clean), so nothing more may be acknowledged on top of it.
    pub(super) fn sync_failed(&self) -> bool {
        self.health.sync_failed.load(Ordering::Acquire)
    }

    /// Where the file lies: there is a disk for what belongs to it.
    pub(super) fn folder(&self) -> PathBuf {
        self.folder.clone().unwrap_or_else(std::env::temp_dir)
    }

    /// Length of the file.
    pub(super) fn file_bytes(&self) -> u64 {
        self.health.bytes.load(Ordering::Relaxed)
    }

    /// Free bytes on the disk; `None` where that cannot be known.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        let about = rustix::fs::statvfs(self.folder.as_deref()?).ok()?;
        Some(about.f_bavail.saturating_mul(about.f_frsize))
    }
}

// === impl Observed ===

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observed")
    }
}

impl StorageBackend for Observed {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)?;
        self.health.bytes.store(len, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data().inspect_err(|_| self.health.sync_failed.store(true, Ordering::Release))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
