mod groups;

use std::collections::BTreeMap;

use async_trait::async_trait;
use dewdrop_core::engine::{KnownLease, MountBy, MountName};
use dewdrop_core::mount::MountClass;
use dewdrop_core::route::Room;
use dewdrop_core::{Kind, Operation, Secret};
use dewdrop_testkit::harness::{Got, Harness};
use serde_json::{Value, json};

use super::*;

/// A house with the mounts `auth/up/` (`acc1`) and `auth/ldap/` (`acc2`).
pub(super) struct Mounts;

#[async_trait]
impl House for Mounts {
    async fn password(&self, _: &str, _: &str) -> Result<Secret<String>, Fault> {
        Err(Fault::internal("not asked here"))
    }
    async fn leases_of(&self, _: &str) -> Result<Vec<KnownLease>, Fault> {
        Ok(Vec::new())
    }
    async fn policy_exists(&self, _: &str, _: &str) -> Result<bool, Fault> {
        Ok(true)
    }
    async fn mount_by(&self, namespace: &str, by: MountBy<'_>) -> Result<Option<MountName>, Fault> {
        assert_eq!(namespace, "root");
        let mounts = [("acc1", "auth/up/", "userpass"), ("acc2", "auth/ldap/", "ldap")];
        let found = mounts.iter().find(|(own, _, kind)| match by {
            MountBy::Accessor(accessor) => *own == accessor,
            MountBy::AuthKind(wanted) => *kind == wanted,
        });
        Ok(found.map(|(_, path, kind)| MountName { path: (*path).into(), kind: (*kind).into() }))
    }
}

pub(super) fn harness() -> (Harness, Arc<Identities>) {
    let mut opened = None;
    let h = Harness::new(MountClass::Secret, &[], |place| {
        let identities = Identities::open(Place { house: Arc::new(Mounts), ..place }, "root");
        opened = Some(identities.clone());
        Room::new(identities)
    });
    (h, opened.unwrap())
}

pub(super) async fn make(h: &Harness, path: &str, fields: Value) -> String {
    h.write(path, fields).await.unwrap().data()["id"].as_str().unwrap().to_owned()
}

async fn get(h: &Harness, path: &str) -> Value {
    h.read(path).await.unwrap().data()
}

async fn told(h: &Harness, path: &str, fields: Value) -> String {
    let before = h.store.dump();
    let fault = h.write(path, fields).await.unwrap_err();
    assert_eq!(fault.kind, Kind::BadRequest, "{fault:?}");
    assert_eq!(h.store.dump(), before, "a refusal changes nothing");
    fault.told.into_owned()
}

#[tokio::test]
async fn shape_of_an_entity() {
    let (h, _) = harness();
    let made =
        h.write("entity", json!({ "name": "e1", "metadata": { "a": "b" }, "policies": ["p1", "P2", "p1", " "] })).await;
    let made = made.unwrap().data();
    let id = made["id"].as_str().unwrap().to_owned();
    assert_eq!(made, json!({ "aliases": null, "id": id, "name": "e1" }));
    let start = "2026-01-01T00:00:00.000Z";
    let view = json!({
        "aliases": [], "creation_time": start, "direct_group_ids": [], "disabled": false, "group_ids": [], "id": id,
        "inherited_group_ids": [], "last_update_time": start, "merged_entity_ids": null, "metadata": { "a": "b" },
        "name": "e1", "namespace_id": "root", "policies": ["p1", "p2"],
    });
    assert_eq!(get(&h, "entity/name/E1").await, view);
    assert_eq!(get(&h, &format!("entity/id/{id}")).await, view);
    let listed = h.list("entity/id").await.unwrap().data();
    assert_eq!(listed, json!({ "key_info": { id.clone(): { "name": "e1" } }, "keys": [id] }));
    assert_eq!(h.list("entity/name").await.unwrap().keys(), ["e1"]);
}

#[tokio::test]
async fn entities_are_changed_renamed_and_deleted() {
    let (h, _) = harness();
    let one = make(&h, "entity", json!({ "name": "one", "policies": "x" })).await;
    make(&h, "entity/name/ü x/y", json!({})).await;
    assert!(matches!(h.write("entity/name/one", json!({ "disabled": true })).await, Ok(Got::Nothing)));
    h.write(&format!("entity/id/{one}"), json!({ "name": "uno", "metadata": ["k=v"] })).await.unwrap();
    let view = get(&h, "entity/name/uno").await;
    assert_eq!(
        (&view["disabled"], &view["metadata"], &view["policies"]),
        (&json!(true), &json!({ "k": "v" }), &json!(["x"]))
    );
    assert_eq!(h.read("entity/name/one").await.unwrap_err(), Fault::not_found());
    let path = format!("entity/id/{one}");
    assert_eq!(told(&h, &path, json!({ "name": "Ü X/Y" })).await, "entity name is already in use");
    assert_eq!(told(&h, &path, json!({ "policies": ["root"] })).await, "policies cannot contain root");
    assert_eq!(told(&h, "entity/id/nope", json!({ "name": "q" })).await, "entity not found from id");
    assert_eq!(told(&h, "entity", json!({ "id": "nope" })).await, "entity not found from id");
    assert!(told(&h, "entity", json!({ "metadata": "zz" })).await.contains("\"metadata\""));
    let many: BTreeMap<String, String> = (0..65).map(|n| (format!("k{n}"), "v".into())).collect();
    assert!(told(&h, "entity", json!({ "metadata": many })).await.contains("more than 64"));
    assert!(told(&h, "entity", json!({ "metadata": { "": "x" } })).await.contains("blank"));
    h.delete("entity/name/uno").await.unwrap();
    h.delete(&path).await.unwrap();
    assert_eq!(told(&h, "entity/batch-delete", json!({})).await, "missing entity ids to delete");
    let rest = h.list("entity/id").await.unwrap().data()["keys"].clone();
    h.write("entity/batch-delete", json!({ "entity_ids": rest })).await.unwrap();
    assert_eq!(h.store.dump(), [], "nothing is left over");
}

