//! `sys/namespaces`: the tree of namespaces, seen from the one that the request is made in.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{MountClass, Namespace};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Pairs, Text};
use dewdrop_core::{Fault, secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ListFields, Sys, namespace_of};
use crate::ids;
use crate::vault::{Vault, furnish};

#[derive(Deserialize, JsonSchema)]
struct NamespaceFields {
    /// Free words.
    #[serde(default)]
    custom_metadata: Pairs,
}

/// A merge patch: null removes a word.
#[derive(Deserialize, JsonSchema)]
struct NamespacePatch {
    #[serde(default)]
    custom_metadata: Map<String, Value>,
}

#[derive(Deserialize, JsonSchema)]
struct UnlockFields {
    /// What locking answered; not needed with `sudo`.
    #[serde(default)]
    unlock_key: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("namespaces", "The namespaces below this one.", |r| {
            r.list("Lists namespaces", Sys::list_namespaces)
                .on(dewdrop_core::Operation::Scan, "Lists namespaces", Sys::list_namespaces)
        })
        .at("namespaces/api-lock/lock", "Locks this namespace and all below.", |r| r.write("Locks", Sys::lock_namespace))
        .at("namespaces/api-lock/lock/{path*}", "Locks a namespace and all below.", |r| r.write("Locks", Sys::lock_namespace))
        .at("namespaces/api-lock/unlock", "Unlocks this namespace.", |r| r.write("Unlocks", Sys::unlock_namespace))
        .at("namespaces/api-lock/unlock/{path*}", "Unlocks a namespace.", |r| r.write("Unlocks", Sys::unlock_namespace))
        .at("namespaces/{path*}", "A namespace.", |r| {
            r.read("Shows a namespace", Sys::read_namespace)
                .write("Makes a namespace, or replaces its words", Sys::write_namespace)
                .on(dewdrop_core::Operation::Patch, "Changes the words of a namespace", Sys::patch_namespace)
                .delete("Removes a namespace with all that is in it", Sys::delete_namespace)
        })
}

impl Sys {
    async fn list_namespaces(self: Arc<Self>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
        let here = namespace_of(&call);
        let all = call.operation == dewdrop_core::Operation::Scan;
        let found: BTreeMap<String, Value> = self
            .vault()?
            .namespaces
            .below(&here.path)
            .iter()
            .filter_map(|ns| {
                let name = ns.path.strip_prefix(&here.path).filter(|name| !name.is_empty())?;
                (all || name.matches('/').count() == 1).then(|| (name.to_owned(), show(ns)))
            })
            .collect();
        let keys = fields.cut(found.keys().cloned());
        if keys.is_empty() {
            return Err(Fault::not_found());
        }
        let info: Map<String, Value> = keys.iter().filter_map(|key| Some((key.clone(), found.get(key)?.clone()))).collect();
        Reply::of(&json!({ "keys": keys, "key_info": info }))
    }

    async fn read_namespace(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = self.vault()?.namespaces.at(&below(&call)).ok_or_else(Fault::not_found)?;
        Reply::of(&show(&found))
    }

    async fn write_namespace(self: Arc<Self>, call: Call, fields: NamespaceFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let path = below(&call);
        let mut namespace = match vault.namespaces.at(&path) {
            Some(found) => Namespace::clone(&found),
            None => new_namespace(&vault, &call, &path)?,
        };
        namespace.custom_metadata = fields.custom_metadata.0;
        let written = vault.namespaces.put(namespace).await?;
        furnish(&vault, written.clone()).await?;
        Reply::of(&show(&written))
    }

