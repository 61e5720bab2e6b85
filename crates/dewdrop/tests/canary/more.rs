//! What else takes or makes a secret: each way to present a token, ceremonies with the keys, passwords that a target
//! quotes back, texts that do not parse, and our own command line.

use std::io::Write;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::common::http::Http;
use crate::common::kept::Kept;
use crate::common::postgres::Postgres;
use crate::search::Search;

/// A token, valid or not, wherever a client might put it.
pub fn ways_to_present_a_token(server: &Kept, search: &mut Search) {
    let http = server.http();
    let good =
        server.call("POST", "auth/token/create", &json!({ "policies": ["default"] })).ok().at("/auth/client_token");
    search.add("a token that is presented in every way", &good);
    let bad = search.plain_canary("no token, presented in every way");
    for token in [&good, &bad] {
        let basic = STANDARD.encode(format!("user:{token}"));
        let headers = [
            ("X-Vault-Token", token.clone()),
            ("X-Vault-Token", format!(" {token} ")),
            ("X-Vault-Token", format!("{token}.suffix")),
            ("X-Vault-Token", format!("Bearer {token}")),
            ("Authorization", format!("Bearer {token}")),
            ("Authorization", format!("bearer {token}")),
            ("Authorization", token.clone()),
            ("Authorization", format!("Basic {basic}")),
            ("Cookie", format!("token={token}")),
            ("X-Vault-Wrap-TTL", token.clone()),
            ("X-Vault-Request", token.clone()),
            ("X-Vault-Index", token.clone()),
            ("X-Forwarded-For", token.clone()),
            ("Content-Type", token.clone()),
            ("Referer", format!("http://x/?token={token}")),
            ("User-Agent", token.clone()),
        ];
        for (name, value) in &headers {
            for (method, path) in
                [("GET", "kv2/data/app"), ("POST", "kv1/app"), ("PATCH", "kv2/data/app"), ("GET", "sys/health")]
            {
                search.keep(
                    &format!("{method} {path} with a token in {name}"),
                    &http.with(method, path, &[(name, value)], b"{}"),
                );
            }
        }
        for path in [
            "auth/token/lookup",
            "auth/token/renew",
            "auth/token/revoke-orphan",
            "sys/wrapping/lookup",
            "sys/capabilities",
        ] {
            let body = json!({ "token": token, "paths": ["x"] });
            http.json("POST", path, "", &body);
            http.json("POST", path, token, &body);
            http.send("GET", &format!("{path}?token={token}"), "", b"");
            http.send("GET", &format!("{path}?token={token}"), token, b"");
            let form = format!("token={token}");
            http.with("POST", path, &[("Content-Type", "application/x-www-form-urlencoded")], form.as_bytes());
        }
    }
    what_is_no_http(http, search, &bad);
}

fn what_is_no_http(http: Http, search: &mut Search, bad: &str) {
    for raw in [
        format!("{bad}\r\n\r\n"),
        format!("GET /v1/kv1/app HTTP/1.1\r\nHost: x\r\nX-Vault-Token {bad}\r\n\r\n"),
        format!("GET /v1/kv1/app HTTP/9.9\r\nX-Vault-Token: {bad}\r\n\r\n"),
        format!("POST /v1/kv1/app HTTP/1.1\r\nHost: x\r\nContent-Length: {bad}\r\n\r\n"),
        format!("POST /v1/kv1/app HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n{bad}\r\n"),
        format!("GET /v1/sys/health HTTP/1.1\r\nHost: x\r\nX-Vault-Token: {}\r\n\r\n", bad.repeat(4000)),
    ] {
        search.keep("what is no HTTP", &http.raw(raw.as_bytes()));
    }
}

