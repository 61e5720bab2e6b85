//! The command line with a second factor: enrol, sign in, step up, recover.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use common::Server;
use dewdrop_core::SystemClock;
use dewdrop_testkit::totp::passcode;
use serde_json::{Value, json};

/// What ann may do for herself.
const OWN: &str = r#"path "identity/mfa/method/*" { capabilities = ["update"] }
    path "sys/mfa/step-up" { capabilities = ["update"] }"#;

struct Stage {
    server: Server,
    method: String,
    accessor: Value,
}

impl Stage {
    fn new() -> Self {
        let server = Server::start();
        let http = server.http();
        let make = |path: &str, body: Value| http.json("POST", path, "root", &body).ok();
        make("sys/auth/userpass", json!({ "type": "userpass" }));
        make("sys/policies/acl/own", json!({ "policy": OWN }));
        make("auth/userpass/users/ann", json!({ "password": "of-ann", "token_policies": "own" }));
        let method = json!({ "issuer": "dewdrop", "method_name": "phone" });
        let method = make("identity/mfa/method/totp", method).at("/data/method_id");
        let accessor = http.send("GET", "sys/auth", "root", b"").ok().value()["data"]["userpass/"]["accessor"].clone();
        Self { server, method, accessor }
    }

    /// `dewdrop` with the token of the last sign-in.
    fn says(&self, args: &[&str]) -> (bool, String, String) {
        let output = self.server.dewdrop(args).env_remove("DEWDROP_TOKEN").output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    }

    fn ok(&self, args: &[&str]) -> String {
        let (success, told, wrong) = self.says(args);
        assert!(success, "{args:?}: {told}{wrong}");
        told
    }
}

#[test]
fn enrolled_asked_stepped_up_and_recovered() {
    let stage = Stage::new();
    let login = ["login", "-method=userpass", "username=ann", "password=of-ann"];
    stage.ok(&login);
    let shown = stage.ok(&["mfa", "enroll", &stage.method]);
    let url = shown.split_whitespace().find(|word| word.starts_with("otpauth://")).unwrap().to_owned();
    assert!(shown.lines().filter(|line| line.contains('█')).count() > 15, "no picture:\n{shown}");
    let (again, _, told) = stage.says(&["mfa", "enroll", &stage.method]);
    assert!(!again && told.contains("admin-destroy"), "{told}");
    let rule = json!({ "mfa_method_ids": [stage.method], "auth_method_accessors": [stage.accessor] });
    stage.server.http().json("POST", "identity/mfa/login-enforcement/people", "root", &rule).ok();

    // No terminal to ask at: it is told how to go on.
    let (success, _, told) = stage.says(&login);
    assert!(!success && told.contains("-mfa=") && told.contains("phone"), "{told}");
    let with = |code: &str| stage.says(&[&login[..], &[&format!("-mfa=phone:{code}")[..]]].concat());
    let (success, _, told) = with("000000");
    assert!(!success && told.contains("permission denied"), "{told}");
    let now = || SystemClock::shared().now().seconds();
    assert!(with(&passcode(&url, now(), 0)).0, "a code of now");

    // Signed in with it a moment ago: recovery codes are made, and one of them steps up and another signs in.
    let made: Value = serde_json::from_str(&stage.ok(&["mfa", "recovery", "-format=json"])).unwrap();
    let code = |at: usize| made["data"]["recovery_codes"][at].as_str().unwrap();
    let stepped = stage.ok(&["mfa", "step-up", &format!("-mfa=phone:{}", code(0))]);
    assert!(stepped.contains("mfa_at"), "{stepped}");
    let (success, ..) = stage.says(&["mfa", "step-up", &format!("-mfa=phone:{}", code(0))]);
    assert!(!success, "each once");
    assert!(with(code(1)).0, "a recovery code signs in");
}

#[test]
fn a_run_says_that_it_asks_for_no_code() {
    let stage = Stage::new();
    let rule = json!({ "mfa_method_ids": [stage.method], "auth_method_accessors": [stage.accessor] });
    stage.server.http().json("POST", "identity/mfa/login-enforcement/people", "root", &rule).ok();
    let args = ["run", "-creds=database/creds/app", "-auth=userpass", "-username=ann", "--", "true"];
    let output = stage.server.dewdrop(&args).env("DEWDROP_PASSWORD", "of-ann").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("second factor"), "{told}");
}
