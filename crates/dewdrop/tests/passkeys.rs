//! Security keys in a real browser (Chromium with a virtual authenticator): registered, asked at a sign-in and for a step-up,
//! by the terminal and by the API; and what must be refused.
//! `cargo test -p dewdrop --test passkeys -- --ignored`; `cargo xtask test` brings the browser.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod chromium;
mod common;

use std::io::{BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStderr, Stdio};

use chromium::Chromium;
use common::Server;
use common::http::Answer;
use serde_json::{Value, json};

/// What people may do for themselves.
const OWN: &str = r#"path "identity/mfa/method/webauthn/*" { capabilities = ["list", "read", "update", "delete"] }
    path "sys/mfa/step-up" { capabilities = ["update"] }"#;

/// A server at localhost, ann and bob, and a method.
struct Stage {
    server: Server,
    browser: Chromium,
    method: String,
    accessor: Value,
}

/// A command that waits for a key.
struct Waiting {
    child: Child,
    told: BufReader<ChildStderr>,
    address: String,
}

impl Stage {
    fn new() -> Self {
        let server = Server::start();
        let http = server.http();
        let make = |path: &str, body: Value| http.json("POST", path, "root", &body).ok();
        make("sys/auth/userpass", json!({ "type": "userpass" }));
        make("sys/policies/acl/own", json!({ "policy": OWN }));
        for who in ["ann", "bob"] {
            make(&format!("auth/userpass/users/{who}"), json!({ "password": "long enough", "token_policies": "own" }));
        }
        let origin = server.address().replace("127.0.0.1", "localhost");
        let method = json!({ "method_name": "keys", "rp_id": "localhost", "origins": [origin] });
        let method = make("identity/mfa/method/webauthn", method).at("/data/method_id");
        let accessor = http.send("GET", "sys/auth", "root", b"").ok().value()["data"]["userpass/"]["accessor"].clone();
        Self { server, browser: Chromium::start(), method, accessor }
    }

    /// A role of an access engine for ann, who shows a second factor of the last minutes.
    fn access(&self) {
        let http = self.server.http();
        let make = |path: &str, body: Value| http.json("POST", path, "root", &body).ok();
        make("sys/mounts/access", json!({ "type": "access" }));
        make("access/clusters/prod", json!({ "address": "https://127.0.0.1:6443" }));
        let role = json!({
            "clusters": "prod", "namespaces": "shop", "kubernetes_groups": "dewdrop:people", "auto_approve": true,
            "rules": [{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }],
            "requester_entities": "ann", "mfa_max_age": "5m",
        });
        make("access/roles/look", role);
        let entity = make("identity/entity", json!({ "name": "ann" })).at("/data/id");
        let alias = json!({ "name": "ann", "mount_accessor": self.accessor, "canonical_id": entity });
        make("identity/entity-alias", alias);
        let policy = r#"path "access/request" { capabilities = ["create", "update"] }
            path "access/requests" { capabilities = ["list"] }
            path "access/requests/+/certificate" { capabilities = ["create", "update"] }"#;
        make("sys/policies/acl/access", json!({ "policy": policy }));
        make("auth/userpass/users/ann", json!({ "token_policies": "own,access" }));
    }

    fn page(&self) -> String {
        format!("{}/ui/mfa", self.server.address().replace("127.0.0.1", "localhost"))
    }

    fn enforce(&self) {
        let rule = json!({ "mfa_method_ids": [self.method], "auth_method_accessors": [self.accessor] });
        self.server.http().json("POST", "identity/mfa/login-enforcement/people", "root", &rule).ok();
    }

    /// `dewdrop`, with the token of the last sign-in, up to the address that it prints.
    fn waits(&self, args: &[&str]) -> Waiting {
        let mut command = self.server.dewdrop(args);
        command.env_remove("DEWDROP_TOKEN").env("DEWDROP_SKIP_BROWSER", "true");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(child.stderr.take().unwrap());
        let (mut line, mut all) = (String::new(), String::new());
        while !line.trim().starts_with("http") {
            line.clear();
            assert!(told.read_line(&mut line).unwrap() > 0, "no address: {all}");
            all.push_str(&line);
        }
        let address = line.trim().to_owned();
        assert!(address.starts_with(&format!("{}#", self.page())), "{address}");
        Waiting { child, told, address }
    }

    /// The key does what a command asks; what the command printed.
    fn done(&mut self, args: &[&str]) -> String {
        let waiting = self.waits(args);
        let said = self.browser.follow(&waiting.address);
        assert!(said.starts_with("Done."), "{said}");
        let (success, told, wrong) = waiting.end();
        assert!(success, "{args:?}: {told}{wrong}");
        told
    }

