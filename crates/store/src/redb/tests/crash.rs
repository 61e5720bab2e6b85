//! Power loss at random moments of random histories: whatever was acknowledged is there afterwards, and of what was
//! not, whole batches only, in their order.

use std::collections::BTreeMap;

use bytes::Bytes;
use dewdrop_core::store::{Batch, Change, Store, StoreError, scan_all};

use super::super::{Redb, RedbOptions};
use super::faulty::Disk;
use super::options;
use crate::tests::Dice;

/// Histories, each of several lives of one disk.
const HISTORIES: u64 = 1200;
const LIVES: u64 = 3;
const ROUNDS: u64 = 8;

type Model = BTreeMap<Vec<u8>, Bytes>;

fn apply(model: &mut Model, batch: &Batch) {
    for change in &batch.changes {
        match change {
            Change::Put(key, value) => drop(model.insert(key.clone(), value.clone())),
            Change::Delete(key) => drop(model.remove(key)),
            Change::DeletePrefix(prefix) => model.retain(|key, _| !key.starts_with(prefix)),
        }
    }
}

/// A batch over few keys, so that histories meet; sometimes large, so that the file grows.
fn batch(dice: &mut Dice) -> Batch {
    let mut batch = Batch::new();
    for _ in 0..=dice.roll(4) {
        let key = format!("{}/{}", dice.roll(3), dice.roll(8));
        batch = match dice.roll(12) {
            0 => batch.delete_prefix(format!("{}/", dice.roll(3))),
            1 | 2 => batch.delete(key),
            3 => {
                let length = dice.roll(20_000) as usize;
                batch.put(key, vec![dice.roll(256) as u8; length])
            }
            _ => batch.put(key, dice.roll(u64::MAX).to_be_bytes().to_vec()),
        };
    }
    batch
}

async fn content(store: &Redb) -> Model {
    scan_all(store, b"", 100).await.unwrap().into_iter().map(|row| (row.key, row.entry.value)).collect()
}

/// Commits groups until the power goes. Gives the batches that were not acknowledged, in the order of their commits.
async fn live(store: &Redb, model: &mut Model, dice: &mut Dice) -> Vec<Batch> {
    for _ in 0..ROUNDS {
        let group: Vec<Batch> = (0..=dice.roll(5)).map(|_| batch(dice)).collect();
        // Polled in order, so they are committed in order.
        let answers = futures_util::future::join_all(group.iter().map(|batch| store.commit(batch.clone()))).await;
        let done = answers.iter().take_while(|answer| answer.is_ok()).count();
        group[..done].iter().for_each(|batch| apply(model, batch));
        if done < group.len() {
            assert!(
                answers[done..].iter().all(|answer| matches!(answer, Err(StoreError::Unavailable(_)))),
                "{answers:?}"
            );
            return group[done..].to_vec();
        }
    }
    Vec::new()
}

async fn history(seed: u64) {
    let mut dice = Dice(seed);
    let disk = Disk::default();
    let mut model = Model::new();
    // Quick repair on or off: both ways of committing must hold.
    let options = RedbOptions { quick_repair_above: [0, u64::MAX][dice.roll(2) as usize], ..options() };
    let mut newest = 0;
    for life in 0..LIVES {
        let store =
            Redb::start(disk.opener(), options.clone()).unwrap_or_else(|e| panic!("seed {seed} life {life}: {e:?}"));
        if life == 0 {
            store.commit(Batch::new().put("0/first", "v")).await.unwrap();
            model.insert(b"0/first".to_vec(), "v".into());
        }
        disk.light_fuse(dice.roll(60));
        let unsure = live(&store, &mut model, &mut dice).await;
        newest = store.revision().await.unwrap_or(newest);
        drop(store);
        disk.lose_power(&mut dice);

        let store =
            Redb::start(disk.opener(), options.clone()).unwrap_or_else(|e| panic!("seed {seed} life {life}: {e:?}"));
        let found = content(&store).await;
        let mut candidate = model.clone();
        let mut matches = candidate == found;
        for batch in &unsure {
            if matches {
                break;
            }
            apply(&mut candidate, batch);
            matches = candidate == found;
        }
        assert!(matches, "seed {seed} life {life}: a lost commit or half a batch");
        assert!(store.revision().await.unwrap() >= newest, "seed {seed} life {life}: a revision came back");
        model = found;
    }
}

#[test]
fn no_acknowledged_commit_is_lost_and_none_is_halved() {
    let threads = 2;
    let work = |first: u64| {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for seed in (first..HISTORIES).step_by(threads) {
            runtime.block_on(history(seed));
        }
    };
    std::thread::scope(|scope| {
        for first in 0..threads as u64 {
            scope.spawn(move || work(first));
        }
    });
}
