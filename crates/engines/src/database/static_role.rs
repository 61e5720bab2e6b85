//! `static-roles/{name}`, `static-creds/{name}` and `rotate-role/{name}`: users that stay, whose passwords we replace.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Flag, Pairs, Text, Ttl};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::connection::Pending;
use super::cron::Schedule;
use super::role::Statements;
use super::rotation;
use super::shared::Shared;
use super::{Database, name_of};

/// The shortest rotation period.
const SHORTEST_PERIOD: Duration = Duration::from_secs(5);
/// The shortest rotation window.
const SHORTEST_WINDOW: Duration = Duration::from_secs(3600);

/// What is kept of a static role. No `Debug`: it holds passwords.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct StaticRole {
    pub(super) db_name: String,
    pub(super) username: String,
    pub(super) statements: Vec<String>,
    pub(super) rhythm: Rhythm,
    pub(super) config: Pairs,
    /// The last password that the target is known to have taken; empty before the first rotation.
    pub(super) password: String,
    /// The last rotation, or the making of the role.
    pub(super) rotated: Moment,
    /// A password whose setting was begun.
    pub(super) pending: Option<Pending>,
}

/// When the password is replaced.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Rhythm {
    /// So long after the last time.
    Period(Duration),
    /// At times of the calendar, in UTC; only within the window behind each, when there is one.
    Schedule {
        /// Five fields of cron.
        text: String,
        /// Zero: any time later will do.
        window: Duration,
    },
}

/// Fields of a static role.
#[derive(Deserialize, JsonSchema)]
pub(super) struct StaticRoleFields {
    /// The connection.
    db_name: Option<Text>,
    /// The user at the target; it must be there and cannot be changed.
    username: Option<Text>,
    /// Time between rotations, at least 5 s.
    rotation_period: Option<Ttl>,
    /// Five fields of cron, in UTC; instead of a period.
    rotation_schedule: Option<Text>,
    /// How long after a scheduled time a rotation may still begin; at least an hour.
    rotation_window: Option<Ttl>,
    /// Set the password: `{{name}}`, `{{password}}`.
    rotation_statements: Option<Statements>,
    /// `password`.
    credential_type: Option<Text>,
    /// `password_policy`.
    credential_config: Option<Pairs>,
    /// Leave the password as it is until the first rotation is due.
    skip_import_rotation: Option<Flag>,
}

pub(super) fn routes() -> Routes<Database> {
    Routes::new("")
        .at("static-roles", "The users whose passwords are rotated.", |r| {
            r.list("List the static roles.", |db: Arc<Database>, _, _: NoFields| async move {
                Reply::keys(db.0.static_roles.names().await?)
            })
        })
        .at("static-roles/{name}", "A user that stays, whose password is rotated.", |r| {
            r.exists(|db: Arc<Database>, at| async move { Ok(db.0.static_roles.find(name_of(&at)).await?.is_some()) })
                .read("Read a static role.", |db, call, _: NoFields| async move { read(&db.0, &call).await })
                .write("Make or change a static role.", |db, call, body| async move { write(&db.0, &call, body).await })
                .delete("Delete a static role. The user and its password stay.", |db, call, _: NoFields| async move {
                    db.0.static_roles.remove(call.capture("name"), Batch::new()).await?;
                    db.0.calendar.lock().remove(call.capture("name"));
                    Ok(Reply::nothing())
                })
        })
        .at("static-creds/{name}", "The password of a static role.", |r| {
            r.read("Read it.", |db: Arc<Database>, call, _: NoFields| async move { creds(&db.0, &call).await })
        })
        .at("rotate-role/{name}", "The password of a static role.", |r| {
            r.write("Replace it now.", |db: Arc<Database>, call, _: NoFields| async move {
                let name = call.capture("name");
                if db.0.static_roles.find(name).await?.is_none() {
                    return Err(Fault::bad_request("no static role found for role name"));
                }
                rotation::rotate(&db.0, name, &call.mount.namespace.id).await?;
                Ok(Reply::nothing())
            })
        })
}

