//! Opening the vault: what is stored is loaded; what a new server needs is made.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use dewdrop_core::mount::{Limits, MountClass, Namespace, Tune};
use dewdrop_core::store::{Batch, SharedStore, Store};
use dewdrop_core::{Clock, Fault, Secret};

use super::lockouts::Lockouts;
use super::policies::DEFAULT_POLICY;
use super::quotas::Quotas;
use super::{Namespaces, PolicyBook, PolicyRecord, Vault};
use crate::audit::Audit;
use crate::ids;
use crate::leases::{self, Leases};
use crate::mfa::Waiting;
use crate::mounts::{Mounts, NewMount};
use crate::server::Server;
use crate::tokens::Tokens;

const WRAPPING_POLICY: &str = r#"
path "cubbyhole/response" {
    capabilities = ["create", "read"]
}

path "sys/wrapping/unwrap" {
    capabilities = ["update"]
}

path "auth/token/revoke-self" {
    capabilities = ["update"]
}
"#;

/// What a vault is opened with.
pub struct Opening {
    /// The whole store, behind the open barrier.
    pub store: SharedStore,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// For leases.
    pub limits: Limits,
    /// Where acts are written down.
    pub audit: Arc<Audit>,
    /// The program.
    pub server: Weak<Server>,
    /// Started with `-dev`.
    pub dev: bool,
}

impl Opening {
    /// Loads everything, makes what is missing and starts the background work.
    ///
    /// # Errors
    /// The store's; a record that does not load is named.
    pub async fn open(self) -> Result<Arc<Vault>, Fault> {
        let store = self.store;
        let namespaces = Namespaces::load(store.clone()).await?;
        let policies = PolicyBook::load(store.clone(), |id| namespaces.by_id(id).map(|ns| ns.path.clone())).await?;
        let accessor_key = key(&*store, b"core/accessor-key").await?;
        let batch_key = key(&*store, b"core/batch-key").await?;
        self.audit.unlock(&key(&*store, b"core/audit-key").await?);
        crate::audit::settings::load(&self.audit, &*store).await?;
        let tokens = Tokens::new(store.clone(), &accessor_key, &batch_key)?;
        let leases = Leases::new(store.clone(), self.clock.clone());
        let quotas = Quotas::load(store.clone(), leases.counts.clone()).await?;
        let lockouts = self.server.upgrade().map(|server| server.settings.lockouts.clone()).unwrap_or_default();
        let lockouts = Lockouts::load(store.clone(), lockouts, self.clock.now()).await?;
        let vault = Arc::new_cyclic(|me| Vault {
            mounts: Mounts::new(store.clone(), me.clone()),
            leases,
            store,
            clock: self.clock,
            limits: self.limits,
            namespaces,
            policies,
            tokens,
            quotas,
            lockouts,
            mfa: Waiting::default(),
            audit: self.audit,
            server: self.server,
            me: me.clone(),
        });
        vault.mounts.load(&vault).await?;
        furnish(&vault, Arc::new(Namespace::root())).await?;
        if self.dev {
            mount_dev_secret(&vault).await?;
        }
        tokio::spawn(leases::run(Arc::downgrade(&vault)));
        tokio::spawn(super::tick::run(Arc::downgrade(&vault)));
        Ok(vault)
    }
}

/// Makes the mounts and policies that every namespace has, where they are missing.
///
/// # Errors
/// The store's.
pub async fn furnish(vault: &Vault, namespace: Arc<Namespace>) -> Result<(), Fault> {
    let mounts = [
        (MountClass::Secret, "sys/", "system", "system endpoints used for control, policy and debugging"),
        (MountClass::Secret, "identity/", "identity", "identity store"),
        (MountClass::Secret, "cubbyhole/", "cubbyhole", "per-token private secret storage"),
        (MountClass::Auth, "auth/token/", "token", "token based credentials"),
    ];
    for (class, path, kind, description) in mounts {
        if vault.mounts.at(&format!("{}{path}", namespace.path)).is_none() {
            vault.mounts.add(vault, namespace.clone(), plain_mount(class, path, kind, description)).await?;
        }
    }
    for (name, text) in [("default", DEFAULT_POLICY), ("response-wrapping", WRAPPING_POLICY)] {
        if vault.policies.get(&namespace, name).is_none() {
            let record = PolicyRecord {
                namespace: namespace.id.clone(),
                name: name.into(),
                text: text.into(),
                version: 0,
                modified: vault.clock.now(),
                cas_required: false,
                expires: None,
            };
            vault.policies.put(&namespace, record, None).await?;
        }
    }
    Ok(())
}

async fn mount_dev_secret(vault: &Vault) -> Result<(), Fault> {
    if vault.mounts.at("secret/").is_some() {
        return Ok(());
    }
    let mut new = plain_mount(MountClass::Secret, "secret/", "kv", "key/value secret storage");
    new.options = BTreeMap::from([("version".to_owned(), "2".to_owned())]);
    vault.mounts.add(vault, Arc::new(Namespace::root()), new).await.map(drop)
}

fn plain_mount(class: MountClass, path: &str, kind: &str, description: &str) -> NewMount {
    let passed: &[&str] = match kind {
        "system" => &["Accept"],
        "identity" => &["Authorization"],
        _ => &[],
    };
    NewMount {
        class,
        path: path.into(),
        kind: kind.into(),
        description: description.into(),
        options: BTreeMap::new(),
        tune: Tune {
            passthrough_request_headers: passed.iter().map(|&name| name.to_owned()).collect(),
            ..Tune::default()
        },
        local: kind == "cubbyhole",
        seal_wrap: kind == "system",
    }
}

/// A key of 32 bytes that this store keeps for ever; made at the first opening.
async fn key(store: &dyn Store, at: &[u8]) -> Result<Secret<Vec<u8>>, Fault> {
    loop {
        if let Some(entry) = store.get(at).await? {
            return Ok(Secret::new(entry.value.to_vec()));
        }
        let mut bytes = vec![0; 32];
        ids::fill(&mut bytes)?;
        match store.commit(Batch::new().expect(at, 0).put(at, bytes)).await {
            // Another server of the cluster was quicker: take its key.
            Ok(_) | Err(dewdrop_core::store::StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
