//! `sys/policies/acl` and its older form `sys/policy`; `sys/policies/explain`.

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::policy::Ask;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::token::TokenRecord;
use dewdrop_core::wire::{Flag, Int, Text, parse_ttl};
use dewdrop_core::{Fault, Moment, Operation};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{ListFields, Sys, lives_here, namespace_of};
use crate::vault::{PolicyRecord, Vault};

/// What tokens of wrapped answers may do: lists do not show it.
const HIDDEN: &str = "response-wrapping";

#[derive(Deserialize, JsonSchema)]
struct PolicyFields {
    /// The rules, in HCL or JSON; base64 of them is read as well.
    policy: Option<Text>,
    /// The old name of `policy`, at `sys/policy` only.
    rules: Option<Text>,
    /// The version that must be replaced; -1 or unset: any.
    cas: Option<Int>,
    /// Later writes must say `cas`.
    cas_required: Option<Flag>,
    /// How long the policy holds.
    ttl: Option<Text>,
    /// Until when it holds: RFC 3339, or seconds since 1970.
    expiration: Option<Text>,
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
                if field == "rules" {
                    r.read("Lists policies", move |s: Arc<Sys>, c, f: ListFields| s.list_policies(field, c, f))
                } else {
                    r
                }
            })
            .at(pattern[1], "A policy.", |r| {
                let r = r
                    .read("Shows a policy", move |s: Arc<Sys>, c, f: NoFields| s.read_policy(field, c, f))
                    .write("Writes a policy", move |s: Arc<Sys>, c, f: PolicyFields| s.write_policy(field, c, f))
                    .delete("Removes a policy", |s: Arc<Sys>, c, f: NoFields| s.delete_policy(c, f));
                if field == "rules" {
                    r
                } else {
                    r.on(Operation::Patch, "Changes what is given of a policy", Sys::patch_policy)
                }
            })
    };
    Routes::new("")
        .at("policies/explain", "Which rule decides about a path, and which would allow it.", |r| {
            r.sudo().write("Explains a right", Sys::explain)
        })
        .at("policies/detailed/acl", "The policies, each with its text.", |r| {
            r.list("Lists policies with their texts", Sys::list_detailed)
        })
        .and(acl(["policies/acl", "policies/acl/{name*}"], "policy"))
        .and(acl(["policy", "policy/{name*}"], "rules"))
}

impl Sys {
    async fn list_policies(
        self: Arc<Self>,
        field: &'static str,
        call: Call,
        fields: ListFields,
    ) -> Result<Reply, Fault> {
        let keys = fields.cut(self.policies_of(&call)?.into_keys());
        match field {
            "rules" => Reply::of(&json!({ "keys": keys, "policies": keys })),
            _ => Reply::of(&json!({ "keys": keys })),
        }
    }

    async fn list_detailed(self: Arc<Self>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
        let mut all = self.policies_of(&call)?;
        let keys = fields.cut(all.keys().cloned());
        all.retain(|name, _| keys.contains(name));
        Reply::of(&json!({ "keys": keys, "key_info": all }))
    }

    /// What lists show, each as it is read by itself.
    fn policies_of(&self, call: &Call) -> Result<BTreeMap<String, Value>, Fault> {
        let namespace = namespace_of(call);
        let mut all: BTreeMap<String, Value> = self
            .vault()?
            .policies
            .of(namespace, call.now)
            .iter()
            .filter(|record| record.name != HIDDEN)
            .map(|record| (record.name.clone(), show(record, "policy")))
            .collect();
        if namespace.is_root() {
            all.insert("root".into(), show_root("policy"));
        }
        Ok(all)
    }

    async fn read_policy(self: Arc<Self>, field: &'static str, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = call.capture("name").to_lowercase();
        if name == "root" && namespace_of(&call).is_root() {
            return Reply::of(&show_root(field));
        }
        let record =
            self.vault()?.policies.get(namespace_of(&call), &name).filter(|record| !record.is_expired(call.now));
        Reply::of(&show(&record.ok_or_else(Fault::not_found)?, field))
    }

    async fn write_policy(
        self: Arc<Self>,
        field: &'static str,
        call: Call,
        fields: PolicyFields,
    ) -> Result<Reply, Fault> {
        let name = writable(&call)?;
        let given = |text: &Option<Text>| text.as_ref().map(|t| t.0.clone()).filter(|t| !t.trim().is_empty());
        let old_name = given(&fields.rules).filter(|_| field == "rules" && given(&fields.policy).is_none());
        let is_old = old_name.is_some();
        let text = given(&fields.policy).or(old_name);
        let text = text.ok_or_else(|| Fault::bad_request("'policy' parameter not supplied or empty"))?;
        let record = PolicyRecord {
            namespace: namespace_of(&call).id.clone(),
            name,
            text: decoded(&text).unwrap_or(text),
            version: 0,
            modified: call.now,
            cas_required: fields.cas_required.is_some_and(|flag| flag.0),
            expires: end(&fields, call.now)?,
        };
        self.put_policy(&call, record, &fields).await?;
        let reply = Reply::nothing();
        Ok(if is_old { reply.warn("'rules' is deprecated, please use 'policy' instead") } else { reply })
    }

