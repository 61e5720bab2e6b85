//! Driven through the routes, as a server would, with keys made here.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Caller, Login};
use dewdrop_core::mount::MountClass;
use dewdrop_core::{Clock as _, Fault, Kind};
use dewdrop_testkit::harness::{Got, Harness};
use dewdrop_testkit::jwt::{Signer, hmac_token, jwks, unsigned};
use serde_json::{Value, json};

use super::Jwt;
use crate::jose::testing::FakeApi;

mod browser;
mod claims;
mod sources;

struct Rig {
    harness: Harness,
    signer: Signer,
}

impl Rig {
    /// Verifies by a key that is given, with a role `ci`.
    async fn new() -> Self {
        let rig = Self::bare(Signer::ed("k1"));
        rig.harness.write("config", json!({ "jwt_validation_pubkeys": rig.signer.pem() })).await.unwrap();
        rig.role(json!({})).await;
        rig
    }

    fn bare(signer: Signer) -> Self {
        Self { harness: Harness::new(MountClass::Auth, &[], Jwt::open), signer }
    }

    async fn role(&self, more: Value) {
        self.harness.write("role/ci", merged(role(), more)).await.unwrap();
    }

    fn claims(&self) -> Value {
        let now = self.harness.clock.now().seconds();
        json!({
            "iss": "https://ci.test", "sub": "repo:a", "aud": "dewdrop", "iat": now, "nbf": now, "exp": now + 300,
            "user": { "name": "ada" }, "groups": ["x", "", "y"], "ref": "main", "run": 7,
        })
    }

    async fn login(&self, more: Value) -> Result<Login, Fault> {
        self.send(&self.signer.token(&merged(self.claims(), more))).await
    }

    async fn send(&self, jwt: &str) -> Result<Login, Fault> {
        self.harness.write("login", json!({ "role": "ci", "jwt": jwt })).await.map(Got::login)
    }

    /// What a refused token is told.
    async fn refused(&self, more: Value) -> String {
        let fault = self.login(more.clone()).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadCredential, "{more}: {fault:?}");
        assert!(fault.known.starts_with("role \"ci\": "), "{fault:?}");
        fault.told.into_owned()
    }
}

fn role() -> Value {
    json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "dewdrop" })
}

fn merged(mut one: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("no object: {more}") };
    one.as_object_mut().unwrap().extend(more);
    one
}

#[tokio::test]
async fn a_login_tells_the_server_all_it_needs() {
    let rig = Rig::new().await;
    let more = json!({
        "groups_claim": "groups", "claim_mappings": { "ref": "branch", "/user/name": "who", "none": "none" },
        "user_claim": "/user/name", "user_claim_json_pointer": true, "token_policies": "p",
    });
    rig.role(more).await;
    let login = rig.login(json!({})).await.unwrap();
    assert_eq!((login.alias.as_str(), login.display_name.as_str()), ("ada", "ada"));
    assert_eq!(json!(login.metadata), json!({ "role": "ci", "branch": "main", "who": "ada" }));
    assert_eq!(login.group_aliases, ["x", "y"]);
    assert_eq!(login.params.policies, ["p"]);
    let renewed = rig.harness.room.renew_login(&login.internal, &Caller::default()).await.unwrap();
    assert_eq!(renewed.policies, ["p"]);
    rig.harness.delete("role/ci").await.unwrap();
    assert!(
        rig.harness
            .room
            .renew_login(&login.internal, &Caller::default())
            .await
            .unwrap_err()
            .told
            .contains("during renewal")
    );
}

