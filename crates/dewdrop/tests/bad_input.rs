//! What no honest client sends. Each gets a 4xx with a sentence, never a 500; nothing changes, and the server lives on.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;
#[path = "bad_input/wire.rs"]
mod wire;

use common::http::Answer;
use common::kept::Kept;
use common::state::state;
use serde_json::{Value, json};

const SEAL: &str = "seal \"static\" {\n  current_key_id = \"t\"\n  current_key = \"file://SEAL\"\n}\n";

const PEM_HEAD: &str = "-----BEGIN CERTIFICATE-----\n";
const PEM_TAIL: &str = "\n-----END CERTIFICATE-----\n";

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
#[expect(clippy::too_many_lines, reason = "a table of requests")]
fn fields() {
    let mut server = server("");
    let before = state(server.http(), &server.root);
    let mut refusals = Refusals::default();
    let many = Value::from(vec!["x"; 100_000]);
    let wrong: Vec<(&str, Value)> = vec![
        ("kv2/data/app", json!({ "data": "text" })),
        ("kv2/data/app", json!({ "data": { "v": 1 }, "options": { "cas": "many" } })),
        ("kv2/data/app", json!({})),
        ("kv2/config", json!({ "max_versions": "lots" })),
        ("kv2/config", json!({ "delete_version_after": "1y" })),
        ("kv2/destroy/app", json!({ "versions": "all of them" })),
        ("kv2/destroy/app", json!({ "versions": many })),
        ("auth/token/create", json!({ "ttl": "1y" })),
        ("auth/token/create", json!({ "ttl": "-1h" })),
        ("auth/token/create", json!({ "ttl": -5 })),
        ("auth/token/create", json!({ "ttl": "99999999999999999999999h" })),
        ("auth/token/create", json!({ "ttl": 1e300 })),
        ("auth/token/create", json!({ "ttl": { "h": 1 } })),
        ("auth/token/create", json!({ "explicit_max_ttl": "forever" })),
        ("auth/token/create", json!({ "num_uses": "three" })),
        ("auth/token/create", json!({ "num_uses": -3 })),
        ("auth/token/create", json!({ "meta": "text" })),
        ("auth/token/create", json!({ "type": "golden" })),
        ("auth/token/create", json!({ "policies": many })),
        ("auth/token/create", json!({ "policies": { "a": 1 } })),
        ("auth/token/roles/r", json!({ "token_period": "1 fortnight" })),
        ("auth/token/roles/r", json!({ "token_bound_cidrs": "300.0.0.0/8" })),
        ("identity/mfa/method/webauthn", json!({})),
        ("identity/mfa/method/webauthn", json!({ "rp_id": "https://a.test" })),
        ("identity/mfa/method/webauthn", json!({ "rp_id": "a.test", "origins": many })),
        ("identity/mfa/method/webauthn", json!({ "rp_id": "a.test", "origins": { "a": 1 } })),
        ("identity/mfa/method/webauthn", json!({ "rp_id": "a.test", "same_address": "maybe" })),
        ("identity/mfa/method/webauthn/register/begin", json!({ "method_id": "x", "name": many })),
        ("identity/mfa/method/webauthn/register/finish", json!({ "registration_id": "x", "credential": many })),
        ("identity/mfa/method/webauthn/admin-destroy", json!({ "method_id": [1], "entity_id": "x" })),
        ("identity/mfa/method/webauthn/admin-list", json!({ "entity_id": "x" })),
        ("sys/mfa/browser/take", json!({ "code": many })),
        ("sys/mfa/browser/take", json!({ "code": "\u{20ac}\u{20ac}\u{20ac}\u{20ac}\u{20ac}" })),
        ("sys/mfa/browser/answer", json!({ "page": "x", "answer": many })),
        ("sys/mfa/browser/poll", json!({ "ticket": 7 })),
        ("auth/approle/role/new", json!({ "secret_id_ttl": "1y" })),
        ("auth/approle/role/new", json!({ "token_ttl": "2h", "token_max_ttl": "1h" })),
        ("auth/approle/role/new", json!({ "secret_id_bound_cidrs": "not an address" })),
        ("auth/approle/role/app/secret-id", json!({ "metadata": "no JSON" })),
        ("auth/cert/certs/new", json!({})),
        ("auth/cert/certs/new", json!({ "certificate": "no PEM" })),
        ("auth/cert/certs/new", json!({ "certificate": format!("{PEM_HEAD}AAAA{PEM_TAIL}") })),
        ("auth/cert/certs/new", json!({ "certificate": PEM_HEAD.repeat(1000) })),
        ("auth/cert/certs/new", json!({ "certificate": many })),
        ("auth/cert/certs/new", json!({ "certificate": { "a": 1 } })),
        ("auth/cert/config", json!({ "disable_binding": "perhaps" })),
        ("auth/cert/config", json!({ "ocsp_cache_size": "x" })),
        ("auth/cert/crls/new", json!({})),
        ("auth/cert/crls/new", json!({ "crl": "no PEM" })),
        ("auth/cert/crls/new", json!({ "crl": format!("{PEM_HEAD}AAAA{PEM_TAIL}") })),
        ("auth/cert/crls/new", json!({ "crl": "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n" })),
        ("auth/cert/login", json!({})),
        ("auth/cert/login", json!({ "name": many })),
        ("auth/cert/login", json!({ "certificate": format!("{PEM_HEAD}AAAA{PEM_TAIL}") })),
        ("auth/jwt/config", json!({})),
        ("auth/jwt/config", json!({ "jwt_validation_pubkeys": "no PEM" })),
        ("auth/jwt/config", json!({ "jwks_url": { "a": 1 } })),
        ("auth/jwt/config", json!({ "jwks_pairs": "text" })),
        ("auth/jwt/role/new", json!({ "role_type": "jwt", "user_claim": "sub" })),
        ("auth/jwt/role/new", json!({ "role_type": "jwt", "user_claim": "sub", "bound_claims": many })),
        ("auth/jwt/login", json!({ "role": "app", "jwt": many })),
        ("auth/jwt/login", json!({ "role": "app", "jwt": "a.b.c" })),
        ("auth/kubernetes/config", json!({})),
        ("auth/kubernetes/config", json!({ "kubernetes_host": "https://a.test", "kubernetes_ca_cert": "no PEM" })),
        ("auth/kubernetes/config", json!({ "kubernetes_host": "https://a.test", "node_grace": "1y" })),
        ("auth/kubernetes/role/new", json!({ "bound_service_account_names": many })),
        ("auth/kubernetes/role/new", json!({ "bound_service_account_names": "*,a" })),
        ("auth/kubernetes/login", json!({ "role": "none", "jwt": "a.b.c" })),
        ("auth/kubernetes/agent/start", json!({ "labels": "text" })),
        ("auth/kubernetes/agent/end", json!({ "starts": "all" })),
        ("auth/kubernetes/agent/beat", json!({ "starts": [{ "pod_uid": 7 }] })),
        ("auth/userpass/users/eve", json!({})),
        ("auth/userpass/users/eve", json!({ "password": ["a"] })),
        ("auth/userpass/login/ada", json!({ "password": { "$ne": "" } })),
        ("auth/userpass/login/a' OR '1'='1".replace(' ', "%20").leak(), json!({ "password": "' OR '1'='1" })),
        ("sys/policies/acl/new", json!({ "policy": "path {" })),
        ("sys/policies/acl/new", json!({ "policy": "path \"x\" { capabilities = [\"fly\"] }" })),
        ("sys/policies/acl/new", json!({ "policy": format!("path \"x\" {}", "{".repeat(50_000)) })),
        (
            "sys/policies/acl/new",
            json!({ "policy": "path \"a/{{identity.entity.{{identity.entity.id}}}}\" { capabilities = [\"read\"] }" }),
        ),
        ("sys/policies/acl/new", json!({ "policy": "path \"a/{{identity.entity.id\" { capabilities = [\"read\"] }" })),
        ("sys/policies/acl/new", json!({ "policy": 7 })),
        ("sys/policies/password/new", json!({ "policy": "length = 1000000000" })),
        ("sys/policies/password/new", json!({ "policy": "rule \"charset\" { charset = \"\" }" })),
        ("sys/mounts/new", json!({ "type": "no such engine" })),
        ("sys/mounts/new", json!({ "type": "kv", "config": { "default_lease_ttl": "1y" } })),
        ("sys/mounts/kv/below", json!({ "type": "kv" })),
        ("sys/mounts/sys", json!({ "type": "kv" })),
        ("sys/mounts/kv", json!({ "type": "kv" })),
        ("sys/auth/new", json!({ "type": ["userpass"] })),
        ("sys/mounts/kv/tune", json!({ "max_lease_ttl": "-7" })),
        ("sys/remount", json!({ "from": "none", "to": "other" })),
        ("sys/leases/renew", json!({ "lease_id": "none", "increment": "1y" })),
        ("sys/leases/lookup", json!({ "lease_id": "\u{0}" })),
        ("sys/wrapping/unwrap", json!({ "token": "none" })),
        ("sys/capabilities", json!({ "token": "none", "paths": ["x"] })),
        ("sys/policies/explain", json!({ "path": "x", "operation": "fly" })),
        ("sys/namespaces/sys", json!({})),
        ("sys/namespaces/a b".replace(' ', "%20").leak(), json!({})),
        ("database/config/x", json!({ "plugin_name": "none" })),
        ("database/config/x", json!({ "plugin_name": "postgresql-database-plugin", "connection_url": "\u{7}" })),
        ("database/roles/x", json!({ "db_name": "none", "creation_statements": many })),
        ("database/roles/x", json!({ "db_name": "none", "default_ttl": "1y" })),
        (
            "database/static-roles/x",
            json!({ "db_name": "none", "username": "a\"; DROP TABLE users; --", "rotation_period": "1h" }),
        ),
        ("access/notices/x", json!({})),
        ("access/notices/x", json!({ "type": "pigeon" })),
        ("access/notices/x", json!({ "type": "slack", "url": "https://169.254.169.254/latest" })),
        ("access/notices/x", json!({ "type": "slack", "url": "http://a.test/" })),
        ("access/notices/x", json!({ "type": "slack", "url": "file:///etc/passwd", "insecure_http": true })),
        ("access/notices/x", json!({ "type": "slack", "url": { "a": 1 } })),
        ("access/notices/x", json!({ "type": "slack", "url": "https://a.test/", "ca_pem": "no PEM" })),
        ("access/notices/x", json!({ "type": "webhook", "url": "https://a.test/", "secret": "short" })),
        ("access/notices/x", json!({ "type": "slack", "url": "https://a.test/", "events": many })),
        ("access/notices/x", json!({ "type": "email", "host": "a b", "from": "a@a.test", "to": "b@a.test" })),
        ("access/notices/x", json!({ "type": "email", "host": "a.test", "from": "a@a.test", "to": many })),
        (
            "access/notices/x",
            json!({ "type": "email", "host": "a.test", "from": "a@a.test\r\nBcc: c@a.test", "to": "b@a.test" }),
        ),
        (
            "access/notices/x",
            json!({ "type": "email", "host": "a.test", "port": 65536, "from": "a@a.test", "to": "b@a.test" }),
        ),
        ("access/notices/none/test", json!({})),
        ("access/request", json!({ "role": "none", "reason": "x" })),
        ("access/clusters/x", json!({ "address": "https://a.test", "mode": "either" })),
        ("access/clusters/x", json!({ "address": "https://a.test", "mode": "direct" })),
        (
            "access/clusters/x",
            json!({ "address": "https://a.test", "mode": "direct", "certificate_authority": "-----BEGIN CERTIFICATE-----" }),
        ),
        ("access/clusters/x", json!({ "address": "https://a.test", "certificate_authority": "x" })),
        ("access/clusters/x", json!({ "address": "https://a.test", "mode": "direct", "certificate_ttl": "1y" })),
        ("access/clusters/none/ca/rotate", json!({})),
        ("access/clusters/x", json!({ "address": "https://a.test", "credential": "token" })),
        ("access/clusters/x", json!({ "address": "https://a.test", "mode": "direct", "credential": { "a": 1 } })),
        ("access/clusters/x", json!({ "address": "https://a.test", "mode": "direct", "audience": many })),
        ("access/issuer", json!({})),
        ("access/issuer", json!({ "url": "http://a.test/v1/access" })),
        ("access/issuer", json!({ "url": "https://a.test/v1/access\r\nx: y" })),
        ("access/issuer", json!({ "url": format!("https://a.test/{}", "a".repeat(100_000)) })),
        ("access/issuer", json!({ "url": many, "algorithm": { "a": 1 } })),
        ("access/issuer", json!({ "url": "https://a.test/v1/access", "algorithm": "none" })),
        ("access/issuer/rotate", json!({})),
        ("access/requests/none/token", json!({ "a": many })),
        ("access/namespace-doors", json!({ "cluster": "c", "namespace": "n", "user": "u", "open": true })),
        ("access/namespace-doors", json!({ "cluster": "", "namespace": many, "user": 7, "open": "perhaps" })),
        ("kubernetes/config", json!({ "kubernetes_host": "https://a@b" })),
        ("kubernetes/config", json!({ "kubernetes_host": "https://192.0.2.1", "kubernetes_ca_cert": "\u{7}" })),
        ("kubernetes/roles/x", json!({ "allowed_kubernetes_namespaces": many })),
        (
            "kubernetes/roles/x",
            json!({ "allowed_kubernetes_namespaces": "*", "generated_role_rules": "- ".repeat(100_000) }),
        ),
        (
            "kubernetes/roles/x",
            json!({ "allowed_kubernetes_namespaces": "*", "service_account_name": "x", "token_max_ttl": "1y" }),
        ),
        ("kubernetes/creds/none", json!({ "kubernetes_namespace": "../x" })),
        ("identity/entity", json!({ "metadata": "text" })),
        ("identity/group", json!({ "member_entity_ids": ["none"] })),
        ("sys/quotas/rate-limit/x", json!({ "rate": -1 })),
    ];
    for (path, body) in &wrong {
        let what = format!("{path} {}", body.to_string().chars().take(90).collect::<String>());
        refusals.check(&what, &server.call("POST", path, body));
    }
    refusals.check("GET database/creds/none", &server.call("GET", "database/creds/none", &Value::Null));
    refusals.check("100,000 strings", &server.call("POST", "kv/many", &json!({ "a": many })));
    refusals
        .check("2,000,000 empty lists", &server.call("POST", "kv/many", &json!({ "a": vec![json!([]); 2_000_000] })));
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
