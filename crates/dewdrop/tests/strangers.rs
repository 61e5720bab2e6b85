//! Every route refuses a stranger, whoever the stranger is, and tells nothing; every refusal can be explained to an
//! operator, and the rule that the explanation names is the one that helps.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;
#[path = "strangers/explained.rs"]
mod explained;

use std::collections::BTreeSet;

use common::Server;
use common::eventually;
use common::http::{Answer, Http};
use common::state::state;
use serde_json::{Value, json};

const VERBS: [&str; 5] = ["GET", "LIST", "POST", "DELETE", "PATCH"];
const REFUSED: &str = "{\"errors\":[\"permission denied\"]}";

/// What is served without a token: how a stranger is answered whatever the verb, and why. This list may only become
/// shorter. A route that checks by itself answers 403 like any other, and its unknown verbs 404 or 405.
const PUBLIC: &[(&str, &[u16], &str)] = &[
    ("sys/health", &[200, 405], "load balancers have no token"),
    ("sys/seal-status", &[200, 405], "whoever unseals has no token"),
    ("sys/init", &[200, 400, 405], "there is no token before it"),
    ("sys/unseal", &[400, 405], "the share itself is the right"),
    ("sys/leader", &[200, 405], "clients find the active server by it"),
    ("sys/storage/raft/join", &[400, 405], "a server that joins has no token; here it is told that there is no raft"),
    ("sys/generate-root/attempt", &[405], "the shares are the right; closed unless the listener opens it"),
    ("sys/generate-root/update", &[405], "the shares are the right; closed unless the listener opens it"),
    ("sys/rekey/init", &[405], "the shares are the right; closed unless the listener opens it"),
    ("sys/rekey/update", &[405], "the shares are the right; closed unless the listener opens it"),
    ("sys/rekey/verify", &[405], "the shares are the right; closed unless the listener opens it"),
    ("sys/rekey-recovery-key/init", &[404], "the shares are the right; closed unless the listener opens it"),
    ("sys/rekey-recovery-key/update", &[404], "the shares are the right; closed unless the listener opens it"),
    ("sys/rekey-recovery-key/verify", &[404], "the shares are the right; closed unless the listener opens it"),
    (
        "sys/internal/ui/mounts",
        &[200, 403, 404, 405],
        "shows what a token may see, and without one what a login page needs",
    ),
    ("sys/internal/ui/mounts/{path*}", &[403, 405], "checks itself that the token sees the mount"),
    ("sys/internal/ui/namespaces", &[403, 404, 405], "checks itself which namespaces the token reaches"),
    ("sys/internal/specs/openapi", &[200, 404, 405], "shows what the token may see; nothing without one"),
    ("sys/wrapping/lookup", &[400, 403, 404, 405], "the wrapping token itself is the right"),
    ("sys/wrapping/unwrap", &[400, 403, 404, 405], "the wrapping token itself is the right"),
    ("sys/wrapping/rewrap", &[400, 403, 404, 405], "the wrapping token itself is the right"),
    (
        "sys/mfa/validate",
        &[400, 404, 405],
        "who logs in has no token yet: the login that waits and the code are the right",
    ),
    ("sys/mfa/browser/take", &[400, 404, 405], "the code, which serves once, is the right"),
    ("sys/mfa/browser/answer", &[400, 404, 405], "what `take` answered is the right"),
    ("sys/mfa/browser/poll", &[400, 404, 405], "the ticket is the right"),
    ("sys/decode-token", &[400, 404, 405], "reads nothing of the server"),
    ("auth/userpass/login/{username}", &[400, 404, 405], "a login makes the token"),
    ("auth/approle/login", &[400, 404, 405], "a login makes the token"),
    ("auth/cert/login", &[400, 404, 405], "a login makes the token"),
    ("auth/jwt/login", &[400, 404, 405], "a login makes the token"),
    ("auth/jwt/oidc/auth_url", &[400, 404, 405], "a sign-in by browser begins without a token"),
    ("auth/jwt/oidc/callback", &[400, 404, 405], "a login makes the token"),
    ("auth/jwt/oidc/poll", &[400, 404, 405], "a login makes the token"),
    ("auth/oidc/login", &[400, 404, 405], "a login makes the token"),
    ("auth/oidc/oidc/auth_url", &[400, 404, 405], "a sign-in by browser begins without a token"),
    ("auth/oidc/oidc/callback", &[400, 404, 405], "a login makes the token"),
    ("auth/oidc/oidc/poll", &[400, 404, 405], "a login makes the token"),
    ("auth/kubernetes/login", &[400, 404, 405], "a login makes the token"),
    ("access/.well-known/openid-configuration", &[200, 404, 405], "API servers have no token, and verify ours by it"),
    ("access/.well-known/keys", &[200, 404, 405], "public keys, by which API servers verify our tokens"),
];