#[tokio::test]
async fn what_a_login_must_give() {
    let rig = Rig::bare(Signer::ec("k"));
    let told = async |fields: Value| {
        let fault = rig.harness.write("login", fields).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadRequest, "{fault:?}");
        fault.told.into_owned()
    };
    assert_eq!(told(json!({ "role": "ci", "jwt": "x" })).await, "could not load configuration");
    rig.harness.write("config", json!({ "jwt_validation_pubkeys": rig.signer.pem() })).await.unwrap();
    assert_eq!(told(json!({ "jwt": "x" })).await, "missing role");
    assert_eq!(told(json!({ "role": "none", "jwt": "x" })).await, "role could not be found");
    rig.role(json!({})).await;
    assert_eq!(told(json!({ "role": "ci" })).await, "missing token");
    let config = json!({ "jwt_validation_pubkeys": rig.signer.pem(), "default_role": "CI" });
    rig.harness.write("config", config).await.unwrap();
    let jwt = rig.signer.token(&rig.claims());
    rig.harness.write("login", json!({ "jwt": jwt })).await.unwrap().login();
    assert_eq!(super::default_role(rig.harness.store.clone()).await.unwrap().as_deref(), Some("ci"));
}

#[tokio::test]
async fn a_callers_address_can_be_bound() {
    let mut rig = Rig::new().await;
    rig.role(json!({ "token_bound_cidrs": "10.0.0.0/8" })).await;
    let fault = rig.login(json!({})).await.unwrap_err();
    assert_eq!((fault.kind, fault.told.as_ref()), (Kind::Denied, "permission denied"));
    let address = Some("10.1.1.1".parse().unwrap());
    rig.harness.caller = Arc::new(Caller { address, ..Caller::default() });
    rig.login(json!({})).await.unwrap();
}

#[tokio::test]
async fn a_role_shows_what_it_is() {
    let rig = Rig::new().await;
    let more = json!({ "clock_skew_leeway": -1, "expiration_leeway": "2m", "not_before_leeway": "10" });
    rig.role(merged(more, json!({ "bound_claims": { "a": ["b"] }, "bound_claims_type": "glob" }))).await;
    let shown = rig.harness.read("role/ci").await.unwrap().data();
    assert_eq!(
        (&shown["clock_skew_leeway"], &shown["expiration_leeway"], &shown["not_before_leeway"]),
        (&json!(-1), &json!(120), &json!(10))
    );
    assert_eq!((&shown["role_type"], &shown["bound_claims_type"]), (&json!("jwt"), &json!("glob")));
    assert_eq!((&shown["bound_claims"], &shown["claim_mappings"]), (&json!({ "a": ["b"] }), &Value::Null));
    assert_eq!(rig.harness.list("role").await.unwrap().keys(), ["ci"]);
}

#[tokio::test]
async fn a_role_that_cannot_be_is_refused() {
    let rig = Rig::new().await;
    let kind = async |more: Value| rig.harness.write("role/new", merged(role(), more)).await.unwrap_err().kind;
    for more in [
        json!({ "role_type": "" }),
        json!({ "role_type": "saml" }),
        json!({ "user_claim": "" }),
        json!({ "bound_audiences": "" }),
        json!({ "bound_claims_type": "regex" }),
        json!({ "bound_claims_type": "glob", "bound_claims": { "a": 1 } }),
        json!({ "bound_claims_type": "glob", "bound_claims": { "a": ["x", true] } }),
        json!({ "claim_mappings": { "a": "role" } }),
        json!({ "claim_mappings": { "a": "x", "b": "x" } }),
        json!({ "clock_skew_leeway": "soon" }),
        json!({ "token_ttl": "2h", "token_max_ttl": "1h" }),
    ] {
        assert_eq!(kind(more.clone()).await, Kind::BadRequest, "{more}");
    }
    for more in [
        json!({ "oauth2_metadata": "id_token" }),
        json!({ "verbose_oidc_logging": true }),
        json!({ "token_policies_template_claims": true }),
    ] {
        assert_eq!(kind(more.clone()).await, Kind::NotBuilt, "{more}");
    }
    assert_eq!(rig.harness.read("role/new").await.unwrap_err().kind, Kind::NotFound);
}
