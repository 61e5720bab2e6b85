//! Driven through the routes, as a server would. Shapes and texts are those of an OpenBao 2.7.2 that was asked the same.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Caller, Login};
use dewdrop_core::mount::MountClass;
use dewdrop_core::{Kind, Operation};
use dewdrop_testkit::harness::{Got, Harness};
use serde_json::{Value, json};

use super::AppRole;
use crate::counting::{Counting, Counts};

mod fields;
mod roles;
mod secret_ids;

fn approle() -> Harness {
    counted().0
}

fn counted() -> (Harness, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let mut harness = Harness::new(MountClass::Auth, &[], |mut place| {
        place.store = Arc::new(Counting { inner: place.store, counts: counts.clone() });
        AppRole::open(place)
    });
    harness.caller = from("127.0.0.1");
    (harness, counts)
}

fn from(address: &str) -> Arc<Caller> {
    Arc::new(Caller { address: Some(address.parse().unwrap()), ..Caller::default() })
}

async fn with_role(fields: Value) -> Harness {
    let harness = approle();
    add_role(&harness, fields).await;
    harness
}

async fn add_role(harness: &Harness, mut fields: Value) {
    fields["role_id"] = "rid".into();
    harness.write("role/app", fields).await.unwrap();
}

async fn secret(harness: &Harness, fields: Value) -> String {
    let data = harness.write("role/app/secret-id", fields).await.unwrap().data();
    data["secret_id"].as_str().unwrap().to_owned()
}

async fn login(harness: &Harness, secret_id: &str) -> Result<Login, dewdrop_core::Fault> {
    harness.write("login", json!({ "role_id": "rid", "secret_id": secret_id })).await.map(Got::login)
}

/// What a refused credential says; the test fails when it is another fault.
async fn refused(harness: &Harness, secret_id: &str) -> String {
    let fault = login(harness, secret_id).await.unwrap_err();
    assert_eq!(fault.kind, Kind::BadCredential, "{fault:?}");
    fault.told.into_owned()
}

const REFUSED: &str = "invalid role or secret ID";

#[tokio::test]
async fn a_login_tells_the_server_all_it_needs() {
    let harness =
        with_role(json!({ "token_policies": "a,b", "token_ttl": "1h", "token_bound_cidrs": "127.0.0.0/8" })).await;
    let secret_id = secret(&harness, json!({ "metadata": "{\"m\":\"1\",\"role_name\":\"evil\"}" })).await;
    let got = login(&harness, &secret_id).await.unwrap();
    assert_eq!((got.alias.as_str(), got.display_name.as_str(), got.renewable), ("rid", "", true));
    assert_eq!(json!(got.metadata), json!({ "m": "1", "role_name": "app" }), "the role's name cannot be forged");
    assert_eq!(got.params.policies, ["a", "b"]);
    assert_eq!(got.params.ttl, Duration::from_secs(3600));
    assert_eq!(got.params.bound_cidrs[0].to_string(), "127.0.0.0/8");

    let secret_id = secret(&harness, json!({ "token_bound_cidrs": "127.0.0.0/24" })).await;
    let got = login(&harness, &secret_id).await.unwrap();
    assert_eq!(got.params.bound_cidrs[0].to_string(), "127.0.0.0/24", "those of the secret id win");
}

#[tokio::test]
async fn a_login_reads_three_times_and_writes_nothing() {
    let (harness, counts) = counted();
    add_role(&harness, json!({})).await;
    let secret_id = secret(&harness, json!({})).await;
    counts.take();
    login(&harness, &secret_id).await.unwrap();
    assert_eq!(counts.take(), (3, 0));
}

#[tokio::test]
async fn every_wrong_credential_sounds_the_same() {
    let harness = approle();
    assert_eq!(refused(&harness, "x").await, REFUSED, "before there is any role");
    add_role(&harness, json!({})).await;
    harness.write("role/other", json!({ "role_id": "oid" })).await.unwrap();
    assert_eq!(refused(&harness, "wrong").await, REFUSED);
    let others = harness.write("role/other/secret-id", json!({})).await.unwrap().data()["secret_id"].clone();
    assert_eq!(refused(&harness, others.as_str().unwrap()).await, REFUSED, "another role's");
    let unknown = harness.write("login", json!({ "role_id": "nobody", "secret_id": "x" })).await.unwrap_err();
    assert_eq!((unknown.kind, unknown.told.as_ref()), (Kind::BadCredential, REFUSED));

    let once = secret(&harness, json!({ "num_uses": 1 })).await;
    login(&harness, &once).await.unwrap();
    assert_eq!(refused(&harness, &once).await, REFUSED, "used up");
    let brief = secret(&harness, json!({ "ttl": "10s" })).await;
    login(&harness, &brief).await.unwrap();
    harness.clock.advance(Duration::from_secs(10));
    assert_eq!(refused(&harness, &brief).await, REFUSED, "past its end");
}

#[tokio::test]
async fn a_login_that_lacks_a_field_is_no_wrong_credential() {
    let harness = with_role(json!({})).await;
    for (fields, told) in [
        (json!({}), "missing role_id"),
        (json!({ "role_id": "", "secret_id": "x" }), "missing role_id"),
        (json!({ "role_id": "rid" }), "missing secret_id"),
        (json!({ "role_id": "rid", "secret_id": "" }), "missing secret_id"),
    ] {
        let fault = harness.write("login", fields).await.unwrap_err();
        assert_eq!((fault.kind, fault.told.as_ref()), (Kind::BadRequest, told));
    }
    harness.store.set_down(true);
    assert_eq!(login(&harness, "x").await.unwrap_err().kind, Kind::Unavailable);
}