/// A server in memory with one of each engine.
fn server() -> Server {
    let server = Server::start();
    let http = server.http();
    let make = |path: &str, body: Value| drop(http.json("POST", path, "root", &body).ok());
    make("sys/mounts/kv", json!({ "type": "kv" }));
    make("sys/mounts/kv2", json!({ "type": "kv", "options": { "version": "2" } }));
    make("sys/mounts/database", json!({ "type": "database" }));
    make("sys/mounts/access", json!({ "type": "access" }));
    make("sys/mounts/kubernetes", json!({ "type": "kubernetes" }));
    make("sys/auth/userpass", json!({ "type": "userpass" }));
    make("sys/auth/approle", json!({ "type": "approle" }));
    make("sys/auth/cert", json!({ "type": "cert" }));
    make("sys/auth/jwt", json!({ "type": "jwt" }));
    make("sys/auth/oidc", json!({ "type": "oidc" }));
    make("sys/auth/kubernetes", json!({ "type": "kubernetes" }));
    make("auth/userpass/users/ada", json!({ "password": "long enough" }));
    make("auth/approle/role/app", json!({}));
    make("kv/app", json!({ "v": "1" }));
    make("kv2/data/app", json!({ "data": { "v": "1" } }));
    make("sys/namespaces/team", json!({}));
    make("identity/mfa/method/totp", json!({ "issuer": "dewdrop" }));
    make("access/notices/ops", json!({ "type": "slack", "url": "https://127.0.0.1:1/x" }));
    make("identity/mfa/method/webauthn", json!({ "rp_id": "localhost" }));
    make("access/issuer", json!({ "url": "https://dewdrop.example:8200/v1/access" }));
    server
}

/// All routes, as the server itself tells them, with the mount before each.
fn routes(http: Http) -> Vec<String> {
    let told: BTreeSet<String> = mounts(http).iter().flat_map(|mount| told_by_help(http, mount)).collect();
    let mut routes: Vec<String> = told.into_iter().collect();
    // The API document tells of the same routes, and of those that are served before there is a vault.
    let document = http.send("GET", "sys/internal/specs/openapi", "root", b"").ok().value();
    let paths = document["paths"].as_object().unwrap();
    let plain = |route: &str| format!("/{}", route.trim_end_matches('/').replace("*}", "}"));
    let known: BTreeSet<String> = routes.iter().map(|route| plain(route)).collect();
    for route in &known {
        assert!(paths.contains_key(route), "{route} is missing in the API document");
    }
    for (path, item) in paths.iter().filter(|(path, _)| !known.contains(*path)) {
        assert_eq!(item["x-vault-unauthenticated"], true, "{path} is missing in the help of its mount");
        routes.push(path.trim_start_matches('/').to_owned());
    }
    assert!(routes.len() > 200, "only {} routes: {routes:?}", routes.len());
    routes
}

/// All mounts; there is one of each kind that the server knows.
fn mounts(http: Http) -> Vec<String> {
    let mut mounts = Vec::new();
    for (tree, lead) in [("sys/mounts", ""), ("sys/auth", "auth/")] {
        let told = http.send("GET", tree, "root", b"").ok().value()["data"].as_object().unwrap().clone();
        let refusal = http.json("POST", &format!("{tree}/none"), "root", &json!({ "type": "none" })).text();
        let (_, kinds) = refusal.split_once("there are: ").unwrap();
        for kind in kinds.trim_end_matches(['"', ']', '}', '\n']).split(", ") {
            assert!(told.values().any(|mount| mount["type"] == kind), "no {kind} is mounted by this test");
        }
        mounts.extend(told.keys().map(|path| format!("{lead}{path}")));
    }
    mounts
}

