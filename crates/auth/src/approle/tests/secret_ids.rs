use super::*;

#[tokio::test]
async fn a_secret_id_reads_as_the_oracles() {
    let harness = with_role(json!({})).await;
    let made =
        harness.write("role/app/secret-id", json!({ "metadata": "{\"a\":\"b\"}", "ttl": "5m", "num_uses": 2 })).await;
    let made = made.unwrap().data();
    assert_eq!((&made["secret_id_num_uses"], &made["secret_id_ttl"]), (&json!(2), &json!(300)));
    assert_eq!(made["secret_id"].as_str().map(str::len), Some(36));
    let expected = json!({
        "cidr_list": [], "creation_time": "2026-01-01T00:00:00.000Z", "expiration_time": "2026-01-01T00:05:00.000Z",
        "last_updated_time": "2026-01-01T00:00:00.000Z", "metadata": { "a": "b" },
        "secret_id_accessor": made["secret_id_accessor"], "secret_id_num_uses": 2, "secret_id_ttl": 300,
        "token_bound_cidrs": [],
    });
    let by_id =
        harness.write("role/app/secret-id/lookup", json!({ "secret_id": made["secret_id"] })).await.unwrap().data();
    assert_eq!(by_id, expected);
    let accessor = json!({ "secret_id_accessor": made["secret_id_accessor"] });
    assert_eq!(harness.write("role/app/secret-id-accessor/lookup", accessor).await.unwrap().data(), expected);

    harness.clock.advance(Duration::from_secs(1));
    login(&harness, made["secret_id"].as_str().unwrap()).await.unwrap();
    let used =
        harness.write("role/app/secret-id/lookup", json!({ "secret_id": made["secret_id"] })).await.unwrap().data();
    assert_eq!(used["secret_id_num_uses"], 1);
    assert_eq!(used["last_updated_time"], "2026-01-01T00:00:01.000Z");
}

#[tokio::test]
async fn a_role_bounds_its_secret_ids() {
    let role = json!({
        "secret_id_num_uses": 3, "secret_id_ttl": "10m", "secret_id_bound_cidrs": "127.0.0.0/8",
        "token_bound_cidrs": "127.0.0.0/16",
    });
    let harness = with_role(role).await;
    let made = harness.write("role/app/secret-id", json!({})).await.unwrap().data();
    assert_eq!((&made["secret_id_num_uses"], &made["secret_id_ttl"]), (&json!(3), &json!(600)));
    for (fields, told) in [
        (json!({ "num_uses": 5 }), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({ "num_uses": 0 }), "num_uses cannot be higher than the role's secret_id_num_uses"),
        (json!({ "num_uses": -1 }), "num_uses cannot be negative"),
        (json!({ "ttl": "20m" }), "ttl cannot be longer than the role's secret_id_ttl"),
        (json!({ "ttl": 0 }), "ttl cannot be longer than the role's secret_id_ttl"),
        (json!({ "ttl": -1 }), "ttl"),
        (json!({ "cidr_list": "10.0.0.0/8" }), "failed to verify subset relationship"),
        (json!({ "cidr_list": "127.0.0.5" }), "invalid CIDR address (number 1 of the list)"),
        (json!({ "token_bound_cidrs": "10.0.0.0/8" }), "failed to verify subset relationship"),
        (json!({ "metadata": "nojson" }), "metadata"),
        (json!({ "metadata": "{\"a\":1}" }), "metadata"),
        (json!({ "metadata": { "a": "b" } }), "metadata"),
        (json!({ "metadata": format!("a={}", "x".repeat(100_000)) }), "metadata is too large"),
    ] {
        let fault = harness.write("role/app/secret-id", fields).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadRequest);
        assert!(fault.told.contains(told), "{}", fault.told);
    }
    assert_eq!(harness.list("role/app/secret-id").await.unwrap().keys().len(), 1);
}

