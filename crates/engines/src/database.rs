//! The database engine: a PostgreSQL user of its own for whoever asks, gone when its lease ends.
//!
//! - The username is chosen before the lease is written, and the lease holds all that taking it back needs: connection,
//!   username and the role's own statements. A crash leaves a lease without a user, never a user without a lease.
//! - A user is made by one batch: one round trip, one transaction, refused by the target itself once we gave up on it.
//! - Each user carries a mark of this mount (`COMMENT ON ROLE`), so that [reconciliation](reconcile) touches only ours.
//! - A connection that is deleted vanishes from the API, but its record is kept until the last lease that needs it is gone.
//!
//! Paths, fields and errors are those of the OpenBao API ("Databases", "PostgreSQL"), where not said otherwise.

mod certificate;
mod config;
mod connection;
mod credential_config;
pub(crate) mod cron;
mod issue;
mod preflight;
mod reconcile;
mod revoke;
mod role;
mod root;
mod rotation;
mod shared;
mod static_role;
pub mod username;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::engine::{Credential, Engine, Place, Renewal, Renewed};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{Room, Routes};
use dewdrop_core::{Fault, Moment};

use crate::postgres::Limits;
use shared::Shared;

/// The engine of one mount.
pub struct Database(Arc<Shared>);

/// Mounts the engine.
#[must_use]
pub fn open(place: Place) -> Room {
    open_with(place, Limits::default())
}

/// As [`open`], with other bounds for calls to targets; for tests.
#[must_use]
pub fn open_with(place: Place, limits: Limits) -> Room {
    Room::new(Arc::new(Database(Arc::new(Shared::new(place, limits)))))
}

type Captures = BTreeMap<&'static str, String>;

fn name_of(captures: &Captures) -> &str {
    captures.get("name").map_or("", String::as_str)
}

#[async_trait]
impl Engine for Database {
    fn routes() -> Routes<Self> {
        Routes::new(
            "Makes database users for those who ask, each under a lease, and rotates the passwords of those that stay.",
        )
        .at("config", "The connections.", |r| {
            r.list("List the connections.", |db: Arc<Self>, _, _: dewdrop_core::route::NoFields| async move {
                config::list(&db.0).await
            })
        })
        .at("config/{name}", "A connection to a database server. Replies never hold its password.", |r| {
            r.exists(|db: Arc<Self>, at| async move { Ok(db.0.connections.find(name_of(&at)).await?.is_some()) })
                .read("Read a connection.", |db, call, _: dewdrop_core::route::NoFields| async move {
                    config::read(&db.0, &call).await
                })
                .write("Make or change a connection.", |db, call, body| async move {
                    config::write(&db.0, &call, body).await
                })
                .delete(
                    "Delete a connection. Leases that need it can still be revoked.",
                    |db, call, _: dewdrop_core::route::NoFields| async move { config::delete(&db.0, &call).await },
                )
        })
        .at("reset/{name}", "Closes the connections to a target.", |r| {
            r.write("Close and connect anew.", |db: Arc<Self>, call, _: dewdrop_core::route::NoFields| async move {
                config::reset(&db.0, &call).await
            })
        })
        .at("rotate-root/{name}", "The password of the connection's own user.", |r| {
            r.write(
                "Replace it by one that only this server knows.",
                |db: Arc<Self>, call, _: dewdrop_core::route::NoFields| async move { root::rotate(&db.0, &call).await },
            )
        })
        .at("reconcile/{name}", "Users at the target that this mount made and that no lease knows.", |r| {
            r.read("Report them.", |db: Arc<Self>, call, _: dewdrop_core::route::NoFields| async move {
                reconcile::report(&db.0, &call).await
            })
            .write("Drop them.", |db, call, _: dewdrop_core::route::NoFields| async move {
                reconcile::act(&db.0, &call).await
            })
        })
        .and(role::routes())
        .and(static_role::routes())
        .at("creds/{name}", "Credentials of a role.", |r| {
            r.read("Make a credential.", |db: Arc<Self>, call, _: dewdrop_core::route::NoFields| async move {
                issue::creds(&db.0, &call).await
            })
        })
    }

    async fn revoke(&self, credential: &Credential) -> Result<(), Fault> {
        revoke::revoke(&self.0, credential).await
    }

    async fn renew(&self, credential: &Credential, ask: &Renewal) -> Result<Renewed, Fault> {
        revoke::renew(&self.0, credential, ask).await
    }

    async fn tick(&self, mount: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        rotation::tick(&self.0, mount, now).await?;
        reconcile::tick(&self.0, now).await?;
        self.0.tidy(now).await
    }

    fn forget_caches(&self) {
        self.0.forget();
    }
}

#[cfg(test)]
mod tests;
