//! Keys that are fetched, over a real socket; and keys that are given.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::{FakeClock, Moment};
use dewdrop_testkit::jwt::{Signer, jwks};
use serde_json::json;

use super::testing::FakeApi;
use super::{ALGORITHMS, Fetch, Http, KeySet, Refused, RemoteKeys, Signed};

struct At(String);

#[async_trait]
impl Fetch for At {
    async fn fetch(&self) -> Result<KeySet, String> {
        let (status, body) = Http::new("").map_err(|e| e.to_string())?.get(&self.0, None).await?;
        if status == 200 { KeySet::from_jwks(&body) } else { Err(format!("status {status}")) }
    }
}

struct Rig {
    api: Arc<FakeApi>,
    clock: Arc<FakeClock>,
    keys: RemoteKeys,
}

async fn rig(signers: &[&Signer]) -> Rig {
    let told = jwks(signers);
    let api = FakeApi::start(move |_| (200, told.clone())).await;
    let clock = FakeClock::at(Moment(1_800_000_000_000));
    let keys = RemoteKeys::new(Box::new(At(api.url.clone())), clock.clone());
    Rig { api, clock, keys }
}

impl Rig {
    async fn verify(&self, jwt: &str) -> Result<(), Refused> {
        self.keys.verify(Signed::read(jwt)?, &ALGORITHMS).await.map(|_| ())
    }

    fn now_has(&self, signers: &[&Signer]) {
        let told = jwks(signers);
        self.api.answers(move |_| (200, told.clone()));
    }
}

#[tokio::test]
async fn keys_are_read_once_and_again_when_they_are_old() {
    let one = Signer::ec("one");
    let (rig, jwt) = (rig(&[&one]).await, one.token(&json!({})));
    for _ in 0..3 {
        rig.verify(&jwt).await.unwrap();
    }
    assert_eq!(rig.api.asked().len(), 1);
    rig.clock.advance(Duration::from_secs(301));
    rig.now_has(&[&Signer::ec("two")]);
    rig.verify(&jwt).await.unwrap_err();
    assert_eq!(rig.api.asked().len(), 1, "a key that was taken away is gone within minutes");
}

#[tokio::test]
async fn a_new_key_is_found_and_unknown_ones_do_not_make_us_ask_all_the_time() {
    let (one, two, none) = (Signer::ec("one"), Signer::ed("two"), Signer::rsa("none"));
    let rig = rig(&[&one]).await;
    rig.verify(&one.token(&json!({}))).await.unwrap();
    rig.now_has(&[&one, &two]);
    rig.clock.advance(Duration::from_secs(11));
    rig.verify(&two.token(&json!({}))).await.unwrap();
    assert_eq!(rig.api.asked().len(), 2);
    for _ in 0..50 {
        assert!(matches!(rig.verify(&none.token(&json!({}))).await, Err(Refused::Signature(_))));
    }
    assert_eq!(rig.api.asked().len(), 0, "at most once in ten seconds");
    rig.clock.advance(Duration::from_secs(11));
    let wrong = none.token(&json!({}));
    let _ = tokio::join!(rig.verify(&wrong), rig.verify(&wrong), rig.verify(&wrong));
    assert_eq!(rig.api.asked().len(), 1, "of many that want it, one asks");
}

#[tokio::test]
async fn the_last_good_keys_stay_while_the_issuer_is_away() {
    let one = Signer::ec("one");
    let (rig, jwt) = (rig(&[&one]).await, one.token(&json!({})));
    rig.api.answers(|_| (500, String::new()));
    assert!(matches!(rig.verify(&jwt).await, Err(Refused::Keys(why)) if why.contains("500")));
    rig.now_has(&[&one]);
    rig.clock.advance(Duration::from_secs(11));
    rig.verify(&jwt).await.unwrap();
    for bad in ["", "{}", "{\"keys\":7}", "not json"] {
        rig.api.answers(move |_| (200, bad.to_owned()));
        rig.clock.advance(Duration::from_secs(400));
        rig.verify(&jwt).await.unwrap();
    }
    rig.api.answers(|_| (302, String::new()));
    rig.clock.advance(Duration::from_secs(400));
    rig.verify(&jwt).await.unwrap();
    assert!(rig.api.asked().iter().all(|asked| asked.line == "GET /"), "redirects are not followed");
}

