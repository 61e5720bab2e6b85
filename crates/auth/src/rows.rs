//! Rows of the store: one that is changed, and all below a prefix.

use dewdrop_core::Fault;
use dewdrop_core::store::{Batch, Row, Store, StoreError, get_json, scan_all};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// How many times a change starts anew because another write came first.
const TRIES: usize = 1000;
/// How many rows are read at a time.
const CHUNK: usize = 1000;

/// All rows below `prefix`, with their values.
///
/// # Errors
/// Those of the store.
pub async fn all(store: &dyn Store, prefix: &str) -> Result<Vec<Row>, Fault> {
    Ok(scan_all(store, prefix.as_bytes(), CHUNK).await?)
}

/// Reads a row, changes it (`None`: there is none) and writes it back; anew when another write came first. Answers it as it
/// is then.
///
/// # Errors
/// Those of `change` and of the store; a conflict after [`TRIES`] lost races.
pub async fn change<R: Serialize + DeserializeOwned>(
    store: &dyn Store,
    key: &[u8],
    change: impl Fn(Option<R>) -> Result<R, Fault>,
) -> Result<R, Fault> {
    for _ in 0..TRIES {
        let (old, revision) = get_json(store, key).await?.map_or((None, 0), |(row, revision)| (Some(row), revision));
        let new = change(old)?;
        match store.commit(Batch::new().expect(key, revision).put_json(key, &new)?).await {
            Ok(_) => return Ok(new),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}
