//! KV version 2: secrets with versions.
//!
//! Two kinds of records: `m/PATH` says all there is to say about a secret, its versions included ([`record`]);
//! `d/PATH\0VERSION` holds the data of one version. A read of the current version is one `get` of each; every write is one
//! commit that expects the first record unchanged, so that writers on many servers never lose a version.

mod config;
mod data;
mod meta;
mod names;
mod record;
mod versions;

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::route::{AnyFields, Route, Routes};
use dewdrop_core::store::{Batch, Revision, SharedStore, Store, get_json};
use dewdrop_core::{Fault, Moment, Operation};
use serde_json::Value;

use crate::kv1;
use crate::shared::cached::Cached;
use crate::shared::cas::{Queues, TRIES, commits, gave_up};
use config::Config;
use record::KeyRecord;

const RECORDS: &str = "m/";
const CONFIG: &[u8] = b"config";

/// The engine.
pub struct Kv2 {
    store: SharedStore,
    config: Cached<Config>,
    writers: Queues,
}

/// What a writer makes of a record: what goes into the same commit, and the answer.
struct Verdict<T> {
    /// The record is written back, or removed (`false`: nothing is committed).
    changed: bool,
    /// Changes beside it, in the same commit.
    batch: Batch,
    /// What the writer answers.
    answer: T,
}

#[async_trait]
impl Engine for Kv2 {
    fn routes() -> Routes<Self> {
        let routes = Routes::<Self>::new("Keeps versions of secrets: each write adds one, and old ones can be read, deleted, brought back or destroyed.")
            .at("data/{path*}", "Versions of a secret", |route| {
                route
                    .exists(|engine, captures| async move { engine.exists(&captures).await })
                    .read("Reads the current version, or the one that `version` names", Self::read)
                    .write("Adds a version", Self::write)
                    .on(Operation::Patch, "Adds a version: the current one with a JSON merge patch applied", Self::patch)
                    .delete("Deletes the current version; it can be brought back", Self::delete)
            });
        versions::routes(meta::routes(routes))
            .at("config", "Settings of the mount", |route| {
                let route = route
                    .read("Reads them", Self::read_config)
                    .write("Changes those that are given", Self::write_config);
                route.on(Operation::List, "Not a folder", Self::lost)
            })
            .at("data", "Versions of secrets", Self::unlisted_root)
            .at("delete", "Deletes versions", Self::unlisted_root)
            .at("undelete", "Brings versions back", Self::unlisted_root)
            .at("destroy", "Destroys versions", Self::unlisted_root)
            .at("", "The mount itself", Self::lost_verbs)
            .at("{rest*}", "Any other path: says how to go on", Self::lost_verbs)
    }

    fn forget_caches(&self) {
        self.config.forget();
    }
}

impl Kv2 {
    /// Opens the engine of a mount.
    #[must_use]
    pub fn open(place: Place) -> Arc<Self> {
        Arc::new(Self { store: place.store, config: Cached::default(), writers: Queues::default() })
    }

    /// Turns the secrets of a version 1 mount into first versions, for the server when it tunes `version=2` onto one.
    /// Safe to repeat after a crash: each secret moves in one commit. Answers how many moved.
    ///
    /// # Errors
    /// The store's.
    pub async fn upgrade(store: &dyn Store, now: Moment) -> Result<u64, Fault> {
        let mut moved = 0;
        loop {
            let rows = store.scan(kv1::SECRETS.as_bytes(), None, 16).await?;
            if rows.is_empty() {
                return Ok(moved);
            }
            let mut batch = Batch::new();
            for row in rows {
                let path = String::from_utf8_lossy(row.key.get(kv1::SECRETS.len()..).unwrap_or_default()).into_owned();
                let mut record = KeyRecord::new(now);
                let added = record.add(now, &Config::default());
                // Seen at the API: an upgraded secret knows its oldest version from the start.
                record.oldest = added.version;
                batch = batch
                    .put_json(record_key(&path), &record)?
                    .put(data_key(&path, added.version), row.entry.value)
                    .expect(row.key.clone(), row.entry.revision)
                    .delete(row.key);
                moved += 1;
            }
            store.commit(batch).await?;
        }
    }

    async fn exists(&self, captures: &BTreeMap<&'static str, String>) -> Result<bool, Fault> {
        let path = captures.get("path").map_or("", String::as_str);
        Ok(self.store.get(record_key(path).as_bytes()).await?.is_some())
    }

    /// The settings of the mount.
    async fn settings(&self) -> Result<Arc<Config>, Fault> {
        let read = async { Ok(get_json(&*self.store, CONFIG).await?.map(|(config, _)| config).unwrap_or_default()) };
        self.config.get(read).await
    }

