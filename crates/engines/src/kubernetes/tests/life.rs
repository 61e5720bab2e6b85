//! What is made for a lease, and that it goes with it.

use super::*;

const RULES: &str = "rules:\n- apiGroups: ['']\n  resources: [pods]\n  verbs: [get, list]\n";

#[tokio::test]
async fn a_token_of_an_account_is_bound_to_a_secret_that_goes_with_the_lease() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer", "token_default_ttl": "5m", "extra_labels": "team=a" }))
        .await;
    let (data, internal, ttl) = b.creds("app", json!({ "audiences": "one,two" })).await.unwrap();
    assert_eq!(
        data,
        json!({ "service_account_name": "deployer", "service_account_namespace": "shop", "service_account_token": "the-token" })
    );
    assert_eq!(ttl, Duration::from_secs(300));
    let name = internal["name"].as_str().unwrap();
    assert!(name.starts_with("v--app-") && !internal.to_string().contains("the-token"), "{internal}");
    let path = format!("/api/v1/namespaces/shop/secrets/{name}");
    assert_eq!(b.paths(), std::slice::from_ref(&path));
    let secret = b.state.lock().objects[&path].clone();
    assert!(secret.get("data").is_none() && secret["metadata"]["labels"]["team"] == "a", "{secret}");
    let asked = b.api.asked();
    let ask = asked.last().unwrap();
    assert_eq!(
        (ask.line.as_str(), ask.bearer.as_str()),
        ("POST /api/v1/namespaces/shop/serviceaccounts/deployer/token", "ours")
    );
    let bound = json!({ "apiVersion": "v1", "kind": "Secret", "name": name, "uid": "uid-1" });
    assert_eq!(
        ask.body["spec"],
        json!({ "audiences": ["one", "two"], "boundObjectRef": bound, "expirationSeconds": 600 })
    );
    b.revoke(&internal).await.unwrap();
    assert!(b.paths().is_empty());
    b.revoke(&internal).await.expect("already gone is success");
}

#[tokio::test]
async fn a_token_that_is_not_bound_says_so_and_makes_nothing() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer", "bind_token": false })).await;
    let (got, warnings) =
        b.h.reply(dewdrop_core::Operation::Update, "creds/app", json!({ "ttl": "1m" })).await.unwrap();
    let Got::Minted { ttl, internal, .. } = got else { panic!("{got:?}") };
    assert!(ttl == Duration::from_secs(600) && warnings[0].contains("does not end with its lease"), "{warnings:?}");
    assert!(b.paths().is_empty());
    b.revoke(&internal).await.unwrap();
}

#[tokio::test]
async fn an_account_is_made_and_bound() {
    let b = Bench::new().await;
    b.role("view", json!({ "kubernetes_role_name": "view", "kubernetes_role_type": "ClusterRole" })).await;
    for (wide, binding, of) in [
        (false, "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings", "RoleBinding"),
        (true, "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", "ClusterRoleBinding"),
    ] {
        let (data, internal, _) = b.creds("view", json!({ "cluster_role_binding": wide })).await.unwrap();
        let name = internal["name"].as_str().unwrap();
        assert_eq!(data["service_account_name"], name);
        let mut wanted = [format!("/api/v1/namespaces/shop/serviceaccounts/{name}"), format!("{binding}/{name}")];
        wanted.sort();
        assert_eq!(b.paths(), wanted);
        let made = b.state.lock().objects[&format!("{binding}/{name}")].clone();
        assert_eq!(made["kind"], of);
        assert_eq!(
            made["roleRef"],
            json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view" })
        );
        assert_eq!(made["subjects"], json!([{ "kind": "ServiceAccount", "name": name, "namespace": "shop" }]));
        assert_eq!(made["metadata"].get("namespace").is_some(), !wide);
        b.revoke(&internal).await.unwrap();
        assert!(b.paths().is_empty());
    }
}

#[tokio::test]
async fn a_role_of_rules_is_made_as_well() {
    let b = Bench::new().await;
    b.role("rules", json!({ "generated_role_rules": RULES })).await;
    let (_, internal, _) = b.creds("rules", json!({})).await.unwrap();
    assert_eq!(internal["kinds"], json!(["Role", "RoleBinding", "ServiceAccount"]));
    let name = internal["name"].as_str().unwrap();
    let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/shop/roles/{name}");
    assert_eq!(b.state.lock().objects[&path]["rules"][0]["resources"], json!(["pods"]));
    b.api.asked();
    b.revoke(&internal).await.unwrap();
    let first = b.api.asked().remove(0).line;
    assert!(first.contains("/serviceaccounts/"), "the token dies first: {first}");
    assert!(b.paths().is_empty());
}

