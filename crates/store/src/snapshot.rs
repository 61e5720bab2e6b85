//! Consistent copies of a whole store, taken while it works.
//!
//! A snapshot lies below the barrier, so it holds encrypted values (and key names) only, and is of use with the root
//! key alone. The file: magic, format version, revision, row count; the rows in the order of their keys, each as
//! key length (u32), value length (u32), key, value; a SHA-256 of all before it. Numbers are big-endian. A file that is
//! cut short, changed or continued is refused before anything is touched.

use std::path::Path;

use async_trait::async_trait;
use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use dewdrop_core::store::{Revision, Store, StoreError};
use tokio::fs::{File, OpenOptions};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncSeekExt, AsyncWrite, AsyncWriteExt, BufReader};

use crate::check::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

const MAGIC: &[u8; 12] = b"DEWDROP-SNAP";
const VERSION: u32 = 1;
const HEADER: usize = 12 + 4 + 8 + 8;
const TRAILER: usize = 32;
/// Rows are gathered to about this many bytes before they are written.
const CHUNK: usize = 256 * 1024;

/// What a snapshot holds.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct SnapshotInfo {
    /// Version of the file format.
    pub version: u32,
    /// The newest commit that is in it.
    pub revision: Revision,
    /// Number of keys.
    pub rows: u64,
    /// Length of the file in bytes, trailer included.
    pub bytes: u64,
    /// SHA-256 in hex, as in the trailer.
    pub sha256: String,
}

