//! One party of the race, prepared: keys, policies, ordinary tokens, an AppRole, a database.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::wrk::{self, Load, Until};
use crate::parts::postgres::{CREATE_ROLE, Postgres};
use crate::parts::vault::{Kind, Vault};
use crate::say::Stopwatch;

/// Keys that are written before anything is measured.
pub const KEYS: u64 = 10_000;

/// What a token may that does nothing but read and write secrets.
const KV_POLICY: &str = r#"path "secret/data/*" { capabilities = ["create", "read", "update"] }"#;
const WORK_POLICY: &str = r#"
path "auth/token/create" { capabilities = ["update"] }
path "auth/token/create/*" { capabilities = ["update"] }
path "database/creds/*" { capabilities = ["read"] }"#;

/// A server with everything that the rows need.
pub struct Side {
    /// The server.
    pub vault: Vault,
    /// Ordinary token: policies `default` and `kv`.
    pub kv: String,
    /// Ordinary token: policies `default` and `work`.
    pub work: String,
    /// Body of a login.
    pub login: String,
}

impl Side {
    /// Prepares a new server.
    pub fn prepare(vault: Vault) -> Result<Self> {
        let post = |path: &str, body: Value| vault.ask("POST", path, Some(body));
        post("sys/mounts/secret", json!({ "type": "kv", "options": { "version": "2" } }))?;
        post("sys/policies/acl/kv", json!({ "policy": KV_POLICY }))?;
        post("sys/policies/acl/work", json!({ "policy": WORK_POLICY }))?;
        let kv = token(&vault, "kv")?;
        let work = token(&vault, "work")?;
        post("sys/auth/approle", json!({ "type": "approle" }))?;
        post("auth/approle/role/app", json!({ "token_policies": ["kv"], "token_ttl": "1h" }))?;
        let role = vault.ask("GET", "auth/approle/role/app/role-id", None)?;
        let secret = post("auth/approle/role/app/secret-id", json!({}))?;
        let text = |from: &Value, at| from.pointer(at).and_then(Value::as_str).map(str::to_owned).context("no id");
        let login = json!({ "role_id": text(&role, "/data/role_id")?, "secret_id": text(&secret, "/data/secret_id")? });
        Ok(Self { vault, kv, work, login: login.to_string() })
    }

    /// Which program.
    pub fn kind(&self) -> Kind {
        self.vault.kind
    }

    /// Writes the keys.
    pub fn fill(&self) -> Result<()> {
        // OpenBao refuses for a moment, while it turns the new mount into one with versions.
        let clock = Stopwatch::start();
        let body = json!({ "data": { "value": "x" } });
        while self.vault.ask("POST", "secret/data/k0", Some(body.clone())).is_err() && clock.elapsed().as_secs() < 30 {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        let request = r#"
            function request()
              n = n + 1
              return wrk.format("POST", "/v1/secret/data/k" .. (n % KEYS), nil, BODY)
            end"#;
        let request = request.replace("KEYS", &KEYS.to_string()).replace("BODY", &value());
        // As many more as may be under way when the last one is counted.
        let load = Load {
            address: &self.vault.address,
            token: &self.kv,
            request: &request,
            clients: 64,
            until: Until::Answers(KEYS + 64),
        };
        wrk::run(&load, self.vault.pid()?, self.vault.dir()).map(drop)
    }

    /// Connects the server with a PostgreSQL.
    pub fn connect(&self, postgres: &Postgres) -> Result<()> {
        let post = |path: &str, body: Value| self.vault.ask("POST", path, Some(body));
        post("sys/mounts/database", json!({ "type": "database" }))?;
        post("database/config/pg", postgres.connection("*"))?;
        post(
            "database/roles/app",
            json!({ "db_name": "pg", "creation_statements": [CREATE_ROLE], "default_ttl": "1h", "max_ttl": "24h" }),
        )?;
        Ok(())
    }

    /// Whether it keeps an audit log that grows.
    pub fn audits(&self) -> bool {
        let grown = |path: &Path| std::fs::metadata(path).is_ok_and(|file| file.len() > 0);
        match self.kind() {
            Kind::OpenBao => grown(&self.vault.dir().join("audit.log")),
            Kind::Dewdrop => {
                let files = std::fs::read_dir(self.vault.dir().join("data/audit"));
                files.is_ok_and(|files| files.flatten().any(|file| grown(&file.path())))
            }
        }
    }
}

/// Lua: a body of about 70 bytes, different each time.
pub fn value() -> String {
    r#"'{"data":{"value":"0123456789abcdef0123456789abcdef0123456789' .. math.random(100000, 999999) .. '"}}'"#.into()
}

fn token(vault: &Vault, policy: &str) -> Result<String> {
    let made = vault.ask("POST", "auth/token/create", Some(json!({ "policies": [policy], "ttl": "24h" })))?;
    made.pointer("/auth/client_token").and_then(Value::as_str).map(str::to_owned).context("no token was made")
}
