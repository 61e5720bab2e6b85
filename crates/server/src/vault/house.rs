//! What the server offers to engines.

use std::sync::Weak;

use async_trait::async_trait;
use dewdrop_core::engine::{BrowserAsk, BrowserTicket, Browsers, House, KnownLease, MountBy, MountName, Person};
use dewdrop_core::mount::{Mount, MountClass};
use dewdrop_core::{Fault, Moment, Secret};

use super::{Vault, upgrade};
use crate::tokens::{self, AT_ONCE};

/// The server, as engines see it.
pub struct ServerHouse(pub Weak<Vault>);

#[async_trait]
impl House for ServerHouse {
    async fn password(&self, namespace: &str, policy: &str) -> Result<Secret<String>, Fault> {
        let vault = upgrade(&self.0)?;
        crate::sys::passwords::generate(&vault, namespace, policy).await
    }

    async fn leases_of(&self, mount_uuid: &str) -> Result<Vec<KnownLease>, Fault> {
        let leases = upgrade(&self.0)?.leases.of_mount(mount_uuid).await?;
        Ok(leases.into_iter().map(|lease| KnownLease { lease_id: lease.id, internal: lease.internal }).collect())
    }

    async fn policy_exists(&self, namespace: &str, name: &str) -> Result<bool, Fault> {
        let vault = upgrade(&self.0)?;
        let Some(namespace) = vault.namespaces.by_id(namespace) else { return Ok(false) };
        Ok(vault.policies.get(&namespace, name).is_some())
    }

    async fn mount_by(&self, namespace: &str, by: MountBy<'_>) -> Result<Option<MountName>, Fault> {
        let vault = upgrade(&self.0)?;
        let found = match by {
            MountBy::Accessor(accessor) => vault.mounts.by_accessor(accessor),
            MountBy::AuthKind(kind) => {
                let is_one = |mount: &Mount| mount.class == MountClass::Auth && mount.kind == kind;
                let all = vault.namespaces.by_id(namespace).map(|namespace| vault.mounts.of(&namespace));
                all.into_iter().flatten().find(|mounted| is_one(&mounted.mount))
            }
        };
        let here = found.filter(|mounted| mounted.mount.namespace.id == namespace);
        Ok(here.map(|mounted| MountName { path: mounted.mount.path.clone(), kind: mounted.mount.kind.clone() }))
    }

    async fn person(&self, namespace: &str, entity: &str) -> Result<Option<Person>, Fault> {
        let vault = upgrade(&self.0)?;
        let Some(namespace) = vault.namespaces.by_id(namespace) else { return Ok(None) };
        let view = vault.mounts.identities(&namespace)?.view(entity).await?.filter(|view| !view.disabled);
        Ok(view.map(|view| Person {
            id: view.id.clone(),
            name: view.name.clone(),
            groups: view.groups.iter().map(|group| (group.id.clone(), group.name.clone())).collect(),
        }))
    }

    async fn end_tokens(&self, accessors: &[String]) -> Result<(), Fault> {
        let vault = upgrade(&self.0)?;
        for some in accessors.chunks(AT_ONCE) {
            tokens::end_tokens(&vault, some, false).await?;
        }
        Ok(())
    }
}

impl Browsers for ServerHouse {
    fn show(&self, ask: BrowserAsk, now: Moment) -> Result<BrowserTicket, Fault> {
        upgrade(&self.0)?.mfa.desk.open(ask, now)
    }
}
