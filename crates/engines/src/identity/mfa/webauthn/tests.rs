//! Keys through the engine: registered, asked, and everything that must not pass.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::Caller;
use dewdrop_core::engine::Place;
use dewdrop_core::token::{MfaPassed, TokenRecord};
use dewdrop_core::{Clock, Kind, Moment, Operation};
use dewdrop_testkit::harness::Harness;
use dewdrop_testkit::passkey::SoftKey;
use serde_json::{Value, json};

use super::super::{MfaChallenge, MfaRefusal};
use crate::identity::Identities;
use crate::identity::tests::{harness, make};

const ORIGIN: &str = "https://vault.example.com:8200";

struct Stage {
    h: Harness,
    identities: Arc<Identities>,
    method: String,
    ann: String,
}

impl Stage {
    async fn new() -> Self {
        Self::with(json!({})).await
    }

    async fn with(more: Value) -> Self {
        let (h, identities) = harness();
        let ann = make(&h, "entity", json!({ "name": "ann" })).await;
        let mut ask = json!({ "rp_id": "vault.example.com", "origins": [ORIGIN], "method_name": "keys" });
        ask.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let made = h.write("mfa/method/webauthn", ask).await.unwrap();
        let method = made.data()["method_id"].as_str().unwrap().to_owned();
        let mut stage = Self { h, identities, method, ann };
        let ann = stage.ann.clone();
        stage.calls(&ann, None);
        stage
    }

    fn calls(&mut self, entity: &str, mfa_at: Option<Moment>) {
        let mut token: TokenRecord = serde_json::from_value(json!({
            "accessor": "a", "kind": "service", "policies": [], "path": "auth/up/login", "display_name": "ann",
            "created": 0, "ttl": { "secs": 0, "nanos": 0 }, "renewable": false, "entity_id": entity,
            "namespace": "root",
        }))
        .unwrap();
        token.mfa = mfa_at.map(|at| MfaPassed { at, methods: Vec::new() });
        self.h.caller = Arc::new(Caller { token: Some(Arc::new(token)), ..Caller::default() });
    }

    fn now(&self) -> Moment {
        self.h.clock.now()
    }

    async fn begin(&self) -> Value {
        let ask = json!({ "method_id": self.method, "name": "of the test" });
        self.h.write("mfa/method/webauthn/register/begin", ask).await.unwrap().data()
    }

    async fn finish(&self, begun: &Value, credential: Value) -> Result<Value, dewdrop_core::Fault> {
        let ask = json!({ "registration_id": begun["registration_id"], "credential": credential });
        self.h.write("mfa/method/webauthn/register/finish", ask).await.map(|got| got.data())
    }

    /// The caller's new key.
    async fn registered(&self) -> SoftKey {
        let mut key = SoftKey::new(ORIGIN);
        let begun = self.begin().await;
        let made = self.finish(&begun, key.register(&begun["options"])).await.unwrap();
        assert_eq!(made["credential_id"], key.name());
        key
    }

    async fn asked(&self, entity: &str) -> (Value, MfaChallenge) {
        let asked = self.identities.mfa_challenge(entity, &self.method, self.now()).await.unwrap().unwrap();
        (asked.options, asked.challenge)
    }

    async fn answer(&self, entity: &str, answer: &Value, challenge: Option<MfaChallenge>) -> Result<(), MfaRefusal> {
        let (answer, now) = (answer.to_string(), self.now());
        self.identities.mfa_answer(entity, &self.method, &answer, challenge, now).await.unwrap()
    }

    async fn signs(&self, key: &mut SoftKey) -> Result<(), MfaRefusal> {
        let (options, challenge) = self.asked(&self.ann).await;
        self.answer(&self.ann, &key.sign(&options), Some(challenge)).await
    }
}

