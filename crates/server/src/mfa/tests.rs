//! Logins that need a second factor, and attacks on them, through the whole walk.

mod attacks;
mod fresh;
#[cfg(feature = "webauthn")]
mod keys;
mod logins;

use dewdrop_core::Clock as _;
use dewdrop_testkit::totp::passcode;
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

    /// A stage whose first mount asks bob for codes; and the URL of his key.
    async fn strict() -> (Self, String) {
        let stage = Self::new().await;
        stage.rule(json!({ "auth_method_accessors": [stage.accessor] })).await;
        let key = stage.enroll(&stage.bob, &stage.method).await;
        (stage, key)
    }

    async fn enroll(&self, entity: &str, method: &str) -> String {
        let ask = json!({ "method_id": method, "entity_id": entity });
        let made = self.rig.must("POST", "identity/mfa/method/totp/admin-generate", ask).await;
        made["data"]["url"].as_str().unwrap().to_owned()
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
    fn code(&self, url: &str, beside: i64) -> String {
        passcode(url, self.rig.clock.now().seconds(), beside)
    }

    /// A token of bob's that has passed the second factor.
    async fn signed_in(&self, key: &str) -> String {
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
