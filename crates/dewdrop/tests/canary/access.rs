//! Access of people: what the audit log may say of it in clear, route by route, as the fields' meaning has it; and a
//! conversation in which every other field holds a secret.

use std::collections::BTreeSet;

use dewdrop_testkit::pki::Ca;
use serde_json::{Value, json};

use crate::common::kept::{Kept, files};
use crate::search::Search;

/// What some routes of the engine say in clear. Of the routes that are not here nothing may stand in clear: recordings
/// that are read, keys and addresses of notices, certificates, what whoever may read it anyway reads.
struct Says {
    routes: &'static [&'static str],
    /// Of the request.
    asked: &'static [&'static str],
    /// Of the answer.
    told: &'static [&'static str],
}

/// Who asked for what and why, who decided what and why, how far it is, how and when it ended.
const CASE: &[&str] = &[
    "id",
    "requester",
    "role",
    "cluster",
    "summary",
    "reason",
    "ticket",
    "extends",
    "state",
    "granted_at",
    "ends_at",
    "decisions.by",
    "decisions.at",
    "decisions.comment",
    "review.by",
    "review.at",
    "review.comment",
    "ended.how",
    "ended.by",
    "ended.at",
    "ended.reason",
];

const OF_ACCESS: &[Says] = &[
    // A person asks: where, and in words that approvers read.
    Says { routes: &["request"], asked: &["role", "cluster", "ticket", "reason"], told: &[] },
    Says {
        routes: &["requests/{id}/approve", "requests/{id}/deny", "requests/{id}/review"],
        asked: &["comment"],
        told: &[],
    },
    Says {
        routes: &["requests/{id}/withdraw", "requests/{id}/extend", "requests/{id}/revoke"],
        asked: &["reason"],
        told: &[],
    },
    Says {
        routes: &[
            "request",
            "requests/{id}/approve",
            "requests/{id}/deny",
            "requests/{id}/review",
            "requests/{id}/withdraw",
            "requests/{id}/extend",
            "requests/{id}/revoke",
        ],
        asked: &[],
        told: CASE,
    },
    // By what an API server's audit log names a certificate, or a token.
    Says { routes: &["requests/{id}/certificate"], asked: &[], told: &["fingerprint"] },
    Says { routes: &["requests/{id}/token"], asked: &[], told: &["jti"] },
    // A door of a pod: which one, by which grant. The session's name opens it, so that is secret.
    Says {
        routes: &["announce", "exec-check"],
        asked: &["grant", "cluster", "namespace", "name", "target"],
        told: &[],
    },
    Says { routes: &["exec-check"], asked: &["user", "container"], told: &["refused"] },
    // Who opened which namespace to everybody, or closed it.
    Says { routes: &["namespace-doors"], asked: &["cluster", "namespace", "user"], told: &[] },
    // What a person did: that is what the record is for. What an object holds is not among it.
    Says {
        routes: &["record"],
        asked: &[
            "lines.kind",
            "lines.time",
            "lines.user",
            "lines.acting_as",
            "lines.source",
            "lines.grant",
            "lines.cluster",
            "lines.verb",
            "lines.target",
            "lines.namespace",
            "lines.name",
            "lines.command",
            "lines.refused",
            "lines.recording",
            "lines.audit_id",
            "lines.left.act",
            "lines.left.path",
            "lines.left.uid",
            "lines.left.until",
            "lines.left.why",
        ],
        told: &[],
    },
    // Whose session was recorded, and where; never what was seen in it.
    Says {
        routes: &["recordings/{id}"],
        asked: &["about.grant", "about.user", "about.cluster", "about.namespace", "about.name", "about.command"],
        told: &[],
    },
    // What somebody looked for.
    Says { routes: &["live", "around"], asked: &["cluster"], told: &[] },
    Says { routes: &["around"], asked: &["user"], told: &[] },
];

