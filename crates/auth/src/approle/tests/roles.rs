use super::*;

#[tokio::test]
async fn a_bare_role_reads_as_the_oracles() {
    let harness = approle();
    assert!(matches!(harness.write("role/r1", json!({})).await.unwrap(), Got::Nothing));
    let expected = json!({
        "bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": null, "secret_id_num_uses": 0,
        "secret_id_ttl": 0, "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
        "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": [],
        "token_strictly_bind_ip": false, "token_ttl": 0, "token_type": "default",
    });
    assert_eq!(harness.read("role/r1").await.unwrap().data(), expected);
    let id = harness.read("role/r1/role-id").await.unwrap().data();
    assert_eq!(id["role_id"].as_str().map(str::len), Some(36));
}

#[tokio::test]
async fn a_full_role_reads_as_the_oracles() {
    let harness = approle();
    let fields = json!({
        "token_policies": "B,a,a, Root", "token_ttl": "1h", "token_max_ttl": 7200, "token_type": "batch",
        "token_bound_cidrs": "10.0.0.0/8,127.0.0.1", "secret_id_bound_cidrs": ["127.0.0.0/8"], "secret_id_ttl": "10m",
        "secret_id_num_uses": 5, "role_id": "myid",
    });
    harness.write("role/R2", fields).await.unwrap();
    let expected = json!({
        "bind_secret_id": true, "local_secret_ids": false, "secret_id_bound_cidrs": ["127.0.0.0/8"],
        "secret_id_num_uses": 5, "secret_id_ttl": 600, "token_bound_cidrs": ["10.0.0.0/8", "127.0.0.1"],
        "token_explicit_max_ttl": 0, "token_max_ttl": 7200, "token_no_default_policy": false, "token_num_uses": 0,
        "token_period": 0, "token_policies": ["B", "a", "a", "Root"], "token_strictly_bind_ip": false,
        "token_ttl": 3600, "token_type": "batch",
    });
    assert_eq!(harness.read("role/r2").await.unwrap().data(), expected);
    assert_eq!(harness.read("role/R2").await.unwrap().data(), expected, "case does not matter");
}

#[tokio::test]
async fn old_field_names_work() {
    let harness = approle();
    harness
        .write("role/r3", json!({ "policies": "x", "period": "1h", "bound_cidr_list": "127.0.0.1/32" }))
        .await
        .unwrap();
    let role = harness.read("role/r3").await.unwrap().data();
    assert_eq!((&role["policies"], &role["token_policies"]), (&json!(["x"]), &json!(["x"])));
    assert_eq!((&role["period"], &role["token_period"]), (&json!(3600), &json!(3600)));
    assert_eq!(role["secret_id_bound_cidrs"], json!(["127.0.0.1/32"]));
    harness.write("role/r4", json!({ "policies": "x", "token_policies": "y" })).await.unwrap();
    let role = harness.read("role/r4").await.unwrap().data();
    assert_eq!((role.get("policies"), &role["token_policies"]), (None, &json!(["y"])));
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let harness = approle();
    harness.write("role/taken", json!({ "role_id": "taken" })).await.unwrap();
    for (fields, told) in [
        (json!({ "token_type": "bogus" }), "invalid 'token_type' value: use service"),
        (json!({ "token_ttl": -1 }), "token_ttl"),
        (json!({ "token_ttl": "abc" }), "token_ttl"),
        (json!({ "token_ttl": "2h", "token_max_ttl": "1h" }), "'token_ttl' cannot be greater than 'token_max_ttl'"),
        (json!({ "token_num_uses": -1 }), "'token_num_uses' cannot be negative"),
        (json!({ "token_bound_cidrs": "nope" }), "error parsing address: Unable to convert it"),
        (
            json!({ "secret_id_bound_cidrs": "nope" }),
            "failed to validate CIDR blocks: invalid CIDR address (number 1 of the list)",
        ),
        (json!({ "secret_id_num_uses": -1 }), "secret_id_num_uses cannot be negative"),
        (json!({ "secret_id_num_uses": "x" }), "secret_id_num_uses"),
        (json!({ "bind_secret_id": false }), "at least one constraint should be enabled on the role"),
        (json!({ "token_type": "batch", "token_period": "1h" }), "periodic"),
        (json!({ "token_policies": { "a": 1 } }), "token_policies"),
        (json!({ "token_policies": vec!["p"; 100_000] }), "too many"),
        (json!({ "role_id": "taken" }), "role_id already in use"),
        (json!({ "role_id": "" }), "invalid role_id supplied, or failed to generate a role_id"),
        (json!({ "role_id": "x".repeat(10_000) }), "too long"),
    ] {
        let fault = harness.write("role/v", fields).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadRequest, "{fault:?}");
        assert!(fault.told.contains(told), "{} lacks {told}", fault.told);
        assert_eq!(harness.read("role/v").await.unwrap_err().kind, Kind::NotFound);
    }
    for name in ["a b", "-x", "x.", "ä", "..", "a\0b"] {
        assert_eq!(harness.write(&format!("role/{name}"), json!({})).await.unwrap_err().told, "unsupported path");
    }
}

