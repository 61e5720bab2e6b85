//! `sys/`: the server's own paths. One file for each family of routes.

mod audit;
mod capabilities;
mod config;
mod cors;
mod info;
mod internal;
mod leases;
mod locked_users;
mod loggers;
mod metrics;
mod mfa;
mod mount_view;
mod mounts;
mod namespaces;
pub mod passwords;
mod policies;
mod quotas;
mod rotation;
mod seal;
mod snapshot;
mod tools;
mod wrapping;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use dewdrop_core::Fault;
use dewdrop_core::call::Call;
use dewdrop_core::engine::Engine;
use dewdrop_core::mount::Namespace;
use dewdrop_core::route::Routes;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::wire::Int;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::server::Server;
use crate::vault::{Vault, upgrade};
pub use cors::{Cors, around};
pub(crate) use info::hostname;
pub(crate) use internal::{Document, Place};
pub use metrics::ServerMetrics;
pub(crate) use snapshot::read_archive;

/// The engine of `sys/` in one namespace.
pub struct Sys {
    vault: Weak<Vault>,
    namespace: Arc<Namespace>,
}

/// Fields of lists.
#[derive(Debug, Default, Deserialize, JsonSchema)]
pub struct ListFields {
    /// Begin after this one.
    #[serde(default)]
    after: String,
    /// At most so many.
    limit: Option<Int>,
}

impl Sys {
    /// The engine of a namespace.
    #[must_use]
    pub fn new(vault: Weak<Vault>, namespace: Arc<Namespace>) -> Self {
        Self { vault, namespace }
    }

    fn vault(&self) -> Result<Arc<Vault>, Fault> {
        upgrade(&self.vault)
    }

    fn server(&self) -> Result<Arc<Server>, Fault> {
        self.vault()?.server.upgrade().ok_or_else(|| Fault::unavailable("the server is going down"))
    }

    /// Paths that are served in the root namespace only.
    fn only_in_root(&self) -> Result<(), Fault> {
        if self.namespace.is_root() {
            Ok(())
        } else {
            Err(Fault::bad_request("operation only available in root namespace"))
        }
    }
}

impl ListFields {
    /// Cuts a sorted list.
    fn cut(&self, keys: impl IntoIterator<Item = String>) -> Vec<String> {
        let limit = self.limit.and_then(|l| usize::try_from(l.0).ok()).filter(|l| *l > 0).unwrap_or(usize::MAX);
        keys.into_iter().filter(|key| *key > self.after).take(limit).collect()
    }
}

/// What is put in force from the store whenever the vault opens.
///
/// # Errors
/// The store's.
pub async fn on_open(server: &Server, vault: &Vault) -> Result<(), Fault> {
    seal::load_rotation(server, vault).await?;
    cors::load(server, vault).await?;
    info::note_version(vault).await
}

/// Whether a token lives in the namespace of a call, or below it. An accessor is no secret: who finds one elsewhere must
/// not learn by it what a token of another namespace may do.
fn lives_here(vault: &Vault, call: &Call, record: &TokenRecord) -> bool {
    vault.namespaces.by_id(&record.namespace).is_some_and(|home| home.path.starts_with(&namespace_of(call).path))
}

/// The namespace of a call: where the mount is, fresh from the tree.
fn namespace_of(call: &Call) -> &Arc<Namespace> {
    &call.mount.namespace
}

#[async_trait]
impl Engine for Sys {
    fn routes() -> Routes<Self> {
        Routes::new("The server's own paths: mounts, policies, leases, wrapping, the seal.")
            .and(mounts::routes())
            .and(policies::routes())
            .and(passwords::routes())
            .and(leases::routes())
            .and(locked_users::routes())
            .and(quotas::routes())
            .and(namespaces::routes())
            .and(wrapping::routes())
            .and(mfa::routes())
            .and(capabilities::routes())
            .and(seal::routes())
            .and(rotation::routes())
            .and(tools::routes())
            .and(internal::routes())
            .and(info::routes())
            .and(cors::routes())
            .and(config::routes())
            .and(metrics::routes())
            .and(loggers::routes())
            .and(snapshot::routes())
            .and(audit::routes())
            .and(namespaces::root_only_routes())
    }
}

#[cfg(test)]
mod tests;
