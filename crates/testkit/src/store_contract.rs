//! What every [`Store`](dewdrop_core::store::Store) must do: one suite, run against each implementation and each layer above
//! them.
//!
//! ```ignore
//! store_contract!(memory => async { (Arc::new(Memory::new()) as SharedStore, ()) });
//! ```
//! The expression is a future of a store and of what must live as long as it (a folder, a server). The store must be
//! empty; the crate needs tokio with `macros` and `rt-multi-thread`.

mod watch;

use std::time::Duration;

use dewdrop_core::store::{Batch, Entry, Row, SharedStore, StoreError, scan_all};

pub use watch::*;

/// Longest wait for something that must come. Only a failing test waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the suite against each named store.
#[macro_export]
macro_rules! store_contract {
    ($($backend:ident => $open:expr),+ $(,)?) => {$(
        mod $backend {
            #[allow(unused_imports, reason = "what the expression names is the caller's affair")]
            use super::*;
            $crate::store_contract_cases!($open =>
                absent_keys_are_none
                a_value_reads_as_written
                empty_values_are_values
                a_megabyte_is_a_value
                keys_are_bytes
                rows_come_in_order
                a_scan_keeps_its_limit
                a_scan_goes_on_after_a_key
                a_prefix_of_ff_ends_nowhere
                deleted_keys_stay_deleted
                a_prefix_is_removed_whole
                later_changes_of_a_batch_win
                a_batch_writes_one_revision
                revisions_grow
                a_stale_precondition_conflicts
                an_absent_precondition_holds_for_absent_keys_only
                a_batch_that_conflicts_changes_nothing
                preconditions_alone_are_a_check
                what_cannot_be_is_refused
                a_counter_reaches_exactly_n
                a_dropped_future_does_not_break_a_batch
                a_watch_sees_changes_in_order
                a_watch_sees_its_prefix_only
                a_watch_sees_removals
                two_watches_see_the_same
                a_hold_is_exclusive_until_dropped
            );
        }
    )+};
}

/// One test for each name. Used by [`store_contract!`].
#[doc(hidden)]
#[macro_export]
macro_rules! store_contract_cases {
    ($open:expr => $($case:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (store, _kept) = $open.await;
            $crate::store_contract::$case(store).await;
        }
    )+};
}

// === reading and writing ===

/// A key that was never written is not there.
pub async fn absent_keys_are_none(store: SharedStore) {
    assert_eq!(read(&store, b"nothing").await, None);
    assert_eq!(keys(&store, b"", None, 10).await, Vec::<Vec<u8>>::new());
}

/// A value comes back with the revision that the commit answered.
pub async fn a_value_reads_as_written(store: SharedStore) {
    let revision = commit(&store, Batch::new().put("k", "one")).await;
    assert_eq!(read(&store, b"k").await, Some(Entry { value: "one".into(), revision }));
    let revision = commit(&store, Batch::new().put("k", "two")).await;
    assert_eq!(read(&store, b"k").await, Some(Entry { value: "two".into(), revision }));
    assert!(store.revision().await.expect("revision") >= revision);
}

/// Empty is not absent.
pub async fn empty_values_are_values(store: SharedStore) {
    let revision = commit(&store, Batch::new().put("k", "")).await;
    assert_eq!(read(&store, b"k").await, Some(Entry { value: "".into(), revision }));
    assert_eq!(keys(&store, b"k", None, 10).await, [b"k"]);
}

/// 1 MiB is within every store's limits.
pub async fn a_megabyte_is_a_value(store: SharedStore) {
    let big: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 251) as u8).collect();
    commit(&store, Batch::new().put("big", big.clone())).await;
    assert!(read(&store, b"big").await.expect("there").value == big, "the value changed");
    let rows = store.scan(b"b", None, 9).await.expect("scan");
    assert!(rows[0].entry.value == big, "the value changed in a scan");
}

/// Any byte may stand in a key.
pub async fn keys_are_bytes(store: SharedStore) {
    let odd: [&[u8]; 6] = [b"\x00", b"\x00\x00", b"a\x00b", b"\x7f\x80", b"\xff", b"\xff\xff/\xfe"];
    for key in odd {
        commit(&store, Batch::new().put(key, key.to_vec())).await;
    }
    for key in odd {
        assert_eq!(read(&store, key).await.expect("there").value, key);
    }
    assert_eq!(keys(&store, b"", None, 10).await, odd);
}