    async fn patch_namespace(self: Arc<Self>, call: Call, fields: NamespacePatch) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let found = vault.namespaces.at(&below(&call)).ok_or_else(|| Fault::bad_request("namespace not found"))?;
        let mut namespace = Namespace::clone(&found);
        for (name, value) in fields.custom_metadata {
            match value {
                Value::Null => drop(namespace.custom_metadata.remove(&name)),
                Value::String(text) => drop(namespace.custom_metadata.insert(name, text)),
                _ => return Err(Fault::bad_request(format!("custom_metadata: {name:?} must be text or null"))),
            }
        }
        Reply::of(&show(&*vault.namespaces.put(namespace).await?))
    }

    async fn delete_namespace(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let path = below(&call);
        let Some(namespace) = vault.namespaces.at(&path) else {
            return Ok(Reply::nothing().warn("requested namespace does not exist"));
        };
        if vault.namespaces.below(&path).len() > 1 {
            return Err(Fault::bad_request("unable to delete namespace containing child namespaces"));
        }
        tokio::spawn(async move {
            if let Err(fault) = clear(&vault, &namespace).await {
                tracing::error!(namespace = namespace.path, told = %fault.told, known = %fault.known, "the namespace was not removed; delete it again");
            }
        });
        Reply::of(&json!({ "status": "in-progress" }))
    }

    async fn lock_namespace(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let path = below(&call);
        let found = vault.namespaces.at(&path).filter(|ns| !ns.is_root());
        let mut namespace = Namespace::clone(&*found.ok_or_else(|| Fault::bad_request("namespace not found or not lockable: the root namespace cannot be locked"))?);
        if namespace.locked {
            return Err(Fault::bad_request(format!("cannot lock namespace {path:?}: it is locked already")));
        }
        let key = ids::base62(24)?;
        vault.store.commit(Batch::new().put(unlock_key_at(&namespace), key.clone())).await?;
        namespace.locked = true;
        vault.namespaces.put(namespace).await?;
        Reply::of(&json!({ "unlock_key": key }))
    }

    async fn unlock_namespace(self: Arc<Self>, call: Call, fields: UnlockFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let path = below(&call);
        let mut namespace = Namespace::clone(&*vault.namespaces.at(&path).ok_or_else(|| Fault::bad_request("namespace not found"))?);
        if !namespace.locked {
            return Err(Fault::bad_request(format!("namespace {path:?} is not locked")));
        }
        let kept = vault.store.get(&unlock_key_at(&namespace)).await?;
        let right = kept.is_some_and(|entry| secret::same_bytes(&entry.value, fields.unlock_key.0.as_bytes()));
        let by_sudo = call.permit.has_sudo();
        if !right && !by_sudo {
            return Err(Fault::bad_request("incorrect unlock key"));
        }
        namespace.locked = false;
        vault.store.commit(Batch::new().delete(unlock_key_at(&namespace))).await?;
        vault.namespaces.put(namespace).await?;
        let reply = Reply::nothing();
        Ok(if right { reply } else { reply.warn("Namespace unlocked using sudo capabilities") })
    }
}

/// The full path that a call names.
fn below(call: &Call) -> String {
    let here = &namespace_of(call).path;
    match call.capture("path").trim_matches('/') {
        "" => here.clone(),
        path => format!("{here}{path}/"),
    }
}

fn show(namespace: &Namespace) -> Value {
    json!({
        "id": namespace.id,
        "uuid": namespace.uuid,
        "path": namespace.path,
        "locked": namespace.locked,
        "tainted": false,
        "custom_metadata": namespace.custom_metadata,
    })
}

fn new_namespace(vault: &Vault, call: &Call, path: &str) -> Result<Namespace, Fault> {
    let name = call.capture("path").trim_matches('/');
    if name.contains('/') {
        return Err(Fault::bad_request("namespace name cannot contain /"));
    }
    if ["root", "sys", "audit", "auth", "cubbyhole", "identity", "."].contains(&name) {
        return Err(Fault::bad_request(format!("\"{name}/\" is a reserved path and cannot be used as a namespace name")));
    }
    if name.contains(char::is_whitespace) {
        return Err(Fault::bad_request(format!("{name:?} contains space characters that cannot be used in a namespace name")));
    }
    if let Err(fault) = vault.mounts.check_free(namespace_of(call), &format!("{name}/")) {
        let mount = fault.told.rsplit(' ').next().unwrap_or_default();
        return Err(Fault::bad_request(format!("new namespace conflicts with existing mount: {mount}")));
    }
    Ok(Namespace {
        id: ids::base62(6)?,
        uuid: ids::uuid()?,
        path: path.to_owned(),
        custom_metadata: BTreeMap::new(),
        locked: false,
    })
}

fn unlock_key_at(namespace: &Namespace) -> Vec<u8> {
    format!("ns-lock/{}", namespace.uuid).into_bytes()
}

/// Removes all that is in a namespace, then the namespace: credentials first, so that none is left at a target.
async fn clear(vault: &Vault, namespace: &Arc<Namespace>) -> Result<(), Fault> {
    let mounts = vault.mounts.of(namespace);
    let auth_last = |class: MountClass| class == MountClass::Auth;
    for auth in [false, true] {
        for mounted in mounts.iter().filter(|m| auth_last(m.mount.class) == auth && !super::mount_view::is_builtin(&m.mount)) {
            crate::mounts::unmount(vault, mounted).await?;
        }
    }
    let tokens = crate::leases::index::token_lease(&namespace.id, "");
    for row in dewdrop_core::store::scan_all(&*vault.store, &tokens, 500).await? {
        let id = String::from_utf8_lossy(&row.key).into_owned();
        if let Some((_, accessor)) = id.rsplit_once("/h") {
            crate::tokens::end_token(vault, accessor, false).await?;
        }
    }
    for mounted in vault.mounts.of(namespace) {
        vault.mounts.remove(&mounted.mount).await?;
    }
    vault.policies.remove_all(namespace).await?;
    vault.namespaces.remove(namespace).await
}
