use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::FakeClock;
use dewdrop_core::store::{Batch, Change, SharedStore, Store, StoreError, scan_all};

use super::*;
use crate::locked::LockedKey;
use crate::memory::Memory;
use crate::tests::{noon, shared};

struct Opened {
    below: SharedStore,
    clock: Arc<FakeClock>,
    root: LockedKey,
    barrier: Barrier,
}

async fn opened(rotation: Rotation) -> Opened {
    let (below, clock, root) = (shared(Memory::new()), noon(), LockedKey::random().unwrap());
    let barrier = Barrier::new(below.clone(), clock.clone(), rotation);
    barrier.initialize(&root, Batch::new().put("seal/keys", "wrapped")).await.unwrap();
    barrier.unseal(&root).await.unwrap();
    Opened { below, clock, root, barrier }
}

impl Opened {
    /// Another server over the same storage.
    async fn peer(&self) -> Barrier {
        let peer = Barrier::new(self.below.clone(), self.clock.clone(), Rotation::default());
        peer.unseal(&self.root).await.unwrap();
        peer
    }
}

async fn put(store: &dyn Store, key: &str, value: &str) {
    store.commit(Batch::new().put(key, value.to_owned())).await.unwrap();
}

async fn read(store: &dyn Store, key: &str) -> String {
    String::from_utf8(store.get(key.as_bytes()).await.unwrap().unwrap().value.to_vec()).unwrap()
}

#[tokio::test]
async fn a_sealed_barrier_answers_sealed_to_every_call() {
    let Opened { barrier, root, .. } = opened(Rotation::default()).await;
    put(&barrier, "k", "v").await;
    let mut watch = barrier.watch(b"").await.unwrap();
    barrier.seal();
    assert!(barrier.is_sealed());
    assert!(watch.next().await.is_none(), "a watch ends with the seal");
    assert!(matches!(barrier.get(b"k").await, Err(StoreError::Sealed)));
    assert!(matches!(barrier.scan(b"", None, 9).await, Err(StoreError::Sealed)));
    assert!(matches!(barrier.commit(Batch::new().delete("k")).await, Err(StoreError::Sealed)));
    assert!(matches!(barrier.watch(b"").await, Err(StoreError::Sealed)));
    assert!(matches!(barrier.hold("n", Duration::from_secs(1)).await, Err(StoreError::Sealed)));
    assert!(matches!(barrier.revision().await, Err(StoreError::Sealed)));
    assert!(matches!(barrier.rotate().await, Err(BarrierError::Store(StoreError::Sealed))));
    assert!(matches!(barrier.key_status(), Err(StoreError::Sealed)));
    barrier.unseal(&root).await.unwrap();
    assert_eq!(read(&barrier, "k").await, "v");
}

#[tokio::test]
async fn only_the_root_key_opens_it() {
    let Opened { below, barrier, root, .. } = opened(Rotation::default()).await;
    let other = LockedKey::random().unwrap();
    let again = Barrier::new(below.clone(), noon(), Rotation::default());
    assert!(matches!(again.unseal(&other).await, Err(BarrierError::WrongKey)));
    assert!(again.is_sealed());
    assert!(matches!(again.initialize(&other, Batch::new()).await, Err(BarrierError::AlreadyInitialized)));
    let empty = Barrier::new(shared(Memory::new()), noon(), Rotation::default());
    assert!(matches!(empty.unseal(&root).await, Err(BarrierError::NotInitialized)));
    assert!(barrier.is_root_key(&root).unwrap() && !barrier.is_root_key(&other).unwrap());
    assert_eq!(below.get(b"seal/keys").await.unwrap().unwrap().value, "wrapped", "committed with the keyring");
}

#[tokio::test]
async fn nothing_below_is_readable_or_movable() {
    let Opened { below, barrier, .. } = opened(Rotation::default()).await;
    put(&barrier, "one", "canary-7f3a").await;
    put(&barrier, "two", "canary-7f3a").await;
    for row in scan_all(&*below, b"", 9).await.unwrap() {
        assert!(!row.entry.value.windows(6).any(|part| part == b"canary"), "{row:?}");
    }
    assert_eq!(barrier.scan(b"", None, 99).await.unwrap().len(), 2, "its own records are not seen through it");
    let one = below.get(b"d/one").await.unwrap().unwrap().value;
    assert_ne!(one, below.get(b"d/two").await.unwrap().unwrap().value, "equal values differ below");
    below.commit(Batch::new().put("d/two", one.clone())).await.unwrap();
    assert!(matches!(barrier.get(b"two").await, Err(StoreError::Damaged(_))), "moved");
    assert!(matches!(barrier.scan(b"", None, 9).await, Err(StoreError::Damaged(_))));
    below.commit(Batch::new().put("d/two", "plain").delete("d/one")).await.unwrap();
    assert!(matches!(barrier.get(b"two").await, Err(StoreError::Damaged(_))), "never encrypted");
}

