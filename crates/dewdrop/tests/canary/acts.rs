//! What is done with the secrets: every kind of operation that takes or makes one.

use dewdrop_core::SystemClock;
use dewdrop_testkit::jwt::{Signer, pod_claims};
use serde_json::{Value, json};

use crate::common::http::Answer;
use crate::common::kept::Kept;
use crate::search::Search;

/// Unseal keys and root token; wrong shares.
pub fn unseal(server: &Kept, search: &mut Search) {
    search.add("the root token", &server.root);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    for list in ["keys", "keys_base64"] {
        for key in server.made[list].as_array().unwrap() {
            search.add("an unseal key", &text(key));
        }
    }
    let http = server.http();
    let wrong = search.plain_canary("a wrong share");
    search.refused("a wrong share", &http.json("PUT", "sys/unseal", "", &json!({ "key": wrong })));
    for key in server.made["keys_base64"].as_array().unwrap().iter().take(2) {
        http.json("PUT", "sys/unseal", "", &json!({ "key": key })).ok();
    }
    assert_eq!(http.send("GET", "sys/health", "", b"").status, 200);
}

/// Values of the KV engines and of the cubbyhole.
pub fn plain_secrets(server: &Kept, search: &mut Search) {
    server.call("POST", "sys/mounts/kv1", &json!({ "type": "kv" })).ok();
    server.call("POST", "sys/mounts/kv2", &json!({ "type": "kv", "options": { "version": "2" } })).ok();
    let mut fresh = |what: &str| search.canary(what);
    let (one, two, hole) = (fresh("a KV 1 value"), fresh("a KV 2 value"), fresh("a cubbyhole value"));
    let (patched, nested) = (fresh("a patched value"), fresh("a nested value"));
    server.call("POST", "kv1/app", &json!({ "password": one, "more": { "deep": [nested] } })).ok();
    assert_eq!(server.call("GET", "kv1/app", &Value::Null).ok().at("/data/password"), one);
    server.call("POST", "kv2/data/app", &json!({ "data": { "password": two } })).ok();
    server.call("GET", "kv2/data/app", &Value::Null).ok();
    server.call("PATCH", "kv2/data/app", &json!({ "data": { "other": patched } })).ok();
    server.call("GET", "kv2/data/app?version=2", &Value::Null).ok();
    server.call("POST", "cubbyhole/app", &json!({ "value": hole })).ok();
    let answers = [
        (
            "a stale cas",
            server.call("POST", "kv2/data/app", &json!({ "data": { "p": two }, "options": { "cas": 77 } })),
        ),
        ("data of the wrong type", server.call("POST", "kv2/data/app", &json!({ "data": two }))),
        ("options of the wrong type", server.call("POST", "kv2/data/app", &json!({ "data": {}, "options": two }))),
        (
            "a cas of the wrong type",
            server.call("POST", "kv2/data/app", &json!({ "data": {}, "options": { "cas": two } })),
        ),
        ("a patch of nothing", server.call("PATCH", "kv2/data/none", &json!({ "data": { "p": two } }))),
        ("a write on the mount", server.call("POST", "kv1/", &json!({ "p": one }))),
    ];
    for (what, answer) in &answers {
        search.refused(what, answer);
    }
}

