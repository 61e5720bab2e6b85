//! Groups: their members, what these inherit, and their aliases.

use super::*;

#[tokio::test]
async fn shape_of_a_group_and_what_its_members_inherit() {
    let (h, identities) = harness();
    let entity = make(&h, "entity", json!({ "name": "e", "policies": "own" })).await;
    let ask = json!({ "name": "inner", "policies": "p-in", "metadata": { "k": "v" }, "member_entity_ids": [entity] });
    let inner = make(&h, "group", ask).await;
    let outer = make(&h, "group", json!({ "name": "outer", "policies": "p-out", "member_group_ids": [inner] })).await;
    let start = "2026-01-01T00:00:00.000Z";
    assert_eq!(
        get(&h, "group/name/Inner").await,
        json!({
            "alias": {}, "creation_time": start, "id": inner, "last_update_time": start, "member_entity_ids": [entity],
            "member_group_ids": null, "metadata": { "k": "v" }, "modify_index": 1, "name": "inner", "namespace_id": "root",
            "parent_group_ids": [outer], "policies": ["p-in"], "type": "internal",
        })
    );
    let view = get(&h, "entity/name/e").await;
    assert_eq!(view["direct_group_ids"], json!([inner]));
    assert_eq!(view["inherited_group_ids"], json!([outer]));
    assert_eq!(view["group_ids"], json!([inner, outer]));
    let line = h.list("group/id").await.unwrap().data()["key_info"][&inner].clone();
    assert_eq!(line, json!({ "name": "inner", "num_member_entities": 1, "num_parent_groups": 1 }));

    let seen = identities.view(&entity).await.unwrap().unwrap();
    assert_eq!(seen.policies, ["own", "p-in", "p-out"]);
    assert!(Arc::ptr_eq(&seen, &identities.view(&entity).await.unwrap().unwrap()), "kept in memory");
    assert_eq!(seen.template_values().value("identity.groups.names.inner.metadata.k"), Some("v"));
    h.write(&format!("group/id/{outer}"), json!({ "policies": "new" })).await.unwrap();
    assert_eq!(identities.view(&entity).await.unwrap().unwrap().policies, ["new", "own", "p-in"]);
    h.write(&format!("entity/id/{entity}"), json!({ "disabled": true })).await.unwrap();
    assert!(identities.view(&entity).await.unwrap().unwrap().disabled);
    h.delete(&format!("group/id/{inner}")).await.unwrap();
    assert_eq!(identities.view(&entity).await.unwrap().unwrap().policies, ["own"]);
    assert_eq!(get(&h, "group/name/outer").await["member_group_ids"], Value::Null);
    h.delete(&format!("entity/id/{entity}")).await.unwrap();
    assert_eq!(identities.view(&entity).await.unwrap(), None);
    h.delete("group/name/outer").await.unwrap();
    let left: Vec<_> = h.store.dump().into_iter().map(|(key, _)| key).collect();
    assert_eq!(left, [keys::GRAPH.as_bytes()], "nothing else is left over");
}

#[tokio::test]
async fn groups_refuse_what_cannot_be() {
    let (h, _) = harness();
    let entity = make(&h, "entity", json!({})).await;
    let one = make(&h, "group", json!({ "name": "one" })).await;
    let two = make(&h, "group", json!({ "name": "two", "member_group_ids": [one] })).await;
    let three = make(&h, "group", json!({ "name": "three", "member_group_ids": two })).await;
    let external = make(&h, "group", json!({ "name": "x", "type": "external" })).await;
    let path = format!("group/id/{one}");
    for member in [&two, &three] {
        let expected = "cyclic relationship detected for a member group ID";
        assert_eq!(told(&h, &path, json!({ "member_group_ids": [member] })).await, expected);
    }
    assert!(told(&h, &path, json!({ "member_group_ids": [one] })).await.contains("same as the ID of the group"));
    assert_eq!(
        told(&h, &path, json!({ "member_group_ids": "nope" })).await,
        "member_group_ids holds what is no group ID: invalid member group ID"
    );
    assert_eq!(
        told(&h, &path, json!({ "member_entity_ids": "nope" })).await,
        "member_entity_ids holds what is no entity ID"
    );
    assert_eq!(told(&h, &path, json!({ "name": "two" })).await, "group name is already in use");
    assert_eq!(told(&h, &path, json!({ "type": "external" })).await, "group type cannot be changed");
    assert_eq!(told(&h, &path, json!({ "policies": "root" })).await, "policies cannot contain root");
    assert_eq!(told(&h, "group", json!({ "type": "weird" })).await, "invalid group type: use internal or external");
    assert_eq!(told(&h, "group/id/nope", json!({})).await, "invalid group ID");
    let path = format!("group/id/{external}");
    let ask = json!({ "member_entity_ids": [entity] });
    assert_eq!(told(&h, &path, ask).await, "member entities can't be set manually for external groups");
    assert_eq!(
        told(&h, &path, json!({ "member_group_ids": [one] })).await,
        "member groups can't be set for external groups"
    );
    h.write(&format!("group/id/{two}"), json!({ "member_group_ids": [] })).await.unwrap();
    h.write(&format!("group/id/{one}"), json!({ "member_group_ids": [two] })).await.unwrap();
}

