//! Notices: keys of signatures, addresses that are secrets, passwords of mail servers; kept, tried in vain, and refused.

use serde_json::{Value, json};

use crate::common::eventually;
use crate::common::kept::Kept;
use crate::search::Search;

/// Somebody asks, and nobody can be told.
pub fn notices(server: &Kept, search: &mut Search) {
    let make = |path: &str, body: Value| server.call("POST", path, &body).ok();
    make("sys/mounts/access", json!({ "type": "access" }));
    let key = search.canary("the key of a webhook's signature");
    let path = search.plain_canary("the path of a webhook");
    let slack = search.plain_canary("the path of a Slack channel");
    let password = search.canary("the password of a mail server");
    let web = |kind: &str, path: &str| json!({ "type": kind, "url": format!("https://127.0.0.1:1/{path}?q={path}") });
    let mut hook = web("webhook", &path);
    hook["secret"] = json!(key);
    make("access/notices/hook", hook);
    make("access/notices/slack", web("slack", &slack));
    let mail = json!({
        "type": "email", "host": "127.0.0.1", "port": 1, "username": "dewdrop", "password": password,
        "from": "dewdrop@example.com", "to": "leads@example.com",
    });
    make("access/notices/mail", mail);
    ask(server);
    let state = |name: &str| server.call("GET", &format!("access/notices/{name}"), &Value::Null).ok();
    for name in ["hook", "slack", "mail"] {
        eventually("a notice is tried in vain", || !state(name).at("/data/last_error").is_empty());
        search.keep(name, &state(name));
        search.keep("a test in vain", &server.call("POST", &format!("access/notices/{name}/test"), &json!({})));
    }
    let wrong = search.plain_canary("a secret in a notice that is refused");
    for body in [
        json!({ "type": wrong }),
        json!({ "url": format!("http://a.example/{wrong}") }),
        json!({ "url": format!("https://ann:{wrong}@a.example/") }),
        json!({ "url": format!("nonsense {wrong}") }),
        json!({ "type": "slack", "secret": wrong }),
        json!({ "password": wrong }),
        json!({ "ca_pem": format!("-----BEGIN PRIVATE KEY-----\n{wrong}\n-----END PRIVATE KEY-----\n") }),
        json!({ "events": wrong }),
        json!({ "secret": { "a": wrong } }),
    ] {
        search.refused("a notice", &server.call("POST", "access/notices/hook", &body));
    }
    let in_clear = json!({ "tls": "none", "password": wrong });
    search.refused("a password in clear", &server.call("POST", "access/notices/mail", &in_clear));
    let elsewhere = json!({ "host": "evil.example" });
    search.refused("a password that would go elsewhere", &server.call("POST", "access/notices/mail", &elsewhere));
}

fn ask(server: &Kept) {
    let make = |path: &str, body: Value| server.call("POST", path, &body).ok();
    make("sys/auth/askers", json!({ "type": "userpass" }));
    make("sys/policies/acl/askers", json!({ "policy": "path \"access/request\" { capabilities = [\"update\"] }" }));
    make("auth/askers/users/ada", json!({ "password": "long enough", "token_policies": "askers" }));
    let role = json!({
        "clusters": "prod", "namespaces": "shop", "requester_entities": "asker", "auto_approve": true,
        "rules": [{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }],
    });
    make("access/roles/look", role);
    let accessor = server.call("GET", "sys/auth", &Value::Null).ok().value()["data"]["askers/"]["accessor"].clone();
    let id = make("identity/entity", json!({ "name": "asker" })).at("/data/id");
    make("identity/entity-alias", json!({ "name": "ada", "mount_accessor": accessor, "canonical_id": id }));
    let token = make("auth/askers/login/ada", json!({ "password": "long enough" })).at("/auth/client_token");
    let ask = json!({ "role": "look", "reason": "to see what is told" });
    server.http().json("POST", "access/request", &token, &ask).ok();
}
