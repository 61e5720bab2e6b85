//! People sign in at a real OpenID provider (Zitadel's certified library, in Go), by the API and by `dewdrop login`.
//! `cargo test -p dewdrop --test oidc -- --ignored` (about a minute when Go's caches are cold).

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;
mod oidc_provider;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use common::Server;
use common::http::Answer;
use oidc_provider::{Provider, fetch, field, free_port};
use serde_json::{Value, json};

/// A server, a provider and a mount that trusts it.
struct Site {
    server: Server,
    provider: Provider,
    /// Where `dewdrop login` listens.
    port: u16,
}

impl Site {
    fn start() -> Self {
        let (server, port) = (Server::start(), free_port());
        let direct = format!("{}/v1/auth/oidc/oidc/callback", server.address());
        let provider = Provider::start(&[&format!("http://localhost:{port}/oidc/callback"), &direct]);
        let site = Self { server, provider, port };
        site.write("sys/auth/oidc", json!({ "type": "oidc" }));
        site.configure("dewdrop", "client-secret");
        site.role("dev", json!({ "groups_claim": "groups", "claim_mappings": { "email": "email" } }));
        site
    }

    fn write(&self, path: &str, body: Value) -> Value {
        self.server.http().json("POST", path, "root", &body).ok().value()
    }

    fn configure(&self, client: &str, secret: &str) {
        let issuer = &self.provider.issuer;
        let config = json!({ "oidc_discovery_url": issuer, "oidc_client_id": client, "oidc_client_secret": secret, "default_role": "dev" });
        self.write("auth/oidc/config", config);
    }

    fn role(&self, name: &str, more: Value) {
        let direct = format!("{}/v1/auth/oidc/oidc/callback", self.server.address());
        let mut role = json!({
            "user_claim": "sub", "oidc_scopes": "profile,email", "token_policies": "dev",
            "allowed_redirect_uris": ["http://localhost:8250/oidc/callback", direct],
        });
        role.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.write(&format!("auth/oidc/role/{name}"), role);
    }

    fn back(&self) -> String {
        format!("http://localhost:{}/oidc/callback", self.port)
    }

    /// The provider's address for a sign-in that begins.
    fn begin(&self, mount: &str) -> String {
        let ask = json!({ "role": "dev", "redirect_uri": self.back(), "client_nonce": "mine" });
        let answer = self.server.http().json("POST", &format!("auth/{mount}/oidc/auth_url"), "", &ask).ok();
        answer.at("/data/auth_url")
    }

    fn end(&self, mount: &str, state: &str, code: &str) -> Answer {
        let path = format!("auth/{mount}/oidc/callback?state={state}&code={code}&client_nonce=mine");
        self.server.http().send("GET", &path, "", b"")
    }

    /// A whole sign-in by the API.
    fn sign_in(&self, user: &str) -> Answer {
        let back = self.provider.sign_in(&self.begin("oidc"), user);
        assert!(back.starts_with(&self.back()), "{back}");
        self.end("oidc", &field(&back, "state"), &field(&back, "code"))
    }

    /// `dewdrop login -method=oidc`, and the address that it prints.
    fn login(&self, args: &[&str]) -> (Child, BufReader<std::process::ChildStderr>, String) {
        let mut command = self.server.dewdrop(&["login", "-method=oidc", "-token-only", "skip_browser=true"]);
        command.args(args).env_remove("DEWDROP_TOKEN").stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut all) = (String::new(), String::new());
        while !line.trim().starts_with("http") {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "no address: {all}");
            all.push_str(&line);
        }
        (child, told, line.trim().to_owned())
    }

    /// What the token of a sign-in that has ended is.
    fn token_of(&self, mut child: Child, told: &mut impl Read) -> Value {
        let mut token = String::new();
        child.stdout.take().unwrap().read_to_string(&mut token).unwrap();
        let mut why = String::new();
        told.read_to_string(&mut why).unwrap();
        assert!(child.wait().unwrap().success(), "{why}");
        self.server.http().send("GET", "auth/token/lookup-self", token.trim(), b"").ok().value()["data"].clone()
    }
}

#[test]
#[ignore = "needs Go, and its module proxy the first time"]
fn groups_of_the_provider_become_policies() {
    let site = Site::start();
    let http = site.server.http();
    site.write("sys/policies/acl/platform", json!({ "policy": "path \"sys/mounts\" { capabilities = [\"read\"] }" }));
    let group = site.write("identity/group", json!({ "name": "platform", "type": "external", "policies": "platform" }));
    let accessor = http.send("GET", "sys/auth/oidc", "root", b"").ok().at("/data/accessor");
    let alias = json!({ "name": "platform", "mount_accessor": accessor, "canonical_id": group["data"]["id"] });
    site.write("identity/group-alias", alias);
    let signed_in = site.sign_in("ada").ok();
    assert_eq!(signed_in.at("/auth/metadata/email"), "ada@people.test");
    assert_eq!(signed_in.value()["auth"]["identity_policies"], json!(["platform"]));
    assert_eq!(http.send("GET", "sys/mounts", &signed_in.at("/auth/client_token"), b"").status, 200);
    let visitor = site.sign_in("eve").ok();
    assert_eq!(visitor.value()["auth"]["identity_policies"], Value::Null);
    assert_eq!(http.send("GET", "sys/mounts", &visitor.at("/auth/client_token"), b"").status, 403);
}