fn told_by_help(http: Http, mount: &str) -> Vec<String> {
    let help = http.send("GET", &format!("{mount}?help=1"), "root", b"").ok().at("/help");
    let (_, paths) = help.split_once("## PATHS").unwrap();
    let lines = paths.lines().filter(|l| l.starts_with("    ") && !l.starts_with("     ")).map(str::trim);
    let named: Vec<String> = lines.map(|pattern| format!("{mount}{pattern}")).collect();
    assert!(!named.is_empty(), "{mount} tells of no path");
    named
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

fn public(route: &str) -> Option<&'static [u16]> {
    PUBLIC.iter().find(|(public, ..)| *public == route).map(|(_, answers, _)| *answers)
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
    let bound = token(&json!({ "policies": ["root"], "no_parent": true, "type": "service" }));
    http.json(
        "POST",
        "auth/token/roles/far",
        "root",
        &json!({ "token_bound_cidrs": ["192.0.2.0/24"], "allowed_policies": ["everything"] }),
    )
    .ok();
    http.json("POST", "sys/policies/acl/everything", "root", &everything).ok();
    let far = http.json("POST", "auth/token/create/far", "root", &json!({})).ok().at("/auth/client_token");
    http.json("POST", "auth/token/revoke-orphan", "root", &json!({ "token": bound })).ok();
    let used = token(&json!({ "policies": ["root"], "num_uses": 1 }));
    http.send("GET", "auth/token/lookup-self", &used, b"").ok();
    let wrap = [("X-Vault-Token", "root"), ("X-Vault-Wrap-TTL", "60s")];
    let unwrapped = http.with("GET", "kv/app", &wrap, b"").ok().at("/wrap_info/token");
    http.send("POST", "sys/wrapping/unwrap", &unwrapped, b"").ok();
    vec![
        ("nobody", String::new()),
        ("a revoked token that has no parent", bound),
        ("a token bound to other addresses", far),
        ("a used-up token", used),
        ("a used wrapping token", unwrapped),
        ("a token that was never made", "s.AAAAAAAAAAAAAAAAAAAAAAAA".into()),
        ("no token at all", "../../root".into()),
        ("a revoked token", revoked),
        ("an expired token", expired),
        ("a valid token of another namespace", team),
        ("a valid token without a right", token(&nothing)),
        (
            "a valid batch token without a right",
            token(&json!({ "type": "batch", "policies": ["nothing"], "no_default_policy": true })),
        ),
    ]
}

