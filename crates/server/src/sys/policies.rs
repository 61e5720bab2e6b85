//! `sys/policies/acl` and its older form `sys/policy`; `sys/policies/explain`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::policy::Ask;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::token::TokenRecord;
use dewdrop_core::wire::{Flag, Int, Text};
use dewdrop_core::{Fault, Operation};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ListFields, Sys, namespace_of};
use crate::vault::{PolicyRecord, Vault};

#[derive(Deserialize, JsonSchema)]
struct PolicyFields {
    /// The rules, in HCL or JSON; base64 of them is read as well.
    #[serde(default)]
    policy: Text,
    /// The old name of `policy`.
    #[serde(default)]
    rules: Text,
    /// The version that must be replaced; -1 or unset: any.
    cas: Option<Int>,
    /// Later writes must say `cas`.
    #[serde(default)]
    cas_required: Flag,
    /// Not built.
    #[serde(default)]
    ttl: Text,
    /// Not built.
    #[serde(default)]
    expiration: Text,
}

/// A question about a right.
#[derive(Deserialize, JsonSchema)]
struct ExplainFields {
    /// The path, as in a policy.
    #[serde(default)]
    path: Text,
    /// The verb: `read`, `create`, `update`, `delete`, `list`, `scan` or `patch`.
    #[serde(default)]
    operation: Text,
    /// Whose right; the caller's when neither this nor `accessor` is given.
    #[serde(default)]
    token: Text,
    /// Whose right, by accessor.
    #[serde(default)]
    accessor: Text,
    /// The fields that the request would have.
    #[serde(default)]
    parameters: Map<String, Value>,
}

