//! The proof that a role's users can be made and taken away again: one is, before anybody gets a credential that could
//! not be revoked.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;

use super::connection::Connection;
use super::issue::{Maker, Making, make};
use super::revoke::take_away;
use super::role::Role;
use super::shared::Shared;
use crate::postgres::{TargetError, sql};

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
    match make(db, connection, role, &mut user).await {
        Ok(()) => {}
        Err(Making::Fault(fault)) => return of_fault(fault),
        Err(Making::Target(error)) => {
            if matches!(error, TargetError::Unknown(_))
                && let Ok(target) = db.target(connection).await
            {
                drop(target.run(&sql::drop_role(&user.name)).await);
            }
            return of_error("the creation statements failed", error);
        }
    }
    let Ok(target) = db.target(connection).await else { return Preflight::Later("the connection was changed".into()) };
    let gone = match target.run(&sql::exists(&user.name)).await {
        Err(error) => return of_error("look for the user", error),
        Ok(rows) if rows.is_empty() => {
            Err(Preflight::Refused("the creation statements make no user of the name {{name}}".into()))
        }
        Ok(_) => match take_away(db, connection, &target, &user.name, &role.revocation_statements).await {
            Ok(_) => Ok(()),
            Err(error) => Err(of_error("the user was made but cannot be taken away", error)),
        },
    };
    match gone {
        Ok(()) => Preflight::Proved,
        Err(why) => {
            // Nothing of the proof stays.
            drop(target.run(&sql::drop_role(&user.name)).await);
            why
        }
    }
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
