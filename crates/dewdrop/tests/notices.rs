//! Notices and `access watch` with the real program: a webhook whose signature OpenSSL checks, a real mail server, a
//! server that is killed while letters wait.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;
#[path = "notices/post_office.rs"]
mod post_office;

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use common::kept::{Kept, files};
use common::{eventually, send};
use dewdrop_testkit::receiver::{Receiver, Told, dead_port};
use post_office::{PASSWORD, PostOffice};
use serde_json::{Value, json};

/// The key of the signature.
const SECRET: &str = "s1gnature-key-canary";
const PEOPLE: &str = r#"path "access/request" { capabilities = ["update"] }
    path "access/requests/*" { capabilities = ["read", "update"] }
    path "access/watch" { capabilities = ["read"] }"#;

/// A server with ann, who asks, and ben, who approves.
struct Stage {
    server: Kept,
    ann: String,
    ben: String,
}

impl Stage {
    fn new() -> Self {
        let server = Kept::start();
        let make = |path: &str, body: Value| server.call("POST", path, &body).ok();
        make("sys/mounts/access", json!({ "type": "access" }));
        make("sys/auth/userpass", json!({ "type": "userpass" }));
        make("sys/policies/acl/people", json!({ "policy": PEOPLE }));
        let accessor =
            server.call("GET", "sys/auth", &Value::Null).ok().value()["data"]["userpass/"]["accessor"].clone();
        let token = |name: &str| {
            make(&format!("auth/userpass/users/{name}"), json!({ "password": name, "token_policies": "people" }));
            let id = make("identity/entity", json!({ "name": name })).at("/data/id");
            make("identity/entity-alias", json!({ "name": name, "mount_accessor": accessor, "canonical_id": id }));
            make(&format!("auth/userpass/login/{name}"), json!({ "password": name })).at("/auth/client_token")
        };
        let (ann, ben) = (token("ann"), token("ben"));
        let role = json!({
            "clusters": "prod", "namespaces": "shop", "requester_entities": "ann", "break_glass_entities": "ann",
            "rules": [{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }],
            "approvals": [{ "entities": ["ben"] }],
        });
        make("access/roles/look", role);
        Self { server, ann, ben }
    }

    fn tell(&self, url: &str) {
        let notice = json!({ "type": "webhook", "url": url, "insecure_http": true, "secret": SECRET });
        self.server.call("POST", "access/notices/ops", &notice).ok();
    }

    fn ask(&self) -> String {
        let ask = json!({ "role": "look", "reason": "checkout is slow" });
        self.server.http().json("POST", "access/request", &self.ann, &ask).ok().at("/data/id")
    }

    fn approve(&self, id: &str) {
        self.server.http().json("POST", &format!("access/requests/{id}/approve"), &self.ben, &json!({})).ok();
    }

    fn state_of(&self, notice: &str) -> Value {
        self.server.call("GET", &format!("access/notices/{notice}"), &Value::Null).ok().value()["data"].clone()
    }

    /// Ends the server, whose files come and go while it runs, and searches what it wrote in clear.
    fn assert_has_not_written(mut self, secrets: &[&str]) {
        self.server.signal(rustix::process::Signal::TERM);
        assert!(self.server.ended().success());
        for file in files(self.server.folder()) {
            let bytes = std::fs::read(&file).unwrap();
            for secret in secrets {
                let is_there = bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
                assert!(!is_there, "{secret} is in {}", file.display());
            }
        }
    }
}

