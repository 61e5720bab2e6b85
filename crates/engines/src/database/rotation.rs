//! Rotating the passwords of static roles: by request and by the calendar.
//!
//! The new password is on disk before it is set at the target (`pending`), and is used again until the target has taken it:
//! setting the same password twice does no harm. A rotation that fails waits longer each time and holds up no other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use dewdrop_core::lease::back_off;
use dewdrop_core::mount::Mount;
use dewdrop_core::{Fault, Moment, Secret};

use super::connection::Pending;
use super::issue::{filled, new_password, sent_password};
use super::role::or_default;
use super::shared::{Shared, target_fault};
use super::static_role::StaticRole;
use crate::postgres::fill::takes_verifier;
use crate::postgres::{TargetError, sql};
use crate::shared::random::random;

/// Rotations that run at a time.
const AT_A_TIME: usize = 16;

/// When each static role is due. Built from the store when it is first asked.
#[derive(Default)]
pub(super) struct Calendar {
    is_read: bool,
    due: HashMap<String, (Moment, u32)>,
    by_time: BTreeMap<(Moment, String), ()>,
    running: usize,
}

impl Calendar {
    pub(super) fn set(&mut self, name: &str, due: Moment) {
        self.put(name, due, 0);
    }

    pub(super) fn remove(&mut self, name: &str) {
        if let Some((due, _)) = self.due.remove(name) {
            self.by_time.remove(&(due, name.to_owned()));
        }
    }

    fn put(&mut self, name: &str, due: Moment, tries: u32) {
        self.remove(name);
        self.due.insert(name.to_owned(), (due, tries));
        self.by_time.insert((due, name.to_owned()), ());
    }

    /// Takes out what is due, as many as may run.
    fn take_due(&mut self, now: Moment) -> Vec<(String, u32)> {
        let room = AT_A_TIME.saturating_sub(self.running);
        let names: Vec<String> =
            self.by_time.keys().take_while(|(due, _)| *due <= now).take(room).map(|(_, name)| name.clone()).collect();
        let taken: Vec<(String, u32)> = names
            .into_iter()
            .map(|name| {
                let tries = self.due.get(&name).map_or(0, |(_, tries)| *tries);
                self.remove(&name);
                (name, tries)
            })
            .collect();
        self.running += taken.len();
        taken
    }
}

/// Begins what is due, without waiting for it.
pub(super) async fn tick(db: &Arc<Shared>, mount: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
    if !db.calendar.lock().is_read {
        read_calendar(db, now).await?;
    }
    let due = db.calendar.lock().take_due(now);
    for (name, tries) in due {
        let (db, mount) = (db.clone(), mount.clone());
        tokio::spawn(async move {
            let next = match not_yet(&db, &name).await {
                Some(due) => Some((due, 0)),
                None => after(&db, &name, &rotate(&db, &name, &mount.namespace.id).await, tries).await,
            };
            let mut calendar = db.calendar.lock();
            calendar.running = calendar.running.saturating_sub(1);
            // Deleted or written anew meanwhile: that counts.
            if let Some((due, tries)) = next.filter(|_| !calendar.due.contains_key(&name)) {
                calendar.put(&name, due, tries);
            }
        });
    }
    Ok(())
}

/// When the role is due, if that is later than the calendar had it: it was rotated by hand, or its window has passed while
/// it failed or nobody looked.
async fn not_yet(db: &Shared, name: &str) -> Option<Moment> {
    let role = db.static_roles.find(name).await.ok()??;
    let now = db.now();
    role.rhythm.due(role.rotated, now).ok().filter(|due| role.pending.is_none() && *due > now)
}

/// When to rotate next, after this outcome; `None` when the role is gone.
async fn after(db: &Shared, name: &str, rotated: &Result<Arc<StaticRole>, Fault>, tries: u32) -> Option<(Moment, u32)> {
    let now = db.now();
    let retry = |tries: u32| {
        let mut jitter = [0u8; 1];
        random(&mut jitter);
        Some((now.plus(back_off(tries, jitter[0])), tries))
    };
    match rotated {
        Ok(role) => role.rhythm.due(role.rotated, now).map(|due| (due, 0)).ok(),
        Err(fault) => {
            if matches!(db.static_roles.find(name).await, Ok(None)) {
                return None;
            }
            tracing::warn!(static_role = name, tries = tries + 1, why = %fault.told, "rotation failed and will be tried again");
            retry(tries + 1)
        }
    }
}

