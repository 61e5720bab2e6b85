//! One batch of a group, inside the writer's transaction.

use dewdrop_core::store::{Batch, Change, Precondition, Revision, StoreError};
use redb::{ReadableTable, Table};

use super::view::number;
use crate::hub::INBOX;
use crate::range;

/// The rows, open for writing.
pub(super) type Rows<'a> = Table<'a, &'static [u8], &'static [u8]>;

/// What holds for all batches of a group.
pub(super) struct Terms {
    /// The disk is nearly full.
    pub(super) cramped: bool,
    /// Somebody watches.
    pub(super) watched: bool,
}

/// What watchers are told of one batch.
pub(super) enum Touched {
    /// Nobody watched, so nothing was collected.
    Unwatched,
    /// These keys and prefixes.
    Names(Names),
}

/// What a batch touched.
#[derive(Default)]
pub(super) struct Names {
    pub(super) keys: Vec<Vec<u8>>,
    /// Removed prefixes below which there were too many keys to name.
    pub(super) prefixes: Vec<Vec<u8>>,
}

/// Why a batch was not applied.
pub(super) enum Failed {
    /// It alone.
    Batch(StoreError),
    /// The disk: nobody's was.
    Disk(redb::StorageError),
}

impl From<redb::StorageError> for Failed {
    fn from(error: redb::StorageError) -> Self {
        Self::Disk(error)
    }
}

// === impl Terms ===

impl Terms {
    /// Applies one batch after all that came before it in the group, as the commit after `revision`. Gives its revision.
    pub(super) fn apply(
        &self,
        rows: &mut Rows<'_>,
        batch: &Batch,
        revision: Revision,
        touched: &mut Vec<(Revision, Touched)>,
    ) -> Result<Revision, Failed> {
        for expect in &batch.expect {
            if !holds_true(rows, expect)? {
                return Err(Failed::Batch(StoreError::Conflict));
            }
        }
        if batch.changes.is_empty() {
            return Ok(revision);
        }
        if self.cramped && batch.changes.iter().any(|change| matches!(change, Change::Put(..))) {
            let why = "the disk is nearly full; free some space (removals still work)";
            return Err(Failed::Batch(StoreError::Unavailable(why.into())));
        }
        let revision = revision + 1;
        let mut names = Names::default();
        for change in &batch.changes {
            change_rows(rows, change, revision, self.watched.then_some(&mut names))?;
        }
        names.keys.sort_unstable();
        names.keys.dedup();
        touched.push((revision, if self.watched { Touched::Names(names) } else { Touched::Unwatched }));
        Ok(revision)
    }
}

fn holds_true(rows: &Rows<'_>, expect: &Precondition) -> Result<bool, redb::StorageError> {
    Ok(rows.get(expect.key.as_slice())?.map_or(0, |stored| number(stored.value())) == expect.revision)
}

fn change_rows(
    rows: &mut Rows<'_>,
    change: &Change,
    revision: Revision,
    told: Option<&mut Names>,
) -> Result<(), redb::StorageError> {
    let mut touched = Vec::new();
    match change {
        Change::Put(key, value) => {
            put(rows, key, revision, value)?;
            touched.push(key.clone());
        }
        Change::Delete(key) => {
            if rows.remove(key.as_slice())?.is_some() {
                touched.push(key.clone());
            }
        }
        Change::DeletePrefix(prefix) => {
            let end = range::end(prefix);
            if let Some(bounds) = range::bounds(prefix, end.as_deref(), None) {
                // No more than a watcher could take: a mount may hold millions of keys.
                let most = if told.is_some() { INBOX + 1 } else { 0 };
                rows.retain_in::<&[u8], _>(bounds, |key, _| {
                    if touched.len() < most {
                        touched.push(key.to_vec());
                    }
                    false
                })?;
            }
        }
    }
    match (told, change) {
        (Some(names), Change::DeletePrefix(prefix)) if touched.len() > INBOX => names.prefixes.push(prefix.clone()),
        (Some(names), _) => names.keys.append(&mut touched),
        (None, _) => {}
    }
    Ok(())
}

/// Writes one row.
pub(super) fn put(rows: &mut Rows<'_>, key: &[u8], revision: Revision, value: &[u8]) -> Result<(), redb::StorageError> {
    let mut place = rows.insert_reserve(key, 8 + value.len())?;
    let (head, tail) = place.as_mut().split_at_mut(8);
    head.copy_from_slice(&revision.to_be_bytes());
    tail.copy_from_slice(value);
    Ok(())
}
