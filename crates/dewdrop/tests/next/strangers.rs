//! Every route refuses a stranger, whoever the stranger is, and tells nothing; every refusal can be explained to an
//! operator, and the rule that the explanation names is the one that helps.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use common::Server;
use common::eventually;
use common::http::{Answer, Http};
use serde_json::{Value, json};

const VERBS: [&str; 5] = ["GET", "LIST", "POST", "DELETE", "PATCH"];

/// What needs no token, and why. This list may only become shorter.
const PUBLIC: &[(&str, &str)] = &[
    ("sys/health", "load balancers have no token"),
    ("sys/seal-status", "whoever unseals has no token"),
    ("sys/init", "there is no token before it"),
    ("sys/unseal", "the share itself is the right"),
    ("sys/leader", "clients find the active server by it"),
    ("sys/internal/ui/mounts", "shows only what a token may see; a login page shows the listed methods"),
    ("sys/generate-root-token/attempt", "the shares themselves are the right"),
    ("sys/generate-root-token/update", "the shares themselves are the right"),
    ("auth/userpass/login/{username}", "a login makes the token"),
    ("auth/approle/login", "a login makes the token"),
];

/// A server in memory with one of each engine.
fn server() -> Server {
    let server = Server::start();
    let http = server.http();
    let make = |path: &str, body: Value| drop(http.json("POST", path, "root", &body).ok());
    make("sys/mounts/kv", json!({ "type": "kv" }));
    make("sys/mounts/kv2", json!({ "type": "kv", "options": { "version": "2" } }));
    make("sys/mounts/database", json!({ "type": "database" }));
    make("sys/auth/userpass", json!({ "type": "userpass" }));
    make("sys/auth/approle", json!({ "type": "approle" }));
    make("auth/userpass/users/ada", json!({ "password": "long enough" }));
    make("auth/approle/role/app", json!({}));
    make("kv/app", json!({ "v": "1" }));
    make("kv2/data/app", json!({ "data": { "v": "1" } }));
    make("sys/namespaces/team", json!({}));
    server
}

/// All routes, as the server itself tells them, with the mount before each.
fn routes(http: Http) -> Vec<String> {
    let mounts = [
        "sys/",
        "auth/token/",
        "auth/approle/",
        "auth/userpass/",
        "kv/",
        "kv2/",
        "cubbyhole/",
        "database/",
        "identity/",
    ];
    let mut routes = Vec::new();
    for mount in mounts {
        let help = http.send("GET", &format!("{mount}?help=1"), "root", b"").ok().at("/help");
        let (_, paths) = help.split_once("## PATHS").unwrap();
        let named: Vec<&str> = paths
            .lines()
            .filter(|l| l.starts_with("    ") && !l.starts_with("     "))
            .map(str::trim)
            .filter(|l| !l.is_empty())
            .collect();
        assert!(!named.is_empty(), "{mount} tells of no path");
        routes.extend(named.iter().map(|pattern| format!("{mount}{pattern}")));
    }
    assert!(routes.len() > 120, "only {} routes: {routes:?}", routes.len());
    routes
}

/// A path that the route matches; what it names is not there.
fn path_of(route: &str) -> String {
    let segment = |segment: &str| match segment {
        s if s.starts_with('{') && s.ends_with("*}") => "probe/deep".to_owned(),
        s if s.starts_with('{') => "probe".to_owned(),
        s => s.to_owned(),
    };
    route.split('/').map(segment).collect::<Vec<_>>().join("/")
}

fn is_public(route: &str) -> bool {
    PUBLIC.iter().any(|(public, _)| *public == route)
}

fn new_token(http: Http, ask: &Value) -> Answer {
    http.json("POST", "auth/token/create", "root", ask).ok()
}

/// Everybody who may do nothing.
fn strangers(http: Http) -> Vec<(&'static str, String)> {
    let nothing = json!({ "policies": ["nothing"], "no_default_policy": true });
    let token = |ask: &Value| new_token(http, ask).at("/auth/client_token");
    let revoked = token(&json!({ "policies": ["root"] }));
    http.json("POST", "auth/token/revoke", "root", &json!({ "token": revoked })).ok();
    let expired = token(&json!({ "policies": ["root"], "ttl": "1s" }));
    eventually("the token has expired", || http.send("GET", "auth/token/lookup-self", &expired, b"").status == 403);
    let everything = json!({ "policy": "path \"*\" { capabilities = [\"create\", \"read\", \"update\", \"delete\", \"list\", \"patch\", \"sudo\"] }" });
    let in_team = [("X-Vault-Token", "root"), ("X-Vault-Namespace", "team")];
    http.with("POST", "sys/policies/acl/everything", &in_team, everything.to_string().as_bytes()).ok();
    let team = http
        .with("POST", "auth/token/create", &in_team, b"{\"policies\":[\"everything\"]}")
        .ok()
        .at("/auth/client_token");
    vec![
        ("nobody", String::new()),
        ("a token that was never made", "s.AAAAAAAAAAAAAAAAAAAAAAAA".into()),
        ("no token at all", "../../root".into()),
        ("a revoked token", revoked),
        ("an expired token", expired),
        ("a token of another namespace", team),
        ("a token without a right", token(&nothing)),
        (
            "a batch token without a right",
            token(&json!({ "type": "batch", "policies": ["nothing"], "no_default_policy": true })),
        ),
    ]
}

