//! `sys/namespaces`: the tree of namespaces, seen from the one that the request is made in.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{MountClass, Namespace};
use dewdrop_core::route::{AnyFields, NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Operation, secret};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use super::{ListFields, Sys, namespace_of};
use crate::ids;
use crate::vault::{Vault, furnish};

#[derive(Deserialize, JsonSchema)]
struct NamespaceFields {
    /// Free words: names with texts.
    #[serde(default)]
    custom_metadata: Value,
}

/// A merge patch: null removes a word.
#[derive(Deserialize, JsonSchema)]
struct NamespacePatch {
    /// Names with texts; null in place of all of them removes all.
    #[serde(default, deserialize_with = "given")]
    custom_metadata: Option<Option<Map<String, Value>>>,
}

/// Tells null from nothing.
fn given<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Option<Map<String, Value>>>, D::Error> {
    Option::deserialize(input).map(Some)
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
            r.list("Lists namespaces", Sys::list_namespaces).on(
                Operation::Scan,
                "Lists namespaces",
                Sys::list_namespaces,
            )
        })
        .at("namespaces/api-lock/lock", "Locks this namespace and all below.", |r| {
            r.write("Locks", Sys::lock_namespace)
        })
        .at("namespaces/api-lock/lock/{path*}", "Locks a namespace and all below.", |r| {
            r.write("Locks", Sys::lock_namespace)
        })
        .at("namespaces/api-lock/unlock", "Unlocks this namespace.", |r| r.write("Unlocks", Sys::unlock_namespace))
        .at("namespaces/api-lock/unlock/{path*}", "Unlocks a namespace.", |r| r.write("Unlocks", Sys::unlock_namespace))
        .at("internal/ui/namespaces", "The namespaces that the caller can see.", |r| {
            r.public("shows only what the caller's own token reaches").read("Visible namespaces", Sys::ui_namespaces)
        })
        .at("namespaces/{path*}", "A namespace.", |r| {
            r.read("Shows a namespace", Sys::read_namespace)
                .write("Makes a namespace, or replaces its words", Sys::write_namespace)
                .on(Operation::Patch, "Changes the words of a namespace", Sys::patch_namespace)
                .delete("Removes a namespace with all that is in it", Sys::delete_namespace)
        })
}

impl Sys {
    async fn list_namespaces(self: Arc<Self>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
        let here = namespace_of(&call);
        let all = call.operation == Operation::Scan;
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
        let info: Map<String, Value> =
            keys.iter().filter_map(|key| Some((key.clone(), found.get(key)?.clone()))).collect();
        Reply::of(&json!({ "keys": keys, "key_info": info }))
    }

    /// The names alone, of those in which the caller has a right.
    async fn ui_namespaces(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let Some(record) = &call.caller.token else { return Err(Fault::denied("no token")) };
        let rights = crate::pipeline::rights_of(&vault, record).await?.set;
        let here = &namespace_of(&call).path;
        let names = vault.namespaces.below(here).into_iter().filter_map(|ns| {
            let name = ns.path.strip_prefix(here).filter(|name| name.matches('/').count() == 1)?;
            rights.sees_anything_under(&ns.path, call.now).then(|| name.to_owned())
        });
        let keys: Vec<String> = names.collect();
        if keys.is_empty() { Ok(Reply::data(Map::new())) } else { Reply::of(&json!({ "keys": keys })) }
    }

    async fn read_namespace(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        check_name(name_of(&call))?;
        let found = self.vault()?.namespaces.at(&below(&call)).ok_or_else(Fault::not_found)?;
        Reply::of(&show(&found))
    }

    async fn write_namespace(self: Arc<Self>, call: Call, fields: NamespaceFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        check_name(name_of(&call))?;
        let path = below(&call);
        let words = words(fields.custom_metadata)?;
        let mut namespace = match vault.namespaces.at(&path) {
            Some(found) => Namespace::clone(&found),
            None => new_namespace(&vault, &call, &path)?,
        };
        namespace.custom_metadata = words;
        let written = vault.namespaces.put(namespace).await?;
        furnish(&vault, written.clone()).await?;
        Reply::of(&show(&written))
    }

    async fn patch_namespace(self: Arc<Self>, call: Call, fields: NamespacePatch) -> Result<Reply, Fault> {
        check_name(name_of(&call))?;
        let vault = self.vault()?;
        let found = vault.namespaces.at(&below(&call)).ok_or_else(|| Fault::bad_request("namespace not found"))?;
        let mut namespace = Namespace::clone(&found);
        let words = &mut namespace.custom_metadata;
        match fields.custom_metadata {
            None => {}
            Some(None) => words.clear(),
            Some(Some(changes)) => {
                for (name, value) in changes {
                    match value {
                        Value::Null => drop(words.remove(&name)),
                        value => drop(words.insert(name, text(value)?)),
                    }
                }
            }
        }
        Reply::of(&show(&*vault.namespaces.put(namespace).await?))
    }