#[test]
fn every_route_refuses_a_stranger() {
    let server = server();
    let http = server.http();
    let routes = routes(http);
    let strangers = strangers(http);
    let before = state(http, "root");
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let routes = &routes;
        let knocks: Vec<_> = strangers
            .iter()
            .enumerate()
            .map(|(at, stranger)| scope.spawn(move || knocks(http, u8::try_from(at).unwrap(), stranger, routes)))
            .collect();
        knocks.into_iter().flat_map(|knock| knock.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{} of {} routes:\n{}", wrong.len(), routes.len(), wrong.join("\n"));
    assert_eq!(state(http, "root"), before, "a stranger has changed the state");
    what_is_there_and_what_is_not_look_alike(http, &strangers);
}

/// What any token may ask of itself from any namespace, when the policies of its own allow it.
const OF_ITSELF: [&str; 3] = ["auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self"];

/// A stranger asks for everything. Each verb from an address of its own: who fails 1,000 times in a minute is told so
/// and nothing else, which is not what is looked at here.
fn knocks(http: Http, number: u8, (who, token): &(&str, String), routes: &[String]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (at, verb) in VERBS.iter().enumerate() {
        let http = http.from(1 + number, 1 + u8::try_from(at).unwrap());
        for route in routes
            .iter()
            .filter(|route| !(who.ends_with("of another namespace") && OF_ITSELF.contains(&route.as_str())))
        {
            let answer = http.send(verb, &path_of(route), token, b"");
            let fits = match public(route) {
                Some(answers) => answer.status == 403 || answers.contains(&answer.status),
                None => answer.status == 403,
            };
            let text = answer.text();
            // Whoever has a token, even one without a right, is told a little more by two routes that check themselves.
            let told = match route.as_str() {
                "sys/internal/ui/mounts/{path*}" => text.contains("preflight capability check returned 403"),
                "sys/internal/ui/namespaces" => answer.status == 200 && who.starts_with("a valid"),
                _ => false,
            };
            if !told && (!fits || answer.status == 403 && text.trim() != REFUSED) {
                wrong.push(format!("{who}: {verb} {route}: {} {text}", answer.status));
            }
        }
    }
    wrong
}

fn what_is_there_and_what_is_not_look_alike(http: Http, strangers: &[(&str, String)]) {
    for (there, absent) in [
        ("kv/app", "kv/none"),
        ("kv/app", "nomount/none"),
        ("sys/mounts", "sys/none"),
        ("team/sys/mounts", "none/sys/mounts"),
        ("team/auth/none/login", "none/auth/none/login"),
    ] {
        for (who, token) in strangers.iter().filter(|(who, _)| !who.starts_with("a valid") || !there.contains("team")) {
            let (there, absent) = (http.send("GET", there, token, b""), http.send("GET", absent, token, b""));
            assert_eq!((there.status, there.text()), (absent.status, absent.text()), "{who} can tell them apart");
        }
    }
    for (who, token) in strangers.iter().filter(|(who, _)| !who.starts_with("a valid")) {
        let get = |namespace| {
            http.with("GET", "sys/mounts", &[("X-Vault-Token", token), ("X-Vault-Namespace", namespace)], b"")
        };
        assert_eq!(get("team").text(), get("none").text(), "{who} can tell namespaces apart");
    }
}

#[test]
fn what_is_public_is_so_for_a_reason_and_tells_nothing() {
    let server = server();
    let http = server.http();
    let known = routes(http);
    for (route, answers, why) in PUBLIC {
        assert!(!why.is_empty());
        assert!(known.contains(&(*route).to_owned()), "{route} is there no more: take it from the list");
        let ask = |verb, token| http.send(verb, &path_of(route), token, b"").status;
        let mut got: BTreeSet<u16> = VERBS.iter().flat_map(|verb| [ask(verb, ""), ask(verb, "none")]).collect();
        // A verb that is not public may be refused as everywhere.
        got.insert(403);
        assert_eq!(got, answers.iter().copied().chain([403]).collect(), "{route} answers otherwise");
    }
    assert!(
        PUBLIC.len() <= 40,
        "the list may only become shorter; each auth method has its login, and sign-in by browser three steps; a second factor its own, and a security key three; an issuer of tokens its document and its keys"
    );
    let document = http.send("GET", "sys/internal/specs/openapi", "root", b"").ok().value();
    for (path, item) in document["paths"].as_object().unwrap() {
        let listed = PUBLIC.iter().any(|(route, ..)| format!("/{}", route.replace("*}", "}")) == *path);
        assert_eq!(item["x-vault-unauthenticated"] == true, listed, "{path}");
    }
    let mounts = http.send("GET", "sys/internal/ui/mounts", "", b"").ok().value();
    assert_eq!(mounts["data"], json!({ "auth": {}, "secret": {} }));
    let document = http.send("GET", "sys/internal/specs/openapi", "", b"").ok().value();
    assert_eq!(document["paths"], json!({}));
}

/// Who fails too often is refused before anything is looked up; a valid token from the same address goes on.
#[test]
fn a_stranger_who_goes_on_is_refused_for_a_minute() {
    let server = server();
    let (bad, good) = (server.http().from(0, 66), server.http().from(0, 67));
    let mut refused = 0;
    // The window may begin anew while this runs.
    for _ in 0..2100 {
        let answer = bad.send("GET", "kv/app", "none", b"");
        assert!(matches!(answer.status, 403 | 429), "{}", answer.text());
        refused += u32::from(answer.status == 429);
        if refused > 5 {
            break;
        }
    }
    assert!(refused > 5, "nobody stops a stranger");
    assert_eq!(bad.send("GET", "kv/app", "root", b"").status, 200, "a valid token goes on");
    assert_eq!(good.send("GET", "kv/app", "none", b"").status, 403, "another address goes on");
}
