//! Mounts in a whole vault over a store in memory.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use dewdrop_core::call::{Call, Caller, Outcome};
use dewdrop_core::clock::FakeClock;
use dewdrop_core::mount::{Limits, Mount, MountClass, Namespace, Tune};
use dewdrop_core::policy::Permit;
use dewdrop_core::store::{Batch, SharedStore};
use dewdrop_core::{Fault, Kind, Moment, Operation};
use dewdrop_store::Memory;
use serde_json::{Map, Value, json};

use super::{Mounted, NewMount, remount, replace};
use crate::audit::Audit;
use crate::vault::{Opening, Vault, furnish};

const NOW: Moment = Moment(1_800_000_000_000);

async fn vault(store: &SharedStore) -> Arc<Vault> {
    let opening = Opening {
        store: store.clone(),
        clock: FakeClock::at(NOW),
        limits: Limits::default(),
        audit: Arc::new(Audit::none()),
        server: Weak::new(),
        dev: false,
    };
    opening.open().await.unwrap()
}

fn memory() -> SharedStore {
    Arc::new(Memory::new())
}

fn kv(path: &str) -> NewMount {
    NewMount {
        class: MountClass::Secret,
        path: path.into(),
        kind: "kv".into(),
        description: String::new(),
        options: BTreeMap::new(),
        tune: Tune::default(),
        local: false,
        seal_wrap: false,
    }
}

async fn namespace(vault: &Vault, path: &str) -> Arc<Namespace> {
    let new = Namespace { id: path.replace('/', ""), uuid: path.into(), path: path.into(), ..Namespace::root() };
    let made = vault.namespaces.put(new).await.unwrap();
    furnish(vault, made.clone()).await.unwrap();
    made
}

async fn ask(vault: &Vault, operation: Operation, path: &str, fields: Value) -> Result<Map<String, Value>, Fault> {
    let (mounted, below) = vault.mounts.find(path).ok_or_else(Fault::not_found)?;
    let spot = mounted.room.find(below, operation).ok_or_else(Fault::not_found)?;
    let call = Call {
        permit: Permit::public("a test"),
        operation,
        path: below.into(),
        captures: spot.captures.clone(),
        fields: fields.as_object().cloned().unwrap_or_default(),
        caller: Arc::new(Caller::default()),
        mount: mounted.mount.clone(),
        now: NOW,
        wrap_ttl: None,
        headers: BTreeMap::new(),
        request_id: "test".into(),
        raw: None,
    };
    match mounted.room.serve(&spot, call).await?.outcome {
        Outcome::Data(data) => Ok(data),
        _ => Ok(Map::new()),
    }
}

fn with_version(mounted: &Mounted, version: &str) -> Mount {
    let mut mount = Mount::clone(&mounted.mount);
    mount.options.insert("version".into(), version.into());
    mount
}

#[tokio::test]
async fn version_1_of_kv_becomes_version_2_with_its_secrets_and_not_back() {
    let store = memory();
    let first = vault(&store).await;
    let old = first.mounts.add(&first, Arc::new(Namespace::root()), kv("kv/")).await.unwrap();
    for name in ["a", "b/c", "b/d"] {
        ask(&first, Operation::Update, &format!("kv/{name}"), json!({ "k": name })).await.unwrap();
    }
    assert_eq!(replace(&first, &old, with_version(&old, "2")).await, Ok(Some(3)));
    // As it is served now, and by a server that starts later.
    for vault in [&first, &vault(&store).await] {
        let read = ask(vault, Operation::Read, "kv/data/b/c", json!({})).await.unwrap();
        assert_eq!((&read["data"], &read["metadata"]["version"]), (&json!({ "k": "b/c" }), &json!(1)));
    }
    let new = first.mounts.at("kv/").unwrap();
    for (version, word) in [("1", "downgrade"), ("3", "versions 1 and 2")] {
        let refused = replace(&first, &new, with_version(&new, version)).await.unwrap_err();
        assert!(refused.kind == Kind::BadRequest && refused.told.contains(word), "{refused}");
    }
    assert_eq!(replace(&first, &new, Mount { description: "d".into(), ..Mount::clone(&new.mount) }).await, Ok(None));
}

#[tokio::test]
async fn an_upgrade_that_a_crash_cut_short_is_finished_at_the_next_start() {
    let store = memory();
    let first = vault(&store).await;
    let old = first.mounts.add(&first, Arc::new(Namespace::root()), kv("kv/")).await.unwrap();
    ask(&first, Operation::Update, "kv/a", json!({ "k": "v" })).await.unwrap();
    drop(first);
    // What stands in the store after the first step of an upgrade.
    let mount = with_version(&old, "2");
    let begun = Batch::new().put_json(super::key(&mount.uuid), &mount).unwrap();
    store.commit(begun.put(format!("kv-upgrade/{}", mount.uuid), &b"kv2"[..])).await.unwrap();
    let second = vault(&store).await;
    let read = ask(&second, Operation::Read, "kv/data/a", json!({})).await.unwrap();
    assert_eq!(read["data"], json!({ "k": "v" }));
    assert!(store.get(format!("kv-upgrade/{}", mount.uuid).as_bytes()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_mount_moves_to_another_namespace_with_its_data() {
    let store = memory();
    let first = vault(&store).await;
    let (here, there) = (namespace(&first, "here/").await, namespace(&first, "there/").await);
    let mounted = first.mounts.add(&first, here, kv("kv/")).await.unwrap();
    ask(&first, Operation::Update, "here/kv/a", json!({ "k": "v" })).await.unwrap();
    let id = remount(&first, &mounted, there, "new/".into()).await.unwrap();
    assert_eq!(first.mounts.moved(&id), Some(("here/kv/".into(), "there/new/".into())));
    assert_eq!(first.mounts.moved("other"), None);
    for vault in [&first, &vault(&store).await] {
        assert_eq!(ask(vault, Operation::Read, "there/new/a", json!({})).await.unwrap()["k"], "v");
        assert!(vault.mounts.at("here/kv/").is_none());
    }
}

#[tokio::test]
async fn of_two_moves_to_one_path_the_second_is_refused_and_nothing_is_lost() {
    let vault = vault(&memory()).await;
    let root = Arc::new(Namespace::root());
    let a = vault.mounts.add(&vault, root.clone(), kv("a/")).await.unwrap();
    let b = vault.mounts.add(&vault, root.clone(), kv("b/")).await.unwrap();
    let (one, two) =
        tokio::join!(remount(&vault, &a, root.clone(), "c/".into()), remount(&vault, &b, root.clone(), "c/".into()));
    assert_eq!([one.is_ok(), two.is_ok()], [true, false]);
    assert_eq!(vault.mounts.at("c/").unwrap().mount.uuid, a.mount.uuid);
    assert_eq!(vault.mounts.at("b/").unwrap().mount.uuid, b.mount.uuid);
}

#[tokio::test]
async fn a_mount_cannot_take_the_path_of_a_namespace() {
    let vault = vault(&memory()).await;
    let team = namespace(&vault, "team/").await;
    let root = Arc::new(Namespace::root());
    for path in ["team/", "team/kv/"] {
        assert_eq!(
            vault.mounts.add(&vault, root.clone(), kv(path)).await.err().map(|f| f.kind),
            Some(Kind::BadRequest),
            "{path}"
        );
    }
    assert!(vault.mounts.add(&vault, root, kv("teams/")).await.is_ok());
    assert!(vault.mounts.add(&vault, team, kv("kv/")).await.is_ok());
}