#[tokio::test]
async fn the_mount_bounds_a_life() {
    let harness = with_role(json!({})).await;
    let made = harness.write("role/app/secret-id", json!({ "ttl": "99999h" })).await.unwrap().data();
    assert_eq!(made["secret_id_ttl"], 2_764_800);
}

#[tokio::test]
async fn a_secret_id_of_ones_own_is_registered_once() {
    let harness = with_role(json!({})).await;
    let made =
        harness.write("role/app/custom-secret-id", json!({ "secret_id": "mine", "num_uses": 2 })).await.unwrap().data();
    assert_eq!((&made["secret_id"], &made["secret_id_num_uses"]), (&json!("mine"), &json!(2)));
    let told = harness.write("role/app/custom-secret-id", json!({ "secret_id": "mine" })).await.unwrap_err().told;
    assert_eq!(told, "failed to store secret_id: SecretID is already registered");
    assert_eq!(harness.write("role/app/custom-secret-id", json!({})).await.unwrap_err().told, "missing secret_id");
    assert_eq!(refused(&harness, "Mine").await, REFUSED, "case matters");
    login(&harness, "mine").await.unwrap();
}

#[tokio::test]
async fn destroyed_is_destroyed() {
    let harness = with_role(json!({})).await;
    let one = harness.write("role/app/secret-id", json!({ "ttl": "1h" })).await.unwrap().data();
    let two = harness.write("role/app/secret-id", json!({})).await.unwrap().data();
    let by_accessor = json!({ "secret_id_accessor": one["secret_id_accessor"] });
    harness.write("role/app/secret-id-accessor/destroy", by_accessor.clone()).await.unwrap();
    let by_id = json!({ "secret_id": two["secret_id"] });
    harness.write("role/app/secret-id/destroy", by_id.clone()).await.unwrap();
    for made in [&one, &two] {
        assert_eq!(refused(&harness, made["secret_id"].as_str().unwrap()).await, REFUSED);
    }
    assert!(harness.list("role/app/secret-id").await.is_err());
    assert!(!harness.store.dump().iter().any(|(key, _)| key.starts_with(b"end/")));
    assert!(matches!(harness.write("role/app/secret-id/destroy", by_id).await.unwrap(), Got::Nothing));
    let fault = harness.write("role/app/secret-id-accessor/destroy", by_accessor.clone()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::NotFound);
    let fault = harness.write("role/app/secret-id-accessor/lookup", by_accessor).await.unwrap_err();
    assert!(fault.data.unwrap()["error"].as_str().unwrap().starts_with("failed to find accessor entry"));
    assert!(matches!(
        harness.write("role/app/secret-id/lookup", json!({ "secret_id": "zz" })).await.unwrap(),
        Got::Nothing
    ));
}

#[tokio::test]
async fn accessors_belong_to_their_role() {
    let harness = with_role(json!({})).await;
    harness.write("role/other", json!({})).await.unwrap();
    let made = harness.write("role/app/secret-id", json!({})).await.unwrap().data();
    let accessor = json!({ "secret_id_accessor": made["secret_id_accessor"] });
    assert!(harness.write("role/other/secret-id-accessor/destroy", accessor).await.is_err());
    login(&harness, made["secret_id"].as_str().unwrap()).await.unwrap();
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let harness = with_role(json!({})).await;
    for (path, field) in [
        ("secret-id/lookup", "missing secret_id"),
        ("secret-id/destroy", "missing secret_id"),
        ("secret-id-accessor/lookup", "missing secret_id_accessor"),
        ("secret-id-accessor/destroy", "missing secret_id_accessor"),
    ] {
        assert_eq!(harness.write(&format!("role/app/{path}"), json!({})).await.unwrap_err().told, field);
        let fields = json!({ "secret_id": "x", "secret_id_accessor": "x" });
        let fault = harness.write(&format!("role/nope/{path}"), fields).await.unwrap_err();
        assert_eq!((fault.kind, fault.told.as_ref()), (Kind::NotFound, "role \"nope\" does not exist"));
    }
}