/// What an operator sees of the state.
fn state(http: Http) -> Vec<Value> {
    let paths = [
        "sys/mounts",
        "sys/auth",
        "sys/policies/acl?list=true",
        "sys/policies/password?list=true",
        "sys/namespaces?list=true",
        "kv/?list=true",
        "kv/app",
        "kv2/data/app",
        "kv2/metadata/?list=true",
        "kv2/metadata/app",
        "kv2/config",
        "auth/userpass/users?list=true",
        "auth/userpass/users/ada",
        "auth/approle/role?list=true",
        "auth/approle/role/app",
        "auth/token/accessors?list=true",
        "auth/token/roles?list=true",
        "database/config?list=true",
        "database/roles?list=true",
        "identity/entity/id?list=true",
        "identity/group/id?list=true",
        "sys/leases/lookup/?list=true",
        "sys/key-status",
    ];
    paths.iter().map(|path| http.send("GET", path, "root", b"").value()["data"].clone()).collect()
}

#[test]
fn every_route_refuses_a_stranger() {
    let server = server();
    let http = server.http();
    let routes = routes(http);
    let strangers = strangers(http);
    let before = state(http);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let knock = |(who, token): &(&str, String)| {
            let mut wrong = Vec::new();
            for route in routes.iter().filter(|route| !is_public(route)) {
                for verb in VERBS {
                    let answer = http.send(verb, &path_of(route), token, b"");
                    if answer.status != 403 || answer.text().trim() != "{\"errors\":[\"permission denied\"]}" {
                        wrong.push(format!("{who}: {verb} {route}: {} {}", answer.status, answer.text()));
                    }
                }
            }
            wrong
        };
        let knocks: Vec<_> = strangers.iter().map(|stranger| scope.spawn(move || knock(stranger))).collect();
        knocks.into_iter().flat_map(|knock| knock.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} of {} routes:\n{}", wrong.len(), routes.len(), wrong.join("\n"));
    assert_eq!(state(http), before, "a stranger has changed the state");
    // What is there and what is not look alike.
    for (there, absent) in [
        ("kv/app", "kv/none"),
        ("kv/app", "nomount/none"),
        ("sys/mounts", "sys/none"),
        ("team/sys/mounts", "none/sys/mounts"),
    ] {
        for (who, token) in &strangers[..2] {
            let (there, absent) = (http.send("GET", there, token, b""), http.send("GET", absent, token, b""));
            assert_eq!((there.status, there.text()), (absent.status, absent.text()), "{who} can tell them apart");
        }
    }
}

#[test]
fn what_is_public_is_so_for_a_reason() {
    let server = server();
    let http = server.http();
    for (route, why) in PUBLIC {
        assert!(!why.is_empty());
        let answered = VERBS.iter().any(|verb| http.send(verb, &path_of(route), "", b"").status != 403);
        assert!(answered, "{route} refuses strangers: take it from the list");
    }
    assert!(PUBLIC.len() <= 10, "the list may only become shorter");
}

/// Routes that end the server or the test itself come last or not at all.
fn is_dangerous(route: &str) -> bool {
    matches!(route, "sys/seal" | "sys/step-down")
}

#[test]
fn every_refusal_is_explained_and_the_smallest_rule_helps() {
    let server = server();
    let http = server.http();
    let mut routes = routes(http);
    routes.retain(|route| !is_public(route));
    routes.sort_by_key(|route| is_dangerous(route));
    let mut wrong = Vec::new();
    for route in &routes {
        let path = path_of(route);
        for verb in ["GET", "LIST", "POST", "DELETE", "PATCH"] {
            if is_dangerous(route) && verb != "POST" {
                continue;
            }
            if let Err(why) = explained(http, verb, &path) {
                wrong.push(format!("{verb} {route}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Asks for the reason of a refusal, follows its advice, and tries again.
fn explained(http: Http, verb: &str, path: &str) -> Result<(), String> {
    let made = new_token(http, &json!({ "policies": ["probe"], "no_default_policy": true, "no_parent": true }));
    let (token, accessor) = (made.at("/auth/client_token"), made.at("/auth/accessor"));
    http.json(
        "POST",
        "sys/policies/acl/probe",
        "root",
        &json!({ "policy": "path \"nowhere\" { capabilities = [\"read\"] }" }),
    )
    .ok();
    let refused = http.send(verb, path, &token, b"");
    if refused.status != 403 {
        return Err(format!("not refused: {} {}", refused.status, refused.text()));
    }
    // Whether a write is a `create` or an `update` depends on what is there.
    let operations: &[&str] = match verb {
        "GET" => &["read"],
        "LIST" => &["list"],
        "DELETE" => &["delete"],
        "PATCH" => &["patch"],
        _ => &["update", "create"],
    };
    let mut last = String::new();
    for operation in operations {
        let ask = json!({ "path": path, "operation": operation, "accessor": accessor });
        let explained = http.json("POST", "sys/policies/explain", "root", &ask);
        if explained.status != 200 {
            return Err(format!("no explanation: {} {}", explained.status, explained.text()));
        }
        let data = explained.value()["data"].clone();
        let told = &data["explanation"];
        if data["principal"]["accessor"] != json!(accessor) || told["needs"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("the explanation lacks the principal or the right: {data}"));
        }
        let reason = told["reason"].as_str().unwrap_or_default();
        let Some(rule) = told["smallest_rule"].as_str() else { return Err(format!("no smallest rule: {data}")) };
        if told["allowed"] != json!(false) || reason.len() < 5 || told["path"].as_str().is_none_or(str::is_empty) {
            return Err(format!("the explanation is not whole: {data}"));
        }
        http.json("POST", "sys/policies/acl/probe", "root", &json!({ "policy": rule })).ok();
        let again = http.send(verb, path, &token, b"");
        if again.status != 403 {
            return if again.status < 500 { Ok(()) } else { Err(format!("{} {}", again.status, again.text())) };
        }
        last = format!("still refused with {rule}: {}", again.text());
    }
    Err(last)
}
