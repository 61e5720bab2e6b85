//! Policies: their texts in the store, their compiled sets in memory. A set is compiled once for each different
//! combination of policies (and once for each entity where a policy is templated).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use dewdrop_core::mount::Namespace;
use dewdrop_core::policy::{IdentityValues, Policy, PolicyError, PolicySet};
use dewdrop_core::store::{Batch, SharedStore, decode, get_json, scan_all};
use dewdrop_core::{Fault, Moment};
use quick_cache::sync::Cache;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

const PREFIX: &[u8] = b"policy/";
/// What every token may do unless it is made without this policy.
pub const DEFAULT_POLICY: &str = include_str!("default_policy.hcl");

/// All policies of all namespaces.
pub struct PolicyBook {
    store: SharedStore,
    /// By namespace id and name.
    parsed: ArcSwap<BTreeMap<(String, String), Arc<Kept>>>,
    generation: AtomicU64,
    compiled: Cache<String, Compiled>,
    /// Held by whoever writes: the memory takes up writes in the order in which the store did.
    writing: Mutex<()>,
}

/// A compiled set, and the state of the policies that it was made from.
#[derive(Clone)]
pub struct Compiled {
    /// The set.
    pub set: Arc<PolicySet>,
    /// It is out of date when this is no longer [`PolicyBook::generation`].
    pub generation: u64,
}

/// A policy as it is kept.
#[derive(Clone, Serialize, Deserialize)]
pub struct PolicyRecord {
    /// Id of its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// As it was written.
    pub text: String,
    /// Grows with every write, from 1.
    #[serde(default)]
    pub version: u64,
    /// When it was written.
    #[serde(default)]
    pub modified: Moment,
    /// Whether a write must name the version that it replaces.
    #[serde(default)]
    pub cas_required: bool,
    /// From then on it grants nothing; soon after it is removed.
    #[serde(default)]
    pub expires: Option<Moment>,
}

impl PolicyRecord {
    /// Whether its end has come.
    #[must_use]
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Its rules, with its own end on each.
    fn parse(&self, namespace_path: &str) -> Result<Policy, PolicyError> {
        let policy = Policy::parse(&self.name, namespace_path, &self.text)?;
        Ok(match self.expires {
            Some(end) => policy.ending(end),
            None => policy,
        })
    }
}

/// A policy, parsed, with its record.
struct Kept {
    policy: Arc<Policy>,
    record: PolicyRecord,
}

impl PolicyBook {
    /// Reads all policies from the store.
    ///
    /// # Errors
    /// The store's; a policy that no longer parses (a defect) is named.
    pub async fn load(store: SharedStore, namespace_path: impl Fn(&str) -> Option<String>) -> Result<Self, Fault> {
        let mut parsed = BTreeMap::new();
        for row in scan_all(&*store, PREFIX, 500).await? {
            let record: PolicyRecord = decode(&row.key, &row.entry)?;
            let Some(path) = namespace_path(&record.namespace) else { continue };
            let policy =
                record.parse(&path).map_err(|e| Fault::internal(format!("stored policy {}: {e}", record.name)))?;
            let kept = Kept { policy: Arc::new(policy), record };
            parsed.insert((kept.record.namespace.clone(), kept.record.name.clone()), Arc::new(kept));
        }
        Ok(Self {
            store,
            parsed: ArcSwap::from_pointee(parsed),
            generation: AtomicU64::new(1),
            compiled: Cache::new(10_000),
            writing: Mutex::new(()),
        })
    }

    /// Changes with every write of any policy.
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Compiled sets made before now are out of date: a policy or an identity was changed.
    pub fn invalidate(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
    }

    /// One policy.
    #[must_use]
    pub fn get(&self, namespace: &Namespace, name: &str) -> Option<PolicyRecord> {
        self.parsed.load().get(&(namespace.id.clone(), name.to_owned())).map(|kept| kept.record.clone())
    }