/// New unseal keys, a new root token, a hash of a secret, passwords by policy.
pub fn ceremonies(server: &Kept, search: &mut Search) {
    let input = search.canary("what is hashed");
    server.call("POST", "sys/audit-hash/beside", &json!({ "input": input })).ok();
    search.refused("a hash by no device", &server.call("POST", "sys/audit-hash/none", &json!({ "input": input })));
    server.call("POST", "sys/tools/hash", &json!({ "input": STANDARD.encode(&input) })).ok();
    search.refused("what is no base64", &server.call("POST", "sys/tools/hash", &json!({ "input": input })));
    search.add("random bytes", &server.call("POST", "sys/tools/random/32", &json!({})).ok().at("/data/random_bytes"));
    let policy = json!({ "policy": "length = 30\nrule \"charset\" { charset = \"abcdefghijklmnop\" }" });
    server.call("POST", "sys/policies/password/p", &policy).ok();
    search.add(
        "a password by policy",
        &server.call("GET", "sys/policies/password/p/generate", &Value::Null).ok().at("/data/password"),
    );

    let keys: Vec<String> =
        server.made["keys_base64"].as_array().unwrap().iter().map(|k| k.as_str().unwrap().to_owned()).collect();
    let begun = server.call("POST", "sys/generate-root-token/attempt", &json!({})).ok();
    let (nonce, otp) = (begun.at("/data/nonce"), begun.at("/data/otp"));
    search.add("a one-time pad", &otp);
    let give = |path: &str, nonce: &str, key: &str| server.call("POST", path, &json!({ "nonce": nonce, "key": key }));
    search.refused("a share with a wrong nonce", &give("sys/generate-root-token/update", "none", &keys[0]));
    give("sys/generate-root-token/update", &nonce, &keys[0]).ok();
    let encoded = give("sys/generate-root-token/update", &nonce, &keys[1]).ok().at("/data/encoded_token");
    search.add("an encoded root token", &encoded);
    let decoded =
        server.http().json("POST", "sys/decode-token", "", &json!({ "encoded_token": encoded, "otp": otp })).ok();
    search.add("a new root token", &decoded.at("/data/token"));
    search.refused(
        "a wrong pad",
        &server.http().json("POST", "sys/decode-token", "", &json!({ "encoded_token": input, "otp": otp })),
    );

    let begun = server.call("POST", "sys/rotate/root/init", &json!({ "secret_shares": 2, "secret_threshold": 2 })).ok();
    let nonce = begun.at("/data/nonce");
    give("sys/rotate/root/update", &nonce, &keys[1]).ok();
    let made = give("sys/rotate/root/update", &nonce, &keys[2]).ok().value();
    for key in made["data"]["keys_base64"].as_array().unwrap() {
        search.add("a new unseal key", key.as_str().unwrap());
    }
}