#[tokio::test]
async fn old_values_stay_readable_after_rotation() {
    let opened = opened(Rotation::default()).await;
    put(&opened.barrier, "old", "1").await;
    opened.clock.advance(Duration::from_secs(60));
    assert_eq!(opened.barrier.rotate().await.unwrap(), 2);
    put(&opened.barrier, "new", "2").await;
    let status = opened.barrier.key_status().unwrap();
    assert_eq!((status.term, status.created), (2, opened.clock.now()));
    assert!((1..10).contains(&status.encryptions), "{status:?}");
    let peer = opened.peer().await;
    assert_eq!((read(&peer, "old").await, read(&peer, "new").await), ("1".into(), "2".into()));
    assert_eq!(opened.below.get(b"d/new").await.unwrap().unwrap().value[1..5], 2u32.to_be_bytes());
}

#[tokio::test]
async fn keys_rotate_by_age() {
    let opened = opened(Rotation { age: Some(Duration::from_secs(3600)), ..Rotation::default() }).await;
    put(&opened.barrier, "a", "1").await;
    opened.clock.advance(Duration::from_secs(3599));
    put(&opened.barrier, "b", "1").await;
    assert_eq!(opened.barrier.key_status().unwrap().term, 1);
    opened.clock.advance(Duration::from_secs(1));
    put(&opened.barrier, "c", "1").await;
    put(&opened.barrier, "d", "1").await;
    assert_eq!(opened.barrier.key_status().unwrap().term, 2);
    assert_eq!(read(&opened.barrier, "a").await, "1");
}

#[tokio::test]
async fn keys_rotate_before_their_limit_of_encryptions() {
    const LIMIT: u64 = 200_000;
    let opened = opened(Rotation { encryptions: LIMIT, age: None }).await;
    let mut per_term = std::collections::BTreeMap::<u32, u64>::new();
    for _ in 0..5 {
        let batch = (0..60_000).fold(Batch::new(), |batch, n| batch.put(format!("k{n}"), "v"));
        opened.barrier.commit(batch).await.unwrap();
        *per_term.entry(opened.barrier.key_status().unwrap().term).or_default() += 60_000;
        assert!(opened.barrier.key_status().unwrap().encryptions <= LIMIT);
    }
    assert!(per_term.len() > 1 && per_term.values().all(|count| *count <= LIMIT), "{per_term:?}");
}

#[tokio::test]
async fn a_restart_counts_on_and_never_back() {
    let opened = opened(Rotation::default()).await;
    for n in 0..10 {
        put(&opened.barrier, &format!("k{n}"), "v").await;
    }
    let before = opened.barrier.key_status().unwrap().encryptions;
    let peer = opened.peer().await;
    assert!(peer.key_status().unwrap().encryptions >= before);
    put(&peer, "k", "v").await;
    put(&opened.barrier, "k", "v").await;
    assert!(peer.key_status().unwrap().encryptions > before);
}

#[tokio::test]
async fn another_server_may_rotate_and_change_the_root_key() {
    let opened = opened(Rotation::default()).await;
    let peer = opened.peer().await;
    put(&opened.barrier, "old", "1").await;
    peer.rotate().await.unwrap();
    put(&peer, "of the peer", "2").await;
    assert_eq!(read(&opened.barrier, "of the peer").await, "2", "an unknown key is looked up");
    let new = LockedKey::random().unwrap();
    peer.change_root_key(&new, Batch::new().put("seal/keys", "wrapped anew")).await.unwrap();
    assert_eq!(opened.below.get(b"seal/keys").await.unwrap().unwrap().value, "wrapped anew");
    assert_eq!(opened.barrier.rotate().await.unwrap(), 3, "the new root key is found with a data key");
    assert!(opened.barrier.is_root_key(&new).unwrap());
    put(&opened.barrier, "after", "3").await;
    assert_eq!(read(&peer, "after").await, "3");
    let late = Barrier::new(opened.below.clone(), noon(), Rotation::default());
    assert!(matches!(late.unseal(&opened.root).await, Err(BarrierError::WrongKey)));
    late.unseal(&new).await.unwrap();
    assert_eq!(read(&late, "old").await, "1");
}

#[tokio::test]
async fn a_server_that_has_not_heard_of_a_rotation_can_write() {
    let opened = opened(Rotation::default()).await;
    let peer = opened.peer().await;
    peer.rotate().await.unwrap();
    put(&peer, "of the peer", "1").await;
    put(&opened.barrier, "without reading first", "2").await;
    assert_eq!(opened.barrier.key_status().unwrap().term, 2);
    assert_eq!(read(&peer, "without reading first").await, "2");
}

