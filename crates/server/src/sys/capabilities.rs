//! `sys/capabilities*` and the resultant ACL.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::policy::PolicySet;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::token::TokenRecord;
use dewdrop_core::wire::{Strings, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Sys, lives_here, namespace_of};
use crate::pipeline::rights_of;
use crate::vault::Vault;

#[derive(Deserialize, JsonSchema)]
struct CapabilityFields {
    /// Whose rights, by the token's text.
    #[serde(default)]
    token: Text,
    /// Whose rights, by accessor.
    #[serde(default)]
    accessor: Text,
    /// The paths.
    #[serde(default)]
    paths: Strings,
    /// The old name of `paths`.
    #[serde(default)]
    path: Strings,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("capabilities", "What a token may do at paths.", |r| r.write("Rights of a token", Sys::of_token))
        .at("capabilities-self", "What the caller may do at paths.", |r| r.write("Own rights", Sys::of_self))
        .at("capabilities-accessor", "What a token may do at paths.", |r| {
            r.write("Rights by accessor", Sys::of_accessor)
        })
        .at("internal/ui/resultant-acl", "All rules that the caller's policies add up to.", |r| {
            r.read("The caller's rules", Sys::resultant_acl)
        })
}

impl Sys {
    async fn of_self(self: Arc<Self>, call: Call, fields: CapabilityFields) -> Result<Reply, Fault> {
        let record = call.caller.token.clone().ok_or_else(|| Fault::denied("no token"))?;
        answer(&*self.vault()?, &call, &record, &fields).await
    }

    /// Rules with `+` are left out, as in OpenBao: the answer has no place for them.
    async fn resultant_acl(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let record = call.caller.token.clone().ok_or_else(|| Fault::denied("no token"))?;
        let rights = rights_of(&*self.vault()?, &record).await?.set;
        if rights.is_root() {
            return Reply::of(&json!({ "root": true }));
        }
        let (mut exact, mut globs) = (Map::new(), Map::new());
        for (path, capabilities) in rights.granted(call.now) {
            let shown = json!({ "capabilities": capabilities });
            match path.strip_suffix('*') {
                _ if path.split('/').any(|segment| segment.trim_end_matches('*') == "+") => {}
                Some(prefix) => drop(globs.insert(prefix.to_owned(), shown)),
                None => drop(exact.insert(path, shown)),
            }
        }
        Reply::of(&json!({ "root": false, "exact_paths": exact, "glob_paths": globs }))
    }

    async fn of_token(self: Arc<Self>, call: Call, fields: CapabilityFields) -> Result<Reply, Fault> {
        if fields.token.0.is_empty() {
            return Err(Fault::bad_request("1 error occurred:\n\t* no token found\n\n"));
        }
        let vault = self.vault()?;
        let live = vault.tokens.find(&fields.token.0, call.now).await?;
        let live = live.ok_or_else(|| Fault::bad_request("1 error occurred:\n\t* invalid token\n\n"))?;
        answer(&vault, &call, &live.record, &fields).await
    }

    async fn of_accessor(self: Arc<Self>, call: Call, fields: CapabilityFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let live = vault.tokens.by_accessor(&fields.accessor.0).await?;
        let live = live.filter(|live| !live.record.is_expired(call.now) && lives_here(&vault, &call, &live.record));
        let live = live.ok_or_else(|| Fault::bad_request("1 error occurred:\n\t* invalid accessor\n\n"))?;
        answer(&vault, &call, &live.record, &fields).await
    }
}

async fn answer(vault: &Vault, call: &Call, record: &TokenRecord, fields: &CapabilityFields) -> Result<Reply, Fault> {
    let paths = if fields.paths.0.is_empty() { &fields.path.0 } else { &fields.paths.0 };
    if paths.is_empty() {
        return Err(Fault::bad_request("paths must be supplied"));
    }
    let rights = rights_of(vault, record).await?;
    let mut data = Map::new();
    for path in paths {
        data.insert(path.clone(), at(&rights.set, call, path));
    }
    if let [only] = paths.as_slice() {
        data.insert("capabilities".into(), at(&rights.set, call, only));
    }
    Ok(Reply::data(data))
}

fn at(rights: &PolicySet, call: &Call, path: &str) -> Value {
    let full = format!("{}{}", namespace_of(call).path, path.trim_start_matches('/'));
    json!(rights.capabilities(&full, call.now))
}
