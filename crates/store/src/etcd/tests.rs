mod server;

use std::time::Duration;

use dewdrop_core::store::{Batch, Change, Seen, Store, StoreError};
use dewdrop_core::{Moment, SystemClock};
use dewdrop_testkit::store_contract;

use self::server::{Server, shared_server};
use super::*;
use crate::tests::{Dice, shared, snapshots_restore_exactly};
use crate::{Barrier, LockedKey, Rotation, SnapshotStore};

const PATIENCE: Duration = Duration::from_secs(60);

store_contract! {
    etcd => async { (shared(fresh().await), ()) },
    barrier_over_etcd => async {
        let below = shared(fresh().await);
        let barrier = Barrier::new(below, SystemClock::shared(), Rotation::default());
        let root = LockedKey::random().unwrap();
        barrier.initialize(&root, Batch::new()).await.unwrap();
        barrier.unseal(&root).await.unwrap();
        (shared(barrier), ())
    },
}

/// A store of its own on the server that the tests share.
async fn fresh() -> Etcd {
    shared_server().await.store().await
}

async fn put(store: &Etcd, key: &str) -> Revision {
    store.commit(Batch::new().put(key, "v")).await.unwrap()
}

#[tokio::test]
async fn snapshots_of_etcd_restore_exactly() {
    snapshots_restore_exactly(&fresh().await, &fresh().await).await;
    snapshots_restore_exactly(&crate::Memory::new(), &fresh().await).await;
}

#[tokio::test]
async fn batches_beyond_the_limits_are_refused_whole() {
    let store = fresh().await;
    let refused = |answer: Result<Revision, StoreError>| match answer {
        Err(StoreError::Refused(why)) => assert!(why.contains("at a time"), "{why}"),
        other => panic!("{other:?}"),
    };
    refused(store.commit((0..129).fold(Batch::new(), |batch, n| batch.put(format!("k{n}"), "v"))).await);
    refused(store.commit((0..128).fold(Batch::new().put("k", "v"), |batch, n| batch.expect(format!("k{n}"), 0))).await);
    refused(store.commit(Batch::new().put("k", vec![0; 1_500_001])).await);
    assert!(store.scan(b"", None, 9).await.unwrap().is_empty());
    // At the limits, etcd itself agrees.
    store.commit((0..128).fold(Batch::new(), |batch, n| batch.put(format!("k{n:03}"), vec![1; 11_000]))).await.unwrap();
    store.commit((0..127).fold(Batch::new().put("k", "v"), |batch, n| batch.expect(format!("x{n}"), 0))).await.unwrap();
    store.commit(Batch::new().put("one", vec![0; 1_499_900])).await.unwrap();
    assert_eq!(store.scan(b"k", None, 999).await.unwrap().len(), 129);
}

#[tokio::test]
async fn random_batches_do_in_etcd_what_they_do_in_memory() {
    let (etcd, memory) = (fresh().await, crate::Memory::new());
    let mut dice = Dice(5);
    for _ in 0..300 {
        let (mut ours, mut theirs) = (Batch::new(), Batch::new());
        for _ in 0..=dice.roll(6) {
            let key = format!("{}{}", ["a", "a/", "a/b/", "b", "b/\u{7f}"][dice.roll(5) as usize], dice.roll(4));
            let change = match dice.roll(5) {
                0 => Change::DeletePrefix(key.as_bytes()[..1 + dice.roll(key.len() as u64) as usize].to_vec()),
                1 => Change::Delete(key.clone().into_bytes()),
                _ => Change::Put(key.clone().into_bytes(), dice.roll(1000).to_string().into()),
            };
            if dice.roll(8) == 0 {
                let revision = |entry: Option<Entry>| entry.map_or(0, |entry| entry.revision);
                ours = ours.expect(key.clone(), revision(etcd.get(key.as_bytes()).await.unwrap()));
                theirs = theirs.expect(key.clone(), revision(memory.get(key.as_bytes()).await.unwrap()));
            }
            ours.changes.push(change.clone());
            theirs.changes.push(change);
        }
        etcd.commit(ours).await.unwrap();
        memory.commit(theirs).await.unwrap();
        let rows = async |store: &dyn Store| -> Vec<_> {
            store.scan(b"", None, 999).await.unwrap().into_iter().map(|row| (row.key, row.entry.value)).collect()
        };
        assert_eq!(rows(&etcd).await, rows(&memory).await);
    }
}