    /// One policy, parsed.
    #[must_use]
    pub fn parsed(&self, namespace_id: &str, name: &str) -> Option<Arc<Policy>> {
        self.parsed.load().get(&(namespace_id.to_owned(), name.to_owned())).map(|kept| kept.policy.clone())
    }

    /// The policies of a namespace that have not expired, sorted by name.
    #[must_use]
    pub fn of(&self, namespace: &Namespace, now: Moment) -> Vec<PolicyRecord> {
        let all = self.parsed.load();
        let here = all.values().filter(|kept| kept.record.namespace == namespace.id && !kept.record.is_expired(now));
        here.map(|kept| kept.record.clone()).collect()
    }

    /// Writes one. `cas` is the version that it must replace (0: none).
    ///
    /// # Errors
    /// 400 for a text that does not parse, or a version that is not the one of now; the store's.
    pub async fn put(&self, namespace: &Namespace, mut record: PolicyRecord, cas: Option<u64>) -> Result<(), Fault> {
        let policy =
            record.parse(&namespace.path).map_err(|e| Fault::bad_request(format!("failed to parse policy: {e}")))?;
        let _writing = self.writing.lock().await;
        let key = key(namespace, &record.name);
        let before = get_json::<PolicyRecord>(&*self.store, &key).await?;
        let (version, revision) = before.map_or((0, 0), |(old, revision)| (old.version, revision));
        if cas.is_some_and(|cas| cas != version) {
            return Err(Fault::bad_request(format!(
                "check-and-set parameter did not match the current version {version}"
            )));
        }
        record.version = version + 1;
        self.store.commit(Batch::new().expect(key.clone(), revision).put_json(key, &record)?).await?;
        let kept = Arc::new(Kept { policy: Arc::new(policy), record });
        self.change(|all| {
            all.insert((namespace.id.clone(), kept.record.name.clone()), kept.clone());
        });
        Ok(())
    }

    /// Removes one; already gone is fine.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, namespace: &Namespace, name: &str) -> Result<(), Fault> {
        let _writing = self.writing.lock().await;
        self.store.commit(Batch::new().delete(key(namespace, name))).await?;
        self.change(|all| {
            all.remove(&(namespace.id.clone(), name.to_owned()));
        });
        Ok(())
    }

    /// Removes the policies whose end has come. They grant nothing since that moment, removed or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn sweep(&self, now: Moment) -> Result<(), Fault> {
        let expired = |kept: &Kept| kept.record.is_expired(now);
        let found: Vec<(String, String)> =
            self.parsed.load().iter().filter(|(_, kept)| expired(kept)).map(|(name, _)| name.clone()).collect();
        if found.is_empty() {
            return Ok(());
        }
        let _writing = self.writing.lock().await;
        for (namespace, name) in found {
            let known = (namespace, name);
            // It may have been written anew while this waited for its turn.
            if self.parsed.load().get(&known).is_some_and(|kept| expired(kept)) {
                let key = [PREFIX, known.0.as_bytes(), b"/", known.1.as_bytes()].concat();
                self.store.commit(Batch::new().delete(key)).await?;
                self.change(|all| {
                    all.remove(&known);
                });
            }
        }
        Ok(())
    }

    /// Removes all of a namespace.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_all(&self, namespace: &Namespace) -> Result<(), Fault> {
        let _writing = self.writing.lock().await;
        self.store.commit(Batch::new().delete_prefix(key(namespace, ""))).await?;
        self.change(|all| all.retain(|(ns, _), _| *ns != namespace.id));
        Ok(())
    }

    /// The compiled set of policies, each named with the id of its namespace. Unknown names grant nothing.
    /// `identity` (with the entity's id as cache key) fills in templates.
    #[must_use]
    pub fn compile(&self, names: &[(String, String)], identity: Option<(&str, &IdentityValues)>) -> Compiled {
        let generation = self.generation();
        let all = self.parsed.load();
        let policies: Vec<Arc<Policy>> =
            names.iter().filter_map(|name| all.get(name).map(|kept| kept.policy.clone())).collect();
        let identity = identity.filter(|_| policies.iter().any(|policy| policy.is_templated()));
        let key = cache_key(names, identity.map(|(entity, _)| entity));
        if let Some(found) = self.compiled.get(&key).filter(|found| found.generation == generation) {
            return found;
        }
        let set = PolicySet::compile(&policies, identity.map(|(_, values)| values));
        let compiled = Compiled { set: Arc::new(set), generation };
        self.compiled.insert(key, compiled.clone());
        compiled
    }

    fn change(&self, mut edit: impl FnMut(&mut BTreeMap<(String, String), Arc<Kept>>)) {
        self.parsed.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            edit(&mut all);
            all
        });
        self.invalidate();
    }
}

