//! One committed state of the file, for readers. The writer publishes a new one with each commit, so a read costs no
//! transaction of its own. It pins the pages of one commit only, which the writer reuses one commit later.

use bytes::Bytes;
use dewdrop_core::store::{Entry, Revision, Row, StoreError};
use redb::{Database, ReadOnlyTable, ReadableDatabase, ReadableTableMetadata, TableDefinition};

use crate::range;

/// Key -> 8 bytes of revision (big-endian), then the value.
pub(super) const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");
/// What the store keeps about itself.
pub(super) const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");
/// The newest revision, 8 bytes, in [`META`].
pub(super) const REVISION: &[u8] = b"revision";

/// A state of the whole store.
pub(super) struct View {
    rows: ReadOnlyTable<&'static [u8], &'static [u8]>,
    revision: Revision,
}

// === impl View ===

impl View {
    /// The newest committed state.
    pub(super) fn newest(db: &Database) -> Result<Self, redb::Error> {
        let transaction = db.begin_read()?;
        let revision = transaction.open_table(META)?.get(REVISION)?.map_or(0, |value| number(value.value()));
        Ok(Self { rows: transaction.open_table(ROWS)?, revision })
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn len(&self) -> Result<u64, StoreError> {
        self.rows.len().map_err(|e| told(e.into()))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let found = self.rows.get(key).map_err(|e| told(e.into()))?;
        found.map(|value| entry(value.value())).transpose()
    }

    /// Rows as in [`Store::scan`](dewdrop_core::store::Store::scan), but no more once they hold `bytes`.
    pub(super) fn scan(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
        bytes: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let end = range::end(prefix);
        let Some(bounds) = range::bounds(prefix, end.as_deref(), after) else { return Ok(Vec::new()) };
        let mut rows = Vec::with_capacity(limit.min(64));
        let mut sum = 0;
        for row in self.rows.range::<&[u8]>(bounds).map_err(|e| told(e.into()))?.take(limit) {
            let (key, value) = row.map_err(|e| told(e.into()))?;
            let row = Row { key: key.value().to_vec(), entry: entry(value.value())? };
            sum += row.key.len() + row.entry.value.len();
            rows.push(row);
            if sum >= bytes {
                break;
            }
        }
        Ok(rows)
    }
}

/// Splits a stored value.
fn entry(stored: &[u8]) -> Result<Entry, StoreError> {
    let (revision, value) =
        stored.split_at_checked(8).ok_or_else(|| StoreError::Damaged("a row without its revision".into()))?;
    Ok(Entry { value: Bytes::copy_from_slice(value), revision: number(revision) })
}

/// Reads a big-endian number.
pub(super) fn number(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// What redb's errors mean to a caller.
pub(super) fn told(error: redb::Error) -> StoreError {
    match error {
        redb::Error::Corrupted(why) => StoreError::Damaged(why),
        redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => {
            StoreError::Unavailable("the disk is full".into())
        }
        other => StoreError::Unavailable(other.to_string()),
    }
}