/// Whether a field of a request below `/access/` may stand in clear.
pub fn may_say(path: &str, field: &str) -> bool {
    path.strip_prefix("/access/")
        .is_some_and(|below| allowed(below.trim_end_matches('/'), "request", field).next().is_some())
}

/// The rows that allow a field, by number.
fn allowed<'a>(below: &'a str, side: &'a str, field: &'a str) -> impl Iterator<Item = usize> + 'a {
    OF_ACCESS
        .iter()
        .enumerate()
        .filter(move |(_, says)| {
            let fields = if side == "request" { says.asked } else { says.told };
            fields.contains(&field) && says.routes.iter().any(|route| is_of(route, below))
        })
        .map(|(row, _)| row)
}

fn is_of(route: &str, below: &str) -> bool {
    let (route, below): (Vec<&str>, Vec<&str>) = (route.split('/').collect(), below.split('/').collect());
    route.len() == below.len() && route.iter().zip(&below).all(|(own, given)| own.starts_with('{') || own == given)
}

/// People ask, decide and do things, and the proxies tell of it.
pub fn access(server: &Kept, search: &mut Search) {
    let town = Town::build(server);
    town.requests(search);
    town.direct(search);
    town.proxies(search);
    // The sweep goes over one mount of each kind, and there is another of this one.
    server.call("DELETE", "sys/mounts/reach", &Value::Null).ok();
}

/// An engine, and two people: `rosa` asks and `hugo` approves.
struct Town<'s> {
    server: &'s Kept,
    rosa: String,
    hugo: String,
}