async fn read(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let role = db.static_roles.find(call.capture("name")).await?.ok_or_else(Fault::not_found)?;
    let mut data = json!({
        "credential_type": "password",
        "db_name": role.db_name,
        "last_vault_rotation": role.rotated.rfc3339(),
        "rotation_statements": role.statements,
        "username": role.username,
    });
    if !role.config.0.is_empty() {
        data["credential_config"] = json!(role.config);
    }
    role.rhythm.show(&mut data);
    Reply::of(&data)
}

async fn creds(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let unknown = || Fault::bad_request(format!("unknown role: {name}"));
    let mut role = db.static_roles.find(name).await?.ok_or_else(unknown)?;
    db.connection(&role.db_name).await?;
    if role.pending.is_some() {
        // Which password holds is open: end the rotation that was begun.
        role = rotation::finish(db, name, &call.mount.namespace.id).await?;
    }
    let due = role.rhythm.due(role.rotated, call.now)?;
    let mut data = json!({
        "last_vault_rotation": role.rotated.rfc3339(),
        "password": role.password,
        "ttl": due.since(call.now).as_secs(),
        "username": role.username,
    });
    role.rhythm.show(&mut data);
    let reply = Reply::of(&data)?;
    Ok(if role.password.is_empty() {
        reply.warn("the password is not known here before the first rotation (skip_import_rotation)")
    } else {
        reply
    })
}

async fn write(db: &Shared, call: &Call, fields: StaticRoleFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let skip = fields.skip_import_rotation.is_some_and(|flag| flag.0);
    // A rotation may be under way: what was read before it would bring its old password back.
    let (is_new, shared) = db.alone(&rotation::busy_with(name), write_alone(db, call, fields)).await?;
    if is_new && !skip {
        import(db, name, &call.mount.namespace.id).await?;
    }
    Ok(match shared {
        Some(other) => Reply::nothing().warn(format!(
            "static role {other:?} rotates the same user: whoever rotates last holds the only valid password"
        )),
        None => Reply::nothing(),
    })
}

/// Whether the role is new, and another one for the same user.
async fn write_alone(db: &Shared, call: &Call, fields: StaticRoleFields) -> Result<(bool, Option<String>), Fault> {
    let name = call.capture("name");
    if db.roles.find(name).await?.is_some() {
        return Err(Fault::bad_request("Role and Static Role names must be unique"));
    }
    let (known, revision) = match db.static_roles.find_revision(name).await? {
        Some((known, revision)) => (Some((*known).clone()), revision),
        None => (None, 0),
    };
    let is_new = known.is_none();
    let role = merged(known, fields, call.now)?;
    let connection = db.connection(&role.db_name).await?;
    if !connection.allows(name) {
        return Err(Fault::target(format!("{name:?} is not an allowed role")));
    }
    let due = role.rhythm.due(role.rotated, call.now)?;
    let shared = shared_with(db, name, &role).await?;
    db.static_roles.replace(name, role, revision).await?;
    db.calendar.lock().set(name, due);
    Ok((is_new, shared))
}

/// The first rotation proves that the role works; without it there is no role.
async fn import(db: &Shared, name: &str, namespace: &str) -> Result<(), Fault> {
    let Err(mut fault) = rotation::rotate(db, name, namespace).await else { return Ok(()) };
    let in_doubt = db.static_roles.find(name).await?.is_some_and(|role| role.pending.is_some());
    if in_doubt {
        fault.told =
            format!("{}; the role is kept, and the rotation will be ended when the target answers", fault.told).into();
    } else {
        db.static_roles.remove(name, Batch::new()).await?;
        db.calendar.lock().remove(name);
    }
    Err(Fault { told: format!("error setting credentials: {}", fault.told).into(), ..fault })
}

/// Another static role for the same user.
async fn shared_with(db: &Shared, name: &str, role: &StaticRole) -> Result<Option<String>, Fault> {
    for other in db.static_roles.names().await? {
        if other != name
            && let Some(found) = db.static_roles.find(&other).await?
            && found.db_name == role.db_name
            && found.username == role.username
        {
            return Ok(Some(other));
        }
    }
    Ok(None)
}

