//! Keys seen as a tree of folders. A listing jumps over what lies in sub-folders, and reads in pages.

use std::cmp::Ordering;

use dewdrop_core::Fault;
use dewdrop_core::store::{Entry, Store};
use dewdrop_core::wire::{Int, Text};
use schemars::JsonSchema;
use serde::Deserialize;

const PAGE: usize = 256;

/// Which part of a list is wanted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct Paging {
    /// Names after this one; it need not exist.
    #[serde(default)]
    pub after: Option<Text>,
    /// At most so many; zero or less: all.
    #[serde(default)]
    pub limit: Option<Int>,
}

/// What a folder holds under one name.
pub struct Item {
    /// The name within the folder; a sub-folder ends in `/`.
    pub name: String,
    /// The record; `None` for sub-folders.
    pub entry: Option<Entry>,
}

/// The entries of a folder in the order of their names. `root` is the prefix of the whole tree, `folder` a path without
/// slashes at its ends (empty: the top).
///
/// # Errors
/// The store's.
pub async fn list(store: &dyn Store, root: &str, folder: &str, paging: &Paging) -> Result<Vec<Item>, Fault> {
    let prefix = prefix_of(root, folder);
    let limit = paging.limit.and_then(|l| usize::try_from(l.0).ok()).filter(|l| *l > 0).unwrap_or(usize::MAX);
    let mut after = paging.after.as_ref().filter(|a| !a.0.is_empty()).map(|a| start(&prefix, &a.0));
    let page = limit.saturating_add(1).min(PAGE);
    let mut items: Vec<Item> = Vec::new();
    loop {
        let rows = store.scan(prefix.as_bytes(), after.as_deref(), page).await?;
        let is_last = rows.len() < page;
        let mut inside = None;
        for row in rows {
            let name = String::from_utf8_lossy(row.key.get(prefix.len()..).unwrap_or_default()).into_owned();
            let (name, entry) = match name.split_once('/') {
                Some((sub, _)) => (format!("{sub}/"), None),
                None => (name, Some(row.entry)),
            };
            inside = entry.is_none().then(|| past(&prefix, &name));
            after = Some(row.key);
            if entry.is_none() && items.last().is_some_and(|last| last.name == name) {
                continue;
            }
            if items.len() == limit {
                return Ok(items);
            }
            items.push(Item { name, entry });
        }
        if is_last || items.len() == limit {
            return Ok(items);
        }
        after = inside.or(after);
    }
}

/// Every record below a folder with its path from there, in the order of the API: the records of a folder by name, then its
/// sub-folders from the last to the first.
///
/// # Errors
/// The store's.
pub async fn walk<T>(
    store: &dyn Store,
    root: &str,
    folder: &str,
    keep: impl Fn(Entry) -> Result<T, Fault>,
) -> Result<Vec<(String, T)>, Fault> {
    let prefix = prefix_of(root, folder);
    let mut found = Vec::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = store.scan(prefix.as_bytes(), after.as_deref(), PAGE).await?;
        let is_last = rows.len() < PAGE;
        for row in rows {
            let name = String::from_utf8_lossy(row.key.get(prefix.len()..).unwrap_or_default()).into_owned();
            after = Some(row.key);
            found.push((name, keep(row.entry)?));
        }
        if is_last {
            found.sort_by(|(a, _), (b, _)| walk_order(a, b));
            return Ok(found);
        }
    }
}

fn prefix_of(root: &str, folder: &str) -> String {
    let folder = folder.trim_end_matches('/');
    if folder.is_empty() { root.to_owned() } else { format!("{root}{folder}/") }
}

/// Where a listing begins that wants the names after `after`.
fn start(prefix: &str, after: &str) -> Vec<u8> {
    match after.split_once('/') {
        Some((sub, _)) => past(prefix, &format!("{sub}/")),
        None => format!("{prefix}{after}").into_bytes(),
    }
}

/// A key behind all keys of a sub-folder: names are UTF-8, which has no byte 0xFF.
fn past(prefix: &str, sub_folder: &str) -> Vec<u8> {
    let mut key = format!("{prefix}{sub_folder}").into_bytes();
    key.push(0xFF);
    key
}

fn walk_order(mut a: &str, mut b: &str) -> Ordering {
    loop {
        match (a.split_once('/'), b.split_once('/')) {
            (None, None) => return a.cmp(b),
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some((x, rest_a)), Some((y, rest_b))) if x == y => (a, b) = (rest_a, rest_b),
            (Some((x, _)), Some((y, _))) => return y.bytes().chain([b'/']).cmp(x.bytes().chain([b'/'])),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use dewdrop_core::store::Batch;
    use dewdrop_testkit::map_store::MapStore;

    use super::*;

    async fn store_of(names: impl IntoIterator<Item = String>) -> MapStore {
        let store = MapStore::default();
        let batch = names.into_iter().fold(Batch::new(), |batch, name| batch.put(format!("m/{name}"), Bytes::new()));
        store.commit(batch).await.unwrap();
        store
    }

    async fn names(store: &MapStore, folder: &str, after: &str, limit: i64) -> Vec<String> {
        let paging = Paging { after: Some(Text(after.into())), limit: Some(Int(limit)) };
        let items = list(store, "m/", folder, &paging).await.unwrap();
        items.into_iter().map(|item| item.name).collect()
    }

    #[tokio::test]
    async fn as_the_oracle_lists() {
        let store = store_of(["a", "b", "b/c", "b/d", "e/f/g", "h"].map(|n| format!("l/{n}"))).await;
        assert_eq!(names(&store, "", "", 0).await, ["l/"]);
        assert_eq!(names(&store, "l", "", -1).await, ["a", "b", "b/", "e/", "h"]);
        assert_eq!(names(&store, "l", "", 2).await, ["a", "b"]);
        assert_eq!(names(&store, "l", "a", 2).await, ["b", "b/"]);
        assert_eq!(names(&store, "l", "b", 0).await, ["b/", "e/", "h"]);
        assert_eq!(names(&store, "l", "b/", 0).await, ["e/", "h"]);
        assert_eq!(names(&store, "l", "bb", 0).await, ["e/", "h"]);
        assert!(names(&store, "l", "zz", 0).await.is_empty());
        assert!(names(&store, "nope", "", 0).await.is_empty());
        let walked = walk(&store, "m/", "l", |_| Ok(())).await.unwrap();
        let walked: Vec<_> = walked.into_iter().map(|(name, ())| name).collect();
        assert_eq!(walked, ["a", "b", "h", "e/f/g", "b/c", "b/d"]);
    }

    #[tokio::test]
    async fn pages_of_any_size_make_the_same_list() {
        let mut all: Vec<String> = (0..400).map(|n| format!("k{n:04}")).collect();
        all.extend((0..300).flat_map(|f| (0..3).map(move |n| format!("k{:04}x/{n}", f * 7))));
        all.extend((0..1000).map(|n| format!("big/{n}")));
        let store = store_of(all).await;
        let whole = names(&store, "", "", 0).await;
        assert_eq!(whole.len(), 701);
        assert!(whole.is_sorted());
        for size in [1, 2, 7, 255, 256, 257] {
            let mut paged: Vec<String> = Vec::new();
            loop {
                let after = paged.last().cloned().unwrap_or_default();
                let page = names(&store, "", &after, size).await;
                if page.is_empty() {
                    break;
                }
                assert!(page.len() <= usize::try_from(size).unwrap());
                paged.extend(page);
            }
            assert_eq!(paged, whole, "pages of {size}");
        }
    }
}
