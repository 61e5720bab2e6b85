//! `rotate-root/{name}`: the connection's own password.
//!
//! The new password is on disk before it is set at the target, and the old one until the new one is proved by a login. A
//! crash, or an answer that never came, therefore loses nothing: [`settle`] finds out which of the two is right.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};

use super::connection::{Connection, Pending};
use super::issue::{filled, new_password, sent_password};
use super::role::or_default;
use super::shared::{Shared, target_fault};
use crate::postgres::fill::takes_verifier;
use crate::postgres::{TargetError, hide_password, sql};

pub(super) async fn rotate(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let name = call.capture("name");
    db.alone(&format!("config/{name}"), rotate_alone(db, name, &call.mount.namespace.id)).await?;
    Ok(Reply::nothing())
}

async fn rotate_alone(db: &Shared, name: &str, namespace: &str) -> Result<(), Fault> {
    let mut connection = db.connection(name).await?;
    let details = connection.details()?;
    let username = details.username.0.clone();
    if username.is_empty() {
        return Err(Fault::target("unable to rotate root credentials: no username in configuration"));
    }
    if hide_password(&details.connection_url.0).1 {
        return Err(Fault::bad_request(
            "unable to rotate root credentials: connection_url holds the password itself; put {{password}} there and give it as `password`",
        ));
    }
    if connection.pending.is_some() {
        connection = settle(db, &connection).await?;
    }
    if connection.pending.is_some() {
        return Err(Fault::target(format!(
            "connection {name:?}: an earlier rotation may still be under way at the target; try again in a minute"
        )));
    }
    let password = new_password(db, namespace, &connection.password_policy).await?;
    let statements = or_default(&connection.root_statements, sql::ROTATE);
    let takes = statements.iter().all(|statement| takes_verifier(statement));
    let sent = sent_password(details.password_authentication, takes, &password);
    let batch = filled(&statements, &username, sent.expose(), "")?;
    // From here on both are on disk.
    let pending = Pending { password: password.expose().clone(), since: db.now() };
    let connection = replaced(db, &connection, |c| c.pending = Some(pending)).await?;
    let target = db.open(&connection, &connection.password)?;
    let ran = target.run_in_time(batch.expose()).await;
    let outcome = match ran.map_err(|e| e.without(&[password.expose(), sent.expose(), &connection.password])) {
        Ok(_) => prove(db, &connection, password.expose()).await,
        Err(error @ TargetError::Unknown(_)) => Err(target_fault(
            name,
            "the outcome of the rotation is not known; both passwords are kept until one is proved",
            &error,
        )),
        Err(error) => {
            replaced(db, &connection, |c| c.pending = None).await?;
            Err(target_fault(name, "failed to rotate the root password", &error))
        }
    };
    db.drop_target(&connection.id);
    outcome
}

/// The target said yes: the new password must open it.
async fn prove(db: &Shared, connection: &Arc<Connection>, password: &str) -> Result<(), Fault> {
    match db.open(connection, password)?.verify().await {
        Ok(()) => {
            let password = password.to_owned();
            replaced(db, connection, |c| {
                c.password = password;
                c.pending = None;
            })
            .await
            .map(drop)
        }
        Err(error) => {
            let fault = target_fault(&connection.name, "the new root password does not log in", &error);
            // Which one does is found out at the next use.
            Err(fault)
        }
    }
}

/// Finds out which password is right after a rotation that was cut off, and writes it down. While the rotation may still
/// reach the target, `pending` stays.
///
/// # Errors
/// The target does not answer, or takes neither.
pub(super) async fn settle(db: &Shared, connection: &Arc<Connection>) -> Result<Arc<Connection>, Fault> {
    let Some(pending) = &connection.pending else { return Ok(connection.clone()) };
    let clean = |error: TargetError| error.without(&[&connection.password, &pending.password]);
    let right = match db.open(connection, &connection.password)?.verify().await {
        Ok(()) if db.now().since(pending.since) < db.limits.total() => return Ok(connection.clone()),
        Ok(()) => connection.password.clone(),
        Err(TargetError::Login(_)) => match db.open(connection, &pending.password)?.verify().await {
            Ok(()) => pending.password.clone(),
            Err(error) => return Err(target_fault(&connection.name, "settle the root password", &clean(error))),
        },
        Err(error) => return Err(target_fault(&connection.name, "settle the root password", &clean(error))),
    };
    if connection.retired.is_some() {
        return Ok(Arc::new(Connection { password: right, pending: None, ..(**connection).clone() }));
    }
    replaced(db, connection, |c| {
        c.password = right;
        c.pending = None;
    })
    .await
}

/// Writes a changed record over the one that is known.
async fn replaced(
    db: &Shared,
    connection: &Connection,
    change: impl FnOnce(&mut Connection),
) -> Result<Arc<Connection>, Fault> {
    let found = db.connections.find_revision(&connection.name).await?.filter(|(now, _)| now.id == connection.id);
    let Some((now, revision)) = found else {
        return Err(Fault::target(format!("connection {:?} was deleted meanwhile", connection.name)));
    };
    let mut changed = (*now).clone();
    change(&mut changed);
    db.connections.replace(&connection.name, changed, revision).await
}