impl<'s> Town<'s> {
    fn build(server: &'s Kept) -> Self {
        let make = |path: &str, body: Value| server.call("POST", path, &body).ok();
        make("sys/mounts/reach", json!({ "type": "access" }));
        make("sys/auth/reach", json!({ "type": "userpass" }));
        let policy = r#"path "reach/*" { capabilities = ["read", "update", "list"] }"#;
        make("sys/policies/acl/reach", json!({ "policy": policy }));
        let accessor = server.call("GET", "sys/auth", &Value::Null).ok().value()["data"]["reach/"]["accessor"].clone();
        let person = |name: &str| {
            make(&format!("auth/reach/users/{name}"), json!({ "password": "long enough", "token_policies": "reach" }));
            let id = make("identity/entity", json!({ "name": name })).at("/data/id");
            make("identity/entity-alias", json!({ "name": name, "mount_accessor": accessor, "canonical_id": id }));
            make(&format!("auth/reach/login/{name}"), json!({ "password": "long enough" })).at("/auth/client_token")
        };
        let (rosa, hugo) = (person("rosa"), person("hugo"));
        let role = json!({
            "clusters": "prod", "namespaces": "shop", "requester_entities": "rosa", "break_glass_entities": "rosa",
            "approvals": [{ "entities": ["hugo"], "count": 1 }],
            "rules": [{ "api_groups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get", "create"] }],
        });
        make("reach/roles/ops", role);
        make("reach/clusters/prod", json!({ "address": "https://prod.example:6443" }));
        Self { server, rosa, hugo }
    }

    fn call(&self, token: &str, path: &str, body: &Value) -> crate::common::http::Answer {
        self.server.http().json("POST", &format!("reach/{path}"), token, body)
    }

    fn ask(&self, more: &Value) -> String {
        let mut body = json!({ "role": "ops", "cluster": "prod", "ticket": "T-1", "reason": "the shop is down" });
        body.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        self.call(&self.rosa, "request", &body).ok().at("/data/id")
    }

    /// A request's whole life, in each of the ways in which it may end.
    fn requests(&self, search: &mut Search) {
        let (rosa, hugo) = (&self.rosa, &self.hugo);
        let act =
            |who: &str, id: &str, step: &str, body: Value| self.call(who, &format!("requests/{id}/{step}"), &body).ok();
        let id = self.ask(&json!({}));
        let wrong = search.plain_canary("a digest that is none");
        let path = format!("requests/{id}/approve");
        search.refused("a wrong digest", &self.call(hugo, &path, &json!({ "comment": "go on", "digest": wrong })));
        act(hugo, &id, "approve", json!({ "comment": "go on" }));
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        search.add("a certificate request", csr.lines().nth(2).unwrap());
        let signed = act(rosa, &id, "certificate", json!({ "csr": csr })).at("/data/certificate");
        search.add("a certificate of a grant", signed.lines().nth(3).unwrap());
        act(rosa, &id, "extend", json!({ "reason": "it takes longer" }));
        act(hugo, &id, "revoke", json!({ "reason": "it is repaired" }));
        act(hugo, &self.ask(&json!({})), "deny", json!({ "comment": "not now" }));
        act(rosa, &self.ask(&json!({})), "withdraw", json!({ "reason": "a mistake" }));
        act(hugo, &self.ask(&json!({ "break_glass": true })), "review", json!({ "comment": "as it should be" }));
        for path in [
            "requests?list=true".to_owned(),
            "watch".to_owned(),
            format!("requests/{id}"),
            "offers?list=true".to_owned(),
        ] {
            self.server.http().send("GET", &format!("reach/{path}"), rosa, b"").ok();
        }
    }

    /// A cluster without a proxy, whose API server names certificates by their fingerprints and tokens by their `jti`.
    fn direct(&self, search: &mut Search) {
        let authority = Ca::new("an API server").pem();
        let make = |path: &str, body: Value| self.call(&self.server.root, path, &body).ok();
        let at = "https://edge.example:6443";
        make("clusters/edge", json!({ "address": at, "mode": "direct", "certificate_authority": authority }));
        let role = json!({
            "clusters": "edge", "namespaces": "shop", "requester_entities": "rosa", "auto_approve": true,
            "rules": [{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }],
            "kubernetes_groups": "dewdrop:edge", "record_sessions": false,
        });
        make("roles/edge", role);
        let id = self.ask(&json!({ "role": "edge", "cluster": "edge" }));
        let key = rcgen::KeyPair::generate().unwrap();
        let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap().pem().unwrap();
        let signed = self.call(&self.rosa, &format!("requests/{id}/certificate"), &json!({ "csr": csr })).ok();
        let certificate = signed.at("/data/certificate");
        search.add("a certificate for a direct cluster", certificate.lines().nth(3).unwrap());
        make("issuer", json!({ "url": "https://dewdrop.example:8200/v1/reach" }));
        make("clusters/edge", json!({ "address": at, "mode": "direct", "credential": "token" }));
        let id = self.ask(&json!({ "role": "edge", "cluster": "edge" }));
        let token = self.call(&self.rosa, &format!("requests/{id}/token"), &json!({})).ok().at("/data/token");
        for (part, what) in token.split('.').zip(["head", "claims", "signature"]).skip(1) {
            search.add(&format!("the {what} of a token for a direct cluster"), part);
        }
        make("issuer/rotate", json!({}));
        for path in ["issuer", ".well-known/keys", ".well-known/openid-configuration"] {
            self.server.http().send("GET", &format!("reach/{path}"), &self.server.root, b"").ok();
        }
    }

    /// What access proxies and webhooks tell, with secrets wherever they could slip in.
    fn proxies(&self, search: &mut Search) {
        let root = |path: &str, body: Value| self.call(&self.server.root, path, &body).ok();
        let session = format!("{}{}", search.plain_canary("a session's name"), search.plain_canary("the rest of it"));
        let mut door = json!({
            "session": session, "grant": "g1", "cluster": "prod", "namespace": "shop", "name": "web-1",
            "target": "pods/exec",
        });
        root("announce", door.clone());
        let question = search.plain_canary("the API server's name of a question");
        let more = json!({ "user": "rosa", "container": "app", "question": &question });
        door.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        assert_eq!(root("exec-check", door).at("/data/allowed"), "false");
        let labels = json!({
            "cluster": "prod", "namespace": "shop", "user": "rosa", "question": question,
            "open": true, "was_open": false, "replaced": true, "was_replaced": true,
        });
        root("namespace-doors", labels);
        let stray = search.canary("a secret in a line of the record");
        let left = json!({
            "act": "made", "path": "/api/v1/namespaces/shop/secrets/s", "uid": "u-1", "until": "2030-01-01T00:00:00Z",
            "why": "it is a token", "token": stray, "data": { "user": stray },
        });
        let line = json!({
            "kind": "request", "time": "2026-01-01T00:00:00Z", "cluster": "prod", "grant": "g1", "user": "rosa",
            "acting_as": "system:admin", "verb": "create", "target": "pods/exec", "namespace": "shop", "name": "web-1",
            "source": "10.0.0.1", "command": "kubectl exec web-1 -- ls", "refused": "the grant has ended",
            "recording": "r1", "audit_id": "a-1", "left": left, "token": stray, "body": { "name": stray, "reason": stray },
        });
        root("record", json!({ "lines": [line] }));
        let seen = search.canary("what a session has shown");
        let about = json!({
            "grant": "g1", "user": "rosa", "cluster": "prod", "namespace": "shop", "name": "web-1",
            "command": "kubectl exec web-1 -- ls", "token": stray, "reason": stray,
        });
        root("recordings/r1", json!({ "number": 0, "cast": seen, "about": about, "last": true }));
        for path in ["recordings/r1", "recordings?list=true", "live?cluster=prod"] {
            self.server.http().send("GET", &format!("reach/{path}"), &self.server.root, b"").ok();
        }
        // Nothing is there; who looked for whom is on the record all the same.
        let query = "reach/around?list=true&cluster=prod&user=rosa";
        assert_eq!(self.server.http().send("GET", query, &self.server.root, b"").status, 404);
    }
}

