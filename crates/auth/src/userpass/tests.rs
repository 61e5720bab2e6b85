//! Driven through the routes, as a server would. Shapes and texts are those of an OpenBao 2.7.2 that was asked the same.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Caller, Login};
use dewdrop_core::mount::MountClass;
use dewdrop_core::{Fault, Kind, Operation};
use dewdrop_testkit::harness::{Got, Harness};
use serde_json::{Value, json};

use super::Userpass;
use crate::counting::{Counting, Counts};

const BCRYPT: &str = "$2b$12$KRf15hvA2PWKiKs23otew.5deQr4r2SEuUhac30ekFUFJHHl9ffAi";
const REFUSED: &str = "invalid username or password";

fn counted() -> (Harness, Arc<Counts>) {
    let counts = Arc::new(Counts::default());
    let mut harness = Harness::new(MountClass::Auth, &[], |mut place| {
        place.store = Arc::new(Counting { inner: place.store, counts: counts.clone() });
        Userpass::open(place)
    });
    harness.caller = Arc::new(Caller { address: Some("127.0.0.1".parse().unwrap()), ..Caller::default() });
    (harness, counts)
}

async fn with_bob(mut fields: Value) -> Harness {
    let harness = counted().0;
    fields["password"] = "pw".into();
    harness.write("users/Bob", fields).await.unwrap();
    harness
}

async fn login(harness: &Harness, name: &str, password: &str) -> Result<Login, Fault> {
    harness.write(&format!("login/{name}"), json!({ "password": password })).await.map(Got::login)
}

