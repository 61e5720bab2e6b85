//! `auth/token`: making, showing, renewing and ending tokens by the API.

mod create;
mod manage;
mod roles;

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::Engine;
use dewdrop_core::mount::Namespace;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::SharedStore;
use schemars::JsonSchema;
use serde::Deserialize;

use super::LiveToken;
use crate::vault::{Vault, upgrade};
pub use roles::TokenRole;

/// The engine of `auth/token`.
pub struct TokenAuth {
    vault: Weak<Vault>,
    /// Where the roles are.
    roles: SharedStore,
}

/// Fields of lists.
#[derive(Deserialize, JsonSchema)]
struct ListFields {
    /// Begin after this one.
    #[serde(default)]
    after: String,
    /// At most so many.
    limit: Option<dewdrop_core::wire::Int>,
}

impl TokenAuth {
    /// The engine of one namespace.
    #[must_use]
    pub fn new(vault: Weak<Vault>, roles: SharedStore) -> Self {
        Self { vault, roles }
    }

    fn vault(&self) -> Result<Arc<Vault>, Fault> {
        upgrade(&self.vault)
    }

    async fn accessors(self: Arc<Self>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let limit = fields.limit.and_then(|l| usize::try_from(l.0).ok()).filter(|l| *l > 0).unwrap_or(usize::MAX);
        let mut after = Some(fields.after).filter(|a| !a.is_empty());
        let mut keys = Vec::new();
        while keys.len() < limit {
            let page = vault.tokens.accessors(after.as_deref(), 1000).await?;
            after = page.last().map(|(accessor, _)| accessor.clone());
            let here = page.iter().filter(|(_, record)| record.namespace == call.mount.namespace.id);
            keys.extend(here.map(|(accessor, _)| accessor.clone()).take(limit - keys.len()));
            if page.len() < 1000 {
                break;
            }
        }
        Reply::keys(keys)
    }

    async fn tidy(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        // Ending a token removes all its records in one commit, so nothing can be left to tidy.
        let mut reply =
            Reply::nothing().warn("There is nothing to tidy: ending a token removes all its records at once.");
        reply.status = Some(202);
        Ok(reply)
    }
}

#[async_trait]
impl Engine for TokenAuth {
    fn routes() -> Routes<Self> {
        Routes::new("The token auth method: every other method ends in a token of this one.")
            .at("create", "Makes a child of the calling token.", |r| r.write("Makes a token", Self::create))
            .at("create-orphan", "Makes a token without parent.", |r| {
                r.sudo().write("Makes an orphan", Self::create_orphan)
            })
            .at(
                "session",
                "Opens a session: a child of the calling token with the same rights and a life of its own.",
                |r| r.write("Opens a session", Self::open_session),
            )
            .at("create/{role_name}", "Makes a token by a role.", |r| {
                r.write("Makes a token by a role", Self::create_by_role)
            })
            .at("lookup", "Shows a token.", |r| {
                r.write("Shows a token", Self::lookup).read("Shows a token", Self::lookup)
            })
            .at("lookup-self", "Shows the calling token.", |r| {
                r.read("Shows the calling token", Self::lookup_self).write("Shows the calling token", Self::lookup_self)
            })
            .at("lookup-accessor", "Shows a token by its accessor.", |r| {
                r.write("Shows a token", Self::lookup_accessor)
            })
            .at("renew", "Renews a token.", |r| r.write("Renews a token", Self::renew))
            .at("renew-self", "Renews the calling token.", |r| r.write("Renews the calling token", Self::renew_self))
            .at("renew-accessor", "Renews a token by its accessor.", |r| {
                r.write("Renews a token", Self::renew_accessor)
            })
            .at("revoke", "Ends a token with all its children.", |r| r.write("Ends a token", Self::revoke))
            .at("revoke-self", "Ends the calling token with all its children.", |r| {
                r.write("Ends the calling token", Self::revoke_self)
            })
            .at("revoke-accessor", "Ends a token by its accessor.", |r| r.write("Ends a token", Self::revoke_accessor))
            .at("revoke-orphan", "Ends a token; its children live on as orphans.", |r| {
                r.sudo().write("Ends a token, not its children", Self::revoke_orphan)
            })
            .at("accessors", "The accessors of all tokens.", |r| r.sudo().list("Lists accessors", Self::accessors))
            .at("tidy", "Removes what is left of ended tokens.", |r| r.sudo().write("Tidies", Self::tidy))
            .at("roles", "The token roles.", |r| r.list("Lists roles", Self::list_roles))
            .at("roles/{role_name}", "A token role.", |r| {
                r.exists(|engine: Arc<Self>, captures| async move { engine.role_exists(&captures).await })
                    .read("Shows a role", Self::read_role)
                    .write("Writes a role", Self::write_role)
                    .delete("Removes a role", Self::delete_role)
            })
    }
}

/// A token by its text, within a namespace or below it.
async fn find(vault: &Vault, namespace: &Namespace, text: &str) -> Result<Option<Arc<LiveToken>>, Fault> {
    let live = vault.tokens.find(text, vault.clock.now()).await?;
    Ok(live.filter(|live| lies_below(vault, namespace, &live.record.namespace)))
}

/// A token by its accessor, within a namespace or below it.
async fn find_by_accessor(
    vault: &Vault,
    namespace: &Namespace,
    accessor: &str,
) -> Result<Option<Arc<LiveToken>>, Fault> {
    let live = vault.tokens.by_accessor(accessor).await?;
    let now = vault.clock.now();
    Ok(live.filter(|live| !live.record.is_expired(now) && lies_below(vault, namespace, &live.record.namespace)))
}

fn lies_below(vault: &Vault, namespace: &Namespace, id: &str) -> bool {
    vault.namespaces.by_id(id).is_some_and(|home| home.path.starts_with(&namespace.path))
}

fn invalid_accessor() -> Fault {
    Fault::bad_request("1 error occurred:\n\t* invalid accessor\n\n")
}
