//! The Kubernetes engine: tokens of service accounts for whoever asks, each gone when its lease ends.
//!
//! - A role names a service account that is there, a Role that a new account is bound to, or the rules of a Role that is
//!   made as well. All that is made for one lease has one name, which is chosen before the lease is written.
//! - The lease holds that name, what kinds of objects bear it, and a mark that they carry: a crash leaves a lease that takes
//!   them away, and nothing that somebody else made under the same name is touched.
//! - A token of an account that is there already is bound to an empty Secret of the lease: without it, Kubernetes refuses
//!   the token. So it ends with its lease as well.
//! - A cluster that is no longer the configured one is remembered until the last lease in it is gone.
//!
//! Paths, fields and errors are those of the OpenBao API ("Kubernetes secrets engine"), where not said otherwise.

mod config;
mod issue;
mod objects;
mod revoke;
mod role;
mod rules;
mod shared;
mod target;

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::engine::{Credential, Engine, Place};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{NoFields, Room, Routes};
use dewdrop_core::{Fault, Moment};

use shared::Shared;

/// The engine of one mount.
pub struct Kubernetes(Arc<Shared>);

/// Mounts the engine.
#[must_use]
pub fn open(place: Place) -> Room {
    Room::new(Arc::new(Kubernetes(Arc::new(Shared::new(place)))))
}

#[async_trait]
impl Engine for Kubernetes {
    fn routes() -> Routes<Self> {
        Routes::new("Makes tokens of Kubernetes service accounts for those who ask, each under a lease.")
            .at("config", "The cluster. Replies never hold the token.", |r| {
                r.read("Read it.", |engine: Arc<Self>, _, _: NoFields| async move { config::read(&engine.0).await })
                    .write("Set it; what is not given stays.", |engine, _, body| async move {
                        config::write(&engine.0, body).await
                    })
                    .delete("Forget it. Leases in it can still be revoked.", |engine, _, _: NoFields| async move {
                        config::delete(&engine.0).await
                    })
            })
            .at("check", "Whether we run in a pod.", |r| {
                r.read("Look for the variables that kubelet sets.", |_: Arc<Self>, _, _: NoFields| async move {
                    config::check()
                })
            })
            .and(role::routes())
            .at("creds/{name}", "Credentials of a role.", |r| {
                r.write("Make a credential.", |engine: Arc<Self>, call, body| async move {
                    issue::creds(&engine.0, &call, body).await
                })
            })
    }

    async fn revoke(&self, credential: &Credential) -> Result<(), Fault> {
        revoke::revoke(&self.0, credential).await
    }

    async fn tick(&self, _: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        self.0.tidy(now).await
    }

    fn forget_caches(&self) {
        self.0.forget();
    }
}

#[cfg(test)]
mod tests;