#[tokio::test]
async fn a_user_reads_as_the_oracles() {
    let harness = with_bob(json!({ "policies": "a,b" })).await;
    let mut expected = json!({
        "policies": ["a", "b"], "token_bound_cidrs": [], "token_explicit_max_ttl": 0, "token_max_ttl": 0,
        "token_no_default_policy": false, "token_num_uses": 0, "token_period": 0, "token_policies": ["a", "b"],
        "token_strictly_bind_ip": false, "token_ttl": 0, "token_type": "default",
    });
    assert_eq!(harness.read("users/BOB").await.unwrap().data(), expected);
    harness.write("users/bob", json!({ "ttl": "1h", "max_ttl": "2h", "bound_cidrs": "127.0.0.1" })).await.unwrap();
    for (name, value) in [("ttl", json!(3600)), ("max_ttl", json!(7200)), ("bound_cidrs", json!(["127.0.0.1"]))] {
        expected[name] = value.clone();
        expected[format!("token_{name}")] = value;
    }
    assert_eq!(harness.read("users/bob").await.unwrap().data(), expected);
    assert_eq!(harness.read("users/nope").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_login_tells_the_server_all_it_needs() {
    let (harness, counts) = counted();
    harness.write("users/bob", json!({ "password": "pw", "token_policies": "a", "token_ttl": 60 })).await.unwrap();
    counts.take();
    let got = login(&harness, "BOB", "pw").await.unwrap();
    assert_eq!(counts.take(), (1, 0), "one read, no write");
    assert_eq!((got.alias.as_str(), got.display_name.as_str(), got.renewable), ("bob", "bob", true));
    assert_eq!(json!(got.metadata), json!({ "username": "bob" }));
    assert_eq!((got.params.policies, got.params.ttl), (vec!["a".to_owned()], Duration::from_secs(60)));
}

#[tokio::test]
async fn every_wrong_credential_sounds_the_same() {
    let harness = with_bob(json!({})).await;
    for (name, password) in [("bob", "Pw"), ("nobody", "pw"), ("bob", &"x".repeat(2000))] {
        let fault = login(&harness, name, password).await.unwrap_err();
        assert_eq!((fault.kind, fault.told.as_ref()), (Kind::BadCredential, REFUSED));
    }
    for name in ["bob", "nobody"] {
        let fault = login(&harness, name, "").await.unwrap_err();
        assert_eq!((fault.kind, fault.told.as_ref()), (Kind::BadRequest, "missing password"));
    }
}

#[tokio::test]
async fn an_address_outside_is_denied_only_to_who_knows_the_password() {
    let harness = with_bob(json!({ "token_bound_cidrs": "10.0.0.0/8" })).await;
    assert_eq!(login(&harness, "bob", "pw").await.unwrap_err().told, "permission denied");
    assert_eq!(login(&harness, "bob", "wrong").await.unwrap_err().told, REFUSED);
}

#[tokio::test]
async fn passwords_and_policies_change() {
    let harness = with_bob(json!({})).await;
    harness.write("users/bob/password", json!({ "password": "new" })).await.unwrap();
    assert!(login(&harness, "bob", "pw").await.is_err());
    assert!(login(&harness, "bob", "new").await.is_ok());
    harness.write("users/bob", json!({ "token_ttl": 5, "password": "" })).await.unwrap();
    assert!(login(&harness, "bob", "new").await.is_ok(), "a change without a password leaves it");

    harness.write("users/bob/policies", json!({ "policies": "q,r" })).await.unwrap();
    assert_eq!(harness.read("users/bob").await.unwrap().data()["policies"], json!(["q", "r"]));
    harness.write("users/bob/policies", json!({})).await.unwrap();
    assert_eq!(harness.read("users/bob").await.unwrap().data()["token_policies"], json!(["q", "r"]));
    for path in ["users/nope/password", "users/nope/policies"] {
        let fault = harness.write(path, json!({ "password": "x" })).await.unwrap_err();
        assert_eq!((fault.kind, fault.told.as_ref()), (Kind::NotFound, "username does not exist"));
    }
}

#[tokio::test]
async fn what_cannot_be_is_refused_and_changes_nothing() {
    let harness = counted().0;
    let dear = BCRYPT.replace("$12$", "$31$");
    for (fields, told) in [
        (json!({}), "must provide either password or password_hash"),
        (json!({ "password": "" }), "must provide either password or password_hash"),
        (json!({ "password": "x", "password_hash": BCRYPT }), "only one of password or password_hash may be provided"),
        (json!({ "password_hash": "y" }), "password_hash is not a valid bcrypt hash"),
        (json!({ "password_hash": dear }), "bcrypt cost of 31 exceeds maximum cost of 12"),
        (json!({ "password": "x".repeat(2000) }), "the password is too long: at most 1024 bytes"),
        (json!({ "password": ["x"] }), "password"),
        (json!({ "password": "x", "token_type": "default-batch" }), "invalid 'token_type' value: use service"),
        (json!({ "password": "x", "bound_cidrs": "x" }), "error parsing address: "),
        (json!({ "password": "x", "ttl": -1 }), "ttl"),
    ] {
        let fault = harness.write("users/e", fields).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadRequest, "{fault:?}");
        assert!(fault.told.contains(told), "{} lacks {told}", fault.told);
    }
    for name in ["a b", "a@b.c", "-x", "x.", "ä", "a:b"] {
        for path in ["users", "login"] {
            let fault = harness.write(&format!("{path}/{name}"), json!({ "password": "x" })).await.unwrap_err();
            assert_eq!((fault.kind, fault.told.as_ref()), (Kind::NotFound, "unsupported path"));
        }
    }
    assert!(harness.store.dump().is_empty());
}

#[tokio::test]
async fn a_bcrypt_hash_gives_way_to_ours_at_the_first_good_login() {
    let (harness, counts) = counted();
    harness.write("users/hh", json!({ "password_hash": BCRYPT })).await.unwrap();
    assert!(login(&harness, "hh", "wrong").await.is_err());
    let kept = || String::from_utf8(harness.store.dump()[0].1.clone()).unwrap();
    assert!(kept().contains("$2b$12$"), "a failed login changes nothing");
    counts.take();
    login(&harness, "hh", "hashed").await.unwrap();
    assert_eq!(counts.take().1, 1);
    assert!(!kept().contains("$2b$12$") && kept().contains("argon2id"));
    login(&harness, "hh", "hashed").await.unwrap();
    assert_eq!(counts.take().1, 0, "once");
}

#[tokio::test]
async fn a_login_is_good_though_its_upgrade_is_not_kept() {
    let harness = Arc::new(counted().0);
    harness.write("users/hh", json!({ "password_hash": BCRYPT })).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..4 {
        let harness = harness.clone();
        tasks.spawn(async move { login(&harness, "hh", "hashed").await.is_ok() });
    }
    assert!(tasks.join_all().await.into_iter().all(|good| good), "all but one upgrade met a conflict");
}

#[tokio::test]
async fn no_password_is_in_the_store() {
    let harness = counted().0;
    let canary = "canary-91c2";
    harness.write("users/bob", json!({ "password": canary })).await.unwrap();
    login(&harness, "bob", canary).await.unwrap();
    harness.write("users/bob/password", json!({ "password": canary })).await.unwrap();
    let dump = harness.store.dump();
    assert!(!dump.iter().any(|(_, value)| value.windows(canary.len()).any(|w| w == canary.as_bytes())));
}

#[tokio::test]
async fn a_token_renews_while_the_policies_stay() {
    let harness = with_bob(json!({ "policies": "a,b", "token_ttl": 100 })).await;
    let internal = login(&harness, "bob", "pw").await.unwrap().internal;
    harness.write("users/bob", json!({ "policies": "b,a", "token_ttl": 200 })).await.unwrap();
    assert_eq!(harness.room.renew_login(&internal, &Caller::default()).await.unwrap().ttl, Duration::from_secs(200));
    harness.write("users/bob", json!({ "policies": "a" })).await.unwrap();
    let told = harness.room.renew_login(&internal, &Caller::default()).await.unwrap_err().told;
    assert_eq!(told, "policies have changed, not renewing");
    harness.delete("users/bob").await.unwrap();
    assert_eq!(harness.room.renew_login(&internal, &Caller::default()).await.unwrap_err().kind, Kind::BadRequest);
}

#[tokio::test]
async fn lists_come_whole_or_in_pages() {
    let harness = counted().0;
    assert_eq!(harness.list("users").await.unwrap_err().kind, Kind::NotFound);
    for name in ["c", "a", "B"] {
        harness.write(&format!("users/{name}"), json!({ "password": "x" })).await.unwrap();
    }
    assert_eq!(harness.list("users").await.unwrap().keys(), ["a", "b", "c"]);
    let page = harness.call(Operation::List, "users", json!({ "after": "a", "limit": 1 })).await.unwrap().keys();
    assert_eq!(page, ["b"]);
    harness.delete("users/nope").await.unwrap();
    harness.delete("users/A").await.unwrap();
    assert_eq!(harness.list("users").await.unwrap().keys(), ["b", "c"]);
}