/// What OpenSSL makes of the time and the body.
fn by_openssl(told: &Told) -> String {
    let mut openssl = Command::new("openssl");
    openssl.args(["dgst", "-sha256", "-hmac", SECRET, "-r"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut process = openssl.spawn().unwrap();
    let signed = format!("{}.{}", told.header("dewdrop-timestamp"), told.raw);
    process.stdin.take().unwrap().write_all(signed.as_bytes()).unwrap();
    let output = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
    format!("v1={}", output.split_whitespace().next().unwrap())
}

/// Whether the receiver of the guide takes it, so many seconds after it was sent.
fn is_genuine(told: &Told, body: &str, later: u64) -> bool {
    let guide =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/guides/kubectl-access.md")).unwrap();
    let (_, code) = guide.split_once("```python\n").unwrap();
    let (code, _) = code.split_once("```").unwrap();
    let (time, signature) = (told.header("dewdrop-timestamp"), told.header("dewdrop-signature"));
    let script = format!(
        "{code}\nimport sys\nheaders = {{'dewdrop-timestamp': '{time}', 'dewdrop-signature': '{signature}'}}\n\
         print(is_genuine(b'{SECRET}', headers, sys.stdin.buffer.read(), {time} + {later}))"
    );
    let mut command = Command::new("python3");
    let mut process = command.arg("-c").arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    process.stdin.take().unwrap().write_all(body.as_bytes()).unwrap();
    let said = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
    assert!(["True\n", "False\n"].contains(&said.as_str()), "{said}");
    said == "True\n"
}

#[test]
fn asked_told_approved_told() {
    let (stage, receiver) = (Stage::new(), Receiver::start());
    stage.tell(&receiver.url());
    let id = stage.ask();
    eventually("the webhook arrives", || receiver.count() == 1);
    stage.approve(&id);
    eventually("the next webhook arrives", || receiver.count() == 2);
    assert_eq!(receiver.events(), ["requested", "approved"]);
    for told in receiver.told() {
        assert_eq!(told.header("dewdrop-signature"), by_openssl(&told));
        assert_eq!(told.body["request"]["id"], id.as_str());
        assert_eq!(told.header("dewdrop-notice"), told.body["id"].as_str().unwrap());
    }
    let told = receiver.told().remove(0);
    assert!(is_genuine(&told, &told.raw, 1));
    assert!(!is_genuine(&told, &told.raw.replace("ann", "eve"), 1), "another body");
    assert!(!is_genuine(&told, &told.raw, 301), "a replay");
    assert_eq!(told.body["commands"][0], format!("dewdrop access approve {id}"));
    let sent = stage.server.call("POST", "access/notices/ops/test", &json!({})).ok();
    assert_eq!(sent.value()["data"]["sent"], true);
    assert_eq!(receiver.told()[2].body["event"], "test");
    stage.assert_has_not_written(&[SECRET, "hooks/T0"]);
}

#[test]
fn what_waits_survives_kill_9() {
    let mut stage = Stage::new();
    let port = dead_port();
    stage.tell(&format!("http://127.0.0.1:{port}/hooks/T0"));
    let id = stage.ask();
    stage.approve(&id);
    assert_eq!(stage.state_of("ops")["waiting"], 2);
    stage.server.kill();
    let receiver = Receiver::on(port, Box::new(|_| Some("200 OK")));
    stage.server.start_again();
    eventually("what waited arrives", || receiver.count() >= 2);
    assert_eq!(receiver.events(), ["requested", "approved"]);
    eventually("nothing waits", || stage.state_of("ops")["waiting"] == 0);
}

#[test]
fn mail_by_a_real_server() {
    let (stage, office) = (Stage::new(), PostOffice::start());
    let notice = |password: &str| {
        json!({
            "type": "email", "host": "localhost", "port": office.port, "ca_pem": office.ca_pem, "username": "dewdrop",
            "password": password, "from": "Dewdrop <dewdrop@example.com>", "to": "leads@example.com,ben@example.com",
        })
    };
    stage.server.call("POST", "access/notices/mail", &notice(PASSWORD)).ok();
    let id = stage.ask();
    eventually("the mail arrives", || office.mail().len() == 1);
    let mail = office.mail().remove(0);
    assert_eq!(
        (&mail["from"], &mail["to"]),
        (&json!("dewdrop@example.com"), &json!(["leads@example.com", "ben@example.com"]))
    );
    assert_eq!((&mail["tls"], &mail["login"]), (&json!(true), &json!("dewdrop")));
    let content = mail["content"].as_str().unwrap();
    let command = format!("$ dewdrop access approve {id}");
    let parts = [
        "Subject: [dewdrop] ann asks for access",
        "Auto-Submitted: auto-generated",
        "Reason: checkout is slow",
        &command,
    ];
    for part in parts {
        assert!(content.contains(part), "{part} is missing in {content}");
    }

    // A wrong password: the server's words, which hold it, are not told.
    stage.server.call("POST", "access/notices/mail", &notice("wr0ng-canary")).ok();
    let refused = stage.server.call("POST", "access/notices/mail/test", &json!({}));
    assert_eq!(refused.status, 500, "{}", refused.text());
    assert!(refused.text().contains("not delivered") && !refused.text().contains("wr0ng"), "{}", refused.text());
    // A certificate of somebody else.
    let other = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap().cert.pem();
    let foreign = json!({ "ca_pem": other, "password": PASSWORD });
    stage.server.call("POST", "access/notices/mail", &foreign).ok();
    let refused = stage.server.call("POST", "access/notices/mail/test", &json!({}));
    assert!(refused.text().contains("certificate"), "{}", refused.text());
    assert_eq!(office.mail().len(), 1);
    stage.assert_has_not_written(&[PASSWORD, "wr0ng-canary"]);
}

/// `dewdrop access watch` of ben's.
struct Watching {
    process: Child,
    lines: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
}

impl Watching {
    fn start(stage: &Stage) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dewdrop"));
        command.args(["access", "watch", "-format=json"]).env_clear().env("HOME", stage.server.folder());
        command
            .env("DEWDROP_ADDR", format!("http://127.0.0.1:{}", stage.server.http().port))
            .env("DEWDROP_TOKEN", &stage.ben);
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = collect(process.stdout.take().unwrap());
        let told = collect(process.stderr.take().unwrap());
        Self { process, lines, told }
    }

    /// Waits until so many requests were told; the last one.
    fn last(&self, count: usize) -> Value {
        eventually("the request is told", || self.lines.lock().unwrap().len() >= count);
        let lines = self.lines.lock().unwrap();
        assert_eq!(lines.len(), count, "{lines:?}");
        serde_json::from_str(lines.last().unwrap()).unwrap()
    }
}

fn collect(pipe: impl std::io::Read + Send + 'static) -> Arc<Mutex<Vec<String>>> {
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let all = lines.clone();
    std::thread::spawn(move || {
        BufReader::new(pipe).lines().map_while(Result::ok).for_each(|line| all.lock().unwrap().push(line));
    });
    lines
}

impl Drop for Watching {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_watcher_sees_requests_as_they_come_and_outlives_the_server() {
    let mut stage = Stage::new();
    let before = stage.ask();
    let mut watching = Watching::start(&stage);
    let told = watching.last(1);
    assert_eq!((&told["id"], &told["state"], &told["own"]), (&json!(before), &json!("pending"), &json!(false)));
    let id = stage.ask();
    assert_eq!(watching.last(2)["id"], id.as_str());
    stage.approve(&id);
    assert_eq!(watching.last(3)["state"], "granted");
    stage.server.kill();
    eventually("the watcher says that nobody answers", || {
        watching.told.lock().unwrap().iter().any(|line| line.contains("does not answer"))
    });
    stage.server.start_again();
    eventually("and that somebody does", || watching.told.lock().unwrap().iter().any(|line| line.contains("is back")));
    let withdraw = format!("access/requests/{before}/withdraw");
    stage.server.http().json("POST", &withdraw, &stage.ann, &json!({})).ok();
    let told = watching.last(4);
    assert_eq!((&told["id"], &told["state"]), (&json!(before), &json!("withdrawn")), "nothing was told twice");
    send(watching.process.id(), rustix::process::Signal::INT);
    assert!(watching.process.wait().unwrap().success(), "Ctrl-C is a clean end");
}