#[tokio::test]
async fn shape_of_an_alias() {
    let (h, _) = harness();
    let entity = make(&h, "entity", json!({ "name": "e" })).await;
    let ask =
        json!({ "name": "bob", "mount_accessor": "acc1", "canonical_id": entity, "custom_metadata": { "c": "d" } });
    let alias = make(&h, "entity-alias", ask).await;
    let start = "2026-01-01T00:00:00.000Z";
    let mut view = json!({
        "canonical_id": entity, "creation_time": start, "custom_metadata": { "c": "d" }, "id": alias, "last_update_time": start,
        "local": false, "merged_from_canonical_ids": null, "metadata": null, "mount_accessor": "acc1",
        "mount_path": "auth/up/", "mount_type": "userpass", "name": "bob", "namespace_id": "root",
    });
    assert_eq!(get(&h, &format!("entity-alias/id/{alias}")).await, view);
    view.as_object_mut().unwrap().remove("namespace_id");
    assert_eq!(get(&h, "entity/name/e").await["aliases"], json!([view]));
    let line = h.list("entity-alias/id").await.unwrap().data()["key_info"][&alias].clone();
    assert_eq!(
        line,
        json!({
            "canonical_id": entity, "custom_metadata": { "c": "d" }, "local": false, "metadata": null,
            "mount_accessor": "acc1", "mount_path": "auth/up/", "mount_type": "userpass", "name": "bob",
        })
    );
    let brief = json!({ "id": alias, "mount_accessor": "acc1", "mount_path": "auth/up/", "mount_type": "userpass", "name": "bob" });
    assert_eq!(
        h.list("entity/id").await.unwrap().data()["key_info"][&entity],
        json!({ "name": "e", "aliases": [brief] })
    );
}

#[tokio::test]
async fn aliases_are_made_moved_and_refused() {
    let (h, _) = harness();
    let needs = "'id' or 'mount_accessor' and 'name' must be provided";
    for ask in [json!({}), json!({ "name": "bob" }), json!({ "mount_accessor": "acc1" })] {
        assert_eq!(told(&h, "entity-alias", ask).await, needs);
    }
    let at = |accessor: &str, name: &str, canonical: &str| json!({ "name": name, "mount_accessor": accessor, "canonical_id": canonical });
    assert_eq!(told(&h, "entity-alias", at("nope", "bob", "")).await, "invalid mount accessor");
    assert_eq!(told(&h, "entity-alias", at("acc1", "bob", "nope")).await, "invalid canonical ID");
    assert_eq!(told(&h, "entity-alias/id/nope", json!({ "name": "x" })).await, "invalid alias ID provided");
    let (one, two) = (make(&h, "entity", json!({})).await, make(&h, "entity", json!({})).await);
    let alias = make(&h, "entity-alias", at("acc1", "bob", &one)).await;
    let taken = "Alias already exists for requested entity and mount accessor";
    assert_eq!(told(&h, "entity-alias", at("acc1", "bob2", &one)).await, taken);
    // Nothing changes, so there is nothing to answer.
    let again = h.write("entity-alias", at("acc1", "bob", "")).await.unwrap();
    assert!(matches!(again, dewdrop_testkit::harness::Got::Nothing), "{again:?}");
    assert_eq!(make(&h, "entity-alias", at("acc1", "bob", &two)).await, alias);
    assert_eq!(get(&h, &format!("entity/id/{one}")).await["aliases"], json!([]));
    h.write(&format!("entity-alias/id/{alias}"), json!({ "name": "bobby", "custom_metadata": { "k": "v" } }))
        .await
        .unwrap();
    make(&h, "entity-alias", at("acc2", "bob", &two)).await;
    let path = format!("entity-alias/id/{alias}");
    assert!(
        told(&h, &path, at("acc2", "bobby", "")).await.starts_with("Alias cannot be updated as the entity already has")
    );
    make(&h, "entity-alias", at("acc1", "carl", &one)).await;
    assert_eq!(told(&h, &path, json!({ "canonical_id": one })).await, taken);
    assert!(told(&h, &path, json!({ "name": "carl" })).await.contains("already in use"));
    assert!(
        told(&h, &path, json!({ "custom_metadata": { "a": "" } })).await.contains("custom_metadata validation failed")
    );
    let found = h.write("lookup/entity", json!({ "alias_name": "bobby", "alias_mount_accessor": "acc1" })).await;
    assert_eq!(found.unwrap().data()["id"], json!(two));
    h.delete(&path).await.unwrap();
    assert_eq!(h.read(&path).await.unwrap_err(), Fault::not_found());
    h.delete(&format!("entity/id/{one}")).await.unwrap();
    h.delete(&format!("entity/id/{two}")).await.unwrap();
    assert_eq!(h.store.dump(), [], "nothing is left over");
}

