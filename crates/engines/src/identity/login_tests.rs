use std::collections::BTreeMap;

use dewdrop_core::store::Store as _;
use dewdrop_testkit::harness::Harness;
use serde_json::{Value, json};

use super::tests::{Mounts, harness, make};
use super::*;

async fn login(identities: &Identities, name: &str, words: &[(&str, &str)], groups: &[&str]) -> LoginIdentity {
    let words: BTreeMap<String, String> = words.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
    let groups: Vec<String> = groups.iter().map(|g| (*g).into()).collect();
    identities.on_login("acc2", "auth/ldap/", "ldap", name, &words, &groups).await.unwrap()
}

#[tokio::test]
async fn a_first_login_makes_entity_and_alias_and_later_ones_write_nothing() {
    let (h, identities) = harness();
    let first = login(&identities, "bob", &[("username", "bob")], &["unknown"]).await;
    assert!(first.changed && !first.disabled);
    assert_eq!(h.store.revision().await.unwrap(), 1, "one commit");
    let view = identities.view(&first.entity_id).await.unwrap().unwrap();
    assert!(view.name.starts_with("entity_") && view.name.ends_with(".root"), "{}", view.name);
    assert_eq!(
        (view.aliases["acc2"].name.as_str(), view.aliases["acc2"].metadata["username"].as_str()),
        ("bob", "bob")
    );
    for _ in 0..3 {
        let again = login(&identities, "bob", &[("username", "bob")], &["unknown"]).await;
        assert_eq!(again, LoginIdentity { changed: false, ..first.clone() });
        identities.forget_caches();
    }
    assert_eq!(h.store.revision().await.unwrap(), 1, "nothing was written");

    let changed = login(&identities, "bob", &[("username", "Bob")], &[]).await;
    assert!(changed.changed);
    let view = identities.view(&first.entity_id).await.unwrap().unwrap();
    assert_eq!(view.aliases["acc2"].metadata["username"], "Bob");
    h.write(&format!("entity/id/{}", first.entity_id), json!({ "disabled": true })).await.unwrap();
    assert!(login(&identities, "bob", &[("username", "Bob")], &[]).await.disabled);
    h.delete(&format!("entity/id/{}", first.entity_id)).await.unwrap();
    assert_ne!(login(&identities, "bob", &[], &[]).await.entity_id, first.entity_id);
}

#[tokio::test]
async fn an_alias_of_the_api_is_found() {
    let (h, identities) = harness();
    let entity = make(&h, "entity", json!({ "name": "bob" })).await;
    make(&h, "entity-alias", json!({ "name": "b", "mount_accessor": "acc2", "canonical_id": entity })).await;
    let found = login(&identities, "b", &[], &[]).await;
    assert_eq!(found, LoginIdentity { entity_id: entity, disabled: false, changed: false });
}

#[tokio::test]
async fn external_groups_follow_the_login() {
    let (h, identities) = harness();
    let mut groups = Vec::new();
    for name in ["dev", "ops"] {
        let id = make(&h, "group", json!({ "name": name, "type": "external", "policies": name })).await;
        make(
            &h,
            "group-alias",
            json!({ "name": format!("ldap-{name}"), "mount_accessor": "acc2", "canonical_id": id }),
        )
        .await;
        groups.push(id);
    }
    let other = make(&h, "group", json!({ "name": "elsewhere", "type": "external", "policies": "other" })).await;
    make(&h, "group-alias", json!({ "name": "x", "mount_accessor": "acc1", "canonical_id": other })).await;
    let bob = login(&identities, "bob", &[], &["ldap-dev", "x"]).await.entity_id;
    let internal = make(&h, "group", json!({ "policies": "in", "member_entity_ids": [bob] })).await;
    let policies = async || identities.view(&bob).await.unwrap().unwrap().policies.clone();
    assert_eq!(policies().await, ["dev", "in"]);
    assert!(!login(&identities, "bob", &[], &["x", "ldap-dev"]).await.changed);
    assert!(login(&identities, "bob", &[], &["ldap-ops"]).await.changed);
    assert_eq!(policies().await, ["in", "ops"]);
    assert!(login(&identities, "bob", &[], &[]).await.changed);
    assert_eq!(policies().await, ["in"]);
    let members = h.read(&format!("group/id/{}", groups[1])).await.unwrap().data()["member_entity_ids"].clone();
    assert_eq!(members, Value::Null);
    assert!(h.read(&format!("group/id/{internal}")).await.unwrap().data()["member_entity_ids"].is_array());
}

#[tokio::test(flavor = "multi_thread")]
async fn many_first_logins_at_two_servers_make_one_entity() {
    let (h, one) = harness();
    let two = second(&h);
    let mut logins = tokio::task::JoinSet::new();
    for n in 0..50 {
        let server = if n % 2 == 0 { one.clone() } else { two.clone() };
        logins.spawn(async move { login(&server, "bob", &[], &[]).await.entity_id });
    }
    let ids: std::collections::BTreeSet<String> = logins.join_all().await.into_iter().collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(entities(&h).await, 1);
}

/// Another server on the same store.
fn second(h: &Harness) -> Arc<Identities> {
    let place = Place {
        store: h.store.clone(),
        clock: h.clock.clone(),
        mount_uuid: "test-uuid".into(),
        mount_accessor: "test_accessor".into(),
        options: BTreeMap::new(),
        house: Arc::new(Mounts),
    };
    Identities::open(place, "root")
}

async fn entities(h: &Harness) -> usize {
    h.list("entity/id").await.unwrap().keys().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_circle_of_groups_cannot_be_closed_by_two_servers_at_once() {
    let (h, _) = harness();
    let (mut other, _) = harness();
    other.room = dewdrop_core::route::Room::new(second(&h));
    let (h, other) = (Arc::new(h), Arc::new(other));
    for n in 0..50 {
        let a = make(&h, "group", json!({ "name": format!("a{n}") })).await;
        let b = make(&h, "group", json!({ "name": format!("b{n}") })).await;
        let (path_a, path_b) = (format!("group/id/{a}"), format!("group/id/{b}"));
        let (first, second) = (h.clone(), other.clone());
        let one = tokio::spawn(async move { first.write(&path_a, json!({ "member_group_ids": [b] })).await.is_ok() });
        let two = tokio::spawn(async move { second.write(&path_b, json!({ "member_group_ids": [a] })).await.is_ok() });
        assert_ne!(one.await.unwrap(), two.await.unwrap(), "just one of the two may be");
    }
}

#[tokio::test]
async fn the_aliases_of_a_disabled_mount_end() {
    let (h, identities) = harness();
    let bob = login(&identities, "bob", &[], &[]).await.entity_id;
    make(&h, "entity-alias", json!({ "name": "bob", "mount_accessor": "acc1", "canonical_id": bob })).await;
    let group = make(&h, "group", json!({ "type": "external" })).await;
    make(&h, "group-alias", json!({ "name": "g", "mount_accessor": "acc2", "canonical_id": group })).await;
    identities.remove_aliases_of("acc2").await.unwrap();
    identities.remove_aliases_of("acc2").await.unwrap();
    let view = identities.view(&bob).await.unwrap().unwrap();
    assert_eq!(view.aliases.keys().collect::<Vec<_>>(), ["acc1"]);
    assert_eq!(h.read(&format!("group/id/{group}")).await.unwrap().data()["alias"], json!({}));
    assert_ne!(login(&identities, "bob", &[], &[]).await.entity_id, bob);
}