fn merged(known: Option<StaticRole>, fields: StaticRoleFields, now: Moment) -> Result<StaticRole, Fault> {
    let bad = |told: &'static str| Fault::bad_request(told);
    let username = fields.username.map(|text| text.0).unwrap_or_default();
    let db_name = fields.db_name.map(|text| text.0).filter(|name| !name.is_empty());
    if fields.credential_type.is_some_and(|kind| !matches!(kind.0.as_str(), "" | "password")) {
        return Err(bad("static roles hold passwords: credential_type must be \"password\""));
    }
    let before = known.as_ref().map(|role| role.rhythm.clone());
    let mut role = match known {
        Some(known) if username == known.username => known,
        Some(_) => return Err(bad("cannot update static account username")),
        None => {
            let db_name = db_name.clone().ok_or_else(|| bad("database name is a required field"))?;
            if username.is_empty() {
                return Err(bad("username is a required field to create a static account"));
            }
            StaticRole {
                db_name,
                username,
                statements: Vec::new(),
                rhythm: Rhythm::Period(Duration::ZERO),
                config: Pairs::default(),
                password: String::new(),
                rotated: now,
                pending: None,
            }
        }
    };
    role.rhythm = rhythm(fields.rotation_period, fields.rotation_schedule, fields.rotation_window, before)?;
    role.db_name = db_name.unwrap_or(role.db_name);
    role.statements = fields.rotation_statements.map_or(role.statements, |statements| statements.0);
    role.config = fields.credential_config.unwrap_or(role.config);
    Ok(role)
}

fn rhythm(
    period: Option<Ttl>,
    schedule: Option<Text>,
    window: Option<Ttl>,
    known: Option<Rhythm>,
) -> Result<Rhythm, Fault> {
    let bad = |told: String| Fault::bad_request(told);
    let schedule = schedule.map(|text| text.0).filter(|text| !text.is_empty());
    match (period, schedule) {
        (Some(_), Some(_)) => Err(bad("rotation_period and rotation_schedule exclude each other: give one".into())),
        (Some(period), None) if period.0 < SHORTEST_PERIOD => {
            Err(bad("rotation_period must be 5 seconds or more".into()))
        }
        (Some(period), None) => Ok(Rhythm::Period(period.0)),
        (None, Some(text)) => {
            Schedule::parse(&text).map_err(|told| bad(format!("rotation_schedule: {told}")))?;
            let before = match known {
                Some(Rhythm::Schedule { window, .. }) => window,
                _ => Duration::ZERO,
            };
            Ok(Rhythm::Schedule { text, window: checked_window(window, before)? })
        }
        (None, None) => match known {
            Some(Rhythm::Schedule { text, window: before }) => {
                Ok(Rhythm::Schedule { text, window: checked_window(window, before)? })
            }
            Some(other) => Ok(other),
            None => Err(bad("rotation_period is required to create static accounts".into())),
        },
    }
}

fn checked_window(window: Option<Ttl>, before: Duration) -> Result<Duration, Fault> {
    match window.map(|window| window.0) {
        None => Ok(before),
        Some(window) if !window.is_zero() && window < SHORTEST_WINDOW => {
            Err(Fault::bad_request("rotation_window must be 1 hour or more"))
        }
        Some(window) => Ok(window),
    }
}

// === impl Rhythm ===

impl Rhythm {
    /// The next rotation after the one at `rotated`.
    pub(super) fn due(&self, rotated: Moment, now: Moment) -> Result<Moment, Fault> {
        match self {
            Self::Period(period) => Ok(rotated.plus(*period)),
            Self::Schedule { text, window } => {
                let schedule = Schedule::parse(text).map_err(|e| Fault::internal(format!("a stored schedule: {e}")))?;
                let never = || Fault::bad_request("rotation_schedule never comes");
                let mut due = schedule.after(rotated).ok_or_else(never)?;
                // A window that was missed is not made up for.
                if !window.is_zero() && due.plus(*window) < now {
                    let back = Moment(now.0.saturating_sub(u64::try_from(window.as_millis()).unwrap_or(u64::MAX)));
                    due = schedule.after(back).ok_or_else(never)?;
                }
                Ok(due)
            }
        }
    }

    fn show(&self, data: &mut serde_json::Value) {
        match self {
            Self::Period(period) => data["rotation_period"] = json!(period.as_secs()),
            Self::Schedule { text, window } => {
                data["rotation_schedule"] = json!(text);
                data["rotation_window"] = json!(window.as_secs());
            }
        }
    }
}
