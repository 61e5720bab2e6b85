//! `creds/{name}`: a user of its own for the caller.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Made, Mint, Outcome, Reply};
use dewdrop_core::lease::{LifeAsk, life};
use dewdrop_core::{Fault, Moment, Secret};
use serde_json::{Map, Value, json};
use tokio::task::{JoinHandle, spawn_blocking};

use super::connection::{Connection, PasswordAuthentication, Reconcile};
use super::preflight::{self, Preflight};
use super::role::{self, CredentialType, Role, refused, said};
use super::shared::{Shared, target_fault};
use super::username::{Inputs, Template};
use super::{certificate, revoke};
use crate::postgres::fill::{Values, fill, takes_verifier};
use crate::postgres::{TargetError, scram, sql};
use crate::shared::random::random;

/// A target accepts the user for so long beyond the lease: the lease's end, not the target's clock, ends it.
const GRACE: Duration = Duration::from_secs(5);

pub(super) async fn creds(db: &Arc<Shared>, call: &Call) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let role = db.roles.find(name).await?;
    let role = role.ok_or_else(|| Fault::bad_request(format!("unknown role: {name}")))?;
    let connection = db.connection(&role.db_name).await?;
    if !connection.allows(name) {
        return Err(Fault::target(format!("{name:?} is not an allowed role")));
    }
    if role.credential_type == CredentialType::RsaPrivateKey {
        return Err(Fault::bad_request("unsupported credential_type: \"rsa_private_key\""));
    }
    let namespace = &call.mount.namespace.id;
    let role = if needs_proof(&role, &connection) { proved(db, &connection, name, namespace).await? } else { role };
    let ask = LifeAsk {
        issued: call.now,
        now: call.now,
        // As if it were asked for: who gets less than the role says is told.
        increment: role.default_ttl,
        role_max: role.max_ttl,
        mount_default: call.mount.default_lease_ttl(),
        mount_max: call.mount.max_lease_ttl(),
        ..LifeAsk::default()
    };
    let life = life(&ask);
    let maker = Maker { db, connection: &connection, role_name: name, role: &role, namespace };
    let user = maker.user(call.caller.display_name(), call.now, call.now.plus(life.ttl)).await?;
    let internal = revoke::Internal::of(&user.name, name, &connection, &role);
    let mint = Mint {
        ttl: life.ttl,
        max_ttl: role.max_ttl,
        renewable: role.credential_type == CredentialType::Password,
        internal: serde_json::to_value(&internal).map_err(|e| Fault::internal(format!("encode a lease: {e}")))?,
        create: Box::pin(create(db.clone(), connection, role, user)),
    };
    Ok(life.warnings.into_iter().fold(Outcome::Mint(mint).into(), Reply::warn))
}

fn needs_proof(role: &Role, connection: &Connection) -> bool {
    role.preflight != Some(false) && (role.proved.is_empty() || role.proved != connection.way)
}

/// The role, once it is proved that its users can be taken away again. Of many who ask at once, one proves it for all.
async fn proved(db: &Shared, connection: &Arc<Connection>, name: &str, namespace: &str) -> Result<Arc<Role>, Fault> {
    db.alone(&role::busy_with(name), prove_alone(db, connection, name, namespace)).await
}

async fn prove_alone(
    db: &Shared,
    connection: &Arc<Connection>,
    name: &str,
    namespace: &str,
) -> Result<Arc<Role>, Fault> {
    let found = db.roles.find_revision(name).await?;
    let (role, revision) = found.ok_or_else(|| Fault::bad_request(format!("unknown role: {name}")))?;
    if role.db_name != connection.name {
        return Err(Fault::unavailable(format!("role {name:?} was written anew meanwhile; try again")));
    }
    if !needs_proof(&role, connection) {
        return Ok(role);
    }
    match preflight::prove(db, connection, name, &role, namespace).await {
        // Over this revision only: a role that was deleted or written meanwhile is not brought back.
        Preflight::Proved => {
            let role = Role { proved: connection.way.clone(), ..(*role).clone() };
            db.roles.replace(name, role, revision).await
        }
        Preflight::Refused(why) => Err(refused(name, &connection.name, &why)),
        Preflight::Later(why) => Err(Fault::target(format!("connection {:?}: {why}", connection.name))),
    }
}

