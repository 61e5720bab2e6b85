//! Methods, enrolment and codes through the engine.

use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE32_NOPAD;
use dewdrop_core::call::Caller;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Clock, Kind, Moment, Operation};
use dewdrop_testkit::harness::Harness;
use serde_json::{Value, json};

use super::totp::{Algorithm, Shape};
use super::*;
use crate::identity::tests::{harness, make};

struct Stage {
    h: Harness,
    identities: Arc<Identities>,
    method: String,
    ann: String,
}

impl Stage {
    async fn new() -> Self {
        let (h, identities) = harness();
        let ann = make(&h, "entity", json!({ "name": "ann" })).await;
        let method = new_method(&h, json!({ "issuer": "dewdrop", "method_name": "phone" })).await;
        Self { h, identities, method, ann }
    }

    /// The key of ann's new authenticator.
    async fn enroll(&self) -> Vec<u8> {
        let ask = json!({ "method_id": self.method, "entity_id": self.ann });
        let url = self.h.write("mfa/method/totp/admin-generate", ask).await.unwrap().data()["url"].clone();
        key_of(url.as_str().unwrap())
    }

    fn step(&self) -> u64 {
        self.h.clock.now().seconds() / 30
    }

    async fn check(&self, code: &str) -> Result<(), MfaRefusal> {
        self.identities.mfa_check(&self.ann, &self.method, code, self.h.clock.now()).await.unwrap()
    }

    fn later(&self, seconds: u64) {
        self.h.clock.advance(Duration::from_secs(seconds));
    }

    /// Ann calls, with a token that has passed a second factor at some time, or none.
    fn ann_calls(&mut self, mfa_at: Option<Moment>) {
        let mut token: TokenRecord = serde_json::from_value(json!({
            "accessor": "a", "kind": "service", "policies": [], "path": "auth/up/login", "display_name": "ann",
            "created": 0, "ttl": { "secs": 0, "nanos": 0 }, "renewable": false, "entity_id": self.ann,
            "namespace": "root",
        }))
        .unwrap();
        token.mfa = mfa_at.map(|at| dewdrop_core::token::MfaPassed { at, methods: Vec::new() });
        self.h.caller = Arc::new(Caller { token: Some(Arc::new(token)), ..Caller::default() });
    }
}

async fn new_method(h: &Harness, fields: Value) -> String {
    h.write("mfa/method/totp", fields).await.unwrap().data()["method_id"].as_str().unwrap().to_owned()
}

fn key_of(url: &str) -> Vec<u8> {
    let (_, secret) = url.split_once("secret=").unwrap();
    BASE32_NOPAD.decode(secret.as_bytes()).unwrap()
}

#[tokio::test]
async fn a_code_is_taken_once_and_only_near_its_time() {
    let stage = Stage::new().await;
    let key = stage.enroll().await;
    let shape = Shape::default();
    let code = |step: u64| shape.code(&key, step);
    let step = stage.step();
    assert_eq!(stage.check(&code(step + 2)).await, Err(MfaRefusal::Wrong), "beyond the skew");
    assert_eq!(stage.check(&code(step - 2)).await, Err(MfaRefusal::Wrong), "too old");
    assert_eq!(stage.check(&code(step)).await, Ok(()));
    assert_eq!(stage.check(&code(step)).await, Err(MfaRefusal::Wrong), "replayed");
    assert_eq!(stage.check(&code(step - 1)).await, Err(MfaRefusal::Wrong), "older than the last used one");
    assert_eq!(stage.check(&code(step + 1)).await, Ok(()));
    assert_eq!(stage.check(&code(step + 1)).await, Err(MfaRefusal::Wrong));
    let again = Identities::open(
        dewdrop_core::engine::Place {
            store: stage.identities.store.clone(),
            clock: stage.identities.clock.clone(),
            mount_uuid: String::new(),
            mount_accessor: String::new(),
            options: std::collections::BTreeMap::new(),
            house: stage.identities.house.clone(),
        },
        "root",
    );
    let replayed = again.mfa_check(&stage.ann, &stage.method, &code(step + 1), stage.h.clock.now()).await.unwrap();
    assert_eq!(replayed, Err(MfaRefusal::Wrong), "what was used is on disk");
}

#[tokio::test]
async fn of_two_who_send_the_same_code_one_gets_in() {
    let stage = Stage::new().await;
    let key = stage.enroll().await;
    let code = Shape::default().code(&key, stage.step());
    let (one, other) = tokio::join!(stage.check(&code), stage.check(&code));
    assert_eq!([one.is_ok(), other.is_ok()].iter().filter(|ok| **ok).count(), 1);
}

