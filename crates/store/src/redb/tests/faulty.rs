//! A disk in memory that fails when it is told to, and that loses power.

use std::io;
use std::sync::Arc;

use dewdrop_core::store::{Batch, Store, StoreError};
use parking_lot::Mutex;
use redb::StorageBackend;

use super::super::{Opener, Redb};
use super::options;
use crate::tests::Dice;

/// A disk. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk(Arc<Mutex<Platters>>);

#[derive(Debug, Default)]
struct Platters {
    /// What survives a power loss.
    synced: Vec<u8>,
    /// What reads see.
    live: Vec<u8>,
    /// What came since the last sync, in order.
    pending: Vec<Pending>,
    /// Operations that change something, until the power goes.
    fuse: Option<u64>,
    dead: bool,
    /// The most that it holds.
    room: Option<usize>,
    sync_fails: bool,
}

#[derive(Debug, Clone)]
enum Pending {
    Write(u64, Vec<u8>),
    Length(u64),
}

// === impl Disk ===

impl Disk {
    pub(super) fn opener(&self) -> Opener {
        let disk = self.clone();
        Opener::of(move || Ok(Box::new(disk.clone())))
    }

    /// The power goes after so many more writes, syncs or changes of length.
    pub(super) fn light_fuse(&self, operations: u64) {
        self.0.lock().fuse = Some(operations);
    }

    /// The power comes back. Of what was not synced any part may have reached the disk, in any order, torn into sectors.
    pub(super) fn lose_power(&self, dice: &mut Dice) {
        let mut disk = self.0.lock();
        let mut pending = std::mem::take(&mut disk.pending);
        for at in (1..pending.len()).rev() {
            pending.swap(at, dice.roll(at as u64 + 1) as usize);
        }
        let share = dice.roll(5);
        let mut platters = std::mem::take(&mut disk.synced);
        for operation in pending {
            if dice.roll(4) < share {
                apply(&mut platters, torn(operation, dice));
            }
        }
        *disk = Platters { live: platters.clone(), synced: platters, ..Platters::default() };
    }

    fn changing(&self, change: impl FnOnce(&mut Platters) -> io::Result<()>) -> io::Result<()> {
        let mut disk = self.0.lock();
        if disk.dead {
            return Err(io::Error::other("no power"));
        }
        match &mut disk.fuse {
            Some(0) => {
                disk.dead = true;
                return Err(io::Error::other("the power went"));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut disk)
    }
}

/// Perhaps only some sectors of a write.
fn torn(operation: Pending, dice: &mut Dice) -> Pending {
    match operation {
        Pending::Write(offset, data) if data.len() > 512 && dice.roll(4) == 0 => {
            let sectors = data.len() as u64 / 512;
            let from = dice.roll(sectors) * 512;
            let till = from + (dice.roll(sectors - from / 512) + 1) * 512;
            Pending::Write(offset + from, data[from as usize..till as usize].to_vec())
        }
        other => other,
    }
}

fn apply(platters: &mut Vec<u8>, operation: Pending) {
    match operation {
        Pending::Length(length) => platters.resize(length as usize, 0),
        Pending::Write(offset, data) => {
            let end = offset as usize + data.len();
            if platters.len() < end {
                platters.resize(end, 0);
            }
            platters[offset as usize..end].copy_from_slice(&data);
        }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().live.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock();
        if disk.dead {
            return Err(io::Error::other("no power"));
        }
        let data = disk.live.get(offset as usize..offset as usize + out.len());
        out.copy_from_slice(data.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.changing(|disk| {
            if disk.room.is_some_and(|room| len as usize > room) {
                return Err(io::ErrorKind::StorageFull.into());
            }
            disk.pending.push(Pending::Length(len));
            apply(&mut disk.live, Pending::Length(len));
            Ok(())
        })
    }

    fn sync_data(&self) -> io::Result<()> {
        self.changing(|disk| {
            if disk.sync_fails {
                return Err(io::Error::other("the platter is scratched"));
            }
            disk.synced = disk.live.clone();
            disk.pending.clear();
            Ok(())
        })
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.changing(|disk| {
            let operation = Pending::Write(offset, data.to_vec());
            apply(&mut disk.live, operation.clone());
            disk.pending.push(operation);
            Ok(())
        })
    }
}

// === tests of failing disks ===

#[tokio::test]
async fn a_full_disk_is_told_and_recovered_from() {
    let disk = Disk::default();
    let store = Redb::start(disk.opener(), options()).unwrap();
    disk.0.lock().room = Some(1 << 20);
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    for n in 0..60 {
        let key = format!("k{n}");
        match store.commit(Batch::new().put(key.clone(), vec![n; 60_000])).await {
            Ok(_) => acknowledged.push((key, n)),
            Err(StoreError::Unavailable(why)) => {
                assert!(why.contains("full"), "{why}");
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
        for (key, n) in &acknowledged {
            assert_eq!(store.get(key.as_bytes()).await.unwrap().unwrap().value, vec![*n; 60_000], "reads go on");
        }
    }
    assert!(refused > 0 && !acknowledged.is_empty());
    disk.0.lock().room = None;
    store.commit(Batch::new().put("after", vec![1; 600_000])).await.unwrap();
    drop(store);
    let store = Redb::start(disk.opener(), options()).unwrap();
    assert_eq!(store.scan(b"k", None, 99).await.unwrap().len(), acknowledged.len());
}

#[tokio::test]
async fn after_a_failed_sync_nothing_more_is_acknowledged() {
    let disk = Disk::default();
    let store = Redb::start(disk.opener(), options()).unwrap();
    store.commit(Batch::new().put("k", "v")).await.unwrap();
    disk.0.lock().sync_fails = true;
    assert!(matches!(store.commit(Batch::new().put("k", "w")).await, Err(StoreError::Unavailable(_))));
    disk.0.lock().sync_fails = false;
    let answer = store.commit(Batch::new().put("k", "x")).await;
    assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains("check the disk")), "{answer:?}");
    assert!(store.get(b"k").await.unwrap().is_some(), "reads go on");
}