/// Passwords, secret ids and the tokens of logins.
pub fn logins(server: &Kept, search: &mut Search) {
    server.call("POST", "sys/auth/userpass", &json!({ "type": "userpass" })).ok();
    server.call("POST", "sys/auth/approle", &json!({ "type": "approle" })).ok();
    server.call("POST", "sys/auth/cert", &json!({ "type": "cert" })).ok();
    let http = server.http();
    let (password, wrong) = (search.canary("a password"), search.canary("a wrong password"));
    server.call("POST", "auth/userpass/users/ada", &json!({ "password": password })).ok();
    let login = |given: &Value| http.json("POST", "auth/userpass/login/ada", "", &json!({ "password": given }));
    search.add("a login's token", &login(&json!(password)).ok().at("/auth/client_token"));
    search.refused("a wrong password", &login(&json!(wrong)));
    search.refused("a password of the wrong type", &login(&json!([{ "a": password }])));
    let unknown = http.json("POST", "auth/userpass/login/eve", "", &json!({ "password": password }));
    search.refused("an unknown user", &unknown);
    let new = search.canary("a new password");
    server.call("POST", "auth/userpass/users/ada/password", &json!({ "password": new })).ok();

    server.call("POST", "auth/approle/role/app", &json!({ "secret_id_ttl": "1h" })).ok();
    let role_id = server.call("GET", "auth/approle/role/app/role-id", &Value::Null).ok().at("/data/role_id");
    let made = server.call("POST", "auth/approle/role/app/secret-id", &json!({ "metadata": "{\"a\":\"b\"}" })).ok();
    let own = search.plain_canary("a secret id of one's own");
    server.call("POST", "auth/approle/role/app/custom-secret-id", &json!({ "secret_id": own })).ok();
    for secret_id in [made.at("/data/secret_id"), own] {
        search.add("a secret id", &secret_id);
        let token =
            http.json("POST", "auth/approle/login", "", &json!({ "role_id": role_id, "secret_id": secret_id })).ok();
        search.add("a login's token", &token.at("/auth/client_token"));
        server.call("POST", "auth/approle/role/app/secret-id/lookup", &json!({ "secret_id": secret_id })).ok();
        let wrong = http.json("POST", "auth/approle/login", "", &json!({ "role_id": "none", "secret_id": secret_id }));
        search.refused("a secret id with a wrong role id", &wrong);
        server.call("POST", "auth/approle/role/app/secret-id/destroy", &json!({ "secret_id": secret_id })).ok();
        let gone = http.json("POST", "auth/approle/login", "", &json!({ "role_id": role_id, "secret_id": secret_id }));
        search.refused("a destroyed secret id", &gone);
    }
}

/// Signed tokens of others, and our own token for asking a cluster.
pub fn signed_tokens(server: &Kept, search: &mut Search) {
    let (signer, http) = (Signer::ed("k"), server.http());
    server.call("POST", "sys/auth/jwt", &json!({ "type": "jwt" })).ok();
    server.call("POST", "sys/auth/kubernetes", &json!({ "type": "kubernetes" })).ok();
    server.call("POST", "auth/jwt/config", &json!({ "jwt_validation_pubkeys": signer.pem() })).ok();
    let role = json!({ "role_type": "jwt", "user_claim": "sub", "bound_audiences": "a" });
    server.call("POST", "auth/jwt/role/app", &role).ok();
    let now = SystemClock::shared().now().seconds();
    let mut login = |what: &str, audience: &str| {
        let jwt = signer.token(&json!({ "sub": "s", "aud": audience, "exp": now + 300, "iat": now, "what": what }));
        search.add(what, &jwt);
        (http.json("POST", "auth/jwt/login", "", &json!({ "role": "app", "jwt": jwt })), jwt)
    };
    let (good, _) = login("a signed token", "a");
    let (refused, jwt) = login("a signed token for somebody else", "b");
    search.add("a login's token", &good.ok().at("/auth/client_token"));
    search.refused("a signed token for somebody else", &refused);

    let reviewer = search.canary("our token at a cluster");
    let config = json!({ "kubernetes_host": "http://127.0.0.1:1", "token_reviewer_jwt": reviewer });
    server.call("POST", "auth/kubernetes/config", &config).ok();
    let role = json!({ "bound_service_account_names": "*", "bound_service_account_namespaces": "*" });
    server.call("POST", "auth/kubernetes/role/app", &role).ok();
    let claims = pod_claims("0e0f6a5c-0000-4000-8000-000000000001", "n", now);
    let pod = Signer::ec("k").token(&claims);
    search.add("a pod's token", &pod);
    for jwt in [jwt, pod] {
        let refused = http.json("POST", "auth/kubernetes/login", "", &json!({ "role": "app", "jwt": jwt }));
        search.keep("a pod's token when the cluster is away", &refused);
    }
}

