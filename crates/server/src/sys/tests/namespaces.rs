//! What is asked across namespaces: leases and tokens of one below, and what is of the server as a whole.

use serde_json::{Value, json};

use super::NULL;
use crate::vault::rig::{Got, Rig};

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.must("POST", "sys/namespaces/a", NULL).await;
    rig.must("POST", "sys/namespaces/b", NULL).await;
    rig
}

async fn at(rig: &Rig, namespace: &str, method: &'static str, path: &str, token: &str, body: Value) -> Got {
    rig.ask(method, path, body).header("x-vault-namespace", namespace).with(token).send().await
}

/// A token of the namespace `a`.
async fn token(rig: &Rig) -> String {
    let made = rig.must("POST", "a/auth/token/create", json!({ "policies": ["default"], "ttl": "1h" })).await;
    made["auth"]["client_token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_token_looks_after_itself_from_anywhere_but_does_nothing_else_there() {
    let rig = rig().await;
    let token = token(&rig).await;
    for namespace in ["", "a", "b"] {
        let shown = at(&rig, namespace, "GET", "auth/token/lookup-self", &token, NULL).await;
        assert_eq!((shown.status, &shown.json["data"]["namespace_path"]), (200, &json!("a/")), "{namespace}");
        assert_eq!(at(&rig, namespace, "POST", "auth/token/renew-self", &token, NULL).await.status, 200, "{namespace}");
    }
    for (method, path) in [
        ("GET", "cubbyhole/x"),
        ("POST", "sys/capabilities-self"),
        ("POST", "auth/token/lookup-self"),
        ("GET", "sys/mounts"),
    ] {
        assert_eq!(at(&rig, "", method, path, &token, NULL).await.status, 403, "{path}");
    }
    assert_eq!(at(&rig, "b", "POST", "auth/token/revoke-self", &token, NULL).await.status, 204);
    assert_eq!(at(&rig, "a", "GET", "auth/token/lookup-self", &token, NULL).await.status, 403);
}

#[tokio::test]
async fn what_a_token_may_do_with_itself_its_own_namespace_says() {
    let rig = rig().await;
    let deny = json!({ "policy": "path \"auth/token/lookup-self\" { capabilities = [\"deny\"] }" });
    rig.must("POST", "a/sys/policies/acl/mute", deny).await;
    let made = rig.must("POST", "a/auth/token/create", json!({ "policies": ["mute"] })).await;
    let token = made["auth"]["client_token"].as_str().unwrap();
    for namespace in ["", "a", "b"] {
        assert_eq!(at(&rig, namespace, "GET", "auth/token/lookup-self", token, NULL).await.status, 403, "{namespace}");
    }
}

#[tokio::test]
async fn a_lease_is_found_from_above_and_not_from_beside() {
    let rig = rig().await;
    let token = token(&rig).await;
    let shown = at(&rig, "a", "GET", "auth/token/lookup-self", &token, NULL).await;
    let accessor = shown.json["data"]["accessor"].as_str().unwrap().to_owned();
    let lease = json!({ "lease_id": format!("auth/token/create/h{accessor}") });
    let look = async |namespace| {
        at(&rig, namespace, "POST", "sys/leases/lookup", crate::vault::rig::ROOT, lease.clone()).await
    };
    for namespace in ["", "a"] {
        let shown = look(namespace).await;
        assert_eq!((shown.status, &shown.json["data"]["namespace_path"]), (200, &json!("a/")), "{namespace}");
    }
    assert_eq!(look("b").await.status, 400);
    assert_eq!(at(&rig, "", "POST", "sys/leases/revoke", crate::vault::rig::ROOT, lease.clone()).await.status, 204);
    assert_eq!(look("a").await.status, 400);
}

#[tokio::test]
async fn of_the_server_as_a_whole_a_namespace_shows_little() {
    let rig = rig().await;
    for (path, status) in [
        ("sys/seal-status", 200),
        ("sys/leader", 200),
        ("sys/version-history?list=true", 200),
        ("sys/key-status", 400),
        ("sys/loggers", 400),
    ] {
        let got = at(&rig, "a", "GET", path, crate::vault::rig::ROOT, NULL).await;
        assert_eq!(got.status, status, "{path}");
    }
}

#[tokio::test]
async fn entities_are_counted_with_those_below() {
    let rig = rig().await;
    rig.must("POST", "identity/entity", json!({ "name": "x" })).await;
    rig.must("POST", "a/identity/entity", json!({ "name": "x" })).await;
    for (namespace, total) in [("", 2), ("a", 1), ("b", 0)] {
        let got = at(&rig, namespace, "GET", "sys/internal/counters/entities", crate::vault::rig::ROOT, NULL).await;
        assert_eq!(got.json["data"]["counters"]["entities"]["total"], total, "{namespace}");
    }
}

#[tokio::test]
async fn an_auth_method_is_tuned_among_the_mounts_too() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/auth/up", json!({ "type": "userpass" })).await;
    rig.must("POST", "sys/mounts/auth/up/tune", json!({ "default_lease_ttl": "30m" })).await;
    assert_eq!(rig.must("GET", "sys/auth/up/tune", NULL).await["data"]["default_lease_ttl"], 1800);
    let missing = rig.ask("POST", "sys/mounts/auth/nosuch/tune", json!({ "default_lease_ttl": "30m" })).send().await;
    assert_eq!(missing.status, 400);
}
