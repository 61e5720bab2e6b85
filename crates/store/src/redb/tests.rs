mod crash;
mod faulty;
mod kill9;

use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use dewdrop_core::store::{Batch, Store, StoreError};

use super::*;
use crate::tests::redb_in;

fn options() -> RedbOptions {
    RedbOptions { min_free_bytes: 0, ..RedbOptions::default() }
}

async fn put(store: &Redb, key: &str, value: &str) -> Result<Revision, StoreError> {
    store.commit(Batch::new().put(key, value.to_owned())).await
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = redb_in(&folder);
    let revision = put(&store, "k", "v").await.unwrap();
    let gone = store.commit(Batch::new().delete("other")).await.unwrap();
    drop(store);
    let store = redb_in(&folder);
    assert_eq!(store.get(b"k").await.unwrap().unwrap().revision, revision);
    assert_eq!(store.revision().await.unwrap(), gone, "removals count too");
    assert!(put(&store, "k2", "v").await.unwrap() > gone);
}

#[tokio::test]
async fn a_second_opener_is_told_that_the_file_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let store = redb_in(&folder);
    let error = Redb::open(&folder.path().join("store.redb"), options()).err().unwrap();
    assert!(matches!(&error, OpenError::InUse(path) if path.ends_with("store.redb")), "{error:?}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    put(&store, "k", "the first works on").await.unwrap();
}

#[test]
fn the_file_is_for_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("new folder").join("store.redb");
    drop(Redb::open(&path, options()).unwrap());
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
    drop(Redb::open(&path, options()).unwrap());
    assert_eq!(mode(&path), 0o600, "narrowed again");
}

#[test]
fn unfit_places_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let open = folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    std::fs::set_permissions(&open, PermissionsExt::from_mode(0o777)).unwrap();
    let said = |path: &Path| Redb::open(path, options()).err().unwrap().to_string();
    assert!(said(&open.join("s")).contains("chmod o-w"));
    assert!(matches!(Redb::open(&folder.path().join("a/b/c"), options()), Err(OpenError::Io { .. })));
    assert!(matches!(Redb::open(&open, options()), Err(OpenError::Io { .. } | OpenError::Unfit(_))));
    let text = folder.path().join("text");
    std::fs::write(&text, "not a database, and longer than any magic number").unwrap();
    assert!(matches!(Redb::open(&text, options()), Err(OpenError::Damaged { .. })));
    assert_eq!(std::fs::read(&text).unwrap(), b"not a database, and longer than any magic number", "and left alone");
}

#[tokio::test]
async fn a_nearly_full_disk_refuses_writes_and_takes_removals() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    put(&Redb::open(&path, options()).unwrap(), "k", "v").await.unwrap();
    let store = Redb::open(&path, RedbOptions { min_free_bytes: u64::MAX, ..options() }).unwrap();
    let answer = put(&store, "k", "more").await;
    assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains("nearly full")), "{answer:?}");
    assert_eq!(store.get(b"k").await.unwrap().unwrap().value, "v", "reads go on");
    store.commit(Batch::new().delete("k")).await.unwrap();
    assert_eq!(store.get(b"k").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_share_commits_and_each_gets_its_own_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(redb_in(&folder));
    let taken = put(&store, "taken", "").await.unwrap();
    let clients: Vec<_> = (0..64)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 0..10 {
                    let batch = Batch::new().put(format!("{client}/{n}"), "v");
                    let fails = client % 4 == 0;
                    let batch = if fails { batch.expect("taken", 0) } else { batch.expect("taken", taken) };
                    match store.commit(batch).await {
                        Ok(revision) => {
                            assert!(!fails);
                            let found = store.get(format!("{client}/{n}").as_bytes()).await.unwrap();
                            assert_eq!(found.unwrap().revision, revision, "read its own write");
                        }
                        Err(StoreError::Conflict) => assert!(fails),
                        Err(other) => panic!("{other}"),
                    }
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
    let rows = store.scan(b"", None, 9999).await.unwrap();
    assert_eq!(rows.len(), 48 * 10 + 1);
    let revisions: std::collections::HashSet<_> = rows.iter().map(|row| row.entry.revision).collect();
    assert_eq!(revisions.len(), rows.len(), "each batch has a revision of its own");
}

#[tokio::test]
async fn a_restore_that_is_given_up_leaves_all_as_it_was() {
    use tokio::io::AsyncWriteExt;
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(redb_in(&folder));
    store.commit((0..2000).fold(Batch::new(), |batch, n| batch.put(format!("{n:04}"), vec![0; 1000]))).await.unwrap();
    let mut file = Vec::new();
    crate::SnapshotStore::snapshot(&*store, &mut file).await.unwrap();
    store.commit(Batch::new().delete("0000")).await.unwrap();
    let (mut near, mut far) = tokio::io::duplex(1 << 16);
    let restore = tokio::spawn({
        let store = store.clone();
        async move { crate::SnapshotStore::restore(&*store, &mut far).await.map(|_| ()) }
    });
    near.write_all(&file[..file.len() / 2]).await.unwrap();
    restore.abort();
    assert!(restore.await.is_err());
    put(&store, "works", "on").await.unwrap();
    assert_eq!(store.scan(b"", None, 9999).await.unwrap().len(), 2000);
}

#[tokio::test]
async fn a_flood_of_removals_is_told_to_those_it_concerns() {
    use dewdrop_core::store::Seen;
    let folder = tempfile::tempdir().unwrap();
    let store = redb_in(&folder);
    store.commit((0..5000).fold(Batch::new(), |batch, n| batch.put(format!("many/{n}"), "v"))).await.unwrap();
    let mut above = store.watch(b"").await.unwrap();
    let mut below = store.watch(b"many/7").await.unwrap();
    let mut beside = store.watch(b"few/").await.unwrap();
    let flood = store.commit(Batch::new().delete_prefix("many/")).await.unwrap();
    assert_eq!(above.next().await, Some(Seen::Lost(flood)));
    assert_eq!(below.next().await, Some(Seen::Lost(flood)));
    let few = put(&store, "few/1", "v").await.unwrap();
    assert_eq!(beside.next().await, Some(Seen::Changed(b"few/1".to_vec(), few)));
}
