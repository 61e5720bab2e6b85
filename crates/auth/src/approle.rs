//! AppRole: a machine logs in with a role id (who it says it is) and a secret id (the proof). Paths, fields and texts
//! follow the public API documentation and what an OpenBao server was seen to answer.
//!
//! What is kept, below the mount's slice of the store (see `keys.rs`):
//! - the HMAC key of this mount, made with the first role;
//! - roles by name, each with a random `uid` that is never used again, so that a role that is made anew under an old
//!   name has none of the old secret ids;
//! - role ids by their HMAC; secret ids by theirs, so that the store alone lets nobody in; accessors; ends of life.
//!
//! A login reads the role id, the role and the secret id, and writes nothing unless the secret id counts its uses.

mod fields;
mod index;
mod keys;
mod login;
mod role;
mod roles;
mod secret_ids;
mod sweep;
mod wire;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use async_trait::async_trait;
use dewdrop_core::call::Caller;
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{Room, Routes};
use dewdrop_core::store::SharedStore;
use dewdrop_core::token::TokenParams;
use dewdrop_core::{Fault, Moment};
use serde_json::Value;

/// The auth method at one mount.
pub struct AppRole {
    place: Place,
    index: index::Index,
    tidying: AtomicBool,
}

/// The name of the role with a role id, read from a mount's slice of the store.
///
/// # Errors
/// The store's.
pub async fn role_name(store: SharedStore, role_id: &str) -> Result<Option<String>, Fault> {
    let Some(hasher) = index::Index::new(store.clone()).get().await? else { return Ok(None) };
    let entry = store.get(&keys::role_id(&hasher.role_id(role_id))).await?;
    Ok(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
}

impl AppRole {
    /// The method behind its routes.
    #[must_use]
    pub fn open(place: Place) -> Room {
        let index = index::Index::new(place.store.clone());
        Room::new(Arc::new(Self { place, index, tidying: AtomicBool::new(false) }))
    }
}

#[async_trait]
impl Engine for AppRole {
    fn routes() -> Routes<Self> {
        Routes::new("Machines log in with a role id and a secret id.")
            .at("login", "Logs in with a role id and a secret id.", |route| {
                route.public("this is how a caller gets a token").write("Logs in.", Self::login)
            })
            .and(roles::routes())
            .and(fields::routes())
            .and(secret_ids::routes())
            .at("tidy/secret-id", "Removes secret ids that are past their end, in the background.", |route| {
                route.write("Starts the work.", Self::tidy)
            })
    }

    async fn renew_login(&self, internal: &Value, _: &Caller) -> Result<TokenParams, Fault> {
        let name = internal.get("role_name").and_then(Value::as_str).unwrap_or_default();
        let role = self.role(name).await?;
        let gone = || Fault::bad_request(format!("role {name:?} does not exist during renewal"));
        Ok(role.ok_or_else(gone)?.0.token.params)
    }

    async fn tick(&self, _mount: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        self.sweep_some(now).await.map(|_| ())
    }

    fn forget_caches(&self) {
        self.index.forget();
    }
}

#[cfg(test)]
mod tests;
