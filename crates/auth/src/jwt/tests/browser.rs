//! Sign-in by browser with a provider that lies as it is told. A real one signs people in in
//! `crates/dewdrop/tests/oidc.rs`; this one gives what a real one never would.

use std::net::IpAddr;

use parking_lot::Mutex;

use super::*;

const BACK: &str = "http://localhost:8250/oidc/callback";

/// A mount that trusts a provider, which gives the token that the test chooses.
struct Lying {
    rig: Rig,
    issuer: String,
    /// What the token endpoint answers.
    tokens: Arc<Mutex<Value>>,
    /// What the userinfo endpoint answers.
    userinfo: Arc<Mutex<Value>>,
}

impl Lying {
    async fn new() -> Self {
        let rig = Rig::bare(Signer::rsa("k1"));
        let (tokens, userinfo) = (Arc::new(Mutex::new(json!({}))), Arc::new(Mutex::new(json!({}))));
        let keys = jwks(&[&rig.signer]);
        let api = FakeApi::start(|_| (500, String::new())).await;
        let (issuer, own_tokens, own_userinfo) = (api.url.clone(), tokens.clone(), userinfo.clone());
        api.answers(move |asked| {
            let document = json!({
                "issuer": issuer, "jwks_uri": format!("{issuer}/keys"), "token_endpoint": format!("{issuer}/token"),
                "authorization_endpoint": format!("{issuer}/auth"), "userinfo_endpoint": format!("{issuer}/userinfo"),
            });
            match asked.line.as_str() {
                "GET /keys" => (200, keys.clone()),
                "POST /token" => (200, own_tokens.lock().to_string()),
                "GET /userinfo" => (200, own_userinfo.lock().to_string()),
                _ => (200, document.to_string()),
            }
        });
        let lying = Self { issuer: api.url.clone(), rig, tokens, userinfo };
        lying.rig.harness.write("config", lying.config()).await.unwrap();
        lying.role(json!({})).await;
        lying
    }

    fn config(&self) -> Value {
        json!({ "oidc_discovery_url": self.issuer, "oidc_client_id": "me", "oidc_client_secret": "hidden-secret" })
    }

    async fn role(&self, more: Value) {
        let role = json!({ "user_claim": "sub", "allowed_redirect_uris": BACK });
        self.rig.harness.write("role/dev", merged(role, more)).await.unwrap();
    }

    /// Begins a sign-in: its state and its nonce.
    async fn begin(&self) -> (String, String) {
        let ask = json!({ "role": "dev", "redirect_uri": BACK, "client_nonce": "mine" });
        let url = self.rig.harness.write("oidc/auth_url", ask).await.unwrap().data()["auth_url"].clone();
        let url = url.as_str().unwrap();
        (field(url, "state"), field(url, "nonce"))
    }

    fn claims(&self, nonce: &str) -> Value {
        let now = self.rig.harness.clock.now().seconds();
        json!({ "iss": self.issuer, "aud": "me", "sub": "ada", "iat": now, "exp": now + 300, "nonce": nonce })
    }

    fn gives(&self, id_token: &str) {
        *self.tokens.lock() = json!({ "id_token": id_token, "access_token": "access", "token_type": "Bearer" });
        *self.userinfo.lock() = json!({ "sub": "ada", "groups": ["x"], "iss": "https://else.test" });
    }

    async fn end(&self, state: &str) -> Result<Login, Fault> {
        let back = json!({ "state": state, "code": "c", "client_nonce": "mine" });
        self.rig.harness.read_with("oidc/callback", back).await.map(Got::login)
    }

    /// A sign-in with claims that differ.
    async fn sign_in(&self, more: Value) -> Result<Login, Fault> {
        let (state, nonce) = self.begin().await;
        self.gives(&self.rig.signer.token(&merged(self.claims(&nonce), more)));
        self.end(&state).await
    }

    async fn told(&self, more: Value) -> String {
        let fault = self.sign_in(more.clone()).await.expect_err(&more.to_string());
        assert_eq!(fault.kind, Kind::BadCredential, "{more}: {fault:?}");
        fault.told.into_owned()
    }
}

fn field(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap();
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("no {name} in {url}")).to_owned()
}