#[tokio::test]
async fn guesses_lock_the_secret_longer_each_time() {
    let stage = Stage::new().await;
    let key = stage.enroll().await;
    let code = || Shape::default().code(&key, stage.step());
    for seconds in [60, 120, 240] {
        for _ in 0..5 {
            assert_eq!(stage.check("no").await, Err(MfaRefusal::Wrong));
        }
        let locked = Err(MfaRefusal::Locked(Duration::from_secs(seconds)));
        assert_eq!(stage.check(&code()).await, locked, "a right code is not even looked at");
        stage.later(seconds);
    }
    assert_eq!(stage.check(&code()).await, Ok(()));
    for _ in 0..5 {
        assert_eq!(stage.check("no").await, Err(MfaRefusal::Wrong));
    }
    assert_eq!(stage.check("no").await, Err(MfaRefusal::Locked(Duration::from_secs(60))), "a right code starts anew");
}

#[tokio::test]
async fn guesses_at_the_same_time_count_as_well() {
    let stage = Stage::new().await;
    stage.enroll().await;
    let guesses = (0..20).map(|_| stage.check("no"));
    let mut wrong = 0;
    for guess in futures_of(guesses).await {
        wrong += usize::from(guess == Err(MfaRefusal::Wrong));
    }
    assert_eq!(wrong, 5);
}

