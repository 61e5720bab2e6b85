//! The server and the database, with what the load needs.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::parts::postgres::{self, CREATE_ROLE, Postgres};
use crate::parts::vault::{Caller, Kind, Vault};

/// Life of a short credential, in seconds.
pub const SHORT: u64 = 2;

const POLICY: &str = r#"
path "secret/data/*" { capabilities = ["create", "read", "update"] }
path "database/creds/*" { capabilities = ["read"] }
path "sys/leases/revoke" { capabilities = ["update"] }"#;

/// Everything that runs. The server ends before its database.
pub struct Stage {
    /// The server.
    pub vault: Vault,
    /// Its database.
    pub postgres: Postgres,
    /// `dewdrop`.
    pub program: PathBuf,
    /// Body of a login.
    pub login: Value,
    token: String,
}

impl Stage {
    /// Starts both.
    pub fn open(program: &Path) -> Result<Self> {
        let postgres = postgres::start()?;
        let vault = Vault::open(Kind::Dewdrop, program)?;
        let post = |path: &str, body: Value| vault.ask("POST", path, Some(body));
        post("sys/mounts/secret", json!({ "type": "kv", "options": { "version": "2" } }))?;
        post("sys/policies/acl/work", json!({ "policy": POLICY }))?;
        post("sys/mounts/database", json!({ "type": "database" }))?;
        post("database/config/pg", postgres.connection("*"))?;
        for (role, ttl) in [("short", format!("{SHORT}s")), ("long", "24h".into())] {
            let body =
                json!({ "db_name": "pg", "creation_statements": [CREATE_ROLE], "default_ttl": ttl, "max_ttl": "24h" });
            post(&format!("database/roles/{role}"), body)?;
        }
        post("sys/auth/approle", json!({ "type": "approle" }))?;
        post("auth/approle/role/app", json!({ "token_policies": ["work"], "token_ttl": "10m" }))?;
        let role = vault.ask("GET", "auth/approle/role/app/role-id", None)?;
        let secret = post("auth/approle/role/app/secret-id", json!({}))?;
        let login = json!({ "role_id": text(&role, "/data/role_id")?, "secret_id": text(&secret, "/data/secret_id")? });
        let made = post("auth/token/create", json!({ "policies": ["work"], "ttl": "240h" }))?;
        let token = text(&made, "/auth/client_token")?;
        Ok(Self { vault, postgres, program: program.to_path_buf(), login, token })
    }

    /// A client with an ordinary token.
    pub fn client(&self) -> Caller {
        self.vault.caller().with_token(&self.token)
    }

    /// Database users of a role (`short`, `long`).
    pub fn users(&self, role: &str) -> Result<Vec<String>> {
        let sql = format!("select rolname from pg_roles where rolname like 'v-%-{role}-%'");
        Ok(self.postgres.psql(&sql)?.lines().map(str::to_owned).collect())
    }

    /// Leases of a role, by the last part of their ids.
    pub fn leases(&self, role: &str) -> Result<Vec<String>> {
        let path = format!("sys/leases/lookup/database/creds/{role}?list=true");
        let (status, answer) = self.vault.caller().send("GET", &path, None)?;
        match status {
            404 => Ok(Vec::new()),
            200 => {
                let keys = answer.pointer("/data/keys").and_then(Value::as_array).context("a list without keys")?;
                Ok(keys.iter().filter_map(Value::as_str).map(str::to_owned).collect())
            }
            _ => anyhow::bail!("{path}: {status} {answer}"),
        }
    }
}

/// A text of an answer.
pub fn text(from: &Value, at: &str) -> Result<String> {
    from.pointer(at).and_then(Value::as_str).map(str::to_owned).with_context(|| format!("no {at} in {from}"))
}