    async fn delete_namespace(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        check_name(name_of(&call))?;
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

    async fn not_here(self: Arc<Self>, _: Call, _: AnyFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        Err(Fault::missing("1 error occurred:\n\t* unsupported path\n\n"))
    }

    async fn lock_namespace(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let path = below(&call);
        let found = vault.namespaces.at(&path).filter(|ns| !ns.is_root());
        let mut namespace = Namespace::clone(&*found.ok_or_else(|| {
            Fault::bad_request("namespace not found or not lockable: the root namespace cannot be locked")
        })?);
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
        let mut namespace =
            Namespace::clone(&*vault.namespaces.at(&path).ok_or_else(|| Fault::bad_request("namespace not found"))?);
        if !namespace.locked {
            return Err(Fault::bad_request(format!("namespace {path:?} is not locked")));
        }
        // Whoever gives a key means it: a wrong one is refused even where `sudo` would do without.
        let by_sudo = fields.unlock_key.0.is_empty() && call.permit.has_sudo();
        if !by_sudo {
            let kept = vault.store.get(&unlock_key_at(&namespace)).await?;
            if !kept.is_some_and(|entry| secret::same_bytes(&entry.value, fields.unlock_key.0.as_bytes())) {
                return Err(Fault::bad_request("incorrect unlock key"));
            }
        }
        namespace.locked = false;
        vault.store.commit(Batch::new().delete(unlock_key_at(&namespace))).await?;
        vault.namespaces.put(namespace).await?;
        let reply = Reply::nothing();
        Ok(if by_sudo { reply.warn("Namespace unlocked using sudo capabilities") } else { reply })
    }
}

/// Paths that only the root namespace has. They stand behind all others: what is served is served before.
pub(super) fn root_only_routes() -> Routes<Sys> {
    const PATHS: [&str; 15] = [
        "init",
        "health",
        "key-status",
        "host-info",
        "metrics",
        "rotate",
        "seal",
        "step-down",
        "audit/{rest*}",
        "config/{rest*}",
        "raw/{rest*}",
        "rekey/{rest*}",
        "generate-root/{rest*}",
        "replication/{rest*}",
        "storage/{rest*}",
    ];
    let verbs = [Operation::Read, Operation::Update, Operation::Delete, Operation::List];
    PATHS.into_iter().fold(Routes::new(""), |routes, path| {
        routes.at(path, "Of the root namespace only.", |route| {
            verbs
                .into_iter()
                .fold(route, |route, verb| route.on(verb, "Says that only the root namespace has it", Sys::not_here))
        })
    })
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

fn name_of(call: &Call) -> &str {
    call.capture("path").trim_matches('/')
}

fn words(given: Value) -> Result<BTreeMap<String, String>, Fault> {
    match given {
        Value::Null => Ok(BTreeMap::new()),
        Value::Array(none) if none.is_empty() => Ok(BTreeMap::new()),
        Value::Object(words) => words.into_iter().map(|(name, value)| Ok((name, text(value)?))).collect(),
        _ => Err(Fault::bad_request("custom_metadata must be an object of texts")),
    }
}

fn text(value: Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Fault::bad_request("custom_metadata values must be strings")),
    }
}

/// What no namespace is called, whatever is to be done with it.
fn check_name(name: &str) -> Result<(), Fault> {
    let refused = |why: String| Err(Fault::bad_request(why));
    if name.contains('/') {
        return refused("namespace name cannot contain /".into());
    }
    if ["root", "sys", "audit", "auth", "cubbyhole", "identity", "."].contains(&name) {
        return refused(format!("\"{name}/\" is a reserved path and cannot be used as a namespace name"));
    }
    Ok(())
}

fn new_namespace(vault: &Vault, call: &Call, path: &str) -> Result<Namespace, Fault> {
    let name = name_of(call);
    let refused = |why: String| Err(Fault::bad_request(why));
    if name.contains(char::is_whitespace) {
        return refused(format!("{name:?} contains space characters that cannot be used in a namespace name"));
    }
    if name.contains(['*', '+']) {
        return refused(format!(
            "{name:?} contains wildcard characters that cannot be used in a namespace name: '*' and '+'"
        ));
    }
    if let Err(fault) = vault.mounts.check_free(vault, namespace_of(call), &format!("{name}/")) {
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
        for mounted in
            mounts.iter().filter(|m| auth_last(m.mount.class) == auth && !super::mount_view::is_builtin(&m.mount))
        {
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
