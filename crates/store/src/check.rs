//! What no store takes, so that all of them refuse the same things before they touch anything.

use dewdrop_core::store::{Batch, Change, StoreError};

/// The longest key, in bytes.
pub const MAX_KEY_BYTES: usize = 16 * 1024;
/// The largest value, in bytes. (etcd has a lower limit of its own: 1.5 MB for a whole batch.)
pub const MAX_VALUE_BYTES: usize = 64 * 1024 * 1024;

/// Refuses empty and oversized keys, oversized values and the removal of everything.
pub(crate) fn batch(batch: &Batch) -> Result<(), StoreError> {
    for precondition in &batch.expect {
        key(&precondition.key)?;
    }
    batch.changes.iter().try_for_each(|change| match change {
        Change::Put(at, value) if value.len() > MAX_VALUE_BYTES => Err(StoreError::Refused(format!(
            "a value of {} bytes; {MAX_VALUE_BYTES} is the most: {}",
            value.len(),
            shown(at)
        ))),
        Change::Put(at, _) | Change::Delete(at) => key(at),
        Change::DeletePrefix(prefix) if prefix.is_empty() => {
            Err(StoreError::Refused("deleting below an empty prefix would remove everything; name a prefix".into()))
        }
        Change::DeletePrefix(prefix) => key(prefix),
    })
}

/// Refuses a key that cannot be.
fn key(key: &[u8]) -> Result<(), StoreError> {
    match key.len() {
        0 => Err(StoreError::Refused("an empty key".into())),
        1..=MAX_KEY_BYTES => Ok(()),
        len => Err(StoreError::Refused(format!("a key of {len} bytes; {MAX_KEY_BYTES} is the most"))),
    }
}

/// A key for an error text; keys are paths, not secrets.
pub(crate) fn shown(key: &[u8]) -> String {
    String::from_utf8_lossy(&key[..key.len().min(200)]).into_owned()
}

/// The bytes that a batch carries.
pub(crate) fn bytes(batch: &Batch) -> usize {
    let changes: usize = batch
        .changes
        .iter()
        .map(|change| match change {
            Change::Put(key, value) => key.len() + value.len(),
            Change::Delete(key) | Change::DeletePrefix(key) => key.len(),
        })
        .sum();
    changes + batch.expect.iter().map(|precondition| precondition.key.len() + 8).sum::<usize>()
}