#[test]
#[ignore = "needs Go, and its module proxy the first time"]
fn attacks_end_at_the_provider_or_at_us() {
    let site = Site::start();
    let refused = |answer: &Answer, why: &str| {
        assert_eq!((answer.status, answer.text().contains(why)), (400, true), "{why}: {}", answer.text());
        assert!(answer.value()["auth"].is_null());
    };
    // Replayed; and a code that was used.
    let back = site.provider.sign_in(&site.begin("oidc"), "eve");
    let (state, code) = (field(&back, "state"), field(&back, "code"));
    site.end("oidc", &state, &code).ok();
    refused(&site.end("oidc", &state, &code), "Expired or missing OAuth state");
    refused(&site.end("oidc", &field(&site.begin("oidc"), "state"), &code), "Error exchanging oidc code: invalid_");
    // A code that somebody has caught, put into a sign-in of his own: the proof (PKCE) is another.
    let caught = site.provider.sign_in(&site.begin("oidc"), "eve");
    let mine = field(&site.begin("oidc"), "state");
    refused(&site.end("oidc", &mine, &field(&caught, "code")), "Error exchanging oidc code: invalid_");
    // The same at the provider itself, with our secret but without the proof.
    let caught = site.provider.sign_in(&site.begin("oidc"), "eve");
    let form = format!("grant_type=authorization_code&code={}&redirect_uri={}", field(&caught, "code"), site.back());
    let answer = site.provider.token(&form);
    assert_eq!(answer.status, 400, "{}", answer.text());
    // A code that nobody gave; one of another client; a state of another mount.
    refused(&site.end("oidc", &field(&site.begin("oidc"), "state"), "made-up"), "Error exchanging oidc code");
    site.write("sys/auth/other", json!({ "type": "jwt" }));
    let config = json!({ "oidc_discovery_url": site.provider.issuer, "oidc_client_id": "other", "oidc_client_secret": "other-secret" });
    site.write("auth/other/config", config);
    let role = json!({ "user_claim": "sub", "allowed_redirect_uris": "http://localhost/oidc/callback" });
    site.write("auth/other/role/dev", role);
    let theirs = site.provider.sign_in(&site.begin("other"), "eve");
    refused(
        &site.end("oidc", &field(&site.begin("oidc"), "state"), &field(&theirs, "code")),
        "Error exchanging oidc code",
    );
    refused(&site.end("oidc", &field(&theirs, "state"), &field(&theirs, "code")), "Expired or missing OAuth state");
    site.end("other", &field(&theirs, "state"), &field(&theirs, "code")).ok();
    // Whoever does not sign in at the provider gets no code there.
    assert!(site.provider.try_sign_in(&site.begin("oidc"), "eve", "wrong").is_none());
    // A wrong secret of ours: the provider says so, and nobody gets in.
    site.configure("dewdrop", "wrong-secret");
    refused(&site.sign_in("eve"), "Error exchanging oidc code: invalid_client");
}

#[test]
#[ignore = "needs Go, and its module proxy the first time"]
fn the_command_line_waits_for_the_browser() {
    let site = Site::start();
    let (child, mut told, url) = site.login(&[&format!("port={}", site.port)]);
    // Strangers on this machine: told so, and still waited.
    assert_eq!(fetch("GET", &format!("{}?state=st_x&code=c", site.back()), "").status, 400);
    assert_eq!(fetch("GET", &format!("http://localhost:{}/", site.port), "").status, 404);
    let back = site.provider.sign_in(&url, "ada");
    let page = fetch("GET", &back, "");
    assert!(page.status == 200 && page.text().contains("You may close this window"), "{}", page.text());
    let token = site.token_of(child, &mut told);
    assert_eq!((&token["meta"]["role"], &token["path"]), (&json!("dev"), &json!("auth/oidc/oidc/callback")));
    // The provider refuses: the terminal tells.
    let (mut child, mut told, url) = site.login(&["role=dev", &format!("port={}", site.port)]);
    let refusal = format!("{}?state={}&error=access_denied", site.back(), field(&url, "state"));
    assert_eq!(fetch("GET", &refusal, "").status, 400);
    let mut text = String::new();
    told.read_to_string(&mut text).unwrap();
    assert!(text.contains("Dewdrop login failed. access_denied"), "{text}");
    assert_eq!(child.wait().unwrap().code(), Some(2));
}

#[test]
#[ignore = "needs Go, and its module proxy the first time"]
fn the_command_line_waits_for_the_server() {
    let site = Site::start();
    site.role("direct", json!({ "callback_mode": "direct", "poll_interval": 1 }));
    let (child, mut told, url) = site.login(&["role=direct", "callbackmode=direct"]);
    let back = site.provider.sign_in(&url, "eve");
    let page = fetch("GET", &back, "");
    assert!(page.status == 200 && page.text().contains("Did you begin this sign-in?"), "{}", page.text());
    let head = String::from_utf8_lossy(&page.whole).to_lowercase();
    for header in
        ["x-frame-options: deny", "frame-ancestors 'none'", "referrer-policy: no-referrer", "cache-control: no-store"]
    {
        assert!(head.contains(header), "{header}: {head}");
    }
    let page = fetch("GET", &format!("{back}&confirm=yes"), "");
    assert!(page.text().contains("Signed in"), "{}", page.text());
    assert_eq!(site.token_of(child, &mut told)["meta"]["role"], "direct");
    // A page that is asked for again, and one of nobody.
    assert_eq!(fetch("GET", &format!("{back}&confirm=yes"), "").status, 400);
}

#[test]
#[ignore = "needs Go, and its module proxy the first time"]
fn a_device_without_a_browser_signs_in() {
    let site = Site::start();
    site.configure("device", "device-secret");
    site.role("device", json!({ "callback_mode": "device" }));
    let (child, mut told, url) = site.login(&["role=device", "callbackmode=device"]);
    site.provider.allow_device(&field(&url, "user_code"), "eve");
    assert_eq!(site.token_of(child, &mut told)["meta"]["role"], "device");
}