    async fn record(&self, path: &str) -> Result<Option<(KeyRecord, Revision)>, Fault> {
        Ok(get_json(&*self.store, record_key(path).as_bytes()).await?)
    }

    /// Reads a secret's record, lets `decide` change, make or take it, and commits that unless somebody else was faster:
    /// then once more.
    async fn change<T>(
        &self,
        path: &str,
        decide: impl Fn(&mut Option<KeyRecord>) -> Result<Verdict<T>, Fault>,
    ) -> Result<T, Fault> {
        let _turn = self.writers.turn(path).await;
        let key = record_key(path);
        for _ in 0..TRIES {
            let (mut record, revision) = self.record(path).await?.map_or((None, 0), |(record, at)| (Some(record), at));
            let Verdict { changed, batch, answer } = decide(&mut record)?;
            if !changed {
                return Ok(answer);
            }
            if self.commits(&key, record.as_ref(), revision, batch).await? {
                return Ok(answer);
            }
        }
        Err(gave_up())
    }

    /// Commits `batch` with the record (`None`: without), which must still have the revision.
    async fn commits(
        &self,
        key: &str,
        record: Option<&KeyRecord>,
        revision: Revision,
        batch: Batch,
    ) -> Result<bool, Fault> {
        let batch = match record {
            Some(record) => batch.put_json(key, record)?,
            None => batch.delete(key),
        };
        commits(&*self.store, batch.expect(key, revision)).await
    }

    /// Verbs on the name of a family alone, such as `data`.
    fn root(route: Route<Self>) -> Route<Self> {
        route
            .read("Needs a path", Self::rootless)
            .write("Needs a path", Self::rootless)
            .on(Operation::Patch, "Needs a path", Self::rootless)
            .delete("Needs a path", Self::rootless)
    }

    /// The same where nothing is listed either.
    fn unlisted_root(route: Route<Self>) -> Route<Self> {
        Self::root(route).list("Not a folder", Self::not_listed)
    }

    fn lost_verbs(route: Route<Self>) -> Route<Self> {
        Self::lost_but_lists(route).list("Not a path of this engine", Self::lost).on(
            Operation::Scan,
            "Not a path of this engine",
            Self::lost,
        )
    }

    fn lost_but_lists(route: Route<Self>) -> Route<Self> {
        route
            .read("Not a path of this engine", Self::lost)
            .write("Not a path of this engine", Self::lost)
            .on(Operation::Patch, "Not a path of this engine", Self::lost)
            .delete("Not a path of this engine", Self::lost)
    }

    async fn not_listed(self: Arc<Self>, _: Call, _: AnyFields) -> Result<Reply, Fault> {
        Err(Fault::unsupported())
    }

    async fn rootless(self: Arc<Self>, _: Call, _: AnyFields) -> Result<Reply, Fault> {
        Ok(nowhere("Non-listing operations on the root of a K/V v2 mount are not supported.".into()))
    }

    async fn lost(self: Arc<Self>, call: Call, _: AnyFields) -> Result<Reply, Fault> {
        let verb = match call.operation {
            Operation::List => "list",
            Operation::Scan => "scan",
            Operation::Delete => "delete",
            Operation::Patch => "patch",
            Operation::Create | Operation::Update => "put",
            _ => "get",
        };
        Ok(nowhere(format!(
            "Invalid path for a versioned K/V secrets engine. See the API docs for the appropriate API endpoints to use. \
             If using the Dewdrop CLI, use 'dewdrop kv {verb}' for this operation."
        )))
    }
}

impl<T> Verdict<T> {
    fn changed(batch: Batch, answer: T) -> Self {
        Self { changed: true, batch, answer }
    }

    fn unchanged(answer: T) -> Self {
        Self { changed: false, batch: Batch::new(), answer }
    }
}

/// 404 with a sentence beside it instead of an error, as the API has it.
fn nowhere(warning: String) -> Reply {
    Reply { status: Some(404), ..Reply::nothing().warn(warning) }
}

/// 404 without a body: what is to be patched is not there.
fn nothing_to_patch() -> Reply {
    Reply { status: Some(404), ..Outcome::Nothing.into() }
}

fn record_key(path: &str) -> String {
    format!("{RECORDS}{path}")
}

/// Prefix of the data of all versions. A path holds no NUL, so no path's data lies below another's.
fn data_prefix(path: &str) -> String {
    format!("d/{path}\0")
}

fn data_key(path: &str, version: u64) -> String {
    format!("d/{path}\0{version:016x}")
}

fn data_bytes(data: &Value) -> Result<Bytes, Fault> {
    serde_json::to_vec(data).map(Bytes::from).map_err(|e| Fault::internal(format!("encode a secret: {e}")))
}

#[cfg(test)]
mod model_tests;
#[cfg(test)]
mod tests;
