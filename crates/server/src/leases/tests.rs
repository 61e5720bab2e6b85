use std::time::Duration;

use dewdrop_core::lease::{Lease, LeaseState, Owner};
use dewdrop_core::store::Batch;
use dewdrop_testkit::fake_api::FakeApi;
use serde_json::{Value, json};

use super::{below, index, insert};
use crate::vault::Vault;
use crate::vault::rig::Rig;

/// The keeper looks by the machine's clock, so tests wait for it, and no longer than they must.
async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    for _ in 0..1000 {
        if let Some(found) = ask().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("this did not come: {what}");
}

/// A lease on a mount whose engine (a KV) cannot take it back: a target that is down.
async fn put_lease(rig: &Rig, mount: &str, name: &str, life: Duration) {
    let (vault, now) = (rig.vault(), rig.clock_now());
    let lease = Lease {
        id: format!("{mount}/creds/app/{name}"),
        namespace: "root".into(),
        mount: vault.mounts.at(&format!("{mount}/")).unwrap().mount.uuid.clone(),
        state: LeaseState::Live,
        owner: Owner::Token(String::new()),
        issued: now,
        expires: now.plus(life),
        renewed: None,
        latest: now.plus(life),
        renewable: false,
        internal: Value::Null,
    };
    vault.store.commit(insert(Batch::new(), &lease).unwrap()).await.unwrap();
}

async fn tries(vault: &Vault, id: &str) -> u32 {
    match vault.leases.read("root", id).await.unwrap() {
        Some((Lease { state: LeaseState::Revoking { tries, .. }, .. }, _)) => tries,
        _ => 0,
    }
}

async fn rows(vault: &Vault, prefix: &[u8]) -> usize {
    vault.store.scan(prefix, None, 10_000).await.unwrap().len()
}

#[tokio::test]
async fn a_long_queue_at_a_dead_target_hides_nobody_behind_it() {
    let rig = Rig::new().await;
    for mount in ["dead", "other"] {
        rig.must("POST", &format!("sys/mounts/{mount}"), json!({ "type": "kv" })).await;
    }
    for n in 0..1_700 {
        put_lease(&rig, "dead", &format!("{n:05}"), Duration::ZERO).await;
    }
    rig.advance(1);
    put_lease(&rig, "other", "x", Duration::ZERO).await;
    let vault = rig.vault();
    eventually("the last lease is tried", async || (tries(&vault, "other/creds/app/x").await > 0).then_some(())).await;
    let waiting = rig.must("GET", "sys/leases/waiting", Value::Null).await;
    let targets = waiting["data"]["targets"].as_array().unwrap().clone();
    assert!(targets.iter().all(|target| target["why"].as_str().unwrap().contains("makes no leases")), "{targets:?}");
    let failed = rig.must("GET", "sys/leases?type=irrevocable&limit=3", Value::Null).await;
    assert_eq!(failed["data"]["lease_count"], 3);
}

/// An engine may know only afterwards how to find what it made. The lease knows it before the caller has anything.
#[tokio::test]
async fn a_lease_holds_what_its_engine_learned() {
    let mut rig = Rig::new().await;
    let unmarked = json!({ "metadata": { "uid": "the-uid" } });
    let api = FakeApi::start(move |asked| match asked.line.split_once(' ').unwrap() {
        ("POST", path) if path.ends_with("/token") => (201, json!({ "status": { "token": "t" } }).to_string()),
        ("POST", _) => (201, unmarked.to_string()),
        _ => (200, unmarked.to_string()),
    })
    .await;
    rig.must("POST", "sys/mounts/k", json!({ "type": "kubernetes" })).await;
    let config = json!({ "kubernetes_host": api.url, "service_account_jwt": "ours", "disable_local_ca_jwt": true });
    rig.must("POST", "k/config", config).await;
    let role = json!({ "allowed_kubernetes_namespaces": "shop", "service_account_name": "deployer" });
    rig.must("POST", "k/roles/app", role).await;
    let made = rig.must("POST", "k/creds/app", json!({})).await;
    rig.restart().await;
    api.asked();
    rig.must("POST", "sys/leases/revoke", json!({ "lease_id": made["lease_id"], "sync": true })).await;
    let asked = api.asked();
    let last = asked.last().unwrap();
    assert!(last.line.starts_with("DELETE "), "{}", last.line);
    assert_eq!(last.body["preconditions"]["uid"], "the-uid");
}

#[tokio::test]
async fn a_revocation_by_prefix_that_was_acknowledged_is_finished_after_a_restart() {
    let mut rig = Rig::new().await;
    rig.must("POST", "sys/mounts/dead", json!({ "type": "kv" })).await;
    rig.must("POST", "auth/token/roles/ci", json!({})).await;
    let make = async |rig: &Rig| {
        let made = rig.must("POST", "auth/token/create/ci", json!({ "ttl": "1h" })).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let old = make(&rig).await;
    rig.advance(10);
    // What a server leaves that was killed right after its answer.
    let asked = rig.clock_now();
    let key = index::below("root", asked, "auth/token/create/ci");
    rig.vault().store.commit(Batch::new().put(key, "")).await.unwrap();
    rig.advance(10);
    let new = make(&rig).await;
    rig.restart().await;
    let state =
        async |token: &str| rig.ask("GET", "auth/token/lookup-self", Value::Null).with(token).send().await.status;
    eventually("the old token is gone", async || (state(&old).await == 403).then_some(())).await;
    let vault = rig.vault();
    eventually("nothing is left to do", async || (rows(&vault, index::BELOW).await == 0).then_some(())).await;
    assert_eq!(state(&new).await, 200, "it was made after the revocation was asked for");
}

#[tokio::test]
async fn a_revocation_by_prefix_reaches_leases_and_tokens_and_nothing_else() {
    let rig = Rig::new().await;
    for mount in ["dead", "other"] {
        rig.must("POST", &format!("sys/mounts/{mount}"), json!({ "type": "kv" })).await;
        put_lease(&rig, mount, "x", Duration::from_secs(3600)).await;
    }
    let vault = rig.vault();
    below::revoke(&vault, "root", "dead/creds").await.unwrap();
    eventually("the lease is tried", async || (tries(&vault, "dead/creds/app/x").await > 0).then_some(())).await;
    assert_eq!(tries(&vault, "other/creds/app/x").await, 0);
    let counted = rig.must("GET", "sys/leases/count", Value::Null).await;
    assert_eq!(counted["data"]["lease_count"], 2);
}

#[tokio::test]
async fn a_token_takes_many_children_and_theirs_with_it() {
    let rig = Rig::new().await;
    let make = async |by: &str| {
        let got = rig.ask("POST", "auth/token/create", json!({ "policies": ["root"] })).with(by).send().await;
        got.json["auth"]["client_token"].as_str().unwrap().to_owned()
    };
    let parent = make(crate::vault::rig::ROOT).await;
    let mut last = String::new();
    for _ in 0..300 {
        last = make(&parent).await;
    }
    let grandchild = make(&last).await;
    let before = rows(&rig.vault(), index::TOKENS).await;
    rig.must("POST", "auth/token/revoke", json!({ "token": parent })).await;
    let vault = rig.vault();
    assert_eq!(rows(&vault, index::TOKENS).await, before - 302);
    assert_eq!(rows(&vault, index::GONE).await, 0);
    for token in [&last, &grandchild] {
        assert_eq!(rig.ask("GET", "auth/token/lookup-self", Value::Null).with(token).send().await.status, 403);
    }
}
