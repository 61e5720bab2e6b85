//! Namespaces: the tree itself. Mounts and policies of one are made and removed by `sys/namespaces`.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use dewdrop_core::Fault;
use dewdrop_core::mount::Namespace;
use dewdrop_core::store::{Batch, SharedStore, decode, scan_all};

const PREFIX: &[u8] = b"ns/";

/// All namespaces, by path. Readers see whole snapshots.
pub struct Namespaces {
    store: SharedStore,
    by_path: ArcSwap<BTreeMap<String, Arc<Namespace>>>,
}

impl Namespaces {
    /// Reads them from the store.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: SharedStore) -> Result<Self, Fault> {
        let namespaces = Self { store, by_path: ArcSwap::default() };
        namespaces.reload().await?;
        Ok(namespaces)
    }

    /// Reads them anew: another server of the cluster wrote.
    ///
    /// # Errors
    /// The store's.
    pub async fn reload(&self) -> Result<(), Fault> {
        let mut by_path = BTreeMap::from([(String::new(), Arc::new(Namespace::root()))]);
        for row in scan_all(&*self.store, PREFIX, 500).await? {
            let namespace: Namespace = decode(&row.key, &row.entry)?;
            by_path.insert(namespace.path.clone(), Arc::new(namespace));
        }
        self.by_path.store(Arc::new(by_path));
        Ok(())
    }

    /// The namespace of a path such as `team/sub/` (empty: the root).
    #[must_use]
    pub fn at(&self, path: &str) -> Option<Arc<Namespace>> {
        self.by_path.load().get(path).cloned()
    }

    /// The namespace with an id.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<Arc<Namespace>> {
        self.by_path.load().values().find(|namespace| namespace.id == id).cloned()
    }

    /// The deepest namespace that a full path lies in, and the rest of the path.
    #[must_use]
    pub fn split<'p>(&self, path: &'p str) -> (Arc<Namespace>, &'p str) {
        let all = self.by_path.load();
        if all.len() > 1 {
            for (slash, _) in path.rmatch_indices('/') {
                let (head, rest) = path.split_at(slash + 1);
                if let Some(namespace) = all.get(head) {
                    return (namespace.clone(), rest);
                }
            }
        }
        (all.get("").cloned().unwrap_or_else(|| Arc::new(Namespace::root())), path)
    }

    /// The namespace at or above a path that is locked, when there is one.
    #[must_use]
    pub fn locked_above(&self, path: &str) -> Option<String> {
        let all = self.by_path.load();
        if all.len() == 1 {
            return None;
        }
        all.values().find(|namespace| namespace.locked && path.starts_with(&namespace.path)).map(|n| n.path.clone())
    }

    /// All of them at or below a path, parents first.
    #[must_use]
    pub fn below(&self, path: &str) -> Vec<Arc<Namespace>> {
        self.by_path
            .load()
            .iter()
            .filter(|(at, _)| at.starts_with(path))
            .map(|(_, namespace)| namespace.clone())
            .collect()
    }

    /// Writes one, new or changed.
    ///
    /// # Errors
    /// The store's.
    pub async fn put(&self, namespace: Namespace) -> Result<Arc<Namespace>, Fault> {
        let batch = Batch::new().put_json(key(&namespace.uuid), &namespace)?;
        self.store.commit(batch).await?;
        let namespace = Arc::new(namespace);
        self.change(|all| all.insert(namespace.path.clone(), namespace.clone()));
        Ok(namespace)
    }

    /// Forgets one. What lies in it must be gone before.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, namespace: &Namespace) -> Result<(), Fault> {
        self.store.commit(Batch::new().delete(key(&namespace.uuid))).await?;
        self.change(|all| all.remove(&namespace.path));
        Ok(())
    }

    fn change<R>(&self, mut edit: impl FnMut(&mut BTreeMap<String, Arc<Namespace>>) -> R) {
        self.by_path.rcu(|all| {
            let mut all = BTreeMap::clone(all);
            edit(&mut all);
            all
        });
    }
}

fn key(uuid: &str) -> Vec<u8> {
    [PREFIX, uuid.as_bytes()].concat()
}