fn key(namespace: &Namespace, name: &str) -> Vec<u8> {
    [PREFIX, namespace.id.as_bytes(), b"/", name.as_bytes()].concat()
}

fn cache_key(names: &[(String, String)], entity: Option<&str>) -> String {
    let mut key = entity.unwrap_or_default().to_owned();
    for (namespace, name) in names {
        key.push('\n');
        key.push_str(namespace);
        key.push('/');
        key.push_str(name);
    }
    key
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dewdrop_core::Operation;
    use dewdrop_core::policy::Ask;
    use dewdrop_store::Memory;

    use super::*;

    const NOW: Moment = Moment(1_800_000_000_000);
    const TEXT: &str = r#"path "a" { capabilities = ["read"] }"#;

    async fn book(store: &SharedStore) -> PolicyBook {
        PolicyBook::load(store.clone(), |id| (id == "root").then(String::new)).await.unwrap()
    }

    fn record(name: &str, expires: Option<Moment>) -> PolicyRecord {
        PolicyRecord {
            namespace: "root".into(),
            name: name.into(),
            text: TEXT.into(),
            version: 0,
            modified: NOW,
            cas_required: false,
            expires,
        }
    }

    fn may_read(book: &PolicyBook, name: &str, now: Moment) -> bool {
        let compiled = book.compile(&[("root".into(), name.into())], None);
        compiled.set.permit(&Ask::new(Operation::Read, "a", now)).is_ok()
    }

    #[tokio::test]
    async fn a_policy_grants_nothing_from_its_end_on() {
        let store: SharedStore = Arc::new(Memory::new());
        let (root, end) = (Namespace::root(), NOW.plus(Duration::from_secs(60)));
        let first = book(&store).await;
        first.put(&root, record("p", Some(end)), None).await.unwrap();
        // Compiled before the end, asked after it; and read anew from the store.
        for book in [&first, &book(&store).await] {
            assert!(may_read(book, "p", Moment(end.0 - 1)));
            assert!(!may_read(book, "p", end));
            assert_eq!(book.of(&root, Moment(end.0 - 1)).len(), 1);
            assert_eq!(book.of(&root, end).len(), 0);
        }
    }

    #[tokio::test]
    async fn expired_policies_are_removed_and_others_are_not() {
        let store: SharedStore = Arc::new(Memory::new());
        let (root, end) = (Namespace::root(), NOW.plus(Duration::from_secs(60)));
        let first = book(&store).await;
        for (name, expires) in
            [("gone", Some(end)), ("later", Some(end.plus(Duration::from_secs(1)))), ("always", None)]
        {
            first.put(&root, record(name, expires), None).await.unwrap();
        }
        first.sweep(end).await.unwrap();
        for book in [&first, &book(&store).await] {
            assert!(book.get(&root, "gone").is_none());
            assert!(book.get(&root, "later").is_some() && book.get(&root, "always").is_some());
        }
    }

    #[tokio::test]
    async fn a_write_must_name_the_version_that_it_replaces_when_it_names_one() {
        let store: SharedStore = Arc::new(Memory::new());
        let (root, book) = (Namespace::root(), book(&store).await);
        book.put(&root, record("p", None), Some(0)).await.unwrap();
        assert!(book.put(&root, record("p", None), Some(0)).await.is_err());
        book.put(&root, record("p", None), Some(1)).await.unwrap();
        assert_eq!(book.get(&root, "p").unwrap().version, 2);
    }
}