/// What PostgreSQL quotes back: a password in every place of a statement where the server can trip over it.
pub fn quoting_targets(server: &Kept, search: &mut Search, postgres: &Postgres) {
    // A policy with one password, so that the test knows what is generated.
    let single = "Q".repeat(36);
    search.add("a generated password of one letter", &single);
    let policy = json!({ "policy": "length = 36\nrule \"charset\" { charset = \"Q\" }" });
    server.call("POST", "sys/policies/password/one", &policy).ok();
    let url = format!("postgresql://{{{{username}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port);
    let config = json!({ "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": "postgres", "connection_url": url,
        "password_policy": "one" });
    server.call("POST", "database/config/quoting", &config).ok();
    for (number, statement) in [
        "SELECT '{{password}}'::int",
        "CREATE ROLE \"{{name}}\" PASSWORD '{{password}}' {{password}}",
        "SELECT \"{{password}}\"",
        "DO $$ BEGIN RAISE EXCEPTION 'no: %', '{{password}}'; END $$",
        "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{password}}'",
        "INSERT INTO none VALUES ('{{name}}', '{{password}}')",
        "SELECT '{{password}}",
    ]
    .iter()
    .enumerate()
    {
        let role = json!({ "db_name": "quoting", "creation_statements": [statement], "preflight": false });
        let path = format!("database/roles/q{number}");
        search.keep("a role with such a statement", &server.call("POST", &path, &role));
        let made = server.call("GET", &format!("database/creds/q{number}"), &Value::Null);
        assert!(made.status >= 400, "{statement}: {}", made.text());
        search.keep(&format!("the statement {statement}"), &made);
        let mut role = role.clone();
        role["preflight"] = true.into();
        search.keep("the proof of a statement", &server.call("POST", &path, &role));
    }
    postgres.psql("postgres", "", "create role fixed login").unwrap();
    let fixed = json!({ "db_name": "quoting", "username": "fixed", "rotation_period": "24h" });
    server.call("POST", "database/static-roles/fixed", &fixed).ok();
    assert_eq!(server.call("GET", "database/static-creds/fixed", &Value::Null).ok().at("/data/password"), single);
    let failing = json!({ "db_name": "quoting", "username": "fixed", "rotation_period": "24h", "rotation_statements": ["SELECT '{{password}}'::int"] });
    search.keep("a static role that fails", &server.call("POST", "database/static-roles/fails", &failing));
    server.call("POST", "database/rotate-role/fixed", &json!({})).ok();
    let root = server.call("POST", "database/rotate-root/quoting", &json!({}));
    search.keep("the rotation of a root password", &root);
}

/// Texts in the languages of policies and templates, with a secret where it does not belong.
pub fn texts_that_do_not_parse(server: &Kept, search: &mut Search) {
    let odd = search.canary("a text that does not parse").replace(['"', '\\'], "_");
    search.add("a text that does not parse", &odd);
    let plain = search.plain_canary("a word that does not parse");
    let mut texts = Vec::new();
    for secret in [&odd, &plain] {
        texts.extend([
            secret.clone(),
            format!("\"{secret}\""),
            format!("{secret} {{"),
            format!("{secret} = 1"),
            format!("<<{secret}\nx"),
            format!("path \"x\" {{ capabilities = [\"{secret}\"] }}"),
            format!("path \"x\" {{ capabilities = {secret} }}"),
            format!("path \"x\" {{ policy = \"{secret}\" }}"),
            format!("path \"x\" {{ {secret} = \"{secret}\" }}"),
            format!("path \"x\" {{ min_wrapping_ttl = \"{secret}\" }}"),
            format!("path \"x\" {{ expiration = \"{secret}\" }}"),
            format!("path \"x\" {{ pagination_limit = \"{secret}\" }}"),
            format!("path \"x\" {{ pagination_limit = 1{secret} }}"),
            format!("path \"x\" {{ allowed_parameters = {{ \"a\" = \"{secret}\" }} }}"),
            format!("path \"x\" {{ allowed_parameters = {{ \"a\" = [{secret}] }} }}"),
            format!("{{\"path\": {{\"x\": {{\"capabilities\": [\"{secret}\"]}}}}}}"),
            format!("{{\"path\": {{\"x\": {secret}}}}}"),
            format!("length = {secret}"),
            format!("length = \"{secret}\""),
            format!("rule \"{secret}\" {{ }}"),
            format!("length = 20\nrule \"charset\" {{ charset = \"a\" min-chars = \"{secret}\" }}"),
            format!("length = 20\nrule \"charset\" {{ {secret} = 1 }}"),
            format!("{{{{ {secret} }}}}"),
            format!("{{{{ .{secret} }}}}"),
            format!("{{{{ random {secret} }}}}"),
            format!("{{{{ \"{secret}\" }}"),
        ]);
    }
    for text in &texts {
        search.keep("a broken policy", &server.call("POST", "sys/policies/acl/broken", &json!({ "policy": text })));
        search.keep(
            "a broken password policy",
            &server.call("POST", "sys/policies/password/broken", &json!({ "policy": text })),
        );
        let config = json!({ "plugin_name": "postgresql-database-plugin", "username_template": text, "verify_connection": false,
            "connection_url": "postgresql://a@127.0.0.1:1/x" });
        search.keep("a broken template", &server.call("POST", "database/config/broken", &config));
        let role = json!({ "db_name": "pg", "username": "u", "rotation_schedule": text });
        search.keep("a broken schedule", &server.call("POST", "database/static-roles/broken", &role));
        let query = text.bytes().map(|b| format!("%{b:02X}")).collect::<String>();
        search.keep("a broken flag", &server.call("GET", &format!("kv1/?list={query}"), &Value::Null));
    }
}

/// The command line of the same program, given secrets that do not fit. Its output is what others may see in a CI's log.
pub fn command_line(server: &Kept, search: &mut Search) {
    let word = search.plain_canary("a word on the command line");
    let odd = search.canary("a text on standard input");
    let run = |args: &[&str], input: &str| run(server.http(), &server.root, args, input);
    let field = |name: &str| format!("{name}={word}");
    let cases: Vec<(Vec<String>, String)> = vec![
        (vec!["login".into(), word.clone()], String::new()),
        (vec!["login".into(), "-".into()], word.clone()),
        (vec!["login".into(), "-method=userpass".into(), "username=ada".into(), field("password")], String::new()),
        (vec!["token".into(), "lookup".into(), word.clone()], String::new()),
        (vec!["token".into(), "revoke".into(), word.clone()], String::new()),
        (vec!["unwrap".into(), word.clone()], String::new()),
        (vec!["operator".into(), "unseal".into(), word.clone()], String::new()),
        (vec!["write".into(), "sys/mounts/new".into(), field("type")], String::new()),
        (vec!["write".into(), "auth/token/create".into(), field("ttl")], String::new()),
        (vec!["write".into(), "kv1/cli".into(), "-".into()], format!("{{\"a\": {odd}")),
        (vec!["write".into(), "kv1/cli".into(), "-".into()], json!(odd).to_string()),
        (vec!["write".into(), "none/such".into(), field("password")], String::new()),
        (vec!["kv".into(), "put".into(), "kv2/cli".into(), "-".into()], json!([odd]).to_string()),
        (vec!["kv".into(), "put".into(), "-cas=99".into(), "kv2/cli".into(), field("password")], String::new()),
        (
            vec!["policy".into(), "write".into(), "broken".into(), "-".into()],
            format!("path \"x\" {{ capabilities = [\"{word}\"] }}"),
        ),
        (vec!["kv".into(), "put".into(), "kv2/cli".into(), word.clone()], String::new()),
        (
            vec!["kv".into(), "metadata".into(), "put".into(), format!("-custom-metadata={word}"), "kv2/cli".into()],
            String::new(),
        ),
        (vec!["policy".into(), "fmt".into(), "-".into()], word.clone()),
    ];
    for (args, input) in &cases {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let (succeeded, output) = run(&args, input);
        // Revoking what is not there, and a share for a server that is open, are no failures.
        assert!(!succeeded || matches!(args[1], "revoke" | "unseal"), "{args:?}: {}", String::from_utf8_lossy(&output));
        search.keep_text(&format!("the output of {:?}", &args[..2]), output);
    }
    // A program gets its secret and says nothing of it; `dewdrop run` itself says nothing either, also when it fails.
    server.call("POST", "kv2/data/run", &json!({ "data": { "password": odd } })).ok();
    for (creds, program) in
        [("kv2/data/run", "test -n \"$RUN_PASSWORD\""), ("kv2/data/run", "exit 7"), ("kv2/data/none", "true")]
    {
        let (succeeded, output) = run(&["run", "-creds", creds, "--", "sh", "-c", program], "");
        assert_eq!(succeeded, program.starts_with("test"), "{program}: {}", String::from_utf8_lossy(&output));
        search.keep_text("the output of dewdrop run", output);
    }
}

fn run(http: Http, token: &str, args: &[&str], input: &str) -> (bool, Vec<u8>) {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(crate::common::server_program());
    command.args(args).env_clear().current_dir(home.path()).env("HOME", home.path());
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("DEWDROP_MAX_RETRIES", "0");
    command.env("DEWDROP_ADDR", format!("http://127.0.0.1:{}", http.port)).env("DEWDROP_TOKEN", token);
    let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // A command that reads nothing may have ended already.
    let _ = process.stdin.take().unwrap().write_all(input.as_bytes());
    let output = process.wait_with_output().unwrap();
    (output.status.success(), [output.stdout, output.stderr].concat())
}
