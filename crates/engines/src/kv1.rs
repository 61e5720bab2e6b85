//! KV version 1: one JSON object per path, the last write wins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::route::{AnyFields, NoFields, Route, Routes};
use dewdrop_core::store::{Batch, SharedStore, get_json};
use dewdrop_core::wire::parse_ttl;
use serde_json::{Map, Value};

use crate::shared::folder::{self, Paging};
use crate::shared::words::check_path;

/// Prefix of the secrets; version 2 finds them here when a mount is upgraded.
pub(crate) const SECRETS: &str = "s/";

/// The engine.
pub struct Kv1 {
    store: SharedStore,
}

#[async_trait]
impl Engine for Kv1 {
    fn routes() -> Routes<Self> {
        Routes::new("Keeps secrets as they are given, under any path. Each write replaces what was there.")
            .at("", "The secrets at the top", Self::listing)
            .at("{path*}", "One secret, or a folder of them", |route| {
                Self::listing(route).exists(|engine, captures| async move { engine.exists(&captures).await })
            })
    }
}

impl Kv1 {
    /// Opens the engine of a mount.
    #[must_use]
    pub fn open(place: Place) -> Arc<Self> {
        Arc::new(Self { store: place.store })
    }

    fn listing(route: Route<Self>) -> Route<Self> {
        route
            .list("Names in a folder", Self::list)
            .on(dewdrop_core::Operation::Scan, "Names in a folder and all folders below", Self::scan)
            .read("Reads the secret", Self::read)
            .write("Writes the secret", Self::write)
            .delete("Deletes the secret", Self::delete)
    }

    async fn exists(&self, captures: &BTreeMap<&'static str, String>) -> Result<bool, Fault> {
        let path = captures.get("path").map_or("", String::as_str);
        Ok(self.store.get(key(path).as_bytes()).await?.is_some())
    }

    async fn read(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = get_json::<Map<String, Value>>(&*self.store, key(call.capture("path")).as_bytes()).await?;
        let (data, _) = found.ok_or_else(Fault::not_found)?;
        let life = life_of(&data).unwrap_or_else(|| call.mount.default_lease_ttl());
        let mut reply = Reply::data(data);
        reply.lease_hint = Some(life);
        Ok(reply)
    }

    async fn write(self: Arc<Self>, call: Call, AnyFields(data): AnyFields) -> Result<Reply, Fault> {
        let path = call.capture("path");
        if path.is_empty() {
            return Err(Fault::bad_request("missing path"));
        }
        check_path(path)?;
        if data.is_empty() {
            return Err(Fault::bad_request("missing data fields"));
        }
        self.store.commit(Batch::new().put_json(key(path), &data)?).await?;
        Ok(Reply::nothing())
    }

    async fn delete(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.store.commit(Batch::new().delete(key(call.capture("path")))).await?;
        Ok(Reply::nothing())
    }

    async fn list(self: Arc<Self>, call: Call, paging: Paging) -> Result<Reply, Fault> {
        let items = folder::list(&*self.store, SECRETS, call.capture("path"), &paging).await?;
        Reply::keys(items.into_iter().map(|item| item.name).collect())
    }

    async fn scan(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = folder::walk(&*self.store, SECRETS, call.capture("path"), |_| Ok(())).await?;
        scanned(found.into_iter().map(|(name, ())| name).collect())
    }
}

/// The answer to `SCAN`: unlike `LIST`, it is 200 without `keys` when there is nothing.
pub(crate) fn scanned(names: Vec<String>) -> Result<Reply, Fault> {
    if names.is_empty() { Ok(Reply::data(Map::new())) } else { Reply::keys(names) }
}

fn key(path: &str) -> String {
    format!("{SECRETS}{path}")
}

/// How long readers may keep a secret, by its own field `ttl` or `lease`; `None` when it says nothing that is a duration.
fn life_of(data: &Map<String, Value>) -> Option<Duration> {
    match data.get("ttl").or_else(|| data.get("lease"))? {
        Value::Null => Some(Duration::ZERO),
        Value::Number(seconds) => seconds.as_u64().map(Duration::from_secs),
        Value::String(text) => parse_ttl(text).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