#[tokio::test]
async fn large_groups_change_in_pieces() {
    let (h, _) = harness();
    let mut members = Vec::new();
    for _ in 0..70 {
        members.push(make(&h, "entity", json!({})).await);
    }
    members.sort();
    let group = make(&h, "group", json!({ "member_entity_ids": members })).await;
    let path = format!("group/id/{group}");
    assert_eq!(get(&h, &path).await["member_entity_ids"], json!(members));
    h.write(&path, json!({ "member_entity_ids": &members[..3] })).await.unwrap();
    assert_eq!(get(&h, &path).await["member_entity_ids"], json!(&members[..3]));
    h.delete(&path).await.unwrap();
    assert!(!h.store.dump().iter().any(|(key, _)| key.starts_with(b"gm/") || key.starts_with(b"me/")));
}

#[tokio::test]
async fn aliases_of_groups() {
    let (h, _) = harness();
    let internal = make(&h, "group", json!({ "name": "in" })).await;
    let external = make(&h, "group", json!({ "name": "x", "type": "external" })).await;
    assert_eq!(told(&h, "group-alias", json!({})).await, "missing alias name");
    assert_eq!(told(&h, "group-alias", json!({ "name": "ext" })).await, "missing mount_accessor");
    let at = |name: &str, group: &str| json!({ "name": name, "mount_accessor": "acc2", "canonical_id": group });
    assert_eq!(told(&h, "group-alias", at("ext", "nope")).await, "invalid group ID given in 'canonical_id'");
    assert_eq!(told(&h, "group-alias", at("ext", &internal)).await, "alias can't be set on an internal group");
    let made = h.write("group-alias", at("ext", "")).await.unwrap().data();
    let taken = "combination of mount and group alias name is already in use";
    assert_eq!(told(&h, "group-alias", at("ext", &external)).await, taken);
    let first = make(&h, "group-alias", at("other", &external)).await;
    let view = get(&h, &format!("group/id/{external}")).await;
    let mut fields: Vec<&String> = view["alias"].as_object().unwrap().keys().collect();
    fields.sort();
    assert_eq!(
        fields,
        [
            "canonical_id",
            "creation_time",
            "id",
            "last_update_time",
            "merged_from_canonical_ids",
            "metadata",
            "mount_accessor",
            "mount_path",
            "mount_type",
            "name"
        ]
    );
    assert!(h.read(&format!("group-alias/id/{first}")).await.is_ok());
    let second = make(&h, "group-alias", at("third", &external)).await;
    assert_eq!(h.read(&format!("group-alias/id/{first}")).await.unwrap_err(), Fault::not_found());
    h.write(&format!("group-alias/id/{second}"), at("fourth", "")).await.unwrap();
    let found = h
        .write("lookup/group", json!({ "alias_name": "fourth", "alias_mount_accessor": "acc2" }))
        .await
        .unwrap()
        .data();
    assert_eq!((&found["id"], &found["alias"]["id"]), (&json!(external), &json!(second)));
    assert_eq!(h.list("group-alias/id").await.unwrap().keys().len(), 2);
    h.delete(&format!("group-alias/id/{second}")).await.unwrap();
    h.delete(&format!("group/id/{}", made["canonical_id"].as_str().unwrap())).await.unwrap();
    assert_eq!(h.list("group-alias/id").await.unwrap_err(), Fault::not_found());
    assert!(!h.store.dump().iter().any(|(key, _)| key.starts_with(b"k/") || key.starts_with(b"b/")));
}