#[tokio::test]
async fn warnings_are_the_oracles() {
    let harness = approle();
    let warned = async |fields| harness.reply(Operation::Update, "role/v", fields).await.unwrap().1;
    let warning = "default-batch has no useful meaning; adjusting to batch";
    assert_eq!(warned(json!({ "token_type": "default-batch" })).await, [warning]);
    assert_eq!(harness.read("role/v").await.unwrap().data()["token_type"], "batch");
    let warnings = warned(json!({ "token_max_ttl": "9999h" })).await;
    assert!(warnings[0].starts_with("token_max_ttl is greater than the backend mount's maximum TTL value"));
}

#[tokio::test]
async fn local_secret_ids_are_for_ever() {
    let harness = approle();
    harness.write("role/v", json!({ "local_secret_ids": true })).await.unwrap();
    harness.write("role/v", json!({ "local_secret_ids": true, "token_ttl": 1 })).await.unwrap();
    let told = harness.write("role/v", json!({ "local_secret_ids": false })).await.unwrap_err().told;
    assert_eq!(told, "local_secret_ids can only be modified during role creation");
    assert_eq!(harness.read("role/v/local-secret-ids").await.unwrap().data(), json!({ "local_secret_ids": true }));
}

#[tokio::test]
async fn lists_come_whole_or_in_pages() {
    let harness = approle();
    assert_eq!(harness.list("role").await.unwrap_err().kind, Kind::NotFound);
    for name in ["r3", "r1", "R2"] {
        harness.write(&format!("role/{name}"), json!({})).await.unwrap();
    }
    let list = async |fields| harness.call(Operation::List, "role", fields).await.unwrap().keys();
    assert_eq!(list(json!({})).await, ["r1", "r2", "r3"]);
    assert_eq!(list(json!({ "limit": "2" })).await, ["r1", "r2"]);
    assert_eq!(list(json!({ "after": "r1", "limit": 1 })).await, ["r2"]);
    assert_eq!(list(json!({ "after": "r2" })).await, ["r3"]);
    assert_eq!(list(json!({ "limit": -1 })).await.len(), 3);
    assert!(harness.call(Operation::List, "role", json!({ "limit": "x" })).await.is_err());
}

#[tokio::test]
async fn a_role_id_can_change_and_names_one_role() {
    let harness = with_role(json!({})).await;
    let secret_id = secret(&harness, json!({})).await;
    harness.write("role/other", json!({})).await.unwrap();
    let told = harness.write("role/other/role-id", json!({ "role_id": "rid" })).await.unwrap_err().told;
    assert_eq!(told, "role_id already in use");
    harness.write("role/app/role-id", json!({ "role_id": "new" })).await.unwrap();
    assert_eq!(refused(&harness, &secret_id).await, REFUSED, "the old role id is no more");
    assert!(harness.write("login", json!({ "role_id": "new", "secret_id": secret_id })).await.is_ok());
    harness.write("role/other/role-id", json!({ "role_id": "rid" })).await.unwrap();
    assert_eq!(harness.write("role/app/role-id", json!({})).await.unwrap_err().told, "missing role_id");
    assert_eq!(harness.write("role/nope/role-id", json!({ "role_id": "u" })).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn two_roles_race_for_one_role_id() {
    let harness = Arc::new(approle());
    let mut tasks = tokio::task::JoinSet::new();
    for at in 0..8 {
        let harness = harness.clone();
        tasks.spawn(async move { harness.write(&format!("role/r{at}"), json!({ "role_id": "same" })).await.is_ok() });
    }
    assert_eq!(tasks.join_all().await.into_iter().filter(|won| *won).count(), 1);
    assert_eq!(harness.list("role").await.unwrap().keys().len(), 1);
}

#[tokio::test]
async fn changes_of_one_role_at_once_all_count() {
    let harness = Arc::new(with_role(json!({})).await);
    let mut tasks = tokio::task::JoinSet::new();
    for fields in [json!({ "token_ttl": 1 }), json!({ "token_num_uses": 2 }), json!({ "token_period": 3 })] {
        let harness = harness.clone();
        tasks.spawn(async move { harness.write("role/app", fields).await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|done| done));
    let role = harness.read("role/app").await.unwrap().data();
    assert_eq!((&role["token_ttl"], &role["token_num_uses"], &role["token_period"]), (&json!(1), &json!(2), &json!(3)));
}

#[tokio::test]
async fn a_role_that_is_made_anew_has_none_of_the_old_secret_ids() {
    let harness = with_role(json!({})).await;
    let secret_id = secret(&harness, json!({ "ttl": "1h" })).await;
    harness.delete("role/app").await.unwrap();
    harness.delete("role/app").await.unwrap();
    let left: Vec<String> =
        harness.store.dump().into_iter().map(|(key, _)| String::from_utf8_lossy(&key).into_owned()).collect();
    assert!(left.iter().all(|key| key == "hmac-key" || key.starts_with("end/")), "{left:?}");
    add_role(&harness, json!({})).await;
    assert_eq!(refused(&harness, &secret_id).await, REFUSED);
}
