//! The contract suite, against every store and every layer; snapshots, against every store that has them.

use std::sync::Arc;

use dewdrop_core::store::{Batch, SharedStore, Store, scan_all};
use dewdrop_core::{Clock, FakeClock, Moment};
use dewdrop_testkit::store_contract;

use crate::snapshot::{SnapshotError, SnapshotStore, verify_snapshot};
use crate::{Barrier, LockedKey, Memory, Redb, RedbOptions, Slice};

store_contract! {
    memory => async { (shared(Memory::new()), ()) },
    redb => async {
        let folder = tempfile::tempdir().unwrap();
        (shared(redb_in(&folder)), folder)
    },
    barrier_over_memory => async { (shared(open_barrier(shared(Memory::new())).await), ()) },
    slice_over_memory => async {
        let memory = shared(Memory::new());
        // Neighbours on both sides, which no case may ever see.
        memory.commit(Batch::new().put("mount/0", "x").put("mount/10", "x").put("mount/2", "x")).await.unwrap();
        (shared(Slice::new(memory, "mount/1/")), ())
    },
    slice_over_barrier_over_redb => async {
        let folder = tempfile::tempdir().unwrap();
        let barrier = shared(open_barrier(shared(redb_in(&folder))).await);
        (shared(Slice::new(barrier, vec![0xff])), folder)
    },
}

/// A small fast generator, so that a history is its seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    /// splitmix64.
    pub(crate) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A store as rooms hold it.
pub(crate) fn shared(store: impl Store + 'static) -> SharedStore {
    Arc::new(store)
}

/// A clock that stands.
pub(crate) fn noon() -> Arc<FakeClock> {
    FakeClock::at(Moment(1_700_000_000_000))
}

async fn open_barrier(of: SharedStore) -> Barrier {
    let clock: Arc<dyn Clock> = noon();
    let barrier = Barrier::new(of, clock, crate::Rotation::default());
    let root = LockedKey::random().unwrap();
    barrier.initialize(&root, Batch::new()).await.unwrap();
    barrier.unseal(&root).await.unwrap();
    barrier
}

/// A redb store in a folder.
pub(crate) fn redb_in(folder: &tempfile::TempDir) -> Redb {
    // Tests must not depend on how full the machine is.
    Redb::open(&folder.path().join("store.redb"), RedbOptions { min_free_bytes: 0, ..RedbOptions::default() }).unwrap()
}

/// Rows of every size, so that pages and chunks end in all places.
async fn fill(store: &dyn Store) {
    for n in 0..300usize {
        let value = vec![n as u8; n * n % 20_011];
        store.commit(Batch::new().put(format!("row/{n:04}"), value)).await.unwrap();
    }
    store.commit(Batch::new().put("big", vec![7; 1 << 20]).put("row/0007", "")).await.unwrap();
}

/// What every snapshot store must do. `a` and `b` are two empty stores.
pub(crate) async fn snapshots_restore_exactly(a: &dyn SnapshotStore, b: &dyn SnapshotStore) {
    fill(a).await;
    let mut file = Vec::new();
    let info = a.snapshot(&mut file).await.unwrap();
    assert_eq!((info.rows, info.bytes), (301, file.len() as u64));
    assert_eq!(verify_snapshot(&mut file.as_slice()).await.unwrap(), info);

    b.commit(Batch::new().put("stale", "must go").put("row/0001", "other")).await.unwrap();
    let before = b.revision().await.unwrap();
    let mut watch = b.watch(b"row/").await.unwrap();
    damaged_files_change_nothing(b, &file).await;
    assert_eq!(b.restore(&mut file.as_slice()).await.unwrap(), info);

    let values = |rows: Vec<dewdrop_core::store::Row>| {
        rows.into_iter().map(|row| (row.key, row.entry.value)).collect::<Vec<_>>()
    };
    assert!(values(scan_all(a, b"", 50).await.unwrap()) == values(scan_all(b, b"", 50).await.unwrap()));
    let after = b.revision().await.unwrap();
    assert!(after > before, "{after} {before}");
    assert!(matches!(
        watch.next().await,
        Some(dewdrop_core::store::Seen::Lost(_) | dewdrop_core::store::Seen::Changed(..))
    ));
    let entry = b.get(b"row/0001").await.unwrap().unwrap();
    assert!(entry.revision > before && entry.revision <= after, "a restored row is a new write");
    b.commit(Batch::new().put("row/0001", "works on").expect("row/0001", entry.revision)).await.unwrap();
}