/// The lease knows all names before anything is made, so what is there of them goes, wherever the making broke off.
#[tokio::test]
async fn whatever_was_made_goes_when_the_rest_fails() {
    let b = Bench::new().await;
    b.role("rules", json!({ "generated_role_rules": RULES })).await;
    for (line, status, made) in [
        ("POST /apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings", 403, false),
        ("POST /api/v1/namespaces/shop/serviceaccounts", 500, true),
        ("POST /api/v1/namespaces/shop/serviceaccounts/v-", 422, false),
    ] {
        b.breaks(line, status, made);
        let answer = b.h.answer(dewdrop_core::Operation::Update, "creds/rules", json!({})).await.unwrap();
        let dewdrop_core::call::Outcome::Mint(mint) = answer.outcome else { panic!("no credential") };
        assert!(b.paths().is_empty(), "nothing is made before the lease is written");
        let fault = mint.create.await.unwrap_err();
        assert!(fault.kind == Kind::Target && fault.told.contains("as it was told to"), "{fault:?}");
        assert!(!b.paths().is_empty());
        b.mends();
        b.revoke(&mint.internal).await.unwrap();
        assert!(b.paths().is_empty(), "{line}");
    }
}

#[tokio::test]
async fn what_may_still_appear_is_waited_for() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer" })).await;
    b.breaks("POST /api/v1/namespaces/shop/secrets", 504, false);
    let answer = b.h.answer(dewdrop_core::Operation::Update, "creds/app", json!({})).await.unwrap();
    let dewdrop_core::call::Outcome::Mint(mint) = answer.outcome else { panic!("no credential") };
    mint.create.await.unwrap_err();
    b.mends();
    let credential = b.h.credential(&mint.internal);
    let fault = b.h.room.revoke(&credential).await.unwrap_err();
    assert!(fault.told.contains("may still be under way"), "{}", fault.told);
    b.h.clock.advance(Duration::from_secs(120));
    b.h.room.revoke(&credential).await.expect("by now it is known");
}

/// Whoever may write an object can take the mark off, and nothing is won by it.
#[tokio::test]
async fn what_we_made_goes_without_its_mark() {
    let mut b = Bench::new().await;
    b.role("rules", json!({ "generated_role_rules": RULES })).await;
    let (_, internal, _) = b.creds("rules", json!({})).await.unwrap();
    assert_eq!(internal["uids"], json!({ "Role": "uid-1", "RoleBinding": "uid-2", "ServiceAccount": "uid-3" }));
    b.unmark();
    b.restart();
    b.revoke(&internal).await.unwrap();
    assert!(b.paths().is_empty());
}

/// The lease of a making that failed holds no uids, but the engine heard them.
#[tokio::test]
async fn what_we_made_goes_without_its_mark_when_the_rest_fails() {
    let b = Bench::new().await;
    b.role("rules", json!({ "generated_role_rules": RULES })).await;
    for status in [422, 504] {
        b.breaks("POST /api/v1/namespaces/shop/serviceaccounts/v-", status, false);
        let answer = b.h.answer(dewdrop_core::Operation::Update, "creds/rules", json!({})).await.unwrap();
        let dewdrop_core::call::Outcome::Mint(mint) = answer.outcome else { panic!("no credential") };
        mint.create.await.unwrap_err();
        b.mends();
        b.unmark();
        b.revoke(&mint.internal).await.unwrap();
        assert!(b.paths().is_empty(), "{status}");
    }
}

/// A crash between making and hearing: what is there without a mark may be ours, so the lease stays until people say.
#[tokio::test]
async fn what_may_be_ours_keeps_the_lease() {
    let mut b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer" })).await;
    let answer = b.h.answer(dewdrop_core::Operation::Update, "creds/app", json!({})).await.unwrap();
    let dewdrop_core::call::Outcome::Mint(mint) = answer.outcome else { panic!("no credential") };
    mint.create.await.unwrap();
    b.unmark();
    b.restart();
    let credential = b.h.credential(&mint.internal);
    b.h.clock.advance(Duration::from_secs(3600));
    let fault = b.h.room.revoke(&credential).await.unwrap_err();
    assert!(fault.told.contains("without the mark") && b.paths().len() == 1, "{}", fault.told);
    b.state.lock().objects.clear();
    b.h.room.revoke(&credential).await.unwrap();
}