#[tokio::test]
async fn the_tick_gives_the_space_of_expired_ones_back() {
    let harness = with_role(json!({})).await;
    let brief = secret(&harness, json!({ "ttl": "10s" })).await;
    let long = secret(&harness, json!({ "ttl": "1h" })).await;
    for _ in 0..600 {
        secret(&harness, json!({ "ttl": "20s" })).await;
    }
    harness.clock.advance(Duration::from_secs(10));
    harness.room.tick(&harness.mount, dewdrop_core::Clock::now(&*harness.clock)).await.unwrap();
    assert_eq!(refused(&harness, &brief).await, REFUSED);
    assert_eq!(harness.list("role/app/secret-id").await.unwrap().keys().len(), 601);
    harness.clock.advance(Duration::from_secs(10));
    for _ in 0..3 {
        harness.room.tick(&harness.mount, dewdrop_core::Clock::now(&*harness.clock)).await.unwrap();
    }
    assert_eq!(harness.list("role/app/secret-id").await.unwrap().keys().len(), 1);
    assert_eq!(harness.store.dump().iter().filter(|(key, _)| key.starts_with(b"end/")).count(), 1);
    login(&harness, &long).await.unwrap();
}

#[tokio::test]
async fn a_secret_id_registered_again_outlives_its_old_end() {
    let harness = with_role(json!({})).await;
    harness.write("role/app/custom-secret-id", json!({ "secret_id": "mine", "ttl": 10 })).await.unwrap();
    harness.delete("role/app").await.unwrap();
    add_role(&harness, json!({})).await;
    harness.write("role/app/custom-secret-id", json!({ "secret_id": "mine", "ttl": 100 })).await.unwrap();
    harness.clock.advance(Duration::from_secs(50));
    harness.room.tick(&harness.mount, dewdrop_core::Clock::now(&*harness.clock)).await.unwrap();
    login(&harness, "mine").await.unwrap();
}

#[tokio::test]
async fn tidy_runs_once_at_a_time_and_spares_the_living() {
    let harness = with_role(json!({})).await;
    let brief = secret(&harness, json!({ "ttl": "10s" })).await;
    let alive = secret(&harness, json!({})).await;
    harness.clock.advance(Duration::from_secs(11));
    let warned = async || harness.reply(Operation::Update, "tidy/secret-id", json!({})).await.unwrap().1;
    assert!(warned().await[0].starts_with("Tidy operation successfully started."));
    assert_eq!(warned().await, ["Tidy operation already in progress."]);
    while harness.list("role/app/secret-id").await.unwrap().keys().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(refused(&harness, &brief).await, REFUSED);
    login(&harness, &alive).await.unwrap();
}

#[tokio::test]
async fn tidy_removes_what_no_role_owns() {
    let mut engine = None;
    let harness = Harness::new(MountClass::Auth, &[], |place| {
        let index = crate::approle::index::Index::new(place.store.clone());
        let approle = Arc::new(AppRole { place, index, tidying: false.into() });
        engine = Some(approle.clone());
        dewdrop_core::route::Room::new(approle)
    });
    add_role(&harness, json!({})).await;
    let alive = secret(&harness, json!({})).await;
    for key in ["secret/feed/aa", "secret/feed/ab", "accessor/feed/x"] {
        let batch = dewdrop_core::store::Batch::new().put(key, "{}");
        dewdrop_core::store::Store::commit(&*harness.store, batch).await.unwrap();
    }
    engine.unwrap().tidy_all(dewdrop_core::Clock::now(&*harness.clock)).await.unwrap();
    assert!(!harness.store.dump().iter().any(|(key, _)| String::from_utf8_lossy(key).contains("feed")));
    login(&harness, &alive).await.unwrap();
}