async fn read_calendar(db: &Shared, now: Moment) -> Result<(), Fault> {
    let mut found = Vec::new();
    for name in db.static_roles.names().await? {
        let Some(role) = db.static_roles.find(&name).await? else { continue };
        // One that was cut off is ended at once.
        let due = if role.pending.is_some() { Ok(now) } else { role.rhythm.due(role.rotated, now) };
        let Ok(due) = due else { continue };
        found.push((name, due));
    }
    let mut calendar = db.calendar.lock();
    for (name, due) in found {
        if !calendar.due.contains_key(&name) {
            calendar.set(&name, due);
        }
    }
    calendar.is_read = true;
    Ok(())
}

/// What whoever reads a static role to write it is alone with.
pub(super) fn busy_with(name: &str) -> String {
    format!("static-role/{name}")
}

/// Replaces the password of a static role, or ends a rotation that was begun.
pub(super) async fn rotate(db: &Shared, name: &str, namespace: &str) -> Result<Arc<StaticRole>, Fault> {
    db.alone(&busy_with(name), rotate_alone(db, name, namespace, true)).await
}

/// Ends a rotation that was begun; without one, nothing is done.
pub(super) async fn finish(db: &Shared, name: &str, namespace: &str) -> Result<Arc<StaticRole>, Fault> {
    db.alone(&busy_with(name), rotate_alone(db, name, namespace, false)).await
}

async fn rotate_alone(db: &Shared, name: &str, namespace: &str, begin: bool) -> Result<Arc<StaticRole>, Fault> {
    let role = find(db, name).await?;
    if role.pending.is_none() && !begin {
        return Ok(role);
    }
    let connection = db.connection(&role.db_name).await?;
    let password = match &role.pending {
        Some(pending) => Secret::new(pending.password.clone()),
        None => {
            let policy = role.config.0.get("password_policy").filter(|p| !p.is_empty());
            new_password(db, namespace, policy.unwrap_or(&connection.password_policy)).await?
        }
    };
    let statements = or_default(&role.statements, sql::ROTATE);
    let takes = statements.iter().all(|statement| takes_verifier(statement));
    let sent = sent_password(connection.details()?.password_authentication, takes, &password);
    let batch = filled(&statements, &role.username, sent.expose(), "")?;
    let target = db.target(&connection).await?;
    let pending = Pending { password: password.expose().clone(), since: db.now() };
    change(db, name, |role| role.pending = Some(pending)).await?;
    let ran = target.run_in_time(batch.expose()).await;
    match ran.map_err(|error| error.without(&[password.expose(), sent.expose()])) {
        Ok(_) => {
            let now = db.now();
            change(db, name, |role| {
                role.password = password.expose().clone();
                role.rotated = now;
                role.pending = None;
            })
            .await
        }
        Err(error) => {
            // What was refused or never sent leaves the old password in force, unless an earlier try is still open.
            if !matches!(error, TargetError::Unknown(_)) && role.pending.is_none() {
                change(db, name, |role| role.pending = None).await?;
            }
            Err(target_fault(&connection.name, "failed to execute query", &error))
        }
    }
}

async fn find(db: &Shared, name: &str) -> Result<Arc<StaticRole>, Fault> {
    db.static_roles.find(name).await?.ok_or_else(|| Fault::bad_request(format!("unknown role: {name}")))
}

async fn change(db: &Shared, name: &str, change: impl FnOnce(&mut StaticRole)) -> Result<Arc<StaticRole>, Fault> {
    let found = db.static_roles.find_revision(name).await?;
    let (role, revision) = found.ok_or_else(|| Fault::bad_request(format!("unknown role: {name}")))?;
    let mut changed = (*role).clone();
    change(&mut changed);
    db.static_roles.replace(name, changed, revision).await
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_calendar_gives_what_is_due_and_no_more_than_may_run() {
        let mut calendar = Calendar::default();
        for i in 0..40 {
            calendar.set(&format!("r{i}"), Moment(i * 10));
        }
        assert_eq!(calendar.take_due(Moment(45)).len(), 5);
        assert_eq!(calendar.take_due(Moment(1000)).len(), AT_A_TIME - 5);
        assert_eq!(calendar.take_due(Moment(1000)).len(), 0, "sixteen are running");
        calendar.set("r39", Moment(0).plus(Duration::from_secs(9)));
        calendar.remove("r39");
        assert_eq!(calendar.by_time.len(), calendar.due.len());
    }
}