/// Makes users of a role.
pub(super) struct Maker<'a> {
    pub(super) db: &'a Shared,
    pub(super) connection: &'a Arc<Connection>,
    pub(super) role_name: &'a str,
    pub(super) role: &'a Role,
    pub(super) namespace: &'a str,
}

/// A user that is to be made.
pub(super) struct User {
    pub(super) name: String,
    /// Empty for a certificate.
    password: Secret<String>,
    /// What the caller gets.
    data: Map<String, Value>,
    /// `{{expiration}}`.
    expiration: String,
    /// `COMMENT ON ROLE`; empty when users are not marked.
    mark: String,
    /// What stands for the password in SQL. A verifier takes half a millisecond, which passes while the lease is written.
    sent: JoinHandle<Secret<String>>,
}

impl Maker<'_> {
    /// Chooses name and secret. Touches no target.
    pub(super) async fn user(&self, display_name: &str, now: Moment, end: Moment) -> Result<User, Fault> {
        let details = self.connection.details()?;
        let config = &self.role.credential_config.0;
        let template = match config.get("common_name_template").filter(|t| !t.is_empty()) {
            Some(own) if self.role.credential_type == CredentialType::ClientCertificate => Template::parse(own)?,
            _ => Template::parse(&details.username_template.0)?,
        };
        let inputs = Inputs { display_name, role_name: self.role_name, now, random: &mut random };
        let name = template.fill(inputs)?;
        if name.is_empty() {
            return Err(Fault::bad_request("the username template makes an empty name"));
        }
        let mut data = Map::new();
        data.insert("username".into(), json!(name));
        let mut password = Secret::new(String::new());
        match self.role.credential_type {
            CredentialType::Password => {
                let policy =
                    config.get("password_policy").filter(|p| !p.is_empty()).unwrap_or(&self.connection.password_policy);
                password = new_password(self.db, self.namespace, policy).await?;
                data.insert("password".into(), json!(password.expose()));
            }
            CredentialType::ClientCertificate => {
                data.extend(certificate::issue(&self.role.credential_config, &name, now, end)?);
            }
            CredentialType::RsaPrivateKey => {
                return Err(Fault::bad_request("unsupported credential_type: \"rsa_private_key\""));
            }
        }
        let mark = match details.reconcile {
            Reconcile::Off => String::new(),
            _ => mark(self.db, self.role_name),
        };
        let expiration = expiration(end.plus(GRACE));
        let takes = self.role.creation().iter().all(|statement| takes_verifier(statement));
        let plain = Secret::new(password.expose().clone());
        let sent = spawn_blocking(move || sent_password(details.password_authentication, takes, &plain));
        Ok(User { name, password, data, expiration, mark, sent })
    }
}

/// A password by a policy, with the API's refusal.
pub(super) async fn new_password(db: &Shared, namespace: &str, policy: &str) -> Result<Secret<String>, Fault> {
    db.place.house.password(namespace, policy).await.map_err(|fault| Fault {
        told: format!("failed to generate password: {}", fault.told).into(),
        ..Fault::target("").knowing(fault.known)
    })
}

/// The mark of users of a role of this mount.
pub(super) fn mark(db: &Shared, role: &str) -> String {
    format!("{}{role}", mark_prefix(db))
}

/// How the marks of this mount begin.
pub(super) fn mark_prefix(db: &Shared) -> String {
    format!("dewdrop:{}:", db.place.mount_uuid)
}