// === scans ===

/// Rows are ordered by their bytes, whatever the order of writing.
pub async fn rows_come_in_order(store: SharedStore) {
    for key in ["b/2", "a", "b/10", "c", "b/1", "b", "b0"] {
        commit(&store, Batch::new().put(key, key)).await;
    }
    assert_eq!(keys(&store, b"", None, 99).await, ["a", "b", "b/1", "b/10", "b/2", "b0", "c"].map(str::as_bytes));
    assert_eq!(keys(&store, b"b/", None, 99).await, ["b/1", "b/10", "b/2"].map(str::as_bytes));
    let rows = store.scan(b"b/1", None, 1).await.expect("scan");
    assert_eq!(rows[0].entry, read(&store, b"b/1").await.expect("there"));
}

/// At most `limit`; none for zero; fewer means the end.
pub async fn a_scan_keeps_its_limit(store: SharedStore) {
    fill(&store, 10).await;
    assert_eq!(keys(&store, b"k", None, 0).await.len(), 0);
    assert_eq!(keys(&store, b"k", None, 3).await, [b"k000", b"k001", b"k002"]);
    assert_eq!(keys(&store, b"k", None, 10).await.len(), 10);
    assert_eq!(keys(&store, b"k", None, 11).await.len(), 10);
    assert_eq!(scan_all(&*store, b"k", 3).await.expect("pages").len(), 10);
    assert_eq!(scan_all(&*store, b"k", 5).await.expect("pages").len(), 10);
}

/// `after` is a whole key that need not exist, and is itself left out.
pub async fn a_scan_goes_on_after_a_key(store: SharedStore) {
    fill(&store, 5).await;
    commit(&store, Batch::new().put("z", "")).await;
    assert_eq!(keys(&store, b"k", Some(b"k002"), 9).await, [b"k003", b"k004"]);
    assert_eq!(keys(&store, b"k", Some(b"k0025"), 9).await, [b"k003", b"k004"]);
    assert_eq!(keys(&store, b"k", Some(b"k003"), 1).await, [b"k004"]);
    assert_eq!(keys(&store, b"k", Some(b"a"), 1).await, [b"k000"], "before the prefix");
    assert_eq!(keys(&store, b"k", Some(b"k004"), 9).await.len(), 0);
    assert_eq!(keys(&store, b"k", Some(b"zz"), 9).await.len(), 0, "beyond the prefix");
}

/// The prefix 0xff has no next prefix, and still works.
pub async fn a_prefix_of_ff_ends_nowhere(store: SharedStore) {
    for key in [b"\xfe\xff".as_slice(), b"\xff", b"\xff\x00", b"\xff\xff", b"\xff\xff\xff"] {
        commit(&store, Batch::new().put(key, "")).await;
    }
    assert_eq!(keys(&store, b"\xff", None, 9).await, [b"\xff".as_slice(), b"\xff\x00", b"\xff\xff", b"\xff\xff\xff"]);
    assert_eq!(keys(&store, b"\xff\xff", None, 9).await, [b"\xff\xff".as_slice(), b"\xff\xff\xff"]);
    assert_eq!(keys(&store, b"\xfe", None, 9).await, [b"\xfe\xff"]);
    commit(&store, Batch::new().delete_prefix(b"\xff\xff")).await;
    assert_eq!(keys(&store, b"", None, 9).await, [b"\xfe\xff".as_slice(), b"\xff", b"\xff\x00"]);
}

// === removing ===

/// A removed key is gone; removing it again is fine.
pub async fn deleted_keys_stay_deleted(store: SharedStore) {
    commit(&store, Batch::new().put("k", "v").put("k2", "v")).await;
    commit(&store, Batch::new().delete("k")).await;
    commit(&store, Batch::new().delete("k")).await;
    assert_eq!(read(&store, b"k").await, None);
    assert_eq!(keys(&store, b"", None, 9).await, [b"k2"]);
}

