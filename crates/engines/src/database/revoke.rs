//! Taking a user back, and extending its life.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::engine::{Credential, Renewal, Renewed};
use dewdrop_core::lease::{LifeAsk, life};
use serde::{Deserialize, Serialize};
use tokio_postgres::error::SqlState;

use super::connection::Connection;
use super::issue::{expiration, filled};
use super::role::{Role, said};
use super::shared::{Shared, target_fault};
use crate::postgres::{Target, TargetError, sql};

/// What a lease keeps of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Internal {
    /// The user.
    pub(super) username: String,
    /// The role that it is of.
    pub(super) role: String,
    /// Id of the connection.
    pub(super) connection: String,
    /// Name of the connection.
    pub(super) db_name: String,
    /// The role's own statements, for when it is gone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) revocation_statements: Vec<String>,
}

impl Internal {
    pub(super) fn of(username: &str, role_name: &str, connection: &Connection, role: &Role) -> Self {
        Self {
            username: username.to_owned(),
            role: role_name.to_owned(),
            connection: connection.id.clone(),
            db_name: connection.name.clone(),
            revocation_statements: role.revocation_statements.clone(),
        }
    }
}

pub(super) async fn revoke(db: &Shared, credential: &Credential) -> Result<(), Fault> {
    let internal = read(credential)?;
    let connection = db.connection_of_lease(&internal.db_name, &internal.connection).await?;
    // What the operator mended since counts.
    let role = db.roles.find(&internal.role).await?.filter(|role| role.db_name == internal.db_name);
    let statements =
        role.map_or_else(|| internal.revocation_statements.clone(), |role| role.revocation_statements.clone());
    let target = db.target(&connection).await?;
    let gone = take_away(db, &connection, &target, &internal.username, &statements).await;
    if gone.is_err() && connection.retired.is_some() && by_successor(db, &internal, &statements).await {
        return Ok(());
    }
    match gone {
        Ok(Gone::Now) => Ok(()),
        Ok(Gone::Before) if db.may_appear(&internal.username, credential.issued) => Err(Fault::unavailable(format!(
            "connection {:?}: user {:?} is not there, but its making may still be under way",
            connection.name, internal.username
        ))),
        Ok(Gone::Before) => Ok(()),
        Err(error) => Err(target_fault(&connection.name, &format!("revoke user {:?}", internal.username), &error)),
    }
}

/// A deleted connection no longer opens: whether the one that was written anew under its name took the user away. Only who
/// was there counts: the new one may lead elsewhere.
async fn by_successor(db: &Shared, user: &Internal, statements: &[String]) -> bool {
    let Ok(Some(connection)) = db.connections.find(&user.db_name).await else { return false };
    let Ok(target) = db.target(&connection).await else { return false };
    matches!(take_away(db, &connection, &target, &user.username, statements).await, Ok(Gone::Now))
}

/// When a user went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    Now,
    Before,
}

/// Takes a user away by the operator's statements, or by ours when there are none.
pub(super) async fn take_away(
    db: &Shared,
    connection: &Arc<Connection>,
    target: &Target,
    username: &str,
    statements: &[String],
) -> Result<Gone, TargetError> {
    let own = said(statements);
    let taken = if own.is_empty() {
        drop_role(db, connection, target, username).await
    } else {
        run_own(target, username, &own).await
    };
    match &taken {
        Ok(Gone::Now) => db.settle(username),
        Ok(Gone::Before) => {}
        // It cannot go yet: it shall at least do nothing more. What fails here fails for the same reason.
        Err(TargetError::Refused { .. }) => drop(target.run(&sql::disarm(username)).await),
        Err(_) => {}
    }
    taken
}

async fn run_own(target: &Target, username: &str, statements: &[&str]) -> Result<Gone, TargetError> {
    if target.run(&sql::exists(username)).await?.is_empty() {
        return Ok(Gone::Before);
    }
    let batch = filled(statements, username, "", "")
        .map_err(|fault| TargetError::Refused { code: "42601".into(), message: fault.told.into_owned() })?;
    target.run(batch.expose()).await.map(|_| Gone::Now)
}

async fn drop_role(
    db: &Shared,
    connection: &Arc<Connection>,
    target: &Target,
    username: &str,
) -> Result<Gone, TargetError> {
    let batch = sql::drop_role(username);
    let rows = match target.run(&batch).await {
        // Something of it lies in other databases of the same server.
        Err(error) if error.is_code(&SqlState::DEPENDENT_OBJECTS_STILL_EXIST) => {
            clean_elsewhere(db, connection, target, username).await?;
            target.run(&batch).await?
        }
        other => other?,
    };
    let oid = rows.first().and_then(|row| row.get(1)).cloned().flatten();
    Ok(if oid.as_deref() == Some("0") { Gone::Before } else { Gone::Now })
}

async fn clean_elsewhere(
    db: &Shared,
    connection: &Arc<Connection>,
    target: &Target,
    username: &str,
) -> Result<(), TargetError> {
    let details = connection.details().map_err(|fault| TargetError::Down(fault.told.into_owned()))?;
    for row in target.run(&sql::other_databases(username)).await? {
        let Some(Some(database)) = row.into_iter().next() else { continue };
        let mut settings = details.settings(connection, &connection.password);
        settings.database = Some(&database);
        settings.max_open = 1;
        let other = Target::open(&settings, db.limits).map_err(TargetError::Down)?;
        other.run(&sql::disown(username)).await?;
    }
    Ok(())
}

pub(super) async fn renew(db: &Shared, credential: &Credential, ask: &Renewal) -> Result<Renewed, Fault> {
    let internal = read(credential)?;
    let role = db.roles.find(&internal.role).await?.filter(|role| role.db_name == internal.db_name);
    let role = role.ok_or_else(|| {
        Fault::bad_request(format!("error during renew: could not find role with name: {:?}", internal.role))
    })?;
    let connection = db.connection_of_lease(&internal.db_name, &internal.connection).await?;
    let life = life(&LifeAsk {
        issued: credential.issued,
        now: ask.now,
        increment: ask.increment,
        role_ttl: role.default_ttl,
        role_max: role.max_ttl,
        mount_default: credential.mount.default_lease_ttl(),
        mount_max: credential.mount.max_lease_ttl(),
    });
    if life.ttl.is_zero() {
        return Ok(Renewed { ttl: life.ttl, warnings: life.warnings });
    }
    let until = expiration(ask.now.plus(life.ttl).plus(std::time::Duration::from_secs(5)));
    let batch = filled(&role.renewal(), &internal.username, "", &until)?;
    let target = db.target(&connection).await?;
    let renewed = target.run(batch.expose()).await;
    renewed.map_err(|error| target_fault(&connection.name, &format!("renew user {:?}", internal.username), &error))?;
    Ok(Renewed { ttl: life.ttl, warnings: life.warnings })
}

fn read(credential: &Credential) -> Result<Internal, Fault> {
    Internal::deserialize(&credential.internal)
        .map_err(|e| Fault::internal(format!("lease {} holds no database user: {e}", credential.lease_id)))
}
