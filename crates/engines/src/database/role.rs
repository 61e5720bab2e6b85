//! `roles/{name}`: how the users of a role are made and taken away.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Flag, Pairs, Text, Ttl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::preflight::{self, Preflight};
use super::shared::Shared;
use super::{Database, credential_config, name_of};
use crate::postgres::sql;

/// What is kept of a role. No `Debug`: it may hold the key of an authority.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) db_name: String,
    pub(super) creation_statements: Vec<String>,
    pub(super) revocation_statements: Vec<String>,
    pub(super) rollback_statements: Vec<String>,
    pub(super) renew_statements: Vec<String>,
    pub(super) default_ttl: Duration,
    pub(super) max_ttl: Duration,
    pub(super) credential_type: CredentialType,
    pub(super) credential_config: Pairs,
    /// Whether the operator wants the proof; `None`: did not say.
    pub(super) preflight: Option<bool>,
    /// The `way` of the connection at which making and taking away was proved with the statements of now; empty: none.
    #[serde(default)]
    pub(super) proved: String,
}

/// What kind of credential a role gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum CredentialType {
    Password,
    ClientCertificate,
    /// Kept, since the API keeps it; PostgreSQL knows no such login.
    RsaPrivateKey,
}

/// SQL statements: a list, or one text that is one statement, commas and all.
#[derive(Clone, Default)]
pub(super) struct Statements(pub(super) Vec<String>);

/// Fields of a role.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RoleFields {
    /// The connection.
    db_name: Option<Text>,
    /// Make the user: `{{name}}`, `{{password}}`, `{{expiration}}`. Unset: a role that can log in and may do nothing.
    creation_statements: Option<Statements>,
    /// Take it away. Unset: all that it owns goes to the connection's user, its grants and sessions end, it is dropped.
    revocation_statements: Option<Statements>,
    /// Clean up after creation statements that failed.
    rollback_statements: Option<Statements>,
    /// Extend its life. Unset: `VALID UNTIL` is set anew.
    renew_statements: Option<Statements>,
    /// Life of a lease that asks for none.
    default_ttl: Option<Ttl>,
    /// The longest life.
    max_ttl: Option<Ttl>,
    /// `password` or `client_certificate`.
    credential_type: Option<Text>,
    /// `password_policy`, or for certificates `ca_cert`, `ca_private_key`, `key_type`, `key_bits`, `signature_bits`,
    /// `common_name_template`.
    credential_config: Option<Pairs>,
    /// Prove now, with a user that is made and taken away, that the statements work; true when unset.
    preflight: Option<Flag>,
}

pub(super) fn routes() -> Routes<Database> {
    Routes::new("")
        .at("roles", "The roles.", |r| {
            r.list("List the roles.", |db: Arc<Database>, _, _: NoFields| async move {
                Reply::keys(db.0.roles.names().await?)
            })
        })
        .at("roles/{name}", "How the users of a role are made and taken away.", |r| {
            r.exists(|db: Arc<Database>, at| async move { Ok(db.0.roles.find(name_of(&at)).await?.is_some()) })
                .read("Read a role.", |db, call, _: NoFields| async move { read(&db.0, &call).await })
                .write("Make or change a role.", |db, call, body| async move { write(&db.0, &call, body).await })
                .delete(
                    "Delete a role. Its credentials live on until their leases end.",
                    |db, call, _: NoFields| async move {
                        db.0.roles.remove(call.capture("name"), Batch::new()).await?;
                        Ok(Reply::nothing())
                    },
                )
        })
}

async fn read(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let role = db.roles.find(call.capture("name")).await?.ok_or_else(Fault::not_found)?;
    let mut data = json!({
        "creation_statements": role.creation_statements,
        "credential_type": role.credential_type,
        "db_name": role.db_name,
        "default_ttl": role.default_ttl.as_secs(),
        "max_ttl": role.max_ttl.as_secs(),
        "renew_statements": role.renew_statements,
        "revocation_statements": role.revocation_statements,
        "rollback_statements": role.rollback_statements,
    });
    let shown = credential_config::shown(&role.credential_config);
    if !shown.is_empty() {
        data["credential_config"] = shown.into();
    }
    if let Some(preflight) = role.preflight {
        data["preflight"] = json!(preflight);
    }
    Reply::of(&data)
}

async fn write(db: &Shared, call: &Call, fields: RoleFields) -> Result<Reply, Fault> {
    // The proof of an earlier write, or of a first credential, may be under way.
    db.alone(&busy_with(call.capture("name")), write_alone(db, call, fields)).await
}

/// What whoever reads a role to write it is alone with.
pub(super) fn busy_with(name: &str) -> String {
    format!("role/{name}")
}

