//! `config/{name}` and `reset/{name}`.

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::wire::{Flag, Strings, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::connection::{Connection, PLUGIN};
use super::role::Statements;
use super::shared::Shared;
use crate::postgres::hide_password;

/// Fields of a connection. What is not named here is kept and shown as `connection_details`; the PostgreSQL plugin reads
/// of it: `connection_url`, `username`, `username_template`, `password_authentication`, `disable_escaping`,
/// `max_open_connections`, `max_idle_connections`, `max_connection_lifetime`, `tls_ca`, `tls_certificate`, and, ours,
/// `reconcile` (`report`, `drop` or `off`) and `reconcile_period`.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ConfigFields {
    /// `postgresql-database-plugin`.
    plugin_name: Option<Text>,
    /// Shown again.
    plugin_version: Option<Text>,
    /// Connect now and refuse what does not work; true when unset.
    verify_connection: Option<Flag>,
    /// Names of roles that may use it, with `*`; none when unset.
    allowed_roles: Option<Strings>,
    /// Statements that set the password of the connection's own user.
    root_rotation_statements: Option<Statements>,
    /// Policy of all passwords made through it.
    password_policy: Option<Text>,
    /// Never shown again.
    password: Option<Text>,
    /// Key of `tls_certificate`, in PEM; never shown again.
    private_key: Option<Text>,
    /// The rest.
    #[serde(flatten)]
    details: Map<String, Value>,
}

pub(super) async fn list(db: &Shared) -> Result<Reply, Fault> {
    Reply::keys(db.connections.names().await?)
}

pub(super) async fn read(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let connection = db.connections.find(call.capture("name")).await?.ok_or_else(Fault::not_found)?;
    let mut details = connection.details.clone();
    if let Some(Value::String(url)) = details.get_mut("connection_url") {
        *url = hide_password(url).0;
    }
    Reply::of(&json!({
        "allowed_roles": connection.allowed_roles,
        "connection_details": details,
        "password_policy": connection.password_policy,
        "plugin_name": PLUGIN,
        "plugin_version": connection.plugin_version,
        "root_credentials_rotate_statements": connection.root_statements,
    }))
}

pub(super) async fn write(db: &Shared, call: &Call, fields: ConfigFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    // A rotation of the root password may be under way.
    db.alone(&format!("config/{name}"), write_alone(db, name, fields)).await
}

async fn write_alone(db: &Shared, name: &str, fields: ConfigFields) -> Result<Reply, Fault> {
    let known = db.connections.find(name).await?;
    check_plugin(fields.plugin_name.as_ref().map(|text| text.0.as_str()), known.is_some())?;
    let verify = fields.verify_connection.is_none_or(|flag| flag.0);
    let mut connection = merged(name, known.as_deref().cloned(), fields);
    if !known.is_some_and(|known| known.leads_like(&connection)) {
        connection.way = uuid::Uuid::new_v4().to_string();
    }
    let details = connection.details()?;
    if details.connection_url.0.is_empty() {
        return Err(creating("connection_url cannot be empty"));
    }
    connection.template().map_err(|fault| creating(&fault.told))?;
    let target = db.open(&connection, &connection.password)?;
    if verify {
        let verified = target.verify().await.map_err(|error| error.without(&[&connection.password]));
        verified.map_err(|error| creating(&format!("error verifying connection: {error}")))?;
    }
    let has_password = hide_password(&details.connection_url.0).1;
    db.drop_target(&connection.id);
    let written = db.connections.put(name, connection).await?;
    // Somebody may have opened the old one in between.
    db.drop_target(&written.id);
    let reply = Reply::nothing();
    Ok(if has_password {
        reply.warn(
            "Password found in connection_url, use a templated url to enable root rotation and prevent read access to password information.",
        )
    } else {
        reply
    })
}

pub(super) async fn delete(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    db.retire(call.capture("name")).await?;
    Ok(Reply::nothing())
}

pub(super) async fn reset(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let connection = db.connection(call.capture("name")).await?;
    db.drop_target(&connection.id);
    Ok(Reply::nothing())
}

fn check_plugin(name: Option<&str>, known: bool) -> Result<(), Fault> {
    match name {
        Some(PLUGIN) => Ok(()),
        None if known => Ok(()),
        None | Some("") => Err(Fault::bad_request("empty plugin name")),
        Some(_) => Err(creating(&format!("this plugin_name is not supported: the one that is built is {PLUGIN:?}"))),
    }
}

fn merged(name: &str, known: Option<Connection>, fields: ConfigFields) -> Connection {
    let mut connection = known.unwrap_or_else(|| Connection {
        id: uuid::Uuid::new_v4().to_string(),
        way: String::new(),
        name: name.to_owned(),
        plugin_version: String::new(),
        details: Map::new(),
        password: String::new(),
        private_key: String::new(),
        allowed_roles: Vec::new(),
        password_policy: String::new(),
        root_statements: Vec::new(),
        pending: None,
        retired: None,
    });
    connection.details.extend(fields.details);
    if let Some(password) = fields.password {
        connection.password = password.0;
        // The operator knows better than a rotation that was cut off.
        connection.pending = None;
    }
    let set = |old: &mut String, new: Option<Text>| {
        if let Some(new) = new {
            *old = new.0;
        }
    };
    set(&mut connection.private_key, fields.private_key);
    set(&mut connection.plugin_version, fields.plugin_version);
    set(&mut connection.password_policy, fields.password_policy);
    connection.allowed_roles = fields.allowed_roles.map_or(connection.allowed_roles, |roles| roles.0);
    connection.root_statements = fields.root_rotation_statements.map_or(connection.root_statements, |s| s.0);
    connection
}

fn creating(told: &str) -> Fault {
    Fault::bad_request(format!("error creating database object: {told}"))
}