    fn sign_in(&self, who: &str) -> Answer {
        let body = json!({ "password": "long enough" });
        self.server.http().json("POST", &format!("auth/userpass/login/{who}"), "", &body).ok()
    }

    /// A sign-in that waits, and what the key is asked.
    fn asked(&self, who: &str) -> (String, Value) {
        let id = self.sign_in(who).at("/auth/mfa_requirement/mfa_request_id");
        let options = self.validate(&id, &json!([])).ok().value();
        (id, options["data"]["mfa_challenges"][&self.method]["publicKey"].clone())
    }

    fn validate(&self, id: &str, answer: &Value) -> Answer {
        let body = json!({ "mfa_request_id": id, "mfa_payload": { self.method.clone(): answer } });
        self.server.http().json("POST", "sys/mfa/validate", "", &body)
    }

    fn refused(&self, id: &str, signed: &Value, why: &str) {
        let answer = self.validate(id, &json!([signed]));
        assert!(answer.status == 403 && answer.text().contains(why), "{why}: {} {}", answer.status, answer.text());
    }
}

impl Waiting {
    fn end(mut self) -> (bool, String, String) {
        let (mut told, mut wrong) = (String::new(), String::new());
        self.child.stdout.take().unwrap().read_to_string(&mut told).unwrap();
        self.told.read_to_string(&mut wrong).unwrap();
        (self.child.wait().unwrap().success(), told, wrong)
    }
}

/// Lets somebody reach the server at another port, so that the browser is at another origin.
fn other_port(to: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut here, mut there) = (stream.unwrap(), TcpStream::connect(&to).unwrap());
            let (mut back, mut from) = (here.try_clone().unwrap(), there.try_clone().unwrap());
            std::thread::spawn(move || std::io::copy(&mut here, &mut there));
            std::thread::spawn(move || std::io::copy(&mut from, &mut back));
        }
    });
    port
}

#[test]
#[ignore = "needs Chromium"]
fn a_terminal_and_a_browser_register_sign_in_and_step_up() {
    let mut stage = Stage::new();
    stage.browser.add_key();
    let login = ["login", "-method=userpass", "username=ann", "password=long enough"];
    let output = stage.server.dewdrop(&login).env_remove("DEWDROP_TOKEN").output().unwrap();
    assert!(output.status.success());
    let method = stage.method.clone();
    let made = stage.done(&["mfa", "register", &method, "-name=blue"]);
    assert!(made.contains("blue"), "{made}");
    stage.enforce();
    let token = stage.done(&[&login[..], &["-token-only"]].concat());
    let own = stage.server.http().send("GET", "auth/token/lookup-self", token.trim(), b"").ok();
    assert_eq!(own.at("/data/path"), "auth/userpass/login/ann");
    stage.done(&login);
    assert!(stage.done(&["mfa", "step-up"]).contains("mfa_at"));
    let listed = stage.server.dewdrop(&["mfa", "keys", "-format=json"]).env_remove("DEWDROP_TOKEN").output().unwrap();
    let listed: Value = serde_json::from_slice(&listed.stdout).unwrap_or_else(|_| panic!("{listed:?}"));
    assert!(listed.to_string().contains("blue"), "{listed}");

    // The address serves once, and a key that says no is told in the terminal.
    let waiting = stage.waits(&login);
    let key = stage.browser.add_key();
    stage.browser.drop_key(&key);
    let said = stage.browser.follow(&waiting.address);
    assert!(said.starts_with("Done."), "{said}");
    let said = stage.browser.follow(&waiting.address);
    assert!(said.contains("used already"), "{said}");
    assert!(waiting.end().0);
}

#[test]
#[ignore = "needs Chromium"]
fn a_key_that_says_no_ends_the_wait() {
    let mut stage = Stage::new();
    let key = stage.browser.add_key();
    let login = ["login", "-method=userpass", "username=ann", "password=long enough"];
    stage.server.dewdrop(&login).env_remove("DEWDROP_TOKEN").output().unwrap();
    let method = stage.method.clone();
    stage.done(&["mfa", "register", &method]);
    stage.enforce();
    let waiting = stage.waits(&login);
    let unverified = json!({ "authenticatorId": key, "isUserVerified": false });
    stage.browser.ask("WebAuthn.setUserVerified", unverified);
    let said = stage.browser.follow(&waiting.address);
    assert!(said.contains("did not answer"), "{said}");
    let (success, _, told) = waiting.end();
    assert!(!success && told.contains("did not answer"), "{told}");
}