async fn damaged_files_change_nothing(store: &dyn SnapshotStore, file: &[u8]) {
    let before = scan_all(store, b"", 50).await.unwrap();
    let end = file.len();
    let cuts = [0, 1, 11, 20, 31, 32, 40, end / 2, end - 33, end - 32, end - 1];
    let mut bad: Vec<Vec<u8>> = cuts.iter().map(|cut| file[..*cut].to_vec()).collect();
    for at in [0, 13, 20, 31, 35, 50, end / 2, end - 33, end - 1] {
        let mut changed = file.to_vec();
        changed[at] ^= 0x10;
        bad.push(changed);
    }
    bad.push([file, b"x"].concat());
    for file in bad {
        let answer = store.restore(&mut file.as_slice()).await;
        assert!(matches!(answer, Err(SnapshotError::Damaged(_))), "{answer:?}");
        assert!(verify_snapshot(&mut file.as_slice()).await.is_err());
    }
    assert!(scan_all(store, b"", 50).await.unwrap() == before, "a refused restore changed something");
}

#[tokio::test]
async fn memory_snapshots_restore_exactly() {
    snapshots_restore_exactly(&Memory::new(), &Memory::new()).await;
}

#[tokio::test]
async fn redb_snapshots_restore_exactly() {
    let folders = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    snapshots_restore_exactly(&redb_in(&folders.0), &redb_in(&folders.1)).await;
}

#[tokio::test]
async fn a_snapshot_moves_between_kinds_of_store() {
    let folder = tempfile::tempdir().unwrap();
    snapshots_restore_exactly(&Memory::new(), &redb_in(&folder)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_is_of_one_moment_while_writers_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(redb_in(&folder));
    // Both keys always change together; far apart, so that they are read in different pages.
    let pair = |n: u32| Batch::new().put("a", n.to_string()).put("z", n.to_string());
    store.commit((0..3000).fold(pair(0), |batch, n| batch.put(format!("m/{n:05}"), vec![1; 900]))).await.unwrap();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let writer = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move {
            let mut n = 1;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                store.commit(pair(n)).await.unwrap();
                n += 1;
            }
            n
        }
    });
    for _ in 0..5 {
        let mut file = Vec::new();
        store.snapshot(&mut file).await.unwrap();
        let copy = Memory::new();
        copy.restore(&mut file.as_slice()).await.unwrap();
        let (a, z) = (copy.get(b"a").await.unwrap().unwrap(), copy.get(b"z").await.unwrap().unwrap());
        assert_eq!(a.value, z.value);
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(writer.await.unwrap() > 1);
}

proptest::proptest! {
    /// A snapshot comes from outside: whatever the bytes are, they are refused or read, and nothing panics.
    #[test]
    fn bytes_that_are_no_snapshot_are_refused(count in 0u64..4, tail in proptest::collection::vec(proptest::num::u8::ANY, 0..200)) {
        let mut file = [b"DEWDROP-SNAP".as_slice(), &1u32.to_be_bytes(), &7u64.to_be_bytes(), &count.to_be_bytes()].concat();
        file.extend(tail);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answer = runtime.block_on(verify_snapshot(&mut file.as_slice()));
        proptest::prop_assert!(matches!(answer, Err(SnapshotError::Damaged(_))));
    }
}