/// A device's redirect_uri is compared with nothing, and would be kept for ten minutes for whoever asks.
#[tokio::test]
async fn nobody_fills_the_memory_with_what_is_not_looked_at() {
    let lying = Lying::new().await;
    lying.role(json!({ "callback_mode": "device" })).await;
    let ask = json!({ "role": "dev", "redirect_uri": "x".repeat(1 << 20), "client_nonce": "mine" });
    let fault = lying.rig.harness.write("oidc/auth_url", ask).await.unwrap_err();
    assert!(fault.kind == Kind::BadRequest && fault.told.contains("redirect_uri is longer"), "{fault:?}");
}

#[tokio::test]
async fn a_sign_in_tells_who_it_is_with_the_groups_of_the_userinfo() {
    let lying = Lying::new().await;
    lying.role(json!({ "groups_claim": "groups", "oidc_scopes": "groups,email", "max_age": 60, "claim_mappings": { "iss": "by" } })).await;
    let ask = json!({ "role": "dev", "redirect_uri": "http://localhost:1/oidc/callback" });
    let url = lying.rig.harness.write("oidc/auth_url", ask).await.unwrap().data()["auth_url"].clone();
    let url = url.as_str().unwrap();
    assert!(url.starts_with(&format!("{}/auth?client_id=me&code_challenge=", lying.issuer)), "{url}");
    assert_eq!(
        (field(url, "code_challenge_method"), field(url, "scope")),
        ("S256".into(), "openid+groups+email".into())
    );
    assert_eq!((field(url, "max_age"), field(url, "response_type")), ("60".into(), "code".into()));
    let now = lying.rig.harness.clock.now().seconds();
    let login = lying.sign_in(json!({ "auth_time": now })).await.unwrap();
    assert_eq!(login.metadata["by"], lying.issuer, "what is signed stays, whatever the userinfo says");
    assert_eq!((login.alias.as_str(), login.group_aliases.as_slice()), ("ada", ["x".to_owned()].as_slice()));
    assert_eq!(
        lying.told(json!({ "auth_time": now - 1000 })).await,
        "the sign-in at the provider is older than max_age"
    );
    assert_eq!(lying.told(json!({})).await, "the token has no auth_time claim");
}

#[tokio::test]
async fn tokens_that_were_not_made_for_this_sign_in_are_refused() {
    let lying = Lying::new().await;
    lying.sign_in(json!({})).await.unwrap();
    let now = lying.rig.harness.clock.now().seconds();
    for (more, told) in [
        (json!({ "nonce": "n_other" }), "invalid nonce"),
        (json!({ "nonce": null }), "invalid nonce"),
        (json!({ "aud": "somebody" }), "invalid audience"),
        (json!({ "aud": ["me", "somebody"] }), "several audiences"),
        (json!({ "aud": ["me", "somebody"], "azp": "somebody" }), "invalid authorized party"),
        (json!({ "azp": "somebody" }), "invalid authorized party"),
        (json!({ "iss": "https://evil.test" }), "invalid issuer"),
        (json!({ "exp": now - 100 }), "token is expired"),
        (json!({ "exp": null }), "is no time"),
        (json!({ "iat": now + 1000 }), "issued in the future"),
        (json!({ "sub": "eve" }), "another subject"),
    ] {
        let heard = lying.told(more.clone()).await;
        assert!(heard.contains(told), "{more}: {heard}");
    }
    lying.role(json!({ "bound_subject": "bob" })).await;
    assert!(lying.told(json!({})).await.contains("invalid subject"));
    lying.role(json!({ "bound_subject": "", "bound_audiences": "other" })).await;
    assert!(lying.told(json!({})).await.contains("invalid audience"));
    lying.role(json!({ "bound_audiences": "", "bound_claims": { "team": "a" } })).await;
    assert!(lying.told(json!({ "team": "b" })).await.contains("does not match"));
    lying.sign_in(json!({ "team": "a" })).await.unwrap();
}

