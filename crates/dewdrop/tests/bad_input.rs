//! What no honest client sends. Each gets a 4xx with a sentence, never a 500; nothing changes, and the server lives on.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;
#[path = "bad_input/fields.rs"]
mod fields;
#[path = "bad_input/wire.rs"]
mod wire;

use common::http::Answer;
use common::kept::Kept;
use common::state::state;
use serde_json::{Value, json};

const SEAL: &str = "seal \"static\" {\n  current_key_id = \"t\"\n  current_key = \"file://SEAL\"\n}\n";

/// A server with one of each engine.
fn server(listener: &str) -> Kept {
    let server = Kept::with(SEAL, listener);
    let make = |path: &str, body: Value| drop(server.call("POST", path, &body).ok());
    make("sys/mounts/kv", json!({ "type": "kv" }));
    make("sys/mounts/kv2", json!({ "type": "kv", "options": { "version": "2" } }));
    make("sys/mounts/database", json!({ "type": "database" }));
    make("sys/mounts/access", json!({ "type": "access" }));
    make("sys/mounts/kubernetes", json!({ "type": "kubernetes" }));
    make("sys/auth/userpass", json!({ "type": "userpass" }));
    make("sys/auth/approle", json!({ "type": "approle" }));
    make("sys/auth/cert", json!({ "type": "cert" }));
    make("sys/auth/jwt", json!({ "type": "jwt" }));
    make("sys/auth/kubernetes", json!({ "type": "kubernetes" }));
    make("auth/jwt/role/app", json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "x" }));
    make(
        "auth/kubernetes/role/app",
        json!({ "bound_service_account_names": "a", "bound_service_account_namespaces": "b" }),
    );
    make("auth/userpass/users/ada", json!({ "password": "long enough" }));
    make("auth/approle/role/app", json!({ "token_ttl": "1h" }));
    make("kv/app", json!({ "v": "as it was" }));
    make("kv2/data/app", json!({ "data": { "v": "as it was" } }));
    make("sys/policies/acl/p", json!({ "policy": "path \"kv/*\" { capabilities = [\"read\"] }" }));
    server
}

/// Collects what was not refused, or without a sentence, so that one run shows all of it.
#[derive(Default)]
struct Refusals(Vec<String>);

impl Refusals {
    fn check(&mut self, what: &str, answer: &Answer) {
        let text: String = answer.text().chars().take(300).collect();
        let said = answer.value()["errors"]
            .as_array()
            .is_some_and(|all| all.iter().any(|e| e.as_str().is_some_and(|t| t.len() > 5)));
        match answer.status {
            400..500 if said => {}
            400..500 => self.0.push(format!("{what}: {} without a sentence: {text}", answer.status)),
            status => self.0.push(format!("{what}: {status} {text}")),
        }
    }

    fn assert_all(&self) {
        assert!(self.0.is_empty(), "{}", self.0.join("\n"));
    }
}

/// Everything works as before.
fn assert_unharmed(server: &mut Kept, before: &[Value]) {
    assert!(server.is_alive());
    assert_eq!(server.http().send("GET", "sys/health", "", b"").status, 200);
    assert_eq!(server.call("GET", "kv/app", &Value::Null).ok().at("/data/v"), "as it was");
    assert_eq!(state(server.http(), &server.root), before, "the state has changed");
    let log = std::fs::read_to_string(server.folder().join("stderr")).unwrap();
    assert!(!log.contains("panicked"), "a panic: {log}");
}

