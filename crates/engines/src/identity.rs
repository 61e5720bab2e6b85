//! Identity: who callers are, beyond the token of the moment. An entity is a person or machine; its aliases say who it is to
//! each auth method; groups give their policies to their members, and to the members of their member groups.
//!
//! Records ([`model`]) lie by id. Rows beside them find an id by name, alias or membership ([`keys`]), and are written in the
//! same commit, which expects what it read unchanged: any number of servers may write at a time.

mod alias;
mod entity;
mod group;
mod group_alias;
mod keys;
mod login;
mod lookup;
mod members;
mod merge;
pub(crate) mod mfa;
mod model;
mod mounts;
mod view;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use dewdrop_core::engine::{Browsers, Engine, House, Place};
use dewdrop_core::route::Routes;
use dewdrop_core::store::{Batch, Change, Revision, SharedStore, decode, get_json, scan_all};
use dewdrop_core::{Clock, Fault};
use quick_cache::sync::Cache;
use serde::de::DeserializeOwned;
use tokio::sync::Mutex;

use crate::shared::cas::{Queues, commits};
pub use login::LoginIdentity;
pub use mfa::{MfaAsked, MfaChallenge, MfaDemand, MfaKind, MfaMethod, MfaNeed, MfaRefusal};
pub use view::{AliasView, EntityView, GroupView};

const PAGE: usize = 256;
const CACHED_VIEWS: usize = 20_000;

/// The engine: the identities of one namespace.
pub struct Identities {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    house: Arc<dyn House>,
    browsers: Option<Arc<dyn Browsers>>,
    /// Id of the namespace.
    namespace: String,
    /// One write by the API at a time in this process; other processes are met by trying again.
    writer: Mutex<()>,
    logins: Queues,
    views: Cache<String, Arc<EntityView>>,
    rules: mfa::Rules,
    registrations: mfa::Registrations,
    /// Counts the changes, so that a slow reader puts nothing old into the cache.
    generation: AtomicU64,
}

#[async_trait]
impl Engine for Identities {
    fn routes() -> Routes<Self> {
        let about =
            "Knows who callers are: entities with an alias at each auth method, and groups that give policies to them.";
        let routes = entity::routes(Routes::new(about)).and(alias::routes());
        routes.and(group::routes()).and(group_alias::routes()).and(lookup::routes()).and(mfa::routes())
    }

    fn forget_caches(&self) {
        self.forget_all();
    }
}

impl Identities {
    /// Opens the engine of a namespace, by its id.
    #[must_use]
    pub fn open(place: Place, namespace: &str) -> Arc<Self> {
        Self::with_browsers(place, namespace, None)
    }

    /// The same, with the page at which keys answer.
    #[must_use]
    pub fn with_browsers(place: Place, namespace: &str, browsers: Option<Arc<dyn Browsers>>) -> Arc<Self> {
        Arc::new(Self {
            store: place.store,
            clock: place.clock,
            house: place.house,
            browsers,
            namespace: namespace.to_owned(),
            writer: Mutex::new(()),
            logins: Queues::default(),
            views: Cache::new(CACHED_VIEWS),
            rules: mfa::Rules::default(),
            registrations: mfa::Registrations::default(),
            generation: AtomicU64::new(0),
        })
    }

    /// A record with its revision.
    async fn get<T: DeserializeOwned>(&self, key: &str) -> Result<Option<(T, Revision)>, Fault> {
        Ok(get_json(&*self.store, key.as_bytes()).await?)
    }

    /// The id that a row points to.
    async fn pointed(&self, key: &str) -> Result<Option<String>, Fault> {
        let entry = self.store.get(key.as_bytes()).await?;
        Ok(entry.map(|entry| String::from_utf8_lossy(&entry.value).into_owned()))
    }

    /// The revision of a row; zero when it is not there.
    async fn revision(&self, key: &str) -> Result<Revision, Fault> {
        Ok(self.store.get(key.as_bytes()).await?.map_or(0, |entry| entry.revision))
    }

    /// The ends of the keys below a prefix.
    async fn ends_below(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let rows = scan_all(&*self.store, prefix.as_bytes(), PAGE).await?;
        let end = |key: &[u8]| String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned();
        Ok(rows.iter().map(|row| end(&row.key)).collect())
    }

    /// All records below a prefix.
    async fn records<T: DeserializeOwned>(&self, prefix: &str) -> Result<Vec<T>, Fault> {
        let rows = scan_all(&*self.store, prefix.as_bytes(), PAGE).await?;
        Ok(rows.iter().map(|row| decode(&row.key, &row.entry)).collect::<Result<_, _>>()?)
    }

    /// Commits and forgets the views of some entities, in an order that leaves nothing old in the cache. `false`: a
    /// precondition did not hold.
    async fn commit(&self, batch: Batch, entities: &[&str]) -> Result<bool, Fault> {
        let done = commits(&*self.store, last_wins(batch)).await;
        self.generation.fetch_add(1, Ordering::SeqCst);
        for id in entities {
            self.views.remove(*id);
        }
        done
    }

    /// The same for a change of a group, which any entity may feel.
    async fn commit_group(&self, batch: Batch) -> Result<bool, Fault> {
        let done = commits(&*self.store, last_wins(batch)).await;
        self.forget_all();
        done
    }

    /// How many entities there are.
    ///
    /// # Errors
    /// The store's.
    pub async fn count_entities(&self) -> Result<usize, Fault> {
        Ok(self.ends_below(&keys::entity("")).await?.len())
    }

    fn forget_all(&self) {
        self.generation.fetch_add(1, Ordering::SeqCst);
        self.views.clear();
        self.rules.forget();
    }
}

/// Keeps only the last of several changes of a key: an etcd transaction may change a key once.
fn last_wins(mut batch: Batch) -> Batch {
    let mut seen = HashSet::new();
    let mut changes = std::mem::take(&mut batch.changes);
    changes.reverse();
    changes.retain(|change| match change {
        Change::Put(key, _) | Change::Delete(key) => seen.insert(key.clone()),
        Change::DeletePrefix(_) => true,
    });
    changes.reverse();
    batch.changes = changes;
    batch
}

#[cfg(test)]
mod login_tests;
#[cfg(test)]
mod tests;
