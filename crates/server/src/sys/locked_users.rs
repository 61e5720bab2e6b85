//! `sys/locked-users`: who is locked out after failed logins, in this namespace and those below; and unlocking.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{MountClass, Namespace};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Sys, namespace_of};
use crate::vault::Vault;

#[derive(Deserialize, JsonSchema)]
struct LockedFields {
    /// Only the users of this mount.
    #[serde(default)]
    mount_accessor: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("locked-users", "Who is locked out after failed logins.", |r| {
            r.read("Shows who is locked out", Sys::read_locked_users)
        })
        .at("locked-users/{mount_accessor}/unlock/{alias_identifier}", "A user of an auth mount.", |r| {
            r.write("Unlocks a user", Sys::unlock_user)
        })
}

impl Sys {
    async fn read_locked_users(self: Arc<Self>, call: Call, fields: LockedFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let here = namespace_of(&call);
        let accessor = fields.mount_accessor.0.as_str();
        let shown: Vec<(Value, usize)> = if accessor.is_empty() {
            vault.namespaces.below(&here.path).iter().map(|namespace| of_namespace(&vault, namespace, &call)).collect()
        } else {
            vec![of_mount(&vault, here, accessor, &call)]
        };
        let total: usize = shown.iter().map(|(_, count)| count).sum();
        let by_namespace: Vec<Value> = shown.into_iter().map(|(view, _)| view).collect();
        Reply::of(&json!({ "by_namespace": by_namespace, "total": total }))
    }

    async fn unlock_user(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let found = vault.mounts.by_accessor(call.capture("mount_accessor"));
        // A mount of another namespace is none of the caller's business; nothing to unlock is fine.
        if let Some(mounted) = found.filter(|mounted| mounted.mount.namespace.id == namespace_of(&call).id) {
            vault.lockouts.unlock(&mounted.mount.uuid, call.capture("alias_identifier")).await?;
        }
        Ok(Reply::nothing())
    }
}

fn of_namespace(vault: &Vault, namespace: &Namespace, call: &Call) -> (Value, usize) {
    let mut total = 0;
    let mut mounts = Vec::new();
    for mounted in vault.mounts.of(namespace) {
        let names = match mounted.mount.class {
            MountClass::Auth => vault.lockouts.locked_at(&mounted.mount.uuid, call.now),
            MountClass::Secret => Vec::new(),
        };
        if !names.is_empty() {
            total += names.len();
            mounts.push(
                json!({ "mount_accessor": mounted.mount.accessor, "counts": names.len(), "alias_identifiers": names }),
            );
        }
    }
    (view(namespace, total, mounts), total)
}

fn of_mount(vault: &Vault, namespace: &Namespace, accessor: &str, call: &Call) -> (Value, usize) {
    let found = vault.mounts.by_accessor(accessor).filter(|mounted| mounted.mount.namespace.id == namespace.id);
    let names = found.map(|mounted| vault.lockouts.locked_at(&mounted.mount.uuid, call.now)).unwrap_or_default();
    let count = names.len();
    let aliases = Some(names).filter(|names| !names.is_empty());
    let mount = json!({ "mount_accessor": accessor, "counts": count, "alias_identifiers": aliases });
    (view(namespace, count, vec![mount]), count)
}

fn view(namespace: &Namespace, count: usize, mounts: Vec<Value>) -> Value {
    json!({ "namespace_id": namespace.id, "namespace_path": namespace.path, "counts": count, "mount_accessors": mounts })
}
