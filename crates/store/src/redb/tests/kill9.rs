//! `kill -9` of a process that writes: the test program runs itself as a child, reads the numbers of the commits that
//! were acknowledged, kills it at some moment and looks into the file.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use dewdrop_core::store::{Batch, Store, scan_all};

use super::super::Redb;
use super::options;
use crate::tests::Dice;

const CHILD: &str = "DEWDROP_STORE_KILL9_CHILD";
const CLIENTS: u64 = 8;
const ROUNDS: u64 = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn acknowledged_commits_survive_kill_9() {
    if let Ok(path) = std::env::var(CHILD) {
        return child(Path::new(&path)).await;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.redb");
    let mut dice = Dice(9);
    let mut acknowledged = BTreeMap::<u64, u64>::new();
    for round in 0..ROUNDS {
        run_and_kill(&path, 1 + dice.roll(400), &mut acknowledged);
        let store = Redb::open(&path, options()).unwrap();
        for (client, last) in &acknowledged {
            let found = number(&store, &format!("last/{client}")).await;
            assert!(found >= *last, "round {round}: client {client} was told {last}, the file has {found}");
            let rows = scan_all(&store, format!("row/{client}/").as_bytes(), 500).await.unwrap();
            assert_eq!(rows.len() as u64, found, "round {round}: half a batch of client {client}");
        }
    }
    assert_eq!(acknowledged.len() as u64, CLIENTS);
}

/// Lets a child write until it has acknowledged so many commits, then kills it. Adds what it acknowledged.
fn run_and_kill(path: &Path, after: u64, acknowledged: &mut BTreeMap<u64, u64>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "redb::tests::kill9::acknowledged_commits_survive_kill_9", "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut count = 0;
    // What it wrote before the kill is read to the end of the pipe.
    for line in lines {
        let mut words = line.split(' ');
        if words.next() != Some("ack") {
            continue;
        }
        // The last line may be cut by the kill; it has no full stop then.
        if let (Some(client), Some(n), Some(".")) = (words.next(), words.next(), words.next()) {
            let last = acknowledged.entry(client.parse().unwrap()).or_default();
            *last = (*last).max(n.parse().unwrap());
        }
        count += 1;
        if count == after {
            child.kill().unwrap();
        }
    }
    child.wait().unwrap();
    assert!(count >= after, "the child ended by itself after {count} commits");
}

/// Writes as fast as it can, for ever; each batch has a row and the number of the last row.
async fn child(path: &Path) {
    let store = Arc::new(Redb::open(path, options()).unwrap());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let store = store.clone();
            tokio::spawn(async move {
                let first = number(&store, &format!("last/{client}")).await + 1;
                for n in first.. {
                    let batch = Batch::new()
                        .put(format!("row/{client}/{n}"), vec![n as u8; 300])
                        .put(format!("last/{client}"), n.to_string());
                    store.commit(batch).await.unwrap();
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "ack {client} {n} .").and_then(|()| out.flush()).unwrap();
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}

async fn number(store: &Redb, key: &str) -> u64 {
    store.get(key.as_bytes()).await.unwrap().map_or(0, |entry| String::from_utf8_lossy(&entry.value).parse().unwrap())
}