/// `2026-01-31 12:00:00+0000`.
pub(super) fn expiration(moment: Moment) -> String {
    let text = moment.rfc3339();
    match (text.get(..10), text.get(11..19)) {
        // PostgreSQL knows no later year, and the API's own times end there as well.
        (Some(day), Some(time)) if !day.starts_with("9999") => format!("{day} {time}+0000"),
        _ => "infinity".into(),
    }
}

/// Makes the user and says what the caller gets. The lease is written by now.
pub(super) async fn create(
    db: Arc<Shared>,
    connection: Arc<Connection>,
    role: Arc<Role>,
    mut user: User,
) -> Result<Made, Fault> {
    let made = make(&db, &connection, &role, &mut user).await;
    if !matches!(made, Err(Making::Target(TargetError::Unknown(_)))) {
        db.settle(&user.name);
    }
    match made {
        Ok(()) => Ok(user.data.into()),
        Err(Making::Fault(fault)) => Err(fault),
        Err(Making::Target(error)) => {
            if matches!(error, TargetError::Refused { .. }) {
                roll_back(&db, &connection, &role, &user).await;
            }
            let doing = if matches!(error, TargetError::Refused { .. }) {
                "failed to execute query"
            } else {
                "the user was not made"
            };
            Err(target_fault(&connection.name, doing, &error))
        }
    }
}

/// Why a user was not made.
pub(super) enum Making {
    /// Before the target was asked.
    Fault(Fault),
    /// By the target.
    Target(TargetError),
}

/// Makes the user by the role's statements, in one transaction.
pub(super) async fn make(
    db: &Shared,
    connection: &Arc<Connection>,
    role: &Role,
    user: &mut User,
) -> Result<(), Making> {
    let statements = role.creation();
    let sent = (&mut user.sent).await;
    let sent = sent.map_err(|e| Making::Fault(Fault::internal(format!("make a verifier: {e}"))))?;
    let mut batch = filled(&statements, &user.name, sent.expose(), &user.expiration).map_err(Making::Fault)?;
    if !user.mark.is_empty() {
        batch = Secret::new(format!("{}\n{}", batch.expose(), sql::mark(&user.name, &user.mark)));
    }
    let target = db.target(connection).await.map_err(Making::Fault)?;
    let ran = target.run_in_time(batch.expose()).await;
    ran.map(drop).map_err(|error| Making::Target(error.without(&[user.password.expose(), sent.expose()])))
}

/// What stands for the password in SQL: itself or a verifier.
pub(super) fn sent_password(wanted: PasswordAuthentication, takes: bool, password: &Secret<String>) -> Secret<String> {
    let verifier = match wanted {
        PasswordAuthentication::Scram => true,
        PasswordAuthentication::Password => false,
        PasswordAuthentication::Unset => takes,
    };
    if !verifier || password.expose().is_empty() {
        return Secret::new(password.expose().clone());
    }
    let mut salt = [0u8; 16];
    random(&mut salt);
    Secret::new(scram::verifier(password.expose(), salt))
}

/// Statements with their values, as one batch.
pub(super) fn filled(
    statements: &[&str],
    username: &str,
    password: &str,
    expiration: &str,
) -> Result<Secret<String>, Fault> {
    let mut batch = String::new();
    for statement in statements {
        let values = Values { username, password, expiration };
        batch.push_str(&fill(statement, values).map_err(|e| Fault::bad_request(e.to_string()))?);
        // A line of its own: the statement may end with a comment.
        batch.push_str("\n;\n");
    }
    Ok(Secret::new(batch))
}

/// The transaction left nothing; the operator's own clean-up is for what a transaction cannot hold.
async fn roll_back(db: &Shared, connection: &Arc<Connection>, role: &Role, user: &User) {
    let statements = said(&role.rollback_statements);
    if statements.is_empty() {
        return;
    }
    let Ok(batch) = filled(&statements, &user.name, "", &user.expiration) else { return };
    let Ok(target) = db.target(connection).await else { return };
    if let Err(error) = target.run(batch.expose()).await {
        tracing::warn!(connection = connection.name, username = user.name, %error, "rollback statements failed");
    }
}
