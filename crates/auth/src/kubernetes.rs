//! Kubernetes: a pod logs in with the token of its service account; a node agent has tokens made for single starts of
//! containers. Paths, fields and texts of the former follow the public API documentation and what an OpenBao server was
//! seen to answer; the latter is ours (docs/decisions/0016-node-agent.md).
//!
//! What is kept, below the mount's slice of the store:
//! - `config`, and `role/NAME`;
//! - `node/NAME`: when the agent of a node was heard last;
//! - `start/NODE/POD/CONTAINER/ROLE`: a start of a container and the accessor of its token. The row comes and goes in the
//!   same commits as the token (docs/decisions/0017-rows-beside-tokens.md), so neither is there without the other;
//! - `session/NAME`: somebody is in a container (docs/decisions/0026-exec-needs-a-grant.md);
//! - `agentless/POD/CONTAINER/ROLE`: the same for a container that logs in itself (docs/decisions/0020-agentless.md).

mod account;
mod agent;
mod agentless;
mod api;
mod beat;
mod bounds;
mod config;
mod login;
mod names;
mod nodes;
mod role;
mod rounds;
mod sessions;
mod starts;
mod verify;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::call::Caller;
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{Room, Routes};
use dewdrop_core::store::Store;
use dewdrop_core::token::TokenParams;
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;
use serde_json::Value;

use crate::kept_roles::{self, KeepsRoles};
use nodes::Nodes;
use verify::Verifier;

/// The auth method at one mount.
pub struct Kubernetes {
    place: Place,
    /// The configuration in use; `None`: not read yet.
    verifier: Mutex<Option<Arc<Verifier>>>,
    /// Held while it is read or written.
    opening: tokio::sync::Mutex<()>,
    nodes: Nodes,
    /// When ends of sessions were looked for.
    looked: Mutex<Moment>,
}

impl Kubernetes {
    /// The method behind its routes.
    #[must_use]
    pub fn open(place: Place) -> Room {
        let nodes = Nodes::new(place.store.clone(), place.clock.clone());
        Room::new(Arc::new(Self {
            place,
            verifier: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
            nodes,
            looked: Mutex::default(),
        }))
    }
}

#[async_trait]
impl Engine for Kubernetes {
    fn routes() -> Routes<Self> {
        Routes::new(
            "Pods log in with the token of their service account; node agents get tokens for starts of containers.",
        )
        .at("login", "Logs in with the token of a service account.", |route| {
            route.public("this is how a caller gets a token").write("Logs in.", Self::login)
        })
        .and(config::routes())
        .and(kept_roles::routes("role", "role/{name}", "A role: who may log in, and what tokens they get."))
        .and(agent::routes())
        .and(sessions::routes())
    }

    async fn renew_login(&self, internal: &Value, _: &Caller) -> Result<TokenParams, Fault> {
        self.renew(internal).await
    }

    async fn tick(&self, _: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        self.round(now).await.and(self.end_sessions(now).await)
    }

    fn forget_caches(&self) {
        *self.verifier.lock() = None;
        self.nodes.forget();
    }
}

#[async_trait]
impl KeepsRoles for Kubernetes {
    type Role = role::Role;

    fn store(&self) -> &dyn Store {
        &*self.place.store
    }
}

#[cfg(test)]
mod tests;