/// Everything below the prefix, and nothing beside it.
pub async fn a_prefix_is_removed_whole(store: SharedStore) {
    let batch = (0..100).fold(Batch::new(), |batch, n| batch.put(format!("mount/{n:03}"), "v"));
    commit(&store, batch.put("mount", "v").put("mount0", "v")).await;
    commit(&store, Batch::new().delete_prefix("mount/")).await;
    assert_eq!(keys(&store, b"", None, 999).await, ["mount", "mount0"].map(str::as_bytes));
    commit(&store, Batch::new().delete_prefix("mount/")).await;
}

/// Changes happen in the order of the batch.
pub async fn later_changes_of_a_batch_win(store: SharedStore) {
    commit(&store, Batch::new().put("p/old", "v").put("p/x", "v")).await;
    commit(
        &store,
        Batch::new().put("p/gone", "1").delete_prefix("p/").put("p/new", "1").put("p/x", "1").put("p/x", "2"),
    )
    .await;
    assert_eq!(keys(&store, b"", None, 9).await, ["p/new", "p/x"].map(str::as_bytes));
    assert_eq!(read(&store, b"p/x").await.expect("there").value, "2");
    commit(&store, Batch::new().put("q", "1").delete("q").delete("p/new").put("p/new", "3")).await;
    assert_eq!(read(&store, b"q").await, None);
    assert_eq!(read(&store, b"p/new").await.expect("there").value, "3");
}

// === revisions and preconditions ===

/// All values of a batch carry its revision.
pub async fn a_batch_writes_one_revision(store: SharedStore) {
    let revision = commit(&store, Batch::new().put("a", "1").put("b", "2")).await;
    assert_eq!(read(&store, b"a").await.expect("a").revision, revision);
    assert_eq!(read(&store, b"b").await.expect("b").revision, revision);
}

/// Each commit that changes something has a greater revision than all before it; zero is never used.
pub async fn revisions_grow(store: SharedStore) {
    let mut last = 0;
    for n in 0..20 {
        let revision = commit(&store, Batch::new().put(format!("k{}", n % 3), n.to_string())).await;
        assert!(revision > last, "{revision} after {last}");
        last = revision;
    }
    let gone = commit(&store, Batch::new().delete("k0")).await;
    assert!(gone > last);
    assert!(commit(&store, Batch::new().put("k0", "again")).await > gone);
}

/// A precondition on an older revision fails.
pub async fn a_stale_precondition_conflicts(store: SharedStore) {
    let first = commit(&store, Batch::new().put("k", "1")).await;
    let second = commit(&store, Batch::new().put("k", "2").expect("k", first)).await;
    assert_conflict(&store, Batch::new().put("k", "3").expect("k", first)).await;
    assert_eq!(read(&store, b"k").await, Some(Entry { value: "2".into(), revision: second }));
    commit(&store, Batch::new().delete("k").expect("k", second)).await;
    assert_conflict(&store, Batch::new().put("k", "4").expect("k", second)).await;
    assert_eq!(read(&store, b"k").await, None);
}

/// Revision zero means absent.
pub async fn an_absent_precondition_holds_for_absent_keys_only(store: SharedStore) {
    commit(&store, Batch::new().put("k", "").expect("k", 0)).await;
    assert_conflict(&store, Batch::new().put("k", "again").expect("k", 0)).await;
    commit(&store, Batch::new().delete("k")).await;
    commit(&store, Batch::new().put("k", "anew").expect("k", 0)).await;
}

/// One failed precondition stops every change, and only of its own batch.
pub async fn a_batch_that_conflicts_changes_nothing(store: SharedStore) {
    let revision = commit(&store, Batch::new().put("a", "1").put("p/x", "1")).await;
    let bad = Batch::new().put("a", "2").put("new", "2").delete_prefix("p/").expect("a", revision).expect("other", 7);
    let (bad, good) = tokio::join!(store.commit(bad), store.commit(Batch::new().put("good", "1")));
    assert!(matches!(bad, Err(StoreError::Conflict)), "{bad:?}");
    good.expect("its neighbour");
    assert_eq!(read(&store, b"a").await, Some(Entry { value: "1".into(), revision }));
    assert_eq!(keys(&store, b"", None, 9).await, ["a", "good", "p/x"].map(str::as_bytes));
}