/// A client's secret at an identity provider, and what a browser brings back.
pub fn sign_in_by_browser(server: &Kept, search: &mut Search) {
    let http = server.http();
    server.call("POST", "sys/auth/oidc", &json!({ "type": "oidc" })).ok();
    let secret = search.canary("our secret at a provider");
    let config = json!({
        "oidc_discovery_url": "http://127.0.0.1:1", "oidc_client_id": "me", "oidc_client_secret": secret,
        "skip_jwks_validation": true,
    });
    server.call("POST", "auth/oidc/config", &config).ok();
    search.keep("a configuration with a provider", &server.call("GET", "auth/oidc/config", &json!(null)).ok());
    let back = "http://localhost:8250/oidc/callback";
    server.call("POST", "auth/oidc/role/dev", &json!({ "user_claim": "sub", "allowed_redirect_uris": back })).ok();
    let nonce = search.canary("a client's nonce");
    let ask = json!({ "role": "dev", "redirect_uri": back, "client_nonce": nonce });
    search.keep("a sign-in whose provider is away", &http.json("POST", "auth/oidc/oidc/auth_url", "", &ask));
    let (state, code) = (search.canary("a state"), search.canary("a provider's code"));
    let written =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let query = format!("state={}&code={}&client_nonce={}", written(&state), written(&code), written(&nonce));
    let path = format!("auth/oidc/oidc/callback?{query}");
    search.refused("a callback of nobody", &http.send("GET", &path, "", b""));
    let poll = json!({ "state": state, "client_nonce": nonce });
    search.refused("a client that waits for nothing", &http.json("POST", "auth/oidc/oidc/poll", "", &poll));
}

/// Tokens of each kind, wrapping tokens, tokens as fields of requests.
pub fn tokens(server: &Kept, search: &mut Search) {
    let http = server.http();
    for ask in [
        json!({ "policies": ["default"], "ttl": "1h" }),
        json!({ "type": "batch", "policies": ["default"], "ttl": "1h" }),
        json!({ "policies": ["default"], "num_uses": 3, "no_parent": true }),
        json!({ "policies": ["default"], "id": search.plain_canary("a token of one's own id") }),
    ] {
        let token = server.call("POST", "auth/token/create", &ask).ok().at("/auth/client_token");
        search.add("a token", &token);
        http.send("GET", "auth/token/lookup-self", &token, b"").ok();
        server.call("POST", "auth/token/lookup", &json!({ "token": token })).ok();
        search.refused("a path that the token may not read", &http.send("GET", "kv1/app", &token, b""));
        server.call("POST", "sys/capabilities", &json!({ "token": token, "paths": ["kv1/app"] })).ok();
        server.call("POST", "sys/policies/explain", &json!({ "token": token, "path": "kv1/app" })).ok();
        let _ = server.call("POST", "auth/token/revoke", &json!({ "token": token }));
    }
    let wrapped =
        http.with("GET", "kv2/data/app", &[("X-Vault-Token", &server.root), ("X-Vault-Wrap-TTL", "60s")], b"").ok();
    let token = wrapped.at("/wrap_info/token");
    search.add("a wrapping token", &token);
    http.json("POST", "sys/wrapping/lookup", "", &json!({ "token": token })).ok();
    let again = server.call("POST", "sys/wrapping/rewrap", &json!({ "token": token })).ok().at("/wrap_info/token");
    search.add("a wrapping token", &again);
    http.send("POST", "sys/wrapping/unwrap", &again, b"").ok();
    search.refused("a used wrapping token", &server.call("POST", "sys/wrapping/unwrap", &json!({ "token": again })));
    let value = search.canary("a value that was only wrapped");
    let headers = [("X-Vault-Token", server.root.as_str()), ("X-Vault-Wrap-TTL", "60s")];
    let wrapped =
        http.with("POST", "sys/wrapping/wrap", &headers, json!({ "value": value }).to_string().as_bytes()).ok();
    search.add("a wrapping token", &wrapped.at("/wrap_info/token"));
}