#[tokio::test]
async fn an_answer_without_end_is_cut() {
    let api = FakeApi::start(|_| (200, " ".repeat(1024 * 1024 + 1))).await;
    let why = Http::new("").unwrap().get(&api.url, None).await.unwrap_err();
    assert!(why.contains("larger"), "{why}");
    assert!(Http::new("no PEM").is_err());
    let why = Http::new("").unwrap().get("http://127.0.0.1:1", None).await.unwrap_err();
    assert!(!why.is_empty());
}

#[tokio::test]
async fn keys_that_are_not_for_signatures_are_left_out() {
    let (good, other) = (Signer::ec("good"), Signer::ec("enc"));
    let mut for_encryption = other.jwk();
    for_encryption["use"] = "enc".into();
    let mut of_another_algorithm = good.jwk();
    of_another_algorithm["alg"] = "ES384".into();
    of_another_algorithm["kid"] = "other".into();
    let odd = json!({ "kty": "oct", "kid": "secret", "k": "c2VjcmV0", "alg": "HS256" });
    let all = json!({ "keys": [odd, { "kty": "none" }, 7, for_encryption, of_another_algorithm, good.jwk()] });
    let keys = KeySet::from_jwks(all.to_string().as_bytes()).unwrap();
    let verify = |jwt: &str| keys.verify(Signed::read(jwt)?, &ALGORITHMS).map(|_| ());
    verify(&good.token(&json!({}))).unwrap();
    verify(&other.token(&json!({}))).unwrap_err();
    verify(&good.token_with(&json!({ "alg": "ES256" }), &json!({}))).unwrap();
    verify(&good.token_with(&json!({ "alg": "ES256", "kid": "other" }), &json!({}))).unwrap_err();
    let many = json!({ "keys": vec![good.jwk(); 501] });
    assert!(KeySet::from_jwks(many.to_string().as_bytes()).is_err());
}

#[test]
fn a_private_key_is_no_public_one() {
    let pem = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g\n-----END PRIVATE KEY-----\n";
    assert_eq!(KeySet::from_pem(&[pem.to_owned()]).err(), Some(1));
    assert_eq!(KeySet::from_pem(&[Signer::ed("a").pem(), "x".to_owned()]).err(), Some(2));
}

#[test]
fn a_key_in_pem_verifies() {
    for signer in [Signer::rsa("r"), Signer::ec("e"), Signer::ed("d")] {
        let keys = KeySet::from_pem(&[Signer::ec("x").pem(), signer.pem()]).unwrap();
        let jwt = signer.token(&json!({ "a": 1 }));
        assert_eq!(keys.verify(Signed::read(&jwt).unwrap(), &ALGORITHMS).unwrap().0["a"], 1);
        assert_eq!(keys.verify(Signed::read(&jwt).unwrap(), &[]).unwrap_err(), Refused::Algorithm);
    }
}

/// Read by every caller without a token: no input may break it.
mod any_input {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn reads_or_refuses(text in "\\PC*", parts in proptest::collection::vec("[A-Za-z0-9_-]{0,20}", 0..5)) {
            let _ = Signed::read(&text);
            let _ = Signed::read(&parts.join("."));
            let _ = KeySet::from_jwks(text.as_bytes());
            let _ = KeySet::from_pem(&[text]);
        }

        #[test]
        fn no_changed_token_verifies(at in 0usize..400, bit in 0u8..7) {
            let signer = Signer::ed("k");
            let jwt = signer.token(&json!({ "sub": "a", "more": "x".repeat(100) }));
            let keys = KeySet::from_jwks(jwks(&[&signer]).as_bytes()).unwrap();
            let mut bytes = jwt.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(changed) = String::from_utf8(bytes)
                && let Ok(token) = Signed::read(&changed)
            {
                prop_assert!(keys.verify(token, &ALGORITHMS).is_err(), "{changed}");
            }
        }
    }
}