pub(super) fn routes() -> Routes<Sys> {
    let acl = |pattern: [&'static str; 2], field: &'static str| {
        Routes::new("")
            .at(pattern[0], "The policies.", |r| {
                let r = r.list("Lists policies", move |s: Arc<Sys>, c, f: ListFields| s.list_policies(field, c, f));
                if field == "rules" { r.read("Lists policies", move |s: Arc<Sys>, c, f: ListFields| s.list_policies(field, c, f)) } else { r }
            })
            .at(pattern[1], "A policy.", |r| {
                r.read("Shows a policy", move |s: Arc<Sys>, c, f: NoFields| s.read_policy(field, c, f))
                    .write("Writes a policy", |s: Arc<Sys>, c, f: PolicyFields| s.write_policy(c, f))
                    .delete("Removes a policy", |s: Arc<Sys>, c, f: NoFields| s.delete_policy(c, f))
            })
    };
    Routes::new("")
        .at("policies/explain", "Which rule decides about a path, and which would allow it.", |r| {
            r.sudo().write("Explains a right", Sys::explain)
        })
        .and(acl(["policies/acl", "policies/acl/{name*}"], "policy"))
        .and(acl(["policy", "policy/{name*}"], "rules"))
}

impl Sys {
    async fn list_policies(self: Arc<Self>, field: &'static str, call: Call, fields: ListFields) -> Result<Reply, Fault> {
        let namespace = namespace_of(&call);
        let mut names = self.vault()?.policies.names(namespace);
        names.retain(|name| name != "response-wrapping");
        if namespace.is_root() {
            names.push("root".into());
        }
        names.sort();
        let keys = fields.cut(names);
        match field {
            "rules" => Reply::of(&json!({ "keys": keys, "policies": keys })),
            _ => Reply::of(&json!({ "keys": keys })),
        }
    }

    async fn read_policy(self: Arc<Self>, field: &'static str, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = call.capture("name").to_lowercase();
        if name == "root" && namespace_of(&call).is_root() {
            let mut data = json!({
                "name": name, "version": 0, "cas_required": false,
                "allow_slashes_in_identity_templates": false, "allow_wildcards_in_identity_templates": false,
            });
            data[field] = "".into();
            return Reply::of(&data);
        }
        let record = self.vault()?.policies.get(namespace_of(&call), &name).ok_or_else(Fault::not_found)?;
        let mut data = json!({
            "name": record.name,
            "version": record.version,
            "modified": record.modified.rfc3339(),
            "cas_required": record.cas_required,
            "allow_slashes_in_identity_templates": false,
            "allow_wildcards_in_identity_templates": false,
        });
        data[field] = record.text.into();
        Reply::of(&data)
    }

    async fn write_policy(self: Arc<Self>, call: Call, fields: PolicyFields) -> Result<Reply, Fault> {
        let name = call.capture("name").to_lowercase();
        if name == "root" || name == "response-wrapping" {
            return Err(Fault::bad_request(format!("cannot update {name:?} policy")));
        }
        if !fields.ttl.0.is_empty() || !fields.expiration.0.is_empty() {
            return Err(Fault::not_built("policies that expire are not built; leave ttl and expiration out"));
        }
        let given = if fields.policy.0.is_empty() { fields.rules.0 } else { fields.policy.0 };
        if given.trim().is_empty() {
            return Err(Fault::bad_request("'policy' parameter not supplied or empty"));
        }
        let text = decoded(&given).unwrap_or(given);
        let vault = self.vault()?;
        let namespace = namespace_of(&call);
        let cas = fields.cas.and_then(|cas| u64::try_from(cas.0).ok());
        let must_say = vault.policies.get(namespace, &name).is_some_and(|old| old.cas_required);
        if must_say && cas.is_none() {
            return Err(Fault::bad_request("check-and-set parameter required for this call"));
        }
        let record = PolicyRecord {
            namespace: namespace.id.clone(),
            name,
            text,
            version: 0,
            modified: call.now,
            cas_required: fields.cas_required.0,
        };
        vault.policies.put(namespace, record, cas).await?;
        Ok(Reply::nothing())
    }

    async fn delete_policy(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = call.capture("name").to_lowercase();
        match name.as_str() {
            "default" => return Err(Fault::bad_request("cannot delete default policy")),
            "root" | "response-wrapping" => return Err(Fault::bad_request(format!("cannot delete {name:?} policy"))),
            _ => {}
        }
        self.vault()?.policies.remove(namespace_of(&call), &name).await?;
        Ok(Reply::nothing())
    }

    async fn explain(self: Arc<Self>, call: Call, fields: ExplainFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        if fields.path.0.is_empty() {
            return Err(Fault::bad_request("path must be given: namespace, mount and path in one, as in a policy"));
        }
        let record = subject(&vault, &call, &fields).await?;
        let operation = operation(&fields.operation.0)?;
        let path = format!("{}{}", namespace_of(&call).path, fields.path.0.trim_start_matches('/'));
        let rights = crate::pipeline::rights_of(&vault, &record).await?;
        let needs_sudo = route_needs_sudo(&vault, &path, operation);
        let ask = Ask { parameters: Some(&fields.parameters), needs_sudo, ..Ask::new(operation, &path, call.now) };
        let explanation = rights.set.explain(&ask);
        let mut data = BTreeMap::new();
        data.insert("principal", json!({
            "accessor": record.accessor, "display_name": record.display_name,
            "entity_id": record.entity_id, "policies": record.policies,
        }));
        data.insert("path", path.clone().into());
        data.insert("operation", operation.name().into());
        data.insert("explanation", serde_json::to_value(&explanation).map_err(|e| Fault::internal(e.to_string()))?);
        Reply::of(&data)
    }
}

async fn subject(vault: &Vault, call: &Call, fields: &ExplainFields) -> Result<Arc<TokenRecord>, Fault> {
    let found = match (fields.token.0.as_str(), fields.accessor.0.as_str()) {
        ("", "") => return call.caller.token.clone().ok_or_else(|| Fault::denied("no token")),
        ("", accessor) => vault.tokens.by_accessor(accessor).await?,
        (token, _) => vault.tokens.find(token, call.now).await?,
    };
    found.map(|live| live.record.clone()).ok_or_else(|| Fault::bad_request("no such token or accessor"))
}

fn operation(name: &str) -> Result<Operation, Fault> {
    serde_json::from_value(Value::String(if name.is_empty() { "read".into() } else { name.to_lowercase() })).map_err(|_| {
        Fault::bad_request(format!("{name:?} is no operation: use create, read, update, delete, list, scan or patch"))
    })
}

fn route_needs_sudo(vault: &Vault, path: &str, operation: Operation) -> bool {
    let Some((mounted, below)) = vault.mounts.find(path) else { return false };
    mounted.room.find(below.trim_end_matches('/'), operation).is_some_and(|spot| spot.needs_sudo)
}

/// Old clients send the text in base64.
fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()
}