async fn futures_of<F: Future>(all: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut open: Vec<_> = all.map(Box::pin).collect();
    let mut done = Vec::new();
    std::future::poll_fn(|context| {
        open.retain_mut(|future| match future.as_mut().poll(context) {
            std::task::Poll::Ready(output) => {
                done.push(output);
                false
            }
            std::task::Poll::Pending => true,
        });
        if open.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    done
}

#[tokio::test]
async fn each_method_makes_codes_of_its_own_kind() {
    let mut stage = Stage::new().await;
    for (name, algorithm) in [("SHA256", Algorithm::Sha256), ("SHA512", Algorithm::Sha512)] {
        let fields = json!({ "issuer": "x", "algorithm": name, "digits": 8, "period": "1m", "skew": 0 });
        stage.method = new_method(&stage.h, fields).await;
        let key = stage.enroll().await;
        let shape = Shape { algorithm, digits: 8, period: 60, skew: 0 };
        assert_eq!(stage.check(&shape.code(&key, stage.h.clock.now().seconds() / 60)).await, Ok(()));
    }
}

#[tokio::test]
async fn a_key_is_told_once_and_goes_with_method_and_entity() {
    let stage = Stage::new().await;
    let key = stage.enroll().await;
    let ask = || json!({ "method_id": stage.method, "entity_id": stage.ann });
    let again = stage.h.reply(Operation::Update, "mfa/method/totp/admin-generate", ask()).await.unwrap();
    assert_eq!(again.1, ["Entity already has a secret for MFA method \"phone\""]);
    let code = Shape::default().code(&key, stage.step());
    stage.h.write("mfa/method/totp/admin-destroy", ask()).await.unwrap();
    assert_eq!(stage.check(&code).await, Err(MfaRefusal::NotEnrolled));
    let rows = |stage: &Stage| {
        let dump = stage.h.store.dump();
        dump.iter().filter(|(key, _)| key.starts_with(b"mfa/s/") || key.starts_with(b"mfa/r/")).count()
    };
    stage.enroll().await;
    assert_eq!(rows(&stage), 1);
    stage.h.delete(&format!("mfa/method/totp/{}", stage.method)).await.unwrap();
    assert_eq!(rows(&stage), 0, "no secret outlives its method");
    let mut stage = Stage::new().await;
    stage.enroll().await;
    let now = stage.h.clock.now();
    stage.ann_calls(Some(now));
    stage.h.write("mfa/method/recovery/generate", json!({})).await.unwrap();
    assert_eq!(rows(&stage), 2);
    stage.h.delete(&format!("entity/id/{}", stage.ann)).await.unwrap();
    assert_eq!(rows(&stage), 0, "nor its entity");
}

#[tokio::test]
async fn a_stolen_token_does_not_get_a_second_factor_of_its_own() {
    let mut stage = Stage::new().await;
    stage.enroll().await;
    let other = new_method(&stage.h, json!({ "issuer": "x" })).await;
    let now = stage.h.clock.now();
    let asks =
        [("mfa/method/totp/generate", json!({ "method_id": other })), ("mfa/method/recovery/generate", json!({}))];
    for mfa_at in [None, Some(now.minus(Duration::from_secs(901)))] {
        stage.ann_calls(mfa_at);
        for (path, ask) in &asks {
            let fault = stage.h.write(path, ask.clone()).await.unwrap_err();
            assert!(fault.kind == Kind::Denied && fault.told.contains("sys/mfa/step-up"), "{fault:?}");
        }
    }
    stage.ann_calls(Some(now));
    for (path, ask) in asks {
        stage.h.write(path, ask).await.unwrap();
    }
}

#[tokio::test]
async fn recovery_codes_stand_in_once_each() {
    let mut stage = Stage::new().await;
    stage.enroll().await;
    let now = stage.h.clock.now();
    stage.ann_calls(Some(now));
    let made = stage.h.write("mfa/method/recovery/generate", json!({})).await.unwrap().data();
    let codes: Vec<String> = serde_json::from_value(made["recovery_codes"].clone()).unwrap();
    assert_eq!(codes.len(), 10);
    let dump = format!("{:?}", stage.h.store.dump());
    for code in &codes {
        assert!(!dump.contains(code.as_str()) && !dump.contains(&code.replace('-', "")));
    }
    assert_eq!(stage.check(&codes[0].to_uppercase().replace('-', " ")).await, Ok(()), "as people type it");
    assert_eq!(stage.check(&codes[0]).await, Err(MfaRefusal::Wrong), "used");
    assert_eq!(stage.h.read("mfa/method/recovery").await.unwrap().data()["left"], 9);
    stage.h.write("mfa/method/recovery/generate", json!({})).await.unwrap();
    assert_eq!(stage.check(&codes[1]).await, Err(MfaRefusal::Wrong), "older ones are void");
}

/// How many codes are left; `None`: there are none, and never were.
async fn codes_left(stage: &Stage) -> Option<u64> {
    let read = stage.h.read("mfa/method/recovery").await;
    read.ok().map(|reply| reply.data()["left"].as_u64().unwrap())
}

async fn make_codes(stage: &mut Stage) -> Vec<String> {
    let now = stage.h.clock.now();
    stage.ann_calls(Some(now));
    let made = stage.h.write("mfa/method/recovery/generate", json!({})).await.unwrap().data();
    serde_json::from_value(made["recovery_codes"].clone()).unwrap()
}

#[tokio::test]
async fn recovery_codes_go_with_the_last_authenticator() {
    let mut stage = Stage::new().await;
    let (first, other) = (stage.method.clone(), new_method(&stage.h, json!({ "issuer": "x" })).await);
    let ask = |method: &str| json!({ "method_id": method, "entity_id": stage.ann });
    let (of_first, of_other) = (ask(&first), ask(&other));
    stage.enroll().await;
    stage.h.write("mfa/method/totp/admin-generate", of_other.clone()).await.unwrap();
    let codes = make_codes(&mut stage).await;
    stage.h.write("mfa/method/totp/admin-destroy", of_other).await.unwrap();
    assert_eq!(codes_left(&stage).await, Some(10), "there is another one that they stand in for");
    stage.h.write("mfa/method/totp/admin-destroy", of_first).await.unwrap();
    assert_eq!(codes_left(&stage).await, None);
    stage.enroll().await;
    assert_eq!(stage.check(&codes[0]).await, Err(MfaRefusal::Wrong), "of the authenticator of before");
    let codes = make_codes(&mut stage).await;
    assert_eq!(stage.check(&codes[0]).await, Ok(()));
    stage.h.delete(&format!("mfa/method/totp/{first}")).await.unwrap();
    assert_eq!(codes_left(&stage).await, None, "it went with its method");
}

/// As a server of before left them.
#[tokio::test]
async fn whoever_enrols_begins_without_codes_of_before() {
    let mut stage = Stage::new().await;
    stage.enroll().await;
    let codes = make_codes(&mut stage).await;
    let secret = keys::mfa_secret(&stage.ann, &stage.method);
    stage.identities.store.commit(Batch::new().delete(secret)).await.unwrap();
    assert_eq!(codes_left(&stage).await, Some(10));
    stage.enroll().await;
    assert_eq!(stage.check(&codes[0]).await, Err(MfaRefusal::Wrong));
    assert_eq!(codes_left(&stage).await, None);
}

#[tokio::test]
async fn of_two_last_ones_that_go_at_once_one_takes_the_codes_along() {
    let mut stage = Stage::new().await;
    let first = stage.method.clone();
    let other = new_method(&stage.h, json!({ "issuer": "x" })).await;
    for method in [&first, &other] {
        stage.method.clone_from(method);
        stage.enroll().await;
    }
    make_codes(&mut stage).await;
    // Both have read, neither has written.
    let goes = async |method: &str| {
        let batch = Batch::new().delete(keys::mfa_secret(&stage.ann, method));
        stage.identities.codes_go_with(batch, &stage.ann, method).await.unwrap()
    };
    let (one, two) = (goes(&first).await, goes(&other).await);
    assert!(stage.identities.commit(one, &[]).await.unwrap());
    assert!(!stage.identities.commit(two, &[]).await.unwrap(), "it must look again");
    let again = goes(&other).await;
    assert!(stage.identities.commit(again, &[]).await.unwrap());
    assert_eq!(codes_left(&stage).await, None);
}

#[tokio::test]
async fn whoever_asks_for_what_cannot_be_is_told() {
    let stage = Stage::new().await;
    let told = async |path: &str, fields: Value| stage.h.write(path, fields).await.unwrap_err();
    for (fields, word) in [
        (json!({}), "issuer"),
        (json!({ "issuer": "x", "digits": 7 }), "digits"),
        (json!({ "issuer": "x", "skew": 2 }), "skew"),
        (json!({ "issuer": "x", "algorithm": "MD5" }), "algorithm"),
        (json!({ "issuer": "x", "period": 0 }), "period"),
        (json!({ "issuer": "x", "key_size": 4 }), "key_size"),
        (json!({ "issuer": "x", "max_validation_attempts": 0 }), "max_validation_attempts"),
    ] {
        assert!(told("mfa/method/totp", fields).await.told.contains(word));
    }
    for kind in ["duo", "okta", "pingid"] {
        let fault = told(&format!("mfa/method/{kind}"), json!({})).await;
        assert!(fault.kind == Kind::NotBuilt && fault.told.contains(kind));
    }
    let rule = |more: Value| {
        let mut rule = json!({ "mfa_method_ids": [stage.method] });
        rule.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rule
    };
    for fields in [
        json!({}),
        json!({ "mfa_method_ids": ["none"], "auth_method_types": ["userpass"] }),
        rule(json!({})),
        rule(json!({ "auth_method_accessors": ["none"] })),
        rule(json!({ "auth_method_types": ["userpas"] })),
        rule(json!({ "identity_group_ids": ["none"] })),
        rule(json!({ "identity_entity_ids": ["none"] })),
    ] {
        assert_eq!(told("mfa/login-enforcement/x", fields).await.kind, Kind::BadRequest);
    }
    stage.h.write("mfa/login-enforcement/x", rule(json!({ "auth_method_types": "userpass" }))).await.unwrap();
    let used = stage.h.delete(&format!("mfa/method/totp/{}", stage.method)).await.unwrap_err();
    assert!(used.told.contains("still used"));
}

#[tokio::test]
async fn a_login_needs_what_any_rule_says_of_mount_type_group_or_entity() {
    let stage = Stage::new().await;
    let alias = json!({ "name": "ann", "canonical_id": stage.ann, "mount_accessor": "acc1" });
    stage.h.write("entity-alias", alias).await.unwrap();
    let external = make(&stage.h, "group", json!({ "name": "ext", "type": "external" })).await;
    let alias = json!({ "name": "admins", "canonical_id": external, "mount_accessor": "acc2" });
    stage.h.write("group-alias", alias).await.unwrap();
    let above = make(&stage.h, "group", json!({ "name": "above", "member_group_ids": [external] })).await;
    let needs = async |accessor: &str, kind: &str, alias: &str, groups: &[&str]| {
        let groups: Vec<String> = groups.iter().map(|group| (*group).to_owned()).collect();
        !stage.identities.mfa_needed(accessor, kind, alias, &groups).await.unwrap().demands.is_empty()
    };
    let rule = async |fields: Value| {
        let mut rule = json!({ "mfa_method_ids": [stage.method] });
        rule.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        stage.h.delete("mfa/login-enforcement/r").await.unwrap();
        stage.h.write("mfa/login-enforcement/r", rule).await.unwrap();
    };
    assert!(!needs("acc1", "userpass", "ann", &[]).await);
    rule(json!({ "auth_method_accessors": ["acc1"] })).await;
    assert!(needs("acc1", "userpass", "ann", &[]).await && needs("acc1", "userpass", "", &[]).await);
    assert!(!needs("acc2", "ldap", "ann", &[]).await, "another mount");
    rule(json!({ "auth_method_types": ["ldap"] })).await;
    assert!(!needs("acc1", "userpass", "ann", &[]).await && needs("acc2", "ldap", "new", &[]).await);
    rule(json!({ "identity_entity_ids": [stage.ann] })).await;
    assert!(needs("acc1", "userpass", "ann", &[]).await && !needs("acc2", "ldap", "ann", &[]).await);
    // Not a member yet: the login itself would bring the group, and by it the one above.
    rule(json!({ "identity_group_ids": [above] })).await;
    assert!(needs("acc2", "ldap", "new", &["admins"]).await && !needs("acc2", "ldap", "new", &["others"]).await);
    let entities = stage.h.list("entity/id").await.unwrap().data()["keys"].as_array().unwrap().len();
    assert_eq!(entities, 1, "asking makes nobody");
    stage.h.delete("mfa/login-enforcement/r").await.unwrap();
    assert!(!needs("acc2", "ldap", "new", &["admins"]).await);
}
