//! The proof that a role's users can be made and taken away again: one is, before anybody gets a credential that could
//! not be revoked. Its user is written down before it is made, so that a crash leaves a note and [`sweep`] takes it away.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::store::{Batch, decode, scan_all};
use dewdrop_core::{Fault, Moment};
use serde::{Deserialize, Serialize};

use super::connection::Connection;
use super::issue::{Maker, Making, User, make};
use super::revoke::{Internal, take_away};
use super::role::Role;
use super::shared::Shared;
use crate::postgres::{TargetError, sql};

/// Below it lie the users of proofs that are not known to be gone.
const NOTES: &str = "proof/";

/// A user of a proof.
#[derive(Serialize, Deserialize)]
struct Note {
    user: Internal,
    since: Moment,
}

/// How the proof went.
pub(super) enum Preflight {
    /// A user was made and is gone again.
    Proved,
    /// The statements do not work; the target's own words.
    Refused(String),
    /// It could not be tried.
    Later(String),
}

pub(super) async fn prove(
    db: &Shared,
    connection: &Arc<Connection>,
    name: &str,
    role: &Role,
    namespace: &str,
) -> Preflight {
    let now = db.now();
    let maker = Maker { db, connection, role_name: name, role, namespace };
    let mut user = match maker.user("preflight", now, now.plus(Duration::from_secs(300))).await {
        Ok(user) => user,
        Err(fault) => return Preflight::Later(fault.told.into_owned()),
    };
    let note = Note { user: Internal::of(&user.name, name, connection, role), since: now };
    if let Err(fault) = write_down(db, &note).await {
        return Preflight::Later(fault.told.into_owned());
    }
    let (outcome, is_gone) = try_out(db, connection, role, &mut user).await;
    if is_gone {
        strike_out(db, &note).await;
    }
    outcome
}

/// The outcome, and whether the user is known to be gone.
async fn try_out(db: &Shared, connection: &Arc<Connection>, role: &Role, user: &mut User) -> (Preflight, bool) {
    match make(db, connection, role, user).await {
        Ok(()) => {}
        Err(Making::Fault(fault)) => return (of_fault(fault), true),
        Err(Making::Target(error)) => {
            let is_gone = match &error {
                TargetError::Unknown(_) => false,
                // Statements may hold a COMMIT of their own.
                TargetError::Refused { .. } => dropped(db, connection, &user.name).await,
                _ => true,
            };
            return (of_error("the creation statements failed", error), is_gone);
        }
    }
    let Ok(target) = db.target(connection).await else {
        return (Preflight::Later("the connection was changed".into()), false);
    };
    let outcome = match target.run(&sql::exists(&user.name)).await {
        Err(error) => of_error("look for the user", error),
        Ok(rows) if rows.is_empty() => {
            Preflight::Refused("the creation statements make no user of the name {{name}}".into())
        }
        Ok(_) => match take_away(db, connection, &target, &user.name, &role.revocation_statements).await {
            Ok(_) => return (Preflight::Proved, true),
            Err(error) => of_error("the user was made but cannot be taken away", error),
        },
    };
    (outcome, dropped(db, connection, &user.name).await)
}

async fn dropped(db: &Shared, connection: &Arc<Connection>, username: &str) -> bool {
    match db.target(connection).await {
        Ok(target) => target.run(&sql::drop_role(username)).await.is_ok(),
        Err(_) => false,
    }
}

async fn write_down(db: &Shared, note: &Note) -> Result<(), Fault> {
    let batch = Batch::new().put_json(format!("{NOTES}{}", note.user.username), note)?;
    Ok(db.place.store.commit(batch).await.map(drop)?)
}

/// What cannot be struck out now is by the next [`sweep`].
async fn strike_out(db: &Shared, note: &Note) {
    let struck = db.place.store.commit(Batch::new().delete(format!("{NOTES}{}", note.user.username))).await;
    if let Err(error) = struck {
        tracing::warn!(username = note.user.username, %error, "the note of a proof stays for now");
    }
}

/// The users of proofs that may be at a target.
pub(super) async fn users(db: &Shared) -> Result<Vec<Internal>, Fault> {
    Ok(notes(db).await?.into_iter().map(|note| note.user).collect())
}

async fn notes(db: &Shared) -> Result<Vec<Note>, Fault> {
    let rows = scan_all(db.place.store.as_ref(), NOTES.as_bytes(), 100).await?;
    Ok(rows.iter().map(|row| decode(&row.key, &row.entry)).collect::<Result<_, _>>()?)
}

/// Takes away what proofs left that a crash or a target cut off.
pub(super) async fn sweep(db: &Shared, now: Moment) -> Result<(), Fault> {
    for note in notes(db).await? {
        // Its making may still be under way.
        if now.since(note.since) < db.limits.total() {
            continue;
        }
        match clear(db, &note.user).await {
            Ok(()) => strike_out(db, &note).await,
            Err(why) => {
                tracing::warn!(username = note.user.username, why, "the user of a proof cannot be taken away yet");
            }
        }
    }
    Ok(())
}

async fn clear(db: &Shared, user: &Internal) -> Result<(), String> {
    let told = |fault: Fault| fault.told.into_owned();
    let connection = db.connection_of_lease(&user.db_name, &user.connection).await.map_err(told)?;
    let target = db.target(&connection).await.map_err(told)?;
    if take_away(db, &connection, &target, &user.username, &user.revocation_statements).await.is_ok() {
        return Ok(());
    }
    take_away(db, &connection, &target, &user.username, &[]).await.map(drop).map_err(|error| error.to_string())
}

fn of_fault(fault: Fault) -> Preflight {
    match fault.kind {
        dewdrop_core::Kind::BadRequest => Preflight::Refused(fault.told.into_owned()),
        _ => Preflight::Later(fault.told.into_owned()),
    }
}

fn of_error(doing: &str, error: TargetError) -> Preflight {
    let told = format!("{doing}: {error}");
    if matches!(error, TargetError::Refused { .. }) { Preflight::Refused(told) } else { Preflight::Later(told) }
}