fn told(refusal: Result<(), MfaRefusal>) -> &'static str {
    match refusal {
        Err(MfaRefusal::Key(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_key_is_registered_and_signs() {
    let stage = Stage::new().await;
    let mut key = stage.registered().await;
    assert_eq!(stage.signs(&mut key).await, Ok(()));
    assert_eq!(stage.signs(&mut key).await, Ok(()));
    let list = stage.h.call(Operation::List, "mfa/method/webauthn/credentials", json!({})).await.unwrap().data();
    let shown = &list["key_info"][key.name()];
    assert_eq!((&shown["name"], &shown["sign_count"]), (&json!("of the test"), &json!(3)), "{list}");
    assert!(!shown.to_string().contains("cred\""), "no more than that: {shown}");
}

#[tokio::test]
async fn a_challenge_is_for_one_answer_one_person_and_two_minutes() {
    let mut stage = Stage::new().await;
    let mut key = stage.registered().await;
    let (options, challenge) = stage.asked(&stage.ann).await;
    let signed = key.sign(&options);
    assert_eq!(stage.answer(&stage.ann, &signed, Some(challenge)).await, Ok(()));
    assert!(told(stage.answer(&stage.ann, &signed, None).await).contains("no challenge"), "it is used up");
    let (_, other) = stage.asked(&stage.ann).await;
    assert!(told(stage.answer(&stage.ann, &signed, Some(other)).await).contains("another challenge"), "replayed");
    let (options, challenge) = stage.asked(&stage.ann).await;
    stage.h.clock.advance(Duration::from_secs(120));
    assert!(told(stage.answer(&stage.ann, &key.sign(&options), Some(challenge)).await).contains("too long"));

    let bob = make(&stage.h, "entity", json!({ "name": "bob" })).await;
    stage.calls(&bob, None);
    let mut of_bob = stage.registered().await;
    let (options, challenge) = stage.asked(&stage.ann).await;
    assert!(told(stage.answer(&stage.ann, &of_bob.sign(&options), Some(challenge)).await).contains("not registered"));
    let (options, of_ann) = stage.asked(&stage.ann).await;
    assert!(told(stage.answer(&bob, &of_bob.sign(&options), Some(of_ann)).await).contains("no challenge"));
    assert_eq!(stage.signs(&mut key).await, Ok(()), "none of these did harm");
}

#[tokio::test]
async fn another_place_a_copied_counter_and_an_unverified_touch_are_refused() {
    let stage = Stage::new().await;
    let mut key = stage.registered().await;
    key.origin = "https://vault.example.com.evil.test:8200".into();
    assert!(told(stage.signs(&mut key).await).contains("origins"));
    key.origin = "https://vault.example.com:8201".into();
    assert!(told(stage.signs(&mut key).await).contains("origins"), "another port");
    key.origin = ORIGIN.into();
    key.rp_id = Some("example.com".into());
    assert!(told(stage.signs(&mut key).await).contains("rp_id"));
    (key.rp_id, key.verifies) = (None, false);
    assert!(told(stage.signs(&mut key).await).contains("PIN"));
    key.verifies = true;
    assert_eq!(stage.signs(&mut key).await, Ok(()));
    key.counter -= 1;
    assert!(told(stage.signs(&mut key).await).contains("copy"), "the same count again");
    key.counter -= 3;
    assert!(told(stage.signs(&mut key).await).contains("copy"), "it went back");
    key.counter += 10;
    assert_eq!(stage.signs(&mut key).await, Ok(()), "the one that is ahead goes on");
}

#[tokio::test]
async fn the_counter_is_on_disk() {
    let stage = Stage::new().await;
    let mut key = stage.registered().await;
    assert_eq!(stage.signs(&mut key).await, Ok(()));
    let place = Place {
        store: stage.identities.store.clone(),
        clock: stage.identities.clock.clone(),
        mount_uuid: String::new(),
        mount_accessor: String::new(),
        options: std::collections::BTreeMap::new(),
        house: stage.identities.house.clone(),
    };
    let again = Identities::open(place, "root");
    let asked = again.mfa_challenge(&stage.ann, &stage.method, stage.now()).await.unwrap().unwrap();
    key.counter -= 1;
    let answer = key.sign(&asked.options).to_string();
    let got = again.mfa_answer(&stage.ann, &stage.method, &answer, Some(asked.challenge), stage.now()).await.unwrap();
    assert!(told(got).contains("copy"));
}

#[tokio::test]
async fn what_a_signature_covers_cannot_be_changed() {
    let stage = Stage::new().await;
    let mut key = stage.registered().await;
    for part in ["authenticatorData", "clientDataJSON", "signature"] {
        let (options, challenge) = stage.asked(&stage.ann).await;
        let mut signed = key.sign(&options);
        let other = key.sign(&options)["response"][part].clone();
        if part == "clientDataJSON" {
            use base64::Engine as _;
            let own = base64::prelude::BASE64_URL_SAFE_NO_PAD;
            let text = own.decode(signed["response"][part].as_str().unwrap()).unwrap();
            let bent = String::from_utf8(text).unwrap().replace("false", "null ");
            signed["response"][part] = own.encode(bent).into();
        } else {
            signed["response"][part] = other;
        }
        let refusal = stage.answer(&stage.ann, &signed, Some(challenge)).await;
        assert!(matches!(refusal, Err(MfaRefusal::Key(_))), "{part}: {refusal:?}");
    }
    for bad in [json!({}), json!({ "rawId": key.name() }), json!({ "rawId": 1, "response": "x" })] {
        let (_, challenge) = stage.asked(&stage.ann).await;
        assert!(stage.answer(&stage.ann, &bad, Some(challenge)).await.is_err(), "{bad}");
    }
}

#[tokio::test]
async fn verification_is_asked_for_as_the_method_says() {
    let stage = Stage::with(json!({ "user_verification": "discouraged" })).await;
    let mut key = SoftKey::new(ORIGIN);
    key.verifies = false;
    let begun = stage.begin().await;
    stage.finish(&begun, key.register(&begun["options"])).await.unwrap();
    assert_eq!(stage.signs(&mut key).await, Ok(()));
    // The method becomes stricter, while a challenge of before is open too.
    let (options, challenge) = stage.asked(&stage.ann).await;
    let ask = json!({ "rp_id": "vault.example.com", "origins": [ORIGIN] });
    stage.h.write(&format!("mfa/method/webauthn/{}", stage.method), ask).await.unwrap();
    assert!(told(stage.answer(&stage.ann, &key.sign(&options), Some(challenge)).await).contains("PIN"));
    assert!(told(stage.signs(&mut key).await).contains("PIN"));
}

#[tokio::test]
async fn a_registration_is_its_own_and_serves_once() {
    let mut stage = Stage::new().await;
    let begun = stage.begin().await;
    let mut key = SoftKey::new(ORIGIN);
    key.verifies = false;
    let refused = stage.finish(&begun, key.register(&begun["options"])).await.unwrap_err();
    assert!(refused.kind == Kind::BadRequest && refused.told.contains("PIN"), "{refused}");
    key.verifies = true;
    assert!(stage.finish(&begun, key.register(&begun["options"])).await.is_err(), "it was used up");
    let (begun, mut elsewhere) = (stage.begin().await, SoftKey::new("https://evil.test"));
    assert!(stage.finish(&begun, elsewhere.register(&begun["options"])).await.unwrap_err().told.contains("origins"));
    let begun = stage.begin().await;
    let made = key.register(&begun["options"]);
    let bob = make(&stage.h, "entity", json!({ "name": "bob" })).await;
    let ann = stage.ann.clone();
    stage.calls(&bob, None);
    assert!(stage.finish(&begun, made.clone()).await.is_err(), "begun by another");
    stage.calls(&ann, None);
    stage.h.clock.advance(Duration::from_secs(300));
    assert!(stage.finish(&begun, made).await.unwrap_err().told.contains("too long"));
}

#[tokio::test]
async fn who_has_a_key_shows_it_before_getting_or_deleting_one() {
    let mut stage = Stage::new().await;
    let early = stage.begin().await;
    let key = stage.registered().await;
    let ask = json!({ "method_id": stage.method });
    let begin = "mfa/method/webauthn/register/begin";
    let own = format!("mfa/method/webauthn/credentials/{}", key.name());
    assert_eq!(stage.h.write(begin, ask.clone()).await.unwrap_err().kind, Kind::Denied);
    let mut more = SoftKey::new(ORIGIN);
    let made = more.register(&early["options"]);
    assert_eq!(stage.finish(&early, made).await.unwrap_err().kind, Kind::Denied, "begun before there was one");
    let deleted = stage.h.call(Operation::Delete, &own, json!({})).await;
    assert_eq!(deleted.unwrap_err().kind, Kind::Denied);
    let (ann, now) = (stage.ann.clone(), stage.now());
    stage.calls(&ann, Some(now));
    let second = stage.registered().await;
    stage.h.write(&own, json!({ "name": "blue" })).await.unwrap();
    let list = stage.h.call(Operation::List, "mfa/method/webauthn/credentials", json!({})).await.unwrap().data();
    assert_eq!((list["keys"].as_array().unwrap().len(), &list["key_info"][key.name()]["name"]), (2, &json!("blue")));
    stage.h.call(Operation::Delete, &own, json!({})).await.unwrap();
    let destroy = json!({ "method_id": stage.method, "entity_id": ann });
    stage.h.write("mfa/method/webauthn/admin-destroy", destroy).await.unwrap();
    assert!(stage.identities.mfa_enrolled(&ann).await.unwrap().is_empty(), "{} is gone", second.name());
    assert!(stage.identities.mfa_challenge(&ann, &stage.method, stage.now()).await.unwrap().is_none());
}

#[tokio::test]
async fn recovery_codes_go_with_the_last_key() {
    let mut stage = Stage::new().await;
    let (ann, now) = (stage.ann.clone(), stage.now());
    let (first, second) = {
        stage.calls(&ann, Some(now));
        (stage.registered().await, stage.registered().await)
    };
    let own = |key: &SoftKey| format!("mfa/method/webauthn/credentials/{}", key.name());
    let made = stage.h.write("mfa/method/recovery/generate", json!({})).await.unwrap().data();
    let code = made["recovery_codes"][0].as_str().unwrap().to_owned();
    stage.h.delete(&own(&first)).await.unwrap();
    assert_eq!(stage.h.read("mfa/method/recovery").await.unwrap().data()["left"], 10, "one key is left");
    stage.h.delete(&own(&second)).await.unwrap();
    assert_eq!(stage.h.read("mfa/method/recovery").await.unwrap_err().kind, Kind::NotFound);
    stage.registered().await;
    let old = stage.identities.mfa_answer(&ann, &stage.method, &code, None, now).await.unwrap();
    assert_eq!(old, Err(MfaRefusal::Wrong), "of the keys of before");
    stage.h.write("mfa/method/recovery/generate", json!({})).await.unwrap();
    let destroy = json!({ "method_id": stage.method, "entity_id": ann });
    stage.h.write("mfa/method/webauthn/admin-destroy", destroy).await.unwrap();
    assert_eq!(stage.h.read("mfa/method/recovery").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn types_of_methods_are_kept_apart() {
    let stage = Stage::new().await;
    let totp = stage.h.write("mfa/method/totp", json!({ "issuer": "x", "method_name": "phone" })).await.unwrap().data();
    let totp = totp["method_id"].as_str().unwrap().to_owned();
    let keys = |path: &'static str| {
        let h = &stage.h;
        async move { h.call(Operation::List, path, json!({})).await.unwrap().data()["keys"].clone() }
    };
    assert_eq!(keys("mfa/method/totp").await, json!([totp]));
    assert_eq!(keys("mfa/method/webauthn").await, json!([stage.method]));
    assert_eq!(keys("mfa/method").await.as_array().unwrap().len(), 2);
    let read = |path: String| {
        let h = &stage.h;
        async move { h.call(Operation::Read, &path, json!({})).await }
    };
    assert_eq!(read(format!("mfa/method/{}", stage.method)).await.unwrap().data()["type"], "webauthn");
    assert_eq!(read(format!("mfa/method/totp/{}", stage.method)).await.unwrap_err().kind, Kind::NotFound);
    for (path, ask) in [
        (format!("mfa/method/totp/{}", stage.method), json!({ "issuer": "x" })),
        (format!("mfa/method/webauthn/{totp}"), json!({ "rp_id": "a.test" })),
        ("mfa/method/totp".to_owned(), json!({ "issuer": "x", "method_name": "keys" })),
        ("mfa/method/totp/generate".to_owned(), json!({ "method_id": stage.method })),
        ("mfa/method/webauthn/register/begin".to_owned(), json!({ "method_id": totp })),
        (format!("mfa/method/webauthn/{}", stage.method), json!({ "rp_id": "other.test" })),
        ("mfa/method/webauthn".to_owned(), json!({ "rp_id": "https://a.test" })),
        ("mfa/method/webauthn".to_owned(), json!({ "rp_id": "a.test", "origins": ["https://b.test"] })),
        ("mfa/method/webauthn".to_owned(), json!({ "rp_id": "a.test", "user_verification": "maybe" })),
    ] {
        let refused = stage.h.write(&path, ask.clone()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::BadRequest, "{path} {ask}: {refused}");
    }
}