#[tokio::test]
async fn lookups() {
    let (h, _) = harness();
    let id = make(&h, "entity", json!({ "name": "e" })).await;
    let alias = make(&h, "entity-alias", json!({ "name": "bob", "mount_accessor": "acc1", "canonical_id": id })).await;
    let factor = json!({ "alias_name": "bob", "alias_mount_accessor": "acc1" });
    for ask in [json!({ "id": id }), json!({ "name": "E" }), json!({ "alias_id": alias }), factor] {
        assert_eq!(h.write("lookup/entity", ask).await.unwrap().data()["id"], json!(id));
    }
    for kind in ["entity", "group"] {
        let path = format!("lookup/{kind}");
        assert!(matches!(h.write(&path, json!({ "name": "nope" })).await, Ok(Got::Nothing)));
        assert_eq!(told(&h, &path, json!({})).await, "query parameter not supplied");
        let conflict = "query parameter conflict; please supply distinct set of query parameters";
        assert_eq!(told(&h, &path, json!({ "id": "x", "name": "y" })).await, conflict);
        let both = "both 'alias_name' and 'alias_mount_accessor' needs to be set";
        assert_eq!(told(&h, &path, json!({ "alias_name": "x" })).await, both);
        assert_eq!(told(&h, &path, json!({ "alias_mount_accessor": "x" })).await, both);
        assert_eq!(h.call(Operation::Read, &path, Value::Null).await.unwrap_err().kind, Kind::Unsupported);
    }
}

#[tokio::test]
async fn merging() {
    let (h, identities) = harness();
    let mut ids = Vec::new();
    for (name, accessor) in [("a", ""), ("b", "acc1"), ("c", "acc2"), ("d", "acc1")] {
        let id = make(&h, "entity", json!({ "name": name })).await;
        if !accessor.is_empty() {
            make(&h, "entity-alias", json!({ "name": name, "mount_accessor": accessor, "canonical_id": id })).await;
        }
        ids.push(id);
    }
    let group = make(&h, "group", json!({ "member_entity_ids": &ids[1..3], "policies": "g" })).await;
    for (ask, expected) in [
        (json!({}), "missing entity id to merge to"),
        (json!({ "to_entity_id": ids[0] }), "missing entity ids to merge from"),
        (
            json!({ "from_entity_ids": ids[0], "to_entity_id": ids[0] }),
            "to_entity_id should not be present in from_entity_ids",
        ),
        (json!({ "from_entity_ids": "nope", "to_entity_id": ids[0] }), "entity id to merge from is invalid"),
        (json!({ "from_entity_ids": ids[1], "to_entity_id": "nope" }), "entity id to merge to is invalid"),
    ] {
        assert_eq!(told(&h, "entity/merge", ask).await, expected);
    }
    h.write("entity/merge", json!({ "from_entity_ids": &ids[1..3], "to_entity_id": ids[0] })).await.unwrap();
    let view = get(&h, &format!("entity/id/{}", ids[0])).await;
    assert_eq!(view["aliases"].as_array().unwrap().len(), 2);
    assert_eq!(view["merged_entity_ids"].as_array().unwrap().len(), 2);
    assert_eq!(get(&h, &format!("group/id/{group}")).await["member_entity_ids"], json!([ids[0]]));
    assert_eq!(h.read(&format!("entity/id/{}", ids[1])).await.unwrap_err(), Fault::not_found());
    assert_eq!(identities.view(&ids[0]).await.unwrap().unwrap().policies, ["g"]);

    let ask = json!({ "from_entity_ids": ids[3], "to_entity_id": ids[0] });
    let fault = h.write("entity/merge", ask.clone()).await.unwrap_err();
    assert_eq!(fault.data.as_ref().unwrap().as_array().unwrap().len(), 2);
    let keep = get(&h, &format!("entity/id/{}", ids[3])).await["aliases"][0]["id"].clone();
    let mut ask = ask;
    ask["conflicting_alias_ids_to_keep"] = json!([keep]);
    h.write("entity/merge", ask).await.unwrap();
    for (name, found) in [("b", false), ("d", true), ("c", true)] {
        let accessor = if name == "c" { "acc2" } else { "acc1" };
        let got =
            h.write("lookup/entity", json!({ "alias_name": name, "alias_mount_accessor": accessor })).await.unwrap();
        assert_eq!(matches!(got, Got::Data(_)), found, "{name}");
    }
}
