//! A batch as one etcd transaction. etcd applies the operations of a transaction at one revision and refuses those that
//! touch a key twice, so the batch is first reduced to its outcome; it also has limits, and splitting a batch silently
//! would break its promise, so what is beyond them is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use dewdrop_core::store::{Batch, Change, StoreError};
use etcd_client::{Compare, CompareOp, DeleteOptions, TxnOp};

use super::{next_key, signed};
use crate::{check, range};

/// `--max-txn-ops` of a default etcd; one precondition is ours.
pub(super) const MAX_OPERATIONS: usize = 128;
/// `--max-request-bytes` of a default etcd is 1.5 MiB; the rest is for its own framing.
pub(super) const MAX_BYTES: usize = 1_500_000;

/// One transaction.
pub(super) struct Plan {
    pub(super) compares: Vec<Compare>,
    pub(super) operations: Vec<TxnOp>,
}

/// What is left of a batch when all its changes have happened.
#[derive(Default)]
struct Outcome {
    /// Keys written (`Some`) or removed.
    keys: BTreeMap<Vec<u8>, Option<Bytes>>,
    /// Prefixes removed before the keys above were written; none lies within another.
    prefixes: Vec<Vec<u8>>,
}

/// Plans a checked batch, with every key below `rows`.
pub(super) fn plan(batch: Batch, rows: &[u8]) -> Result<Plan, StoreError> {
    let bytes = check::bytes(&batch) + (batch.changes.len() + batch.expect.len()) * (rows.len() + 16);
    if bytes > MAX_BYTES {
        return Err(StoreError::Refused(format!("a batch of {bytes} bytes; etcd takes {MAX_BYTES} at a time")));
    }
    let compares: Vec<Compare> = batch
        .expect
        .iter()
        .map(|expect| Compare::mod_revision([rows, &expect.key].concat(), CompareOp::Equal, signed(expect.revision)))
        .collect();
    let operations = Outcome::of(batch.changes).operations(rows);
    let most = operations.len().max(compares.len() + 1);
    if most > MAX_OPERATIONS {
        return Err(StoreError::Refused(format!(
            "a batch of {most} operations or preconditions; etcd takes {MAX_OPERATIONS} at a time"
        )));
    }
    Ok(Plan { compares, operations })
}

// === impl Outcome ===

impl Outcome {
    fn of(changes: Vec<Change>) -> Self {
        let mut outcome = Self::default();
        for change in changes {
            match change {
                Change::Put(key, value) => drop(outcome.keys.insert(key, Some(value))),
                Change::Delete(key) => drop(outcome.keys.insert(key, None)),
                Change::DeletePrefix(prefix) => {
                    outcome.keys.retain(|key, _| !key.starts_with(&prefix));
                    if !outcome.prefixes.iter().any(|wider| prefix.starts_with(wider)) {
                        outcome.prefixes.retain(|narrower| !narrower.starts_with(&prefix));
                        outcome.prefixes.push(prefix);
                    }
                }
            }
        }
        outcome
    }

    fn operations(self, rows: &[u8]) -> Vec<TxnOp> {
        let mut operations = Vec::new();
        for prefix in &self.prefixes {
            // The range, without the keys that are written after it.
            let full = [rows, prefix].concat();
            let end = range::end(&full).unwrap_or_default();
            let mut from = full;
            for (key, value) in self.keys.range::<Vec<u8>, _>(prefix..).take_while(|(key, _)| key.starts_with(prefix)) {
                if value.is_some() {
                    let key = [rows, key].concat();
                    if from < key {
                        operations.push(remove(from, key.clone()));
                    }
                    from = next_key(key);
                }
            }
            operations.push(remove(from, end));
        }
        for (key, value) in self.keys {
            let covered = self.prefixes.iter().any(|prefix| key.starts_with(prefix));
            let full = [rows, &key].concat();
            match value {
                Some(value) => operations.push(TxnOp::put(full, value, None)),
                None if covered => {}
                None => operations.push(TxnOp::delete(full, None)),
            }
        }
        operations
    }
}

fn remove(from: Vec<u8>, end: Vec<u8>) -> TxnOp {
    TxnOp::delete(from, Some(DeleteOptions::new().with_range(end)))
}