#[tokio::test]
async fn signatures_of_others_and_of_nobody_are_refused() {
    let lying = Lying::new().await;
    let stranger = Signer::rsa("k1");
    let told = async |make: &dyn Fn(&Value) -> String| {
        let (state, nonce) = lying.begin().await;
        lying.gives(&make(&lying.claims(&nonce)));
        lying.end(&state).await.unwrap_err().told.into_owned()
    };
    let none = json!({ "alg": "none", "typ": "JWT" });
    assert!(told(&|claims| format!("{}.", unsigned(&none, claims))).await.contains("algorithm"));
    assert!(told(&|claims| stranger.token(claims)).await.contains("no known key signed"));
    let pem = lying.rig.signer.pem();
    assert!(told(&|claims| hmac_token(pem.as_bytes(), "k1", claims)).await.contains("algorithm"));
    *lying.tokens.lock() = json!({ "access_token": "x" });
    let (state, _) = lying.begin().await;
    assert_eq!(lying.end(&state).await.unwrap_err().kind, Kind::Unavailable);
}

#[tokio::test]
async fn a_state_is_good_once_in_time_at_its_own_mount_and_for_its_own_client() {
    let (lying, other) = (Lying::new().await, Lying::new().await);
    let gone = async |at: &Lying, state: &str| at.end(state).await.unwrap_err().told == crate::jwt::oidc::NO_STATE;
    let ready = async || {
        let (state, nonce) = lying.begin().await;
        lying.gives(&lying.rig.signer.token(&lying.claims(&nonce)));
        state
    };
    let state = ready().await;
    assert!(gone(&other, &state).await, "of another mount");
    lying.end(&state).await.unwrap();
    assert!(gone(&lying, &state).await, "used");
    assert!(gone(&lying, "").await && gone(&lying, "st_x").await, "never made");

    let state = ready().await;
    let back = |more: Value| merged(json!({ "state": state, "code": "c" }), more);
    let fault = lying.rig.harness.read_with("oidc/callback", back(json!({ "client_nonce": "not mine" }))).await;
    assert_eq!(fault.unwrap_err().told, "invalid client_nonce");
    assert!(gone(&lying, &state).await, "ended by a wrong client_nonce");

    let state = ready().await;
    lying.rig.harness.clock.advance(Duration::from_secs(600));
    assert!(gone(&lying, &state).await, "too old");

    let state = ready().await;
    lying.rig.harness.write("config", lying.config()).await.unwrap();
    assert!(gone(&lying, &state).await, "begun with an older configuration");

    let state = ready().await;
    lying.role(json!({ "allowed_redirect_uris": "https://else.test" })).await;
    assert!(lying.end(&state).await.unwrap_err().told.contains("no longer allows"));
}

#[tokio::test]
async fn where_the_browser_goes_and_who_may_begin() {
    let lying = Lying::new().await;
    let url = async |redirect: &str| {
        let ask = json!({ "role": "dev", "redirect_uri": redirect });
        lying.rig.harness.write("oidc/auth_url", ask).await.unwrap().data()["auth_url"].clone()
    };
    for evil in ["https://evil.test/", "http://localhost@evil.test/oidc/callback", "http://localhost:8250/other"] {
        assert_eq!(url(evil).await, "", "{evil}");
    }
    let told = async |ask: Value| lying.rig.harness.write("oidc/auth_url", ask).await.unwrap_err().told.into_owned();
    assert_eq!(told(json!({ "redirect_uri": BACK })).await, "missing role");
    assert_eq!(told(json!({ "role": "dev" })).await, "missing redirect_uri");
    assert_eq!(told(json!({ "role": "no", "redirect_uri": BACK })).await, "role could not be found");
    lying.role(json!({ "callback_mode": "direct" })).await;
    assert_eq!(told(json!({ "role": "dev", "redirect_uri": BACK })).await, "missing client_nonce");
    let jwt = json!({ "role": "dev", "jwt": lying.rig.signer.token(&lying.claims("n")) });
    let fault = lying.rig.harness.write("login", jwt).await.unwrap_err();
    assert_eq!(fault.told, "role with oidc role_type is not allowed", "no way round the browser");
    let shown = lying.rig.harness.read("config").await.unwrap().data();
    assert_eq!((&shown["oidc_client_id"], &shown["status"]), (&json!("me"), &json!("valid")));
    assert!(!shown.to_string().contains("hidden-secret") && shown.get("oidc_client_secret").is_none());
}

