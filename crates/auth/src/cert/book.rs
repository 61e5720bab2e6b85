//! All that a login needs, read once: roles with whom they trust, what was revoked, the configuration.

use std::collections::HashMap;
use std::sync::Arc;

use dewdrop_core::store::Store;
use dewdrop_core::{Fault, Moment};
use tokio::sync::MutexGuard;

use super::config::{self, Config};
use super::role::Role;
use super::trust::{Revoked, Shown, Stranger, Trust};
use super::{Cert, crls};
use crate::kept_roles::ROLES;
use crate::rows;

/// How many reasons the operator's log tells of one refusal.
const TOLD: usize = 5;

/// A snapshot of the mount.
pub struct Book {
    /// The configuration.
    pub config: Config,
    /// What was taken back.
    pub revoked: Revoked,
    /// By name.
    roles: Vec<Entry>,
    /// Each set of certificates once: many roles share their authority.
    trusts: Vec<Trust>,
}

struct Entry {
    role: Role,
    trust: usize,
}

/// What a snapshot is made of is being written; the end of this throws the snapshot away.
pub(super) struct Rewriting<'c> {
    cert: &'c Cert,
    _opening: MutexGuard<'c, ()>,
}

impl Cert {
    /// The snapshot of now.
    pub(super) async fn book(&self) -> Result<Arc<Book>, Fault> {
        if let Some(book) = self.book.lock().clone() {
            return Ok(book);
        }
        let _opening = self.opening.lock().await;
        if let Some(book) = self.book.lock().clone() {
            return Ok(book);
        }
        let book = Arc::new(Book::read(&*self.place.store).await?);
        *self.book.lock() = Some(book.clone());
        Ok(book)
    }

    /// To be held from before what a snapshot is made of is written until it is written.
    pub(super) async fn rewriting(&self) -> Rewriting<'_> {
        let opening = self.opening.lock().await;
        Rewriting { cert: self, _opening: opening }
    }
}

impl Drop for Rewriting<'_> {
    /// The lock is given back after this, so that no snapshot of before can be kept afterwards.
    fn drop(&mut self) {
        *self.cert.book.lock() = None;
    }
}

impl Book {
    async fn read(store: &dyn Store) -> Result<Self, Fault> {
        let config = config::read(store).await?;
        let revoked = crls::revoked(store).await?;
        let (mut roles, mut trusts) = (Vec::new(), Vec::new());
        let mut known: HashMap<String, usize> = HashMap::new();
        for row in rows::all(store, ROLES).await? {
            let role: Role =
                serde_json::from_slice(&row.entry.value).map_err(|_| Fault::internal("a role cannot be read"))?;
            let trust = match known.get(&role.certificate) {
                Some(trust) => *trust,
                None => {
                    trusts.push(Trust::read(&role.certificate)?);
                    known.insert(role.certificate.clone(), trusts.len() - 1);
                    trusts.len() - 1
                }
            };
            roles.push(Entry { role, trust });
        }
        Ok(Self { config, revoked, roles, trusts })
    }

    /// A role by its name in lower case.
    pub fn role(&self, name: &str) -> Option<&Role> {
        self.roles.iter().map(|entry| &entry.role).find(|role| role.name == name)
    }

    /// The first role, or the one of a name, that takes what is shown.
    ///
    /// # Errors
    /// 400: none does.
    pub fn admit(&self, shown: &Shown<'_>, name: Option<&str>, now: Moment) -> Result<&Role, Fault> {
        let mut judged: Vec<Option<Result<(), Stranger>>> = vec![None; self.trusts.len()];
        let mut why = Vec::new();
        let mut is_known = false;
        for entry in self.roles.iter().filter(|entry| name.is_none_or(|name| entry.role.name == name)) {
            let Some((trust, verdict)) = self.trusts.get(entry.trust).zip(judged.get_mut(entry.trust)) else {
                continue;
            };
            let verdict = verdict.get_or_insert_with(|| trust.admit(shown, now, &self.revoked));
            let role = &entry.role;
            let refused = match verdict {
                Ok(()) => role.bounds.admit(&shown.facts).err().map(|field| format!("does not meet {field}")),
                Err(Stranger::Revoked) => Some("was revoked".into()),
                Err(Stranger::Unknown(why)) => Some(why.clone()),
            };
            let Some(refused) = refused else { return Ok(role) };
            is_known |= !matches!(verdict, Err(Stranger::Unknown(_)));
            if why.len() < TOLD {
                why.push(format!("role {:?}: the certificate {refused}", role.name));
            }
        }
        let told = if is_known {
            "no chain matching all constraints could be found for this login certificate"
        } else {
            "invalid certificate or no client certificate supplied"
        };
        let why = if why.is_empty() { "there is no such role".to_owned() } else { why.join("; ") };
        let known = format!("certificate {} of {:?}: {why}", shown.facts.serial_text, shown.facts.names.common);
        Err(Fault::bad_credential(told).knowing(known))
    }
}