#[tokio::test]
async fn rotations_at_the_same_time_make_one_keyring() {
    let opened = opened(Rotation::default()).await;
    let peers = [Arc::new(opened.peer().await), Arc::new(opened.peer().await), Arc::new(opened.peer().await)];
    let tasks: Vec<_> = peers
        .iter()
        .cloned()
        .enumerate()
        .map(|(n, peer)| {
            tokio::spawn(async move {
                for turn in 0..5 {
                    peer.rotate().await.unwrap();
                    put(&*peer, &format!("{n}/{turn}"), "v").await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(opened.peer().await.key_status().unwrap().term, 16);
    assert_eq!(scan_all(&opened.barrier, b"", 9).await.unwrap().len(), 15);
}

#[tokio::test]
async fn following_hears_of_a_rotation_without_a_read() {
    let opened = opened(Rotation::default()).await;
    let peer = opened.peer().await;
    let barrier = Arc::new(opened.barrier);
    let follower = tokio::spawn({
        let barrier = barrier.clone();
        async move { barrier.follow().await }
    });
    tokio::task::yield_now().await;
    let seen = async {
        while barrier.key_status().unwrap().term == 1 {
            peer.rotate().await.unwrap();
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), seen).await.unwrap();
    follower.abort();
}

#[tokio::test]
async fn a_seal_during_a_rotation_stays() {
    /// A store that seals the barrier above it in the middle of a write of the keyring.
    struct Sealing(Memory, std::sync::OnceLock<std::sync::Weak<Barrier>>);
    #[async_trait]
    impl Store for Sealing {
        async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
            self.0.get(key).await
        }
        async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
            self.0.scan(prefix, after, limit).await
        }
        async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
            if batch.changes.iter().any(|change| matches!(change, Change::Put(key, _) if key == KEYRING))
                && let Some(barrier) = self.1.get().and_then(std::sync::Weak::upgrade)
            {
                barrier.seal();
            }
            self.0.commit(batch).await
        }
        async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
            self.0.watch(prefix).await
        }
        async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
            self.0.hold(name, ttl).await
        }
        async fn revision(&self) -> Result<Revision, StoreError> {
            self.0.revision().await
        }
    }
    let below = Arc::new(Sealing(Memory::new(), std::sync::OnceLock::new()));
    let barrier = Arc::new(Barrier::new(below.clone(), noon(), Rotation::default()));
    let root = LockedKey::random().unwrap();
    barrier.initialize(&root, Batch::new()).await.unwrap();
    barrier.unseal(&root).await.unwrap();
    below.1.set(Arc::downgrade(&barrier)).unwrap();
    barrier.rotate().await.unwrap();
    assert!(barrier.is_sealed(), "the rotation opened it again");
}

#[tokio::test]
async fn shut_for_a_replacement_it_opens_again_with_its_root_key_only() {
    let Opened { barrier, below, clock, .. } = opened(Rotation::default()).await;
    put(&barrier, "k", "v").await;
    let keep: Vec<_> = scan_all(&*below, b"", 100).await.unwrap();
    barrier.rotate().await.unwrap();
    put(&barrier, "k", "under a newer key").await;

    let failed = barrier.while_shut(async {
        assert!(matches!(barrier.get(b"k").await, Err(StoreError::Sealed)));
        Err::<(), _>(StoreError::Unavailable("the disk".into()))
    });
    assert!(failed.await.is_err());
    assert_eq!(read(&barrier, "k").await, "under a newer key", "all is as before");

    let replace = async {
        let rows = keep.iter().fold(Batch::new(), |batch, row| batch.put(row.key.clone(), row.entry.value.clone()));
        below.commit(rows).await
    };
    assert!(barrier.while_shut(replace).await.unwrap().1);
    assert_eq!((read(&barrier, "k").await, barrier.key_status().unwrap().term), ("v".into(), 1));
    put(&barrier, "k", "later").await;
    assert_eq!(read(&barrier, "k").await, "later");

    let foreign = opened(Rotation::default()).await;
    put(&foreign.barrier, "k", "theirs").await;
    let theirs: Vec<_> = scan_all(&*foreign.below, b"", 100).await.unwrap();
    let replace = async {
        let rows = theirs.iter().fold(Batch::new(), |batch, row| batch.put(row.key.clone(), row.entry.value.clone()));
        below.commit(rows).await
    };
    assert!(!barrier.while_shut(replace).await.unwrap().1, "another root key");
    assert!(barrier.is_sealed());
    let again = Barrier::new(below, clock, Rotation::default());
    again.unseal(&foreign.root).await.unwrap();
}

#[tokio::test]
async fn a_replacement_waits_for_writes_that_are_under_way() {
    let Opened { barrier, .. } = opened(Rotation::default()).await;
    let barrier = Arc::new(barrier);
    let writers: Vec<_> = (0..8)
        .map(|number| {
            let barrier = barrier.clone();
            tokio::spawn(async move {
                while barrier.commit(Batch::new().put(format!("k{number}"), "v")).await.is_ok() {
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    tokio::task::yield_now().await;
    let revisions = async {
        let before = barrier.of.revision().await?;
        tokio::task::yield_now().await;
        Ok::<_, StoreError>((before, barrier.of.revision().await?))
    };
    let ((before, after), open) = barrier.while_shut(revisions).await.unwrap();
    assert!(open && before == after, "nobody writes meanwhile");
    for writer in writers {
        writer.await.unwrap();
    }
}