/// A batch without changes checks and changes nothing.
pub async fn preconditions_alone_are_a_check(store: SharedStore) {
    let revision = commit(&store, Batch::new().put("k", "1")).await;
    assert!(commit(&store, Batch::new().expect("k", revision)).await >= revision);
    assert_conflict(&store, Batch::new().expect("k", revision + 1)).await;
    assert_eq!(read(&store, b"k").await, Some(Entry { value: "1".into(), revision }));
}

/// Empty keys, and the removal of everything by an empty prefix, are refused with nothing changed.
pub async fn what_cannot_be_is_refused(store: SharedStore) {
    commit(&store, Batch::new().put("k", "v")).await;
    for batch in [
        Batch::new().put("x", "v").put("", "v"),
        Batch::new().put("x", "v").delete(""),
        Batch::new().put("x", "v").delete_prefix(""),
        Batch::new().put("x", "v").expect("", 0),
        Batch::new().put("x", "v").put(vec![b'k'; 17 * 1024], "v"),
        Batch::new().put("x", "v").put("big", vec![0; (64 << 20) + 1]),
    ] {
        let answer = store.commit(batch).await;
        assert!(matches!(&answer, Err(StoreError::Refused(why)) if !why.is_empty()), "{answer:?}");
    }
    assert_eq!(keys(&store, b"", None, 9).await, [b"k"]);
}

// === concurrency ===

/// Compare-and-set by many tasks loses no step.
pub async fn a_counter_reaches_exactly_n(store: SharedStore) {
    const TASKS: u64 = 8;
    const STEPS: u64 = 15;
    let tasks: Vec<_> = (0..TASKS).map(|_| tokio::spawn(count_up(store.clone(), STEPS))).collect();
    for task in tasks {
        task.await.expect("a task");
    }
    assert_eq!(number(&store).await.0, TASKS * STEPS);
}

async fn count_up(store: SharedStore, steps: u64) {
    let mut done = 0;
    while done < steps {
        let (number, revision) = number(&store).await;
        match store.commit(Batch::new().put("n", (number + 1).to_string()).expect("n", revision)).await {
            Ok(_) => done += 1,
            Err(StoreError::Conflict) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

async fn number(store: &SharedStore) -> (u64, u64) {
    match read(store, b"n").await {
        Some(entry) => (String::from_utf8_lossy(&entry.value).parse().expect("a number"), entry.revision),
        None => (0, 0),
    }
}

/// Commits whose callers go away at any moment happen whole or not at all, and the store works on.
pub async fn a_dropped_future_does_not_break_a_batch(store: SharedStore) {
    for n in 0..40 {
        let mut call = Box::pin(store.commit(Batch::new().put(format!("a{n:02}"), "1").put(format!("b{n:02}"), "1")));
        // Polled a few times, then dropped wherever it stands.
        for _ in 0..n % 4 {
            if futures_poll_once(&mut call).await {
                break;
            }
        }
        drop(call);
    }
    commit(&store, Batch::new().put("last", "1")).await;
    let (a, b) = (keys(&store, b"a", None, 99).await, keys(&store, b"b", None, 99).await);
    assert_eq!(a.iter().map(|key| &key[1..]).collect::<Vec<_>>(), b.iter().map(|key| &key[1..]).collect::<Vec<_>>());
}

/// Polls a future once; whether it is done.
async fn futures_poll_once<F: Future + Unpin>(future: &mut F) -> bool {
    let done = std::future::poll_fn(|context| {
        std::task::Poll::Ready(std::pin::Pin::new(&mut *future).poll(context).is_ready())
    })
    .await;
    tokio::task::yield_now().await;
    done
}

// === helpers ===

async fn commit(store: &SharedStore, batch: Batch) -> u64 {
    store.commit(batch).await.expect("commit")
}

async fn assert_conflict(store: &SharedStore, batch: Batch) {
    let answer = store.commit(batch).await;
    assert!(matches!(answer, Err(StoreError::Conflict)), "{answer:?}");
}

async fn read(store: &SharedStore, key: &[u8]) -> Option<Entry> {
    store.get(key).await.expect("get")
}

async fn keys(store: &SharedStore, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Vec<Vec<u8>> {
    store.scan(prefix, after, limit).await.expect("scan").into_iter().map(|row: Row| row.key).collect()
}

async fn fill(store: &SharedStore, count: usize) {
    commit(store, (0..count).fold(Batch::new(), |batch, n| batch.put(format!("k{n:03}"), "v"))).await;
}