/// The root password of a database, with targets that fail, and the credentials that are made there.
pub fn databases(server: &Kept, search: &mut Search, port: u16) {
    server.call("POST", "sys/mounts/database", &json!({ "type": "database" })).ok();
    let password = search.plain_canary("a database's root password");
    let odd = search.canary("a database's odd root password");
    let url =
        |port: u16| format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres?sslmode=disable");
    let config = |url: &str, password: &str| {
        json!({
            "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": "postgres",
            "password": password, "connection_url": url,
        })
    };
    let mut refused = |what: &str, answer: &Answer| {
        // A target that is down is no mistake of the caller; all the same its answer must hold nothing.
        assert!(answer.status >= 400, "{what}");
        search.keep(what, answer);
    };
    let dead = server.call("POST", "database/config/dead", &config(&url(1), &odd));
    refused("a database that is down", &dead);
    let inline = format!("postgresql://postgres:{password}@127.0.0.1:1/postgres?sslmode=disable");
    refused("a password within the URL", &server.call("POST", "database/config/inline", &config(&inline, "")));
    let broken = format!("postgresql://postgres:{password}@[:::/no url");
    refused("a URL that is none", &server.call("POST", "database/config/broken", &config(&broken, "")));
    let unknown = format!("host=127.0.0.1 port={port} user=nobody password={password} dbname=none sslmode=disable");
    refused("a database that is not there", &server.call("POST", "database/config/unknown", &config(&unknown, "")));
    let typed = server.call(
        "POST",
        "database/config/typed",
        &json!({ "plugin_name": { "a": password }, "verify_connection": password }),
    );
    refused("fields of the wrong type", &typed);

    server.call("POST", "database/config/pg", &config(&url(port), &password)).ok();
    server.call("GET", "database/config/pg", &Value::Null).ok();
    let statement = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'";
    let role = |statement: &str| json!({ "db_name": "pg", "default_ttl": "1h", "creation_statements": [statement] });
    server.call("POST", "database/roles/app", &role(statement)).ok();
    // Without the proof, which would refuse such a role.
    let mut bad = role(&statement.replace("LOGIN", "NONSENSE"));
    bad["preflight"] = false.into();
    server.call("POST", "database/roles/bad", &bad).ok();
    let made = server.call("GET", "database/creds/app", &Value::Null).ok();
    search.add("a database credential", &made.at("/data/password"));
    server.call("PUT", "sys/leases/lookup", &json!({ "lease_id": made.at("/lease_id") })).ok();
    server.call("PUT", "sys/leases/renew", &json!({ "lease_id": made.at("/lease_id") })).ok();
    server.call("PUT", "sys/leases/revoke", &json!({ "lease_id": made.at("/lease_id"), "sync": true })).ok();
    // PostgreSQL quotes the failing statement in its answer, with the password that was meant for the user.
    let failed = server.call("GET", "database/creds/bad", &Value::Null);
    assert!(failed.status >= 400);
    assert!(!failed.text().contains("PASSWORD '"), "the statement is told: {}", failed.text());
    search.keep("a statement that fails", &failed);
}