#[tokio::test]
async fn of_many_who_spend_the_last_use_one_wins() {
    let harness = with_role(json!({ "secret_id_num_uses": 3 })).await;
    let secret_id = secret(&harness, json!({})).await;
    let harness = Arc::new(harness);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let (harness, secret_id) = (harness.clone(), secret_id.clone());
        tasks.spawn(async move { login(&harness, &secret_id).await.is_ok() });
    }
    let won = tasks.join_all().await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 3);
    assert_eq!(harness.list("role/app/secret-id").await.unwrap_err().kind, Kind::NotFound, "and nothing of it is left");
}

#[tokio::test]
async fn addresses_are_bound_by_the_role_and_by_the_secret_id() {
    let mut harness = with_role(json!({ "secret_id_bound_cidrs": "127.0.0.0/8", "secret_id_num_uses": 5 })).await;
    let secret_id = secret(&harness, json!({ "cidr_list": "127.0.0.0/24" })).await;
    login(&harness, &secret_id).await.unwrap();
    for (address, by) in [
        ("127.0.1.1", "source address \"127.0.1.1\" unauthorized through CIDR restrictions on the secret ID"),
        ("10.0.0.1", "source address \"10.0.0.1\" unauthorized through CIDR restrictions on the secret ID"),
    ] {
        harness.caller = from(address);
        assert_eq!(login(&harness, &secret_id).await.unwrap_err().told, by);
    }
    harness.caller = from("127.0.0.9");
    let free = secret(&harness, json!({})).await;
    harness.caller = from("10.0.0.1");
    let told = login(&harness, &free).await.unwrap_err().told;
    assert_eq!(told, "source address \"10.0.0.1\" unauthorized by CIDR restrictions on the role");
    harness.caller = Arc::default();
    assert!(login(&harness, &free).await.is_err(), "an unknown address is outside every bound");

    harness.caller = from("127.0.0.1");
    let left = harness.write("role/app/secret-id/lookup", json!({ "secret_id": free })).await.unwrap().data();
    assert_eq!(left["secret_id_num_uses"], 5, "who is refused by the address spends no use");
}

#[tokio::test]
async fn a_role_without_secret_ids_is_bound_by_address() {
    let mut harness = with_role(json!({ "bind_secret_id": false, "secret_id_bound_cidrs": "127.0.0.0/8" })).await;
    assert!(harness.write("login", json!({ "role_id": "rid" })).await.is_ok());
    harness.caller = from("10.0.0.1");
    assert!(harness.write("login", json!({ "role_id": "rid" })).await.is_err());
    let told = harness.write("role/app/secret-id", json!({})).await.unwrap_err().told;
    assert_eq!(told, "bind_secret_id is not set on the role");
}

#[tokio::test]
async fn a_token_renews_by_the_role_as_it_is_now() {
    let harness = with_role(json!({ "token_ttl": 100 })).await;
    let secret_id = secret(&harness, json!({})).await;
    let internal = login(&harness, &secret_id).await.unwrap().internal;
    harness.write("role/app", json!({ "token_ttl": 200 })).await.unwrap();
    assert_eq!(harness.room.renew_login(&internal, &Caller::default()).await.unwrap().ttl, Duration::from_secs(200));
    harness.delete("role/app").await.unwrap();
    let fault = harness.room.renew_login(&internal, &Caller::default()).await.unwrap_err();
    assert_eq!((fault.kind, fault.told.as_ref()), (Kind::BadRequest, "role \"app\" does not exist during renewal"));
}

#[tokio::test]
async fn no_secret_id_is_in_the_store() {
    let harness = with_role(json!({})).await;
    let made = secret(&harness, json!({ "num_uses": 9, "ttl": "1h", "metadata": "a=b" })).await;
    let own = "canary-6f1d";
    harness.write("role/app/custom-secret-id", json!({ "secret_id": own })).await.unwrap();
    for secret_id in [&made, own] {
        login(&harness, secret_id).await.unwrap();
        let needles = [secret_id.as_bytes().to_vec(), hex::encode(secret_id).into_bytes()];
        for (key, value) in harness.store.dump() {
            let found =
                |needle: &Vec<u8>| [&key, &value].iter().any(|hay| hay.windows(needle.len()).any(|w| w == needle));
            assert!(!needles.iter().any(found), "{}", String::from_utf8_lossy(&key));
        }
    }
}

#[tokio::test]
async fn verbs_that_a_path_lacks_are_refused() {
    let harness = with_role(json!({})).await;
    for (operation, path) in [
        (Operation::Update, "role/app/local-secret-ids"),
        (Operation::Read, "role/app/secret-id"),
        (Operation::Delete, "role/app/role-id"),
        (Operation::Read, "tidy/secret-id"),
    ] {
        assert_eq!(harness.call(operation, path, json!({})).await.unwrap_err().kind, Kind::Unsupported, "{path}");
    }
    assert!(harness.room.find("role/app/zz", Operation::Read).is_none());
}
