//! `sys/internal`: what user interfaces and code generators ask. (`sys/internal/ui` is with the mounts, the
//! namespaces and the capabilities.)

mod openapi;
mod schema;

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Outcome, Raw, Reply};
use dewdrop_core::policy::PolicySet;
use dewdrop_core::route::{AnyFields, NoFields, Routes};
use dewdrop_core::wire::{Flag, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::{Sys, lives_here, namespace_of};
use crate::vault::Vault;
pub(crate) use openapi::{Document, Place};

#[derive(Deserialize, JsonSchema)]
struct OpenApiFields {
    /// Shows the paths of mounts as parameters, `{kv_mount_path}`.
    #[serde(default)]
    generic_mount_paths: Flag,
    /// Without effect.
    #[expect(dead_code, reason = "the API documents it; it has no effect")]
    context: Option<Text>,
}

pub(super) fn routes() -> Routes<Sys> {
    let introspection = "Looks inside a running server: not built.";
    Routes::new("")
        .at("internal/specs/openapi", "This API as an OpenAPI document.", |r| {
            r.public("shows only what the token can see; nothing without one")
                .read("Shows the document", Sys::openapi)
                .write("Shows the document", Sys::openapi)
        })
        .at("internal/counters/requests", "Gone from the API; sys/metrics counts requests.", |r| {
            r.read("Says so", |_: Arc<Sys>, _: Call, _: NoFields| async {
                Err(Fault::missing("The functionality has been removed on this path"))
            })
        })
        .at("internal/counters/entities", "Counts entities.", |r| r.read("Counts entities", Sys::count_entities))
        .at("internal/counters/tokens", "Counts tokens.", |r| r.read("Counts tokens", Sys::count_tokens))
        .at("internal/inspect/request", introspection, |r| r.sudo().read("Refused", Sys::no_introspection))
        .at("internal/inspect/router/{tag}", introspection, |r| r.sudo().read("Refused", Sys::no_introspection))
}

impl Sys {
    async fn openapi(self: Arc<Self>, call: Call, fields: OpenApiFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let mut document = Document::new();
        if let Some(rights) = rights(&vault, &call).await? {
            if namespace_of(&call).is_root() {
                let place = Place { mount: "sys/", kind: "system", is_auth: false, generic: false };
                document.add(&place, &self.server()?.gate().docs());
            }
            for mounted in vault.mounts.of(namespace_of(&call)) {
                let mount = &mounted.mount;
                if rights.sees_anything_under(&mount.full_path(), call.now) {
                    let is_auth = mount.class == dewdrop_core::mount::MountClass::Auth;
                    let is_fixed = matches!(mount.kind.as_str(), "system" | "identity" | "cubbyhole" | "token");
                    let place = Place {
                        mount: &mount.path,
                        kind: &mount.kind,
                        is_auth,
                        generic: fields.generic_mount_paths.0 && !is_fixed,
                    };
                    document.add(&place, &mounted.room.docs());
                }
            }
        }
        let body = format!("{}\n", document.finish());
        Ok(Outcome::Raw(Raw { content_type: "application/json", body: body.into() }).into())
    }

    /// Those of this namespace and of all below.
    async fn count_entities(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let mut total = 0;
        for namespace in vault.namespaces.below(&namespace_of(&call).path) {
            total += vault.mounts.identities(&namespace)?.count_entities().await?;
        }
        Reply::of(&json!({ "counters": { "entities": { "total": total } } }))
    }

    /// Counts those of the namespace and below, by reading all of them in pages.
    async fn count_tokens(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let (mut total, mut after) = (0usize, None::<String>);
        loop {
            let page = vault.tokens.accessors(after.as_deref(), 1000).await?;
            total += page.iter().filter(|(_, record)| lives_here(&vault, &call, record)).count();
            if page.len() < 1000 {
                return Reply::of(&json!({ "counters": { "service_tokens": { "total": total } } }));
            }
            after = page.last().map(|(accessor, _)| accessor.clone());
        }
    }

    async fn no_introspection(self: Arc<Self>, _: Call, _: AnyFields) -> Result<Reply, Fault> {
        Err(Fault::bad_request(
            "the Vault configuration must set \"introspection_endpoint\" to true to enable this endpoint",
        ))
    }
}

/// What the caller may do, when a token came.
async fn rights(vault: &Vault, call: &Call) -> Result<Option<Arc<PolicySet>>, Fault> {
    match &call.caller.token {
        Some(record) => Ok(Some(crate::pipeline::rights_of(vault, record).await?.set)),
        None => Ok(None),
    }
}
