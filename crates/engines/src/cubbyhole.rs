//! Cubbyhole: secrets that only one token can reach, and that end with it. The wrapped answers of the server lie here too.

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::route::{AnyFields, NoFields, Route, Routes};
use dewdrop_core::store::{Batch, SharedStore, Store, get_json};
use dewdrop_core::token::TokenKind;
use serde_json::{Map, Value};

use crate::shared::folder::{self, Paging};
use crate::shared::words::check_path;

/// The engine. A secret lies under the accessor of its token: `ACCESSOR/PATH`.
pub struct Cubbyhole {
    store: SharedStore,
}

#[async_trait]
impl Engine for Cubbyhole {
    fn routes() -> Routes<Self> {
        Routes::new("Keeps secrets of one token; no other token can read them, and they are deleted when it ends.")
            .at("", "The token's secrets at the top", Self::verbs)
            .at("{path*}", "One secret of the token, or a folder of them", Self::verbs)
    }
}

impl Cubbyhole {
    /// Opens the engine of a mount.
    #[must_use]
    pub fn open(place: Place) -> Arc<Self> {
        Arc::new(Self { store: place.store })
    }

    /// Deletes all that a token had; for the server, when the token ends. `store` is the mount's slice.
    ///
    /// # Errors
    /// The store's; an accessor that is empty or no accessor.
    pub async fn clear(store: &dyn Store, accessor: &str) -> Result<(), Fault> {
        if accessor.is_empty() || accessor.contains('/') {
            return Err(Fault::internal("clearing a cubbyhole needs the accessor of its token"));
        }
        store.commit(Batch::new().delete_prefix(format!("{accessor}/"))).await?;
        Ok(())
    }

    fn verbs(route: Route<Self>) -> Route<Self> {
        route
            .list("Names in a folder", Self::list)
            .read("Reads the secret", Self::read)
            .write("Writes the secret", Self::write)
            .delete("Deletes the secret", Self::delete)
    }

    async fn read(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = get_json::<Map<String, Value>>(&*self.store, key(&call)?.as_bytes()).await?;
        found.map(|(data, _)| Reply::data(data)).ok_or_else(Fault::not_found)
    }

    async fn write(self: Arc<Self>, call: Call, AnyFields(data): AnyFields) -> Result<Reply, Fault> {
        let key = key(&call)?;
        check_path(&key)?;
        if data.is_empty() {
            return Err(Fault::bad_request("missing data fields"));
        }
        self.store.commit(Batch::new().put_json(key, &data)?).await?;
        Ok(Reply::nothing())
    }

    async fn delete(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        // Nothing lies at the top itself, and what is not there can be deleted.
        if !call.capture("path").is_empty() {
            self.store.commit(Batch::new().delete(key(&call)?)).await?;
        }
        Ok(Reply::nothing())
    }

    async fn list(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let root = format!("{}/", owner(&call)?);
        let items = folder::list(&*self.store, &root, call.capture("path"), &Paging::default()).await?;
        Reply::keys(items.into_iter().map(|item| item.name).collect())
    }
}

fn owner(call: &Call) -> Result<&str, Fault> {
    let token =
        call.caller.token.as_deref().filter(|token| token.kind == TokenKind::Service && !token.accessor.is_empty());
    token
        .map(|token| token.accessor.as_str())
        .ok_or_else(|| Fault::bad_request("cubbyhole operations are only supported by 'service' type tokens"))
}

fn key(call: &Call) -> Result<String, Fault> {
    let owner = owner(call)?;
    match call.capture("path") {
        "" => Err(Fault::bad_request("missing path")),
        path => Ok(format!("{owner}/{path}")),
    }
}

#[cfg(test)]
mod tests;