async fn write_alone(db: &Shared, call: &Call, fields: RoleFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    if db.static_roles.find(name).await?.is_some() {
        return Err(Fault::bad_request("Role and Static Role names must be unique"));
    }
    let mut role = merged(db.roles.find(name).await?.as_deref().cloned(), fields)?;
    // A kind that PostgreSQL knows no login for makes no users, so there is nothing to prove.
    if role.preflight != Some(false)
        && role.credential_type != CredentialType::RsaPrivateKey
        && let Some(connection) = db.connections.find(&role.db_name).await?
        && connection.allows(name)
    {
        match preflight::prove(db, &connection, name, &role, &call.mount.namespace.id).await {
            Preflight::Proved => role.proved.clone_from(&connection.way),
            // No warning: the API answers without a body, and the first credential says the same.
            Preflight::Later(why) => tracing::info!(role = name, connection = connection.name, why, "not proved yet"),
            Preflight::Refused(why) => return Err(refused(name, &role.db_name, &why)),
        }
    }
    db.roles.put(name, role).await?;
    Ok(Reply::nothing())
}

/// What is told of a role whose statements do not work.
pub(super) fn refused(name: &str, connection: &str, why: &str) -> Fault {
    Fault::bad_request(format!(
        "preflight of role {name:?} on connection {connection:?}: {why}. Mend the statements, or write the role with preflight=false to go without the proof"
    ))
}

fn merged(known: Option<Role>, fields: RoleFields) -> Result<Role, Fault> {
    let is_new = known.is_none();
    let mut role = known.unwrap_or_else(|| Role {
        db_name: String::new(),
        creation_statements: Vec::new(),
        revocation_statements: Vec::new(),
        rollback_statements: Vec::new(),
        renew_statements: Vec::new(),
        default_ttl: Duration::ZERO,
        max_ttl: Duration::ZERO,
        credential_type: CredentialType::Password,
        credential_config: Pairs::default(),
        preflight: None,
        proved: String::new(),
    });
    role.proved.clear();
    let set = |old: &mut Vec<String>, new: Option<Statements>| {
        if let Some(new) = new {
            *old = new.0;
        }
    };
    set(&mut role.creation_statements, fields.creation_statements);
    set(&mut role.revocation_statements, fields.revocation_statements);
    set(&mut role.rollback_statements, fields.rollback_statements);
    set(&mut role.renew_statements, fields.renew_statements);
    role.db_name = fields.db_name.map_or(role.db_name, |name| name.0);
    role.default_ttl = fields.default_ttl.map_or(role.default_ttl, |ttl| ttl.0);
    role.max_ttl = fields.max_ttl.map_or(role.max_ttl, |ttl| ttl.0);
    role.preflight = fields.preflight.map(|flag| flag.0).or(role.preflight);
    if role.db_name.is_empty() {
        return Err(Fault::bad_request("database name is required"));
    }
    if let Some(kind) = fields.credential_type {
        role.credential_type = credential_type(&kind.0)?;
    }
    let needs_config = role.credential_type == CredentialType::ClientCertificate;
    if is_new || needs_config || fields.credential_config.is_some() {
        role.credential_config =
            credential_config::of(role.credential_type, fields.credential_config.unwrap_or(role.credential_config))
                .map_err(|told| Fault::bad_request(format!("credential_config validation failed: {told}")))?;
    }
    Ok(role)
}

fn credential_type(name: &str) -> Result<CredentialType, Fault> {
    match name {
        "" | "password" => Ok(CredentialType::Password),
        "client_certificate" => Ok(CredentialType::ClientCertificate),
        "rsa_private_key" => Ok(CredentialType::RsaPrivateKey),
        _ => Err(Fault::bad_request("invalid credential_type: use password, client_certificate or rsa_private_key")),
    }
}

// === impl Role ===

impl Role {
    /// The statements that make a user.
    pub(super) fn creation(&self) -> Vec<&str> {
        let fallback = match self.credential_type {
            CredentialType::ClientCertificate => sql::CREATE_FOR_CERTIFICATE,
            _ => sql::CREATE,
        };
        self.with_net(or_default(&self.creation_statements, fallback))
    }

    /// The statements that extend its life.
    pub(super) fn renewal(&self) -> Vec<&str> {
        self.with_net(or_default(&self.renew_statements, sql::RENEW))
    }

    /// The last net: a password expires at the database by itself, also where the operator's statements do not say so.
    fn with_net<'a>(&self, mut statements: Vec<&'a str>) -> Vec<&'a str> {
        let says = |statement: &&str| statement.contains("{{expiration}}");
        if self.credential_type == CredentialType::Password && !statements.iter().any(says) {
            statements.push(sql::RENEW);
        }
        statements
    }
}

/// The operator's statements that say anything, or ours.
pub(super) fn or_default<'a>(own: &'a [String], fallback: &'a str) -> Vec<&'a str> {
    let own: Vec<&str> = said(own);
    if own.is_empty() { vec![fallback] } else { own }
}

/// Statements that are not blank.
pub(super) fn said(own: &[String]) -> Vec<&str> {
    own.iter().map(String::as_str).filter(|statement| !statement.trim().is_empty()).collect()
}

impl<'de> Deserialize<'de> for Statements {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match Value::deserialize(input)? {
            Value::Null => Ok(Self::default()),
            Value::String(statement) => Ok(Self(vec![statement])),
            list => serde_json::from_value(list)
                .map(Self)
                .map_err(|_| serde::de::Error::custom("expected a list of SQL statements")),
        }
    }
}

impl JsonSchema for Statements {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Statements".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "array", "items": { "type": "string" } })
    }
}