/// Why there is no snapshot, or why it was not restored.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file is not a whole, unchanged snapshot. Nothing was touched.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// Reading or writing the file failed. Nothing was touched.
    #[error("the snapshot file cannot be read or written")]
    Io(#[from] std::io::Error),
    /// The store failed.
    #[error("the storage failed")]
    Store(#[from] StoreError),
}

/// A store that can be copied whole.
#[async_trait]
pub trait SnapshotStore: Store {
    /// Writes all rows as of one moment. Writers go on meanwhile.
    async fn snapshot(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError>;

    /// Replaces all that is here by what the snapshot holds, or changes nothing. The rows get the revision of the restore,
    /// which is newer than any here or in the snapshot; watchers are told [`Seen::Lost`](dewdrop_core::store::Seen::Lost).
    /// A barrier above must be sealed before and unsealed with the root key of the snapshot after.
    async fn restore(&self, from: &mut (dyn AsyncRead + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError>;
}

/// Reads a snapshot to its end and checks it, without any store.
///
/// # Errors
/// [`SnapshotError::Damaged`] with what is wrong, or the reader's own.
pub async fn verify_snapshot(from: &mut (dyn AsyncRead + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
    let mut reader = Reader::start(from).await?;
    while reader.row().await?.is_some() {}
    reader.finish().await
}

/// Reads a snapshot to its end and checks it, without any store; gives what it holds under one key, too.
///
/// # Errors
/// As [`verify_snapshot`].
pub async fn snapshot_value(
    from: &mut (dyn AsyncRead + Send + Unpin),
    key: &[u8],
) -> Result<(SnapshotInfo, Option<Vec<u8>>), SnapshotError> {
    let mut reader = Reader::start(from).await?;
    let mut found = None;
    while let Some((at, value)) = reader.row().await? {
        if at == key {
            found = Some(value);
        }
    }
    Ok((reader.finish().await?, found))
}

/// Keeps a snapshot in a file without a name, and checks it. What lies there is what the snapshot holds: encrypted values.
pub(crate) async fn spool(
    from: &mut (dyn AsyncRead + Send + Unpin),
    folder: &Path,
) -> Result<(BufReader<File>, SnapshotInfo), SnapshotError> {
    let mut file = nameless(folder).await?;
    tokio::io::copy(from, &mut file).await?;
    file.rewind().await?;
    let mut file = BufReader::with_capacity(CHUNK, file);
    let info = verify_snapshot(&mut file).await?;
    file.rewind().await?;
    Ok((file, info))
}

/// Opens a file that is gone when it is closed.
async fn nameless(folder: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    match options.clone().custom_flags(libc::O_TMPFILE).open(folder).await {
        Ok(file) => Ok(file),
        // Not every file system has nameless files.
        Err(_) => {
            let mut name = [0u8; 16];
            SystemRandom::new()
                .fill(&mut name)
                .map_err(|_| std::io::Error::other("the random number generator failed"))?;
            let path = folder.join(format!(".dewdrop-restore-{:032x}", u128::from_be_bytes(name)));
            let file = options.create_new(true).open(&path).await?;
            tokio::fs::remove_file(&path).await?;
            Ok(file)
        }
    }
}

/// Writes the format.
pub(crate) struct Writer<'a> {
    to: &'a mut (dyn AsyncWrite + Send + Unpin),
    hash: Context,
    chunk: Vec<u8>,
    revision: Revision,
    promised: u64,
    rows: u64,
    bytes: u64,
}

/// Reads the format.
pub(crate) struct Reader<'a> {
    from: &'a mut (dyn AsyncRead + Send + Unpin),
    hash: Context,
    last: Option<Vec<u8>>,
    revision: Revision,
    rows: u64,
    left: u64,
    bytes: u64,
}

// === impl Writer ===

impl<'a> Writer<'a> {
    /// Writes the header.
    pub(crate) async fn start(
        to: &'a mut (dyn AsyncWrite + Send + Unpin),
        revision: Revision,
        rows: u64,
    ) -> Result<Self, SnapshotError> {
        let mut chunk = Vec::with_capacity(CHUNK);
        chunk.extend_from_slice(MAGIC);
        chunk.extend_from_slice(&VERSION.to_be_bytes());
        chunk.extend_from_slice(&revision.to_be_bytes());
        chunk.extend_from_slice(&rows.to_be_bytes());
        Ok(Self { to, hash: Context::new(&SHA256), chunk, revision, promised: rows, rows: 0, bytes: 0 })
    }

    /// Writes a row. Rows come in the order of their keys.
    pub(crate) async fn row(&mut self, key: &[u8], value: &[u8]) -> Result<(), SnapshotError> {
        for length in [key.len(), value.len()] {
            let length = u32::try_from(length).map_err(|_| StoreError::Damaged("a row longer than 4 GiB".into()))?;
            self.chunk.extend_from_slice(&length.to_be_bytes());
        }
        self.chunk.extend_from_slice(key);
        self.chunk.extend_from_slice(value);
        self.rows += 1;
        if self.chunk.len() >= CHUNK { self.flush().await } else { Ok(()) }
    }

    /// Writes the trailer.
    pub(crate) async fn finish(mut self) -> Result<SnapshotInfo, SnapshotError> {
        if self.rows != self.promised {
            return Err(
                StoreError::Damaged(format!("{} rows were counted, {} were read", self.promised, self.rows)).into()
            );
        }
        self.flush().await?;
        let digest = self.hash.finish();
        self.to.write_all(digest.as_ref()).await?;
        self.to.flush().await?;
        Ok(info(self.revision, self.rows, self.bytes, digest.as_ref()))
    }

    async fn flush(&mut self) -> Result<(), SnapshotError> {
        self.hash.update(&self.chunk);
        self.bytes += self.chunk.len() as u64;
        self.to.write_all(&self.chunk).await?;
        self.chunk.clear();
        Ok(())
    }
}

// === impl Reader ===

impl<'a> Reader<'a> {
    /// Reads the header.
    pub(crate) async fn start(from: &'a mut (dyn AsyncRead + Send + Unpin)) -> Result<Self, SnapshotError> {
        let mut header = [0u8; HEADER];
        from.read_exact(&mut header).await.map_err(cut_short)?;
        let (magic, rest) = header.split_at(MAGIC.len());
        if magic != MAGIC {
            return Err(damaged("it is not a Dewdrop snapshot"));
        }
        let (version, rest) = rest.split_at(4);
        let version = u32::try_from(number(version)).unwrap_or(0);
        if version != VERSION {
            return Err(damaged(&format!("format version {version}; this program reads version {VERSION}")));
        }
        let (revision, rows) = rest.split_at(8);
        let (revision, rows) = (number(revision), number(rows));
        if revision > u64::MAX / 2 {
            return Err(damaged("its revision is impossible"));
        }
        let mut hash = Context::new(&SHA256);
        hash.update(&header);
        Ok(Self { from, hash, last: None, revision, rows, left: rows, bytes: HEADER as u64 })
    }

    /// The revision that the header names. Not to be believed before [`Reader::finish`].
    pub(crate) fn revision(&self) -> Revision {
        self.revision
    }

    /// The next row; `None` after the last. Not to be believed before [`Reader::finish`].
    pub(crate) async fn row(&mut self) -> Result<Option<(Vec<u8>, Vec<u8>)>, SnapshotError> {
        if self.left == 0 {
            return Ok(None);
        }
        let mut lengths = [0u8; 8];
        self.from.read_exact(&mut lengths).await.map_err(cut_short)?;
        self.hash.update(&lengths);
        let (key_len, value_len) = lengths.split_at(4);
        let key = self.bytes(number(key_len), MAX_KEY_BYTES).await?;
        let value = self.bytes(number(value_len), MAX_VALUE_BYTES).await?;
        if key.is_empty() || self.last.as_ref().is_some_and(|last| *last >= key) {
            return Err(damaged("its keys are out of order"));
        }
        self.bytes += 8 + key.len() as u64 + value.len() as u64;
        self.left -= 1;
        self.last = Some(key.clone());
        Ok(Some((key, value)))
    }

    /// Checks the trailer, and that nothing follows it.
    pub(crate) async fn finish(self) -> Result<SnapshotInfo, SnapshotError> {
        let mut trailer = [0u8; TRAILER];
        self.from.read_exact(&mut trailer).await.map_err(cut_short)?;
        let digest = self.hash.finish();
        if digest.as_ref() != trailer {
            return Err(damaged("its checksum does not match: it was changed after it was written"));
        }
        if self.from.read(&mut [0u8; 1]).await? != 0 {
            return Err(damaged("something follows its end"));
        }
        Ok(info(self.revision, self.rows, self.bytes, &trailer))
    }

    /// Reads so many bytes without believing the length before they came.
    async fn bytes(&mut self, length: u64, most: usize) -> Result<Vec<u8>, SnapshotError> {
        if length > most as u64 {
            return Err(damaged("a row is longer than any row can be"));
        }
        let mut bytes = Vec::new();
        (&mut *self.from).take(length).read_to_end(&mut bytes).await?;
        if bytes.len() as u64 != length {
            return Err(damaged("it is cut short"));
        }
        self.hash.update(&bytes);
        Ok(bytes)
    }
}

fn info(revision: Revision, rows: u64, before_trailer: u64, digest: &[u8]) -> SnapshotInfo {
    let sha256 = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    SnapshotInfo { version: VERSION, revision, rows, bytes: before_trailer + TRAILER as u64, sha256 }
}

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn damaged(why: &str) -> SnapshotError {
    SnapshotError::Damaged(why.into())
}

fn cut_short(error: std::io::Error) -> SnapshotError {
    if error.kind() == std::io::ErrorKind::UnexpectedEof { damaged("it is cut short") } else { error.into() }
}