/// The audit log says in clear what it may, and all of that.
pub fn assert_record(server: &Kept) {
    let mut shown: BTreeSet<(usize, &'static str, String)> = BTreeSet::new();
    for file in files(server.folder()).iter().filter(|file| file.display().to_string().contains("/data/audit/")) {
        let text = std::fs::read(file).unwrap();
        for line in text.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice::<Value>(line).ok()) {
            if line["request"]["mount_type"] != "access" {
                continue;
            }
            let (path, mount) =
                (line["request"]["path"].as_str().unwrap(), line["request"]["mount_point"].as_str().unwrap());
            let below = path.strip_prefix(mount).unwrap_or_default().trim_end_matches('/');
            for side in ["request", "response"] {
                let mut fields = BTreeSet::new();
                in_clear(&line[side]["data"], "", &mut fields);
                for field in fields {
                    let rows: Vec<usize> = allowed(below, side, &field).collect();
                    assert!(!rows.is_empty(), "{field} of the {side} of access/{below} stands in clear: {line}");
                    shown.extend(rows.into_iter().map(|row| (row, side, field.clone())));
                }
            }
        }
    }
    for (row, says) in OF_ACCESS.iter().enumerate() {
        for (side, fields) in [("request", says.asked), ("response", says.told)] {
            for field in fields {
                let is_shown = shown.contains(&(row, side, (*field).to_owned()));
                assert!(is_shown, "{field} of the {side} of {:?} is never in clear", says.routes);
            }
        }
    }
}

/// The fields whose texts are no HMACs.
fn in_clear(value: &Value, at: &str, fields: &mut BTreeSet<String>) {
    match value {
        Value::String(text) if !text.starts_with("hmac-sha256:") => drop(fields.insert(at.to_owned())),
        Value::Array(list) => list.iter().for_each(|value| in_clear(value, at, fields)),
        Value::Object(map) => {
            for (key, value) in map {
                in_clear(value, &if at.is_empty() { key.clone() } else { format!("{at}.{key}") }, fields);
            }
        }
        _ => {}
    }
}