/// Bodies and paths that are refused before anybody looks at them closely.
pub fn failures(server: &Kept, search: &mut Search) {
    let http = server.http();
    let root = server.root.clone();
    let secret = search.canary("a value within what is refused");
    let plain = search.plain_canary("a token that is none");
    let quoted = json!(secret).to_string();
    let bodies = [
        ("malformed JSON", format!("{{\"password\": {quoted}, ")),
        ("malformed JSON before the value", format!("{{\"password\" {quoted}}}")),
        ("a bare text", quoted.clone()),
        ("a list", format!("[{quoted}]")),
        ("a bare word", format!("{{\"a\": {plain}}}")),
        ("deep JSON", format!("{{\"a\": {quoted}, \"b\": {}", "[".repeat(5000))),
    ];
    for path in [
        "kv2/data/app",
        "kv1/app",
        "auth/userpass/login/ada",
        "sys/policies/acl/p",
        "auth/token/create",
        "sys/mounts/x",
    ] {
        for (what, body) in &bodies {
            search.refused(&format!("{what} to {path}"), &http.send("POST", path, &root, body.as_bytes()));
        }
    }
    let huge = format!("{{\"a\": {quoted}, \"b\": \"{}\", \"c\": {quoted}}}", "x".repeat(33 << 20));
    search.refused("33 MiB", &http.send("POST", "kv1/app", &root, huge.as_bytes()));
    for path in
        ["auth/token/create", "sys/policies/acl/p", "sys/mounts/new", "auth/approle/role/app", "sys/leases/renew"]
    {
        let fields = json!({ "ttl": secret, "policies": { "a": secret }, "policy": [{ "a": secret }], "type": secret, "token_ttl": secret,
            "increment": secret, "period": secret, "num_uses": secret, "lease_id": secret });
        search.refused(&format!("wrong types to {path}"), &server.call("POST", path, &fields));
    }
    search.refused("a token that is none", &http.send("GET", "kv1/app", &plain, b""));
    search.refused(
        "a bearer that is none",
        &http.with("GET", "kv1/app", &[("Authorization", &format!("Bearer {plain}"))], b""),
    );
    search.refused("a path that is not there", &http.json("POST", "none/such", &root, &json!({ "password": secret })));
    search
        .refused("a verb that is not there", &http.json("PATCH", "sys/health", &root, &json!({ "password": secret })));
    search.refused(
        "a wrapping time that is none",
        &http.with("GET", "kv1/app", &[("X-Vault-Token", &root), ("X-Vault-Wrap-TTL", &plain)], b""),
    );
    search.refused("an unknown token", &server.call("POST", "auth/token/lookup", &json!({ "token": plain })));
    search
        .refused("an unknown wrapping token", &server.call("POST", "sys/wrapping/unwrap", &json!({ "token": plain })));
    for path in ["sys/rekey/update", "sys/generate-root/update", "sys/generate-root-token/update"] {
        search.refused(path, &http.json("PUT", path, "", &json!({ "key": plain, "nonce": plain })));
    }
}

/// What anybody else is told afterwards: metrics, lists, lookups.
pub fn what_others_are_told(server: &Kept) -> Vec<(String, Vec<u8>)> {
    let paths = [
        "sys/metrics?format=prometheus",
        "sys/metrics",
        "sys/health",
        "sys/seal-status",
        "sys/mounts",
        "sys/auth",
        "sys/internal/ui/mounts",
        "database/config/pg",
        "database/roles/app",
        "auth/userpass/users/ada",
        "auth/approle/role/app",
        "auth/token/accessors?list=true",
        "sys/leases/lookup/?list=true",
        "sys/internal/specs/openapi",
        "sys/host-info",
        "sys/in-flight-req",
        "sys/config/state/sanitized",
        "sys/internal/counters/tokens",
        "sys/storage/snapshot",
        "sys/audit-chain",
        "sys/config/cors",
        "sys/key-status",
        "sys/rekey/init",
        "sys/generate-root-token/attempt",
        "sys/rotate/root/init",
        "database/config/quoting",
        "database/static-roles/fixed",
        "kv2/metadata/app",
        "auth/approle/role/app/secret-id?list=true",
        "auth/jwt/config",
        "auth/kubernetes/config",
        "auth/kubernetes/role/app",
        "sys/audit",
    ];
    let mut told: Vec<_> =
        paths.iter().map(|path| ((*path).to_owned(), server.call("GET", path, &Value::Null).whole)).collect();
    for path in ["kv1/app", "kv2/data/app", "database/creds/app", "none/such"] {
        told.push((format!("a stranger about {path}"), server.http().send("GET", path, "", b"").whole));
    }
    told
}