/// A key that somebody has registered, taken out of the browser again.
fn registered(stage: &mut Stage, who: &str) -> Value {
    let token = stage.sign_in(who).at("/auth/client_token");
    let http = stage.server.http();
    let begin = json!({ "method_id": stage.method });
    let begun = http.json("POST", "identity/mfa/method/webauthn/register/begin", &token, &begin).ok().value();
    let key = stage.browser.add_key();
    let page = stage.page();
    stage.browser.open(&page);
    let made = stage.browser.run(&format!("register({})", begun["data"]["options"]["publicKey"]));
    let finish = json!({ "registration_id": begun["data"]["registration_id"], "credential": made });
    http.json("POST", "identity/mfa/method/webauthn/register/finish", &token, &finish).ok();
    let credential = stage.browser.credential(&key);
    stage.browser.drop_key(&key);
    credential
}

#[test]
#[ignore = "needs Chromium"]
fn what_a_key_signed_for_something_else_is_refused() {
    let mut stage = Stage::new();
    let keys = ["bob", "ann"].map(|who| registered(&mut stage, who));
    stage.enforce();
    let with = |browser: &mut Chromium, credential: &Value, count: i64| {
        let key = browser.add_key();
        let mut credential = credential.clone();
        credential["signCount"] = count.into();
        browser.ask("WebAuthn.addCredential", json!({ "authenticatorId": key, "credential": credential }));
        key
    };
    let anns = with(&mut stage.browser, &keys[1], 100);

    // Once, and the same again.
    let (id, options) = stage.asked("ann");
    let signed = stage.browser.sign(&options);
    stage.validate(&id, &json!([signed])).ok();
    let (id, _) = stage.asked("ann");
    stage.refused(&id, &signed, "another challenge");
    stage.refused(&id, &signed, "no challenge is open");

    // Without the person being verified, whatever the page asks.
    let (id, mut options) = stage.asked("ann");
    options["userVerification"] = "discouraged".into();
    let signed = stage.browser.sign(&options);
    stage.refused(&id, &signed, "did not verify");

    // At another origin.
    let port = other_port(stage.server.address().replace("http://", ""));
    stage.browser.open(&format!("http://localhost:{port}/ui/mfa"));
    let (id, options) = stage.asked("ann");
    let signed = stage.browser.sign(&options);
    stage.refused(&id, &signed, "origins");
    let page = stage.page();
    stage.browser.open(&page);

    // A copy that counts from an earlier number.
    stage.browser.drop_key(&anns);
    let copy = with(&mut stage.browser, &keys[1], 50);
    let (id, options) = stage.asked("ann");
    let signed = stage.browser.sign(&options);
    stage.refused(&id, &signed, "went back");
    stage.browser.drop_key(&copy);

    // The key of somebody else, who knows the password.
    with(&mut stage.browser, &keys[0], 100);
    let (id, mut options) = stage.asked("ann");
    options["allowCredentials"][0]["id"] = stage.browser.run(&format!(
        "'{}'.replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '')",
        keys[0]["credentialId"].as_str().unwrap()
    ));
    let signed = stage.browser.sign(&options);
    stage.refused(&id, &signed, "not registered for this person");
    let (id, options) = stage.asked("bob");
    let signed = stage.browser.sign(&options);
    stage.validate(&id, &json!([signed])).ok();
}

/// A role that wants a second factor of minutes takes a security key's: kubectl's certificate comes after a step-up, not before.
#[test]
#[ignore = "needs Chromium"]
fn a_grant_that_needs_a_fresh_second_factor_takes_a_key() {
    let mut stage = Stage::new();
    stage.access();
    stage.browser.add_key();
    let login = ["login", "-method=userpass", "username=ann", "password=long enough"];
    assert!(stage.server.dewdrop(&login).env_remove("DEWDROP_TOKEN").output().unwrap().status.success());
    let method = stage.method.clone();
    stage.done(&["mfa", "register", &method]);
    // By password alone: the token knows of no second factor, whatever registering asked for.
    assert!(stage.server.dewdrop(&login).env_remove("DEWDROP_TOKEN").output().unwrap().status.success());
    let says = |stage: &Stage, args: &[&str]| stage.server.dewdrop(args).env_remove("DEWDROP_TOKEN").output().unwrap();
    let asked = says(&stage, &["access", "request", "look", "-reason", "x", "-no-wait"]);
    assert!(asked.status.success(), "{asked:?}");
    let credential = ["kube", "credential", "-cluster", "prod"];
    let refused = says(&stage, &credential);
    let told = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && told.contains("dewdrop mfa step-up"), "{told}");
    assert!(stage.done(&["mfa", "step-up"]).contains("mfa_at"));
    let got = says(&stage, &credential);
    assert!(got.status.success() && String::from_utf8_lossy(&got.stdout).contains("clientCertificateData"), "{got:?}");
}