#[test]
fn bodies() {
    let mut server = server("");
    let before = state(server.http(), &server.root);
    let mut refusals = Refusals::default();
    let http = server.http();
    let long = 33 << 20;
    let bodies: Vec<(&str, Vec<u8>)> = vec![
        ("an open object", b"{\"a\":".to_vec()),
        ("no JSON", b"{a:1}".to_vec()),
        ("a byte order mark", b"\xef\xbb\xbf{}".to_vec()),
        ("two objects", b"{}{}".to_vec()),
        ("a list", b"[1]".to_vec()),
        ("a number", b"7".to_vec()),
        ("a text", b"\"x\"".to_vec()),
        ("bytes that are no UTF-8", b"{\"a\":\"\xff\xfe\"}".to_vec()),
        ("half a surrogate", br#"{"a":"\ud800"}"#.to_vec()),
        ("a control character", b"{\"a\":\"\x01\"}".to_vec()),
        ("a huge exponent", b"{\"a\":1e999999}".to_vec()),
        ("deep lists", [b"{\"a\":".to_vec(), b"[".repeat(100_000), b"]".repeat(100_000), b"}".to_vec()].concat()),
        ("deep objects", [b"{\"a\":".repeat(100_000), b"1".to_vec(), b"}".repeat(100_000)].concat()),
        ("33 MiB", [b"{\"a\":\"".to_vec(), b"x".repeat(long), b"\"}".to_vec()].concat()),
    ];
    for (what, body) in &bodies {
        let paths = ["kv/app", "kv2/data/app", "sys/mounts/new", "auth/token/create", "auth/userpass/login/ada"];
        // A huge body is refused before anybody looks at its path.
        for path in paths.iter().take(if body.len() > long { 1 } else { paths.len() }) {
            refusals.check(&format!("{what} to {path}"), &http.send("POST", path, &server.root, body));
        }
    }
    let huge = http.send("POST", "kv/app", &server.root, &bodies[bodies.len() - 1].1);
    assert_eq!(huge.status, 413);
    refusals.assert_all();
    assert_unharmed(&mut server, &before);
}

#[test]
fn paths() {
    let mut server = server("");
    let before = state(server.http(), &server.root);
    let mut refusals = Refusals::default();
    let http = server.http();
    for path in [
        "../sys/mounts",
        "kv/../sys/mounts",
        "kv/./app",
        "kv/%2e%2e/app",
        "kv/%2E%2E/sys/mounts",
        "kv/..%2fapp",
        "kv/app%00",
        "kv/%00",
        "kv/%",
        "kv/%zz",
        "kv/%4",
        "kv/%ff%fe",
        "kv/%c0%ae%c0%ae/app",
        "kv/a%0d%0aSet-Cookie:%20x",
        "kv/a%2f%2fb",
        "%2fkv/app",
        "kv/app?list=maybe",
        "kv/app?a=%zz",
        "kv/app?list=%ff",
        "kv/%e2%80%8bapp",
        "KV/app",
        "Sys/mounts",
        "kv//",
    ] {
        let answer = http.send("GET", path, &server.root, b"");
        if path.ends_with("//") {
            assert_eq!(answer.status, 307, "{path}");
        } else {
            refusals.check(path, &answer);
        }
    }
    assert_eq!(http.send("GET", "kv//app", &server.root, b"").status, 307);
    refusals.assert_all();
    assert_unharmed(&mut server, &before);
}

#[test]
fn headers() {
    let mut server = server("");
    let before = state(server.http(), &server.root);
    let mut refusals = Refusals::default();
    let (http, token) = (server.http(), &server.root);
    let pairs = (0..2000).map(|n| format!("a{n}=1")).collect::<Vec<_>>().join("&");
    refusals.check("2,000 query fields", &http.send("GET", &format!("kv/app?{pairs}"), token, b""));
    refusals.check("a token of 10 KB", &http.send("GET", "kv/app", &"t".repeat(10_000), b""));
    refusals.check("a token that is none", &http.send("GET", "kv/app", "s.\u{e9}\u{1f512}", b""));
    let with = |headers: &[(&str, &str)]| {
        http.with("GET", "kv/app", &[&[("X-Vault-Token", token.as_str())], headers].concat(), b"")
    };
    for ttl in ["1y", "-5", "soon", "99999999999999999999h"] {
        refusals.check(&format!("wrapped for {ttl}"), &with(&[("X-Vault-Wrap-TTL", ttl)]));
    }
    for namespace in ["none", "../root", "a//b", "%00"] {
        refusals.check(&format!("the namespace {namespace}"), &with(&[("X-Vault-Namespace", namespace)]));
    }
    let typed = http.with(
        "PATCH",
        "kv2/data/app",
        &[("X-Vault-Token", token), ("Content-Type", "text/plain")],
        b"{\"data\":{}}",
    );
    assert_eq!(typed.status, 415, "{}", typed.text());
    for method in ["TRACE", "CONNECT", "OPTIONS", "BREW"] {
        let answer = http.send(method, "kv/app", token, b"");
        assert!((400..500).contains(&answer.status), "{method}: {} {}", answer.status, answer.text());
    }
    refusals.assert_all();
    assert_unharmed(&mut server, &before);
}