/// A finalizer holds a binding up, and what it binds.
#[tokio::test]
async fn what_does_not_go_keeps_the_lease() {
    let b = Bench::new().await;
    b.role("view", json!({ "kubernetes_role_name": "view" })).await;
    let (_, internal, _) = b.creds("view", json!({})).await.unwrap();
    let hold =
        |with: Value| b.state.lock().objects.values_mut().for_each(|it| it["metadata"]["finalizers"] = with.clone());
    hold(json!(["example.com/mine"]));
    let fault = b.revoke(&internal).await.unwrap_err();
    assert!(fault.told.contains("example.com/mine") && b.paths().len() == 2, "{}", fault.told);
    hold(json!([]));
    b.revoke(&internal).await.unwrap();
    assert!(b.paths().is_empty());
}

/// The mark of a lease can be copied, its uids cannot.
#[tokio::test]
async fn what_took_the_place_of_ours_stays() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer" })).await;
    let (_, internal, _) = b.creds("app", json!({})).await.unwrap();
    b.state.lock().objects.values_mut().for_each(|object| object["metadata"]["uid"] = json!("theirs"));
    b.revoke(&internal).await.unwrap();
    assert_eq!(b.paths().len(), 1);
}

#[tokio::test]
async fn what_is_not_ours_stays() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer", "name_template": "fixed" })).await;
    let path = "/api/v1/namespaces/shop/secrets/fixed";
    let theirs = json!({ "metadata": { "uid": "theirs", "annotations": { "dewdrop.dev/mint": "another" } } });
    b.state.lock().objects.insert(path.into(), theirs);
    let answer = b.h.answer(dewdrop_core::Operation::Update, "creds/app", json!({})).await.unwrap();
    let dewdrop_core::call::Outcome::Mint(mint) = answer.outcome else { panic!("no credential") };
    assert!(mint.create.await.unwrap_err().told.contains("already exists"));
    b.revoke(&mint.internal).await.unwrap();
    assert_eq!(b.paths(), [path]);
}

#[tokio::test]
async fn a_cluster_that_is_away_keeps_the_lease() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer" })).await;
    let (_, internal, _) = b.creds("app", json!({})).await.unwrap();
    for (line, status) in [("GET", 503), ("DELETE", 503), ("DELETE", 403)] {
        b.breaks(line, status, false);
        let fault = b.revoke(&internal).await.unwrap_err();
        assert!(fault.told.contains(&format!("status {status}")), "{}", fault.told);
    }
    b.mends();
    b.revoke(&internal).await.unwrap();
    assert!(b.paths().is_empty());
}

/// Another cluster is configured, or none: leases are still revoked where they were made.
#[tokio::test]
async fn a_former_cluster_is_remembered_while_it_has_leases() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "deployer" })).await;
    let (_, first, _) = b.creds("app", json!({})).await.unwrap();
    let (_, second, _) = b.creds("app", json!({})).await.unwrap();
    b.h.write("config", json!({ "kubernetes_host": "http://127.0.0.1:1" })).await.unwrap();
    b.revoke(&first).await.unwrap();
    assert_eq!(b.paths().len(), 1);
    b.h.delete("config").await.unwrap();
    assert!(b.creds("app", json!({})).await.unwrap_err().told.contains("write the config"));
    let lease = dewdrop_core::engine::KnownLease { lease_id: "l".into(), internal: second.clone() };
    b.h.house.leases.lock().push(lease);
    let tick = async || {
        b.h.clock.advance(Duration::from_secs(1200));
        b.h.room.tick(&b.h.mount, dewdrop_core::Clock::now(&*b.h.clock)).await.unwrap();
    };
    tick().await;
    b.h.room.forget_caches();
    b.revoke(&second).await.unwrap();
    assert!(b.paths().is_empty());
    b.h.house.leases.lock().clear();
    tick().await;
    assert!(b.revoke(&second).await.unwrap_err().told.contains("no longer known"));
}
