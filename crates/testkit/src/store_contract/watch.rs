//! Who watches a store, and who holds a lock in it.

use std::time::Duration;

use dewdrop_core::store::{Batch, Seen, SharedStore, Watch};

use super::{PATIENCE, commit, keys};

const TTL: Duration = Duration::from_secs(20);

/// Every later commit, each once, in order.
pub async fn a_watch_sees_changes_in_order(store: SharedStore) {
    commit(&store, Batch::new().put("k/before", "")).await;
    let mut watch = store.watch(b"k/").await.expect("watch");
    let mut expected = Vec::new();
    for n in 0..50 {
        let key = format!("k/{:02}", n % 7);
        let revision = commit(&store, Batch::new().put(key.clone(), n.to_string())).await;
        expected.push(Seen::Changed(key.into_bytes(), revision));
    }
    assert_eq!(events(&mut watch, 50).await, expected);
}

/// Keys relative to the store, and of the prefix only.
pub async fn a_watch_sees_its_prefix_only(store: SharedStore) {
    let mut watch = store.watch(b"a/").await.expect("watch");
    commit(&store, Batch::new().put("a", "").put("b/1", "")).await;
    let revision = commit(&store, Batch::new().put("a/1", "").put("c", "")).await;
    assert_eq!(events(&mut watch, 1).await, [Seen::Changed(b"a/1".to_vec(), revision)]);
    let mut all = store.watch(b"").await.expect("watch");
    let revision = commit(&store, Batch::new().put("z", "")).await;
    assert_eq!(events(&mut all, 1).await, [Seen::Changed(b"z".to_vec(), revision)]);
}

/// Removals too, each key of a prefix.
pub async fn a_watch_sees_removals(store: SharedStore) {
    commit(&store, Batch::new().put("k/1", "").put("k/2", "").put("k/3", "")).await;
    let mut watch = store.watch(b"k/").await.expect("watch");
    let one = commit(&store, Batch::new().delete("k/2")).await;
    let rest = commit(&store, Batch::new().delete_prefix("k/")).await;
    let mut seen = events(&mut watch, 3).await;
    assert_eq!(seen.remove(0), Seen::Changed(b"k/2".to_vec(), one));
    for key in [b"k/1", b"k/3"] {
        assert!(seen.contains(&Seen::Changed(key.to_vec(), rest)), "{seen:?}");
    }
}

/// Watches do not take events from each other; dropping one leaves the other.
pub async fn two_watches_see_the_same(store: SharedStore) {
    let mut one = store.watch(b"k").await.expect("watch");
    let mut two = store.watch(b"k").await.expect("watch");
    let first = commit(&store, Batch::new().put("k", "1")).await;
    assert_eq!(events(&mut one, 1).await, [Seen::Changed(b"k".to_vec(), first)]);
    drop(one);
    let second = commit(&store, Batch::new().put("k", "2")).await;
    assert_eq!(events(&mut two, 2).await, [Seen::Changed(b"k".to_vec(), first), Seen::Changed(b"k".to_vec(), second)]);
}

// === holds ===

/// One holder at a time; another name is another lock; dropping frees it.
pub async fn a_hold_is_exclusive_until_dropped(store: SharedStore) {
    let held = store.hold("shard/1", TTL).await.expect("hold").expect("free");
    assert!(held.is_held());
    assert!(store.hold("shard/1", TTL).await.expect("hold").is_none());
    let other = store.hold("shard/2", TTL).await.expect("hold").expect("another name");
    drop(held);
    let again = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(held) = store.hold("shard/1", TTL).await.expect("hold") {
                return held;
            }
            tokio::task::yield_now().await;
        }
    });
    assert!(again.await.expect("a dropped hold is freed").is_held());
    assert!(other.is_held());
    assert_eq!(keys(&store, b"", None, 9).await.len(), 0, "locks are not rows");
}

async fn events(watch: &mut Box<dyn Watch>, count: usize) -> Vec<Seen> {
    let mut seen = Vec::new();
    while seen.len() < count {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.expect("an event in time");
        seen.push(event.expect("the store is open"));
    }
    seen
}
