//! Lists of names below a prefix of the store, whole or in pages.

use dewdrop_core::Fault;
use dewdrop_core::call::Reply;
use dewdrop_core::store::Store;
use dewdrop_core::wire::{Int, Text};
use schemars::JsonSchema;
use serde::Deserialize;

/// How many rows are read at a time.
const CHUNK: usize = 1000;

/// Which part of a list is wanted.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
pub struct Page {
    /// Begins behind this name, which need not exist.
    pub after: Option<Text>,
    /// At most so many; zero and less: all.
    pub limit: Option<Int>,
}

/// The names below `prefix`.
///
/// # Errors
/// 404 when there are none; those of the store.
pub async fn list(store: &dyn Store, prefix: &str, page: &Page) -> Result<Reply, Fault> {
    let limit = page.limit.and_then(|n| usize::try_from(n.0).ok()).filter(|n| *n > 0).unwrap_or(usize::MAX);
    let after = page.after.as_ref().map_or("", |text| text.0.as_str());
    let mut last = (!after.is_empty()).then(|| format!("{prefix}{after}").into_bytes());
    let mut names = Vec::new();
    while names.len() < limit {
        let wanted = CHUNK.min(limit - names.len());
        let rows = store.scan(prefix.as_bytes(), last.as_deref(), wanted).await?;
        names.extend(
            rows.iter().map(|row| String::from_utf8_lossy(row.key.get(prefix.len()..).unwrap_or_default()).into()),
        );
        if rows.len() < wanted {
            break;
        }
        last = rows.into_iter().next_back().map(|row| row.key);
    }
    Reply::keys(names)
}