#[tokio::test]
async fn two_prefixes_are_two_stores() {
    let (a, b) = (fresh().await, fresh().await);
    put(&a, "k").await;
    assert_eq!(b.get(b"k").await.unwrap(), None);
    assert!(a.hold("n", PATIENCE).await.unwrap().is_some() && b.hold("n", PATIENCE).await.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_dies_and_comes_back_is_lived_through() {
    let mut server = Server::start().await;
    let store = server.store().await;
    let mut watch = store.watch(b"").await.unwrap();
    let before = put(&store, "before").await;
    let hold = store.hold("shard", Duration::from_secs(2)).await.unwrap().unwrap();
    server.kill().await;
    // Each call ends, in the time that was configured.
    for _ in 0..3 {
        let answer = tokio::time::timeout(store.timeout * 4, store.get(b"before")).await.expect("a call that hangs");
        assert!(matches!(answer, Err(StoreError::Unavailable(_))), "{answer:?}");
    }
    assert!(matches!(store.commit(Batch::new().put("k", "v")).await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.watch(b"").await, Err(StoreError::Unavailable(_))));
    assert!(matches!(store.hold("x", PATIENCE).await, Err(StoreError::Unavailable(_))));
    until(async || !hold.is_held()).await;
    server.again().await;
    until(async || store.get(b"before").await.is_ok()).await;
    let after = put(&store, "after").await;
    let seen = [watch.next().await, watch.next().await];
    assert_eq!(seen, [Some(Seen::Changed(b"before".to_vec(), before)), Some(Seen::Changed(b"after".to_vec(), after))]);
    drop(hold);
    until(async || store.hold("shard", PATIENCE).await.unwrap().is_some()).await;
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_is_told_that_it_lost_events() {
    let server = Server::start().await;
    let store = server.store().await;
    let first = put(&store, "k").await;
    let newest = put(&store, "k").await;
    store.client.kv_client().compact(signed(newest), None).await.unwrap();
    let mut watch = watch::start(&store, b"", first);
    assert_eq!(watch.next().await, Some(Seen::Lost(newest)));
    assert_eq!(watch.next().await, Some(Seen::Changed(b"k".to_vec(), newest)));
    let later = put(&store, "k2").await;
    assert_eq!(watch.next().await, Some(Seen::Changed(b"k2".to_vec(), later)));
}

#[tokio::test]
async fn a_hold_ends_by_the_local_clock_before_etcd_gives_it_away() {
    let clock = dewdrop_core::FakeClock::at(Moment(0));
    let store = Etcd { clock: clock.clone(), ..fresh().await };
    let hold = store.hold("n", Duration::from_secs(60)).await.unwrap().unwrap();
    clock.advance(Duration::from_secs(53));
    assert!(hold.is_held());
    clock.advance(Duration::from_secs(2));
    assert!(!hold.is_held(), "a tenth is kept back");
    assert!(store.hold("n", PATIENCE).await.unwrap().is_none(), "etcd has not given it away");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_is_renewed_beyond_its_time_to_live() {
    let (store, clock) = (fresh().await, SystemClock::shared());
    let ttl = Duration::from_secs(2);
    let hold = store.hold("n", ttl).await.unwrap().unwrap();
    let end = clock.steady() + ttl * 3;
    while clock.steady() < end {
        assert!(store.hold("n", ttl).await.unwrap().is_none(), "another got it");
        assert!(hold.is_held());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hold_whose_lease_was_revoked_is_not_held() {
    let store = fresh().await;
    let hold = store.hold("n", Duration::from_secs(3)).await.unwrap().unwrap();
    let key = [&store.place.holds, b"n".as_slice()].concat();
    let lease = store.range(key, GetOptions::new()).await.unwrap().0.kvs()[0].lease();
    store.client.lease_client().revoke(lease).await.unwrap();
    until(async || !hold.is_held()).await;
}

#[tokio::test]
async fn an_interrupted_restore_is_not_believed() {
    let (server, store) = (shared_server().await, fresh().await);
    let mut file = Vec::new();
    put(&store, "k").await;
    store.snapshot(&mut file).await.unwrap();
    store.client.kv_client().put(store.place.restoring.clone(), "", None).await.unwrap();
    let answer = store.commit(Batch::new().put("k", "w")).await;
    assert!(matches!(&answer, Err(StoreError::Unavailable(why)) if why.contains("restore again")), "{answer:?}");
    let prefix = String::from_utf8(store.place.rows.clone()).unwrap().trim_end_matches("d/").to_owned();
    let again = |server: &Server| server.config(&prefix);
    assert!(matches!(Etcd::connect(again(server), SystemClock::shared()).await, Err(StoreError::Unavailable(_))));
    let tool = Etcd::connect_unchecked(again(server), SystemClock::shared()).await.unwrap();
    tool.restore(&mut file.as_slice()).await.unwrap();
    put(&store, "k").await;
}

#[tokio::test]
async fn certificates_and_passwords_are_asked_for() {
    let server = Server::start_with_tls().await;
    let store = server.store().await;
    put(&store, "k").await;
    let mut auth = store.client.auth_client();
    auth.user_add("root", "right", None).await.unwrap();
    auth.user_grant_role("root", "root").await.unwrap();
    auth.auth_enable().await.unwrap();
    let with = |password: &str| EtcdConfig {
        user: Some(("root".into(), password.to_owned().into())),
        ..server.config("tls/")
    };
    let connect = |config| Etcd::connect(config, SystemClock::shared());
    let store = connect(with("right")).await.unwrap();
    put(&store, "k").await;
    assert!(connect(with("wrong")).await.is_err());
    assert!(connect(server.config("tls/")).await.is_err(), "no password");
    let config = with("right");
    let tls = config.tls.unwrap();
    let stranger = EtcdTls { identity_pem: None, ..tls };
    assert!(connect(EtcdConfig { tls: Some(stranger), ..with("right") }).await.is_err(), "no certificate");
    let plain = EtcdConfig { endpoints: vec!["http://127.0.0.1:1".into()], ..with("right") };
    assert!(matches!(connect(plain).await, Err(StoreError::Refused(why)) if why.contains("https")));
    assert!(!format!("{:?}", with("right")).contains("right"), "a password was printed");
}

/// Waits until something is so.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !holds().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("it never came true");
}
