//! JWT: a caller logs in with a token that somebody else has signed: a CI system, a cloud, an identity provider; or
//! signs in by browser at such a provider (`oidc`, also a type of its own). Paths, fields and texts follow the public API
//! documentation and what an OpenBao server was seen to answer.

mod bounds;
mod config;
pub(crate) mod fuzzing;
mod login;
mod oidc;
mod role;
mod source;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::call::Caller;
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{Room, Routes};
use dewdrop_core::store::{SharedStore, Store};
use dewdrop_core::token::TokenParams;
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;
use serde_json::Value;

use crate::kept_roles::{self, KeepsRoles};
use oidc::Pendings;
use source::Source;

/// The auth method at one mount.
pub struct Jwt {
    place: Place,
    /// The configuration in use; `None`: not read yet.
    source: Mutex<Option<Arc<Source>>>,
    /// Held while it is read or written.
    opening: tokio::sync::Mutex<()>,
    /// Sign-ins by browser that are under way.
    pending: Pendings,
}

/// The role of a login that names none, read from a mount's slice of the store.
///
/// # Errors
/// The store's.
pub async fn default_role(store: SharedStore) -> Result<Option<String>, Fault> {
    let config = config::read(&*store).await?;
    Ok(config.map(|config| config.default_role).filter(|role| !role.is_empty()))
}

impl Jwt {
    /// The method behind its routes.
    #[must_use]
    pub fn open(place: Place) -> Room {
        Room::new(Arc::new(Self {
            place,
            source: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            pending: Pendings::default(),
        }))
    }
}

#[async_trait]
impl Engine for Jwt {
    fn routes() -> Routes<Self> {
        Routes::new("Callers log in with tokens (JWT) that somebody else has signed.")
            .at("login", "Logs in with a signed token.", |route| {
                route.public("this is how a caller gets a token").write("Logs in.", Self::login)
            })
            .and(oidc::routes())
            .and(config::routes())
            .and(kept_roles::routes("role", "role/{name}", "A role: who may log in, and what tokens they get."))
    }

    async fn renew_login(&self, internal: &Value, _: &Caller) -> Result<TokenParams, Fault> {
        let name = internal.get("role").and_then(Value::as_str).unwrap_or_default();
        let gone = || Fault::bad_request(format!("role {name} does not exist during renewal"));
        Ok(self.role(name).await?.ok_or_else(gone)?.token.params)
    }

    async fn tick(&self, _: &Arc<Mount>, _: Moment) -> Result<(), Fault> {
        self.pending.tidy(self.place.clock.steady());
        Ok(())
    }

    fn forget_caches(&self) {
        self.pending.clear();
        *self.source.lock() = None;
    }
}

#[async_trait]
impl KeepsRoles for Jwt {
    type Role = role::Role;

    fn store(&self) -> &dyn Store {
        &*self.place.store
    }
}

#[cfg(test)]
mod tests;