#[tokio::test]
async fn a_callers_address_can_be_bound_and_errors_are_told() {
    let mut lying = Lying::new().await;
    lying.role(json!({ "token_bound_cidrs": "10.0.0.0/8" })).await;
    assert_eq!(lying.sign_in(json!({})).await.unwrap_err().kind, Kind::Denied);
    let address = Some(IpAddr::from([10, 1, 1, 1]));
    lying.rig.harness.caller = Arc::new(Caller { address, ..Caller::default() });
    lying.sign_in(json!({})).await.unwrap();
    for (more, told) in [
        (json!({ "error": "access_denied", "error_description": "<b>" }), "Dewdrop login failed. access_denied"),
        (json!({ "error": "<script>" }), "Dewdrop login failed. the provider refuses"),
        (json!({}), "Dewdrop login failed. No code or id_token received."),
        (json!({ "code": "c", "iss": "https://evil.test" }), "the answer comes from another issuer"),
    ] {
        let (state, _) = lying.begin().await;
        let back = merged(json!({ "state": state, "client_nonce": "mine" }), more.clone());
        assert_eq!(lying.rig.harness.read_with("oidc/callback", back).await.unwrap_err().told, told, "{more}");
    }
}

#[tokio::test]
async fn with_direct_the_person_confirms_and_only_the_client_gets_the_token_once() {
    let lying = Lying::new().await;
    lying.role(json!({ "callback_mode": "direct", "poll_interval": 2 })).await;
    let ask = json!({ "role": "dev", "redirect_uri": BACK, "client_nonce": "mine" });
    let begun = lying.rig.harness.write("oidc/auth_url", ask).await.unwrap().data();
    assert_eq!(begun["poll_interval"], "2");
    let (state, url) = (begun["state"].as_str().unwrap(), begun["auth_url"].as_str().unwrap());
    lying.gives(&lying.rig.signer.token(&lying.claims(&field(url, "nonce"))));
    let page = async |more: Value| {
        let back = merged(json!({ "state": state, "code": "c\"><x>" }), more);
        let Got::Raw(bytes) = lying.rig.harness.read_with("oidc/callback", back).await.unwrap() else { panic!() };
        String::from_utf8(bytes).unwrap()
    };
    let poll = async |nonce: &str| {
        lying.rig.harness.write("oidc/poll", json!({ "state": state, "client_nonce": nonce })).await
    };
    let asked = page(json!({})).await;
    assert!(asked.contains("Did you begin this sign-in?") && asked.contains("c&quot;&gt;&lt;x&gt;"), "{asked}");
    assert_eq!(poll("mine").await.unwrap_err().told, "authorization_pending");
    assert!(page(json!({ "confirm": "yes" })).await.contains("Signed in"));
    assert!(page(json!({ "confirm": "yes" })).await.contains("Expired or missing"), "a second time");
    assert_eq!(poll("mine").await.unwrap().login().alias, "ada");
    assert_eq!(poll("mine").await.unwrap_err().told, crate::jwt::oidc::NO_STATE);
}

#[tokio::test]
async fn a_wrong_client_nonce_ends_a_wait_and_forms_come_only_where_they_are_asked_for() {
    let lying = Lying::new().await;
    lying.role(json!({ "callback_mode": "direct" })).await;
    let ask = json!({ "role": "dev", "redirect_uri": BACK, "client_nonce": "mine" });
    let state = lying.rig.harness.write("oidc/auth_url", ask).await.unwrap().data()["state"].clone();
    let poll = async |nonce: &str| {
        let fault = lying.rig.harness.write("oidc/poll", json!({ "state": state, "client_nonce": nonce })).await;
        fault.unwrap_err().told.into_owned()
    };
    assert_eq!(poll("theirs").await, "invalid client_nonce");
    assert_eq!(poll("mine").await, crate::jwt::oidc::NO_STATE);

    lying.role(json!({ "callback_mode": "client" })).await;
    let form = |state: &str| json!({ "state": state, "code": "c", "client_nonce": "mine" });
    let (state, _) = lying.begin().await;
    assert_eq!(lying.rig.harness.write("oidc/callback", form(&state)).await.unwrap_err().kind, Kind::Unsupported);
    let config = merged(lying.config(), json!({ "oidc_response_mode": "form_post" }));
    lying.rig.harness.write("config", config).await.unwrap();
    let (state, nonce) = lying.begin().await;
    lying.gives(&lying.rig.signer.token(&lying.claims(&nonce)));
    assert_eq!(lying.rig.harness.write("oidc/callback", form(&state)).await.unwrap().login().alias, "ada");
}