    async fn patch_policy(self: Arc<Self>, call: Call, fields: PolicyFields) -> Result<Reply, Fault> {
        let name = writable(&call)?;
        let old = self.vault()?.policies.get(namespace_of(&call), &name).filter(|old| !old.is_expired(call.now));
        let mut record = old.ok_or_else(|| Fault::bad_request("policy not found"))?;
        if let Some(Text(text)) = &fields.policy {
            record.text = decoded(text).unwrap_or_else(|| text.clone());
        }
        if let Some(Flag(required)) = fields.cas_required {
            record.cas_required = required;
        }
        record.expires = end(&fields, call.now)?.or(record.expires);
        record.modified = call.now;
        // What was read is what is replaced: a write in between is not undone.
        let fields = PolicyFields { cas: fields.cas.or(i64::try_from(record.version).ok().map(Int)), ..fields };
        self.put_policy(&call, record, &fields).await?;
        Ok(Reply::nothing())
    }

    async fn put_policy(&self, call: &Call, record: PolicyRecord, fields: &PolicyFields) -> Result<(), Fault> {
        let vault = self.vault()?;
        let namespace = namespace_of(call);
        let cas = fields.cas.and_then(|cas| u64::try_from(cas.0).ok());
        let must_say = vault.policies.get(namespace, &record.name).is_some_and(|old| old.cas_required);
        if must_say && cas.is_none() {
            return Err(Fault::bad_request("check-and-set parameter required for this call"));
        }
        vault.policies.put(namespace, record, cas).await
    }

    async fn delete_policy(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = call.capture("name").to_lowercase();
        match name.as_str() {
            "default" => return Err(Fault::bad_request("cannot delete default policy")),
            "root" | HIDDEN => return Err(Fault::bad_request(format!("cannot delete {name:?} policy"))),
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
        data.insert(
            "principal",
            json!({
                "accessor": record.accessor, "display_name": record.display_name,
                "entity_id": record.entity_id, "policies": record.policies,
            }),
        );
        data.insert("path", path.clone().into());
        data.insert("operation", operation.name().into());
        data.insert("explanation", serde_json::to_value(&explanation).map_err(|e| Fault::internal(e.to_string()))?);
        Reply::of(&data)
    }
}

async fn subject(vault: &Vault, call: &Call, fields: &ExplainFields) -> Result<Arc<TokenRecord>, Fault> {
    let found = match (fields.token.0.as_str(), fields.accessor.0.as_str()) {
        ("", "") => return call.caller.token.clone().ok_or_else(|| Fault::denied("no token")),
        ("", accessor) => {
            vault.tokens.by_accessor(accessor).await?.filter(|live| lives_here(vault, call, &live.record))
        }
        (token, _) => vault.tokens.find(token, call.now).await?,
    };
    found.map(|live| live.record.clone()).ok_or_else(|| Fault::bad_request("no such token or accessor"))
}

fn operation(name: &str) -> Result<Operation, Fault> {
    serde_json::from_value(Value::String(if name.is_empty() { "read".into() } else { name.to_lowercase() }))
        .map_err(|_| Fault::bad_request("unknown operation: use create, read, update, delete, list, scan or patch"))
}

fn route_needs_sudo(vault: &Vault, path: &str, operation: Operation) -> bool {
    let Some((mounted, below)) = vault.mounts.find(path) else { return false };
    mounted.room.find(below.trim_end_matches('/'), operation).is_some_and(|spot| spot.needs_sudo)
}

/// The name of a policy that may be written.
fn writable(call: &Call) -> Result<String, Fault> {
    let name = call.capture("name").to_lowercase();
    if name.is_empty() {
        return Err(Fault::bad_request("cannot write to a path ending in '/': it ends in the name of a policy"));
    }
    if name == "root" || name == HIDDEN {
        return Err(Fault::bad_request(format!("cannot update {name:?} policy")));
    }
    Ok(name)
}

/// When a policy ends, when that is asked for.
fn end(fields: &PolicyFields, now: Moment) -> Result<Option<Moment>, Fault> {
    let end = match (&fields.ttl, &fields.expiration) {
        (None, None) => return Ok(None),
        (Some(_), Some(_)) => return Err(Fault::bad_request("cannot supply both 'expiration' and 'ttl' for policies")),
        (Some(Text(ttl)), None) => {
            now.plus(parse_ttl(ttl).map_err(|why| Fault::bad_request(format!("Field validation failed: ttl: {why}")))?)
        }
        (None, Some(Text(time))) => match time.parse::<u64>() {
            Ok(seconds) => Moment(seconds.saturating_mul(1000)),
            Err(_) => Moment::parse_rfc3339(time).map_err(|why| {
                let told =
                    format!("Field validation failed: expiration: {why}; write 2030-01-31T12:00:00Z, or use ttl");
                Fault::bad_request(told)
            })?,
        },
    };
    if end <= now {
        return Err(Fault::bad_request("refusing to update policy as expiration time has already elapsed"));
    }
    Ok(Some(end))
}

fn show(record: &PolicyRecord, field: &str) -> Value {
    let mut data = json!({
        "name": record.name,
        "version": record.version,
        "modified": record.modified.rfc3339(),
        "cas_required": record.cas_required,
        "allow_slashes_in_identity_templates": false,
        "allow_wildcards_in_identity_templates": false,
    });
    data[field] = record.text.clone().into();
    if let Some(end) = record.expires {
        data["expiration"] = end.rfc3339().into();
    }
    data
}

/// The policy that allows everything has no text.
fn show_root(field: &str) -> Value {
    let mut data = json!({
        "name": "root", "version": 0, "cas_required": false,
        "allow_slashes_in_identity_templates": false, "allow_wildcards_in_identity_templates": false,
    });
    data[field] = "".into();
    data
}

/// Old clients send the text in base64.
fn decoded(text: &str) -> Option<String> {
    String::from_utf8(STANDARD.decode(text.trim()).ok()?).ok()
}
