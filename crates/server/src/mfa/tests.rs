//! Logins that need a second factor, and attacks on them, through the whole walk.

mod attacks;
mod fresh;
mod logins;

use aws_lc_rs::hmac;
use dewdrop_core::Clock as _;
use serde_json::{Value, json};

use super::*;
use crate::vault::rig::{Got, Rig};

/// A server with `auth/userpass` and `auth/other` (userpass too), the person bob at the first, and a method.
struct Stage {
    rig: Rig,
    accessor: String,
    method: String,
    bob: String,
}

impl Stage {
    async fn new() -> Self {
        let rig = Rig::new().await;
        for mount in ["userpass", "other"] {
            rig.must("POST", &format!("sys/auth/{mount}"), json!({ "type": "userpass" })).await;
            rig.must("POST", &format!("auth/{mount}/users/bob"), json!({ "password": "pass-of-bob" })).await;
        }
        let accessor = rig.must("GET", "sys/auth", Value::Null).await["data"]["userpass/"]["accessor"].clone();
        let accessor = accessor.as_str().unwrap().to_owned();
        let bob = rig.must("POST", "identity/entity", json!({ "name": "bob" })).await["data"]["id"].clone();
        let bob = bob.as_str().unwrap().to_owned();
        let alias = json!({ "name": "bob", "canonical_id": bob, "mount_accessor": accessor });
        rig.must("POST", "identity/entity-alias", alias).await;
        let method = new_method(&rig).await;
        Self { rig, accessor, method, bob }
    }

    /// The enforcement `strict`.
    async fn rule(&self, of: Value) {
        let mut rule = json!({ "mfa_method_ids": [self.method] });
        rule.as_object_mut().unwrap().extend(of.as_object().unwrap().clone());
        self.rig.must("POST", "identity/mfa/login-enforcement/strict", rule).await;
    }

    /// A stage whose first mount asks bob for codes; and his key.
    async fn strict() -> (Self, Vec<u8>) {
        let stage = Self::new().await;
        stage.rule(json!({ "auth_method_accessors": [stage.accessor] })).await;
        let key = stage.enroll(&stage.bob, &stage.method).await;
        (stage, key)
    }

    async fn enroll(&self, entity: &str, method: &str) -> Vec<u8> {
        let ask = json!({ "method_id": method, "entity_id": entity });
        let made = self.rig.must("POST", "identity/mfa/method/totp/admin-generate", ask).await;
        let (_, secret) = made["data"]["url"].as_str().unwrap().split_once("secret=").unwrap();
        base32(secret)
    }

    async fn login(&self) -> Got {
        self.login_at("userpass", "pass-of-bob").await
    }

    async fn login_at(&self, mount: &str, password: &str) -> Got {
        let ask = self.rig.ask("POST", &format!("auth/{mount}/login/bob"), json!({ "password": password }));
        ask.with("").send().await
    }

    async fn login_with(&self, header: &str) -> Got {
        let ask = self.rig.ask("POST", "auth/userpass/login/bob", json!({ "password": "pass-of-bob" }));
        ask.with("").header("x-vault-mfa", header).send().await
    }

    /// A login of bob's that waits; its id.
    async fn waits(&self) -> String {
        let got = self.login().await;
        assert_eq!((got.status, &got.json["auth"]["client_token"]), (200, &json!("")), "{got:?}");
        got.json["auth"]["mfa_requirement"]["mfa_request_id"].as_str().unwrap().to_owned()
    }

    async fn validate(&self, id: &str, code: &str) -> Got {
        self.validate_by(id, &self.method, code).await
    }

    async fn validate_by(&self, id: &str, method: &str, code: &str) -> Got {
        let body = json!({ "mfa_request_id": id, "mfa_payload": { method: [code] } });
        self.rig.ask("POST", "sys/mfa/validate", body).with("").send().await
    }

    /// The code of now, and of so many steps beside it.
    fn code(&self, key: &[u8], beside: i64) -> String {
        let step = (self.rig.clock.now().seconds() / 30).checked_add_signed(beside).unwrap();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), &step.to_be_bytes());
        let at = usize::from(tag.as_ref()[19] & 15);
        let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
        format!("{:06}", number % 1_000_000)
    }

    /// A token of bob's that has passed the second factor.
    async fn signed_in(&self, key: &[u8]) -> String {
        let got = self.login_with(&format!("{}:{}", self.method, self.code(key, 0))).await;
        self.rig.advance(60);
        text_of(&got)
    }

    async fn entities(&self) -> usize {
        let got = self.rig.must("LIST", "identity/entity/id", Value::Null).await;
        got["data"]["keys"].as_array().unwrap().len()
    }

    async fn tokens(&self) -> usize {
        let got = self.rig.must("LIST", "auth/token/accessors", Value::Null).await;
        got["data"]["keys"].as_array().unwrap().len()
    }
}

async fn new_method(rig: &Rig) -> String {
    let made = rig.must("POST", "identity/mfa/method/totp", json!({ "issuer": "dewdrop" })).await;
    made["data"]["method_id"].as_str().unwrap().to_owned()
}

/// The token of an answer, which must hold one.
fn text_of(got: &Got) -> String {
    let text = got.json["auth"]["client_token"].as_str().unwrap_or_default().to_owned();
    assert!(got.status == 200 && !text.is_empty(), "{got:?}");
    text
}

fn base32(text: &str) -> Vec<u8> {
    let mut bits = String::new();
    for letter in text.bytes() {
        let value = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|own| *own == letter).unwrap();
        bits.push_str(&format!("{value:05b}"));
    }
    let bits: Vec<u8> = bits.bytes().map(|bit| bit - b'0').collect();
    bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | bit)).collect()
}
