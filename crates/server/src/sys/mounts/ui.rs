//! `sys/internal/ui/mounts`: the mounts that a caller can see. The command line asks it where a path belongs to.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{Mount, MountClass};
use dewdrop_core::policy::PolicySet;
use dewdrop_core::route::{NoFields, Routes};
use serde_json::{Map, Value, json};

use super::short;
use crate::sys::mount_view::show;
use crate::sys::{Sys, namespace_of};
use crate::vault::Vault;

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("internal/ui/mounts", "The mounts that the caller can see.", |r| {
            r.public("shows only mounts that are meant for everybody, unless a token comes")
                .read("Visible mounts", Sys::ui_mounts)
        })
        .at("internal/ui/mounts/{path*}", "The mount at a path.", |r| {
            r.public("checks itself that the token may see the mount").read("The mount at a path", Sys::ui_mount)
        })
}

impl Sys {
    async fn ui_mounts(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let rights = caller_rights(&vault, &call).await?;
        let (mut auth, mut secret) = (Map::new(), Map::new());
        for mounted in vault.mounts.of(namespace_of(&call)) {
            let mount = &mounted.mount;
            let seen = match &rights {
                Some(rights) => {
                    rights.sees_anything_under(&mount.full_path(), call.now)
                        || mount.tune.listing_visibility == "unauth"
                }
                None => mount.tune.listing_visibility == "unauth",
            };
            if seen {
                let list = if mount.class == MountClass::Auth { &mut auth } else { &mut secret };
                let shown = if rights.is_some() { show(mount) } else { public_view(mount) };
                list.insert(short(mount), shown.into());
            }
        }
        Reply::of(&json!({ "auth": auth, "secret": secret }))
    }

    async fn ui_mount(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let asked = call.capture("path");
        let refused = || {
            Fault::denied_saying(format!(
                "preflight capability check returned 403, please ensure client's policies grant access to path \"{asked}\""
            ))
        };
        let rights = caller_rights(&vault, &call).await?.ok_or_else(|| Fault::denied("no token"))?;
        let here = &namespace_of(&call).path;
        let (mounted, _) = vault.mounts.find(&format!("{here}{asked}")).ok_or_else(refused)?;
        let full = mounted.mount.full_path();
        if !rights.sees_anything_under(&full, call.now) {
            return Err(refused());
        }
        let mut data = show(&mounted.mount);
        let path = full.strip_prefix(here.as_str()).unwrap_or(&full);
        data.insert("path".into(), path.strip_prefix("auth/").unwrap_or(path).into());
        Ok(Reply::data(data))
    }
}

/// What the caller may do, when a token came.
async fn caller_rights(vault: &Vault, call: &Call) -> Result<Option<Arc<PolicySet>>, Fault> {
    match &call.caller.token {
        Some(record) => Ok(Some(crate::pipeline::rights_of(vault, record).await?.set)),
        None if !call.caller.token_text().is_empty() => Err(Fault::denied("the token is not valid")),
        None => Ok(None),
    }
}

fn public_view(mount: &Mount) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("description".into(), mount.description.clone().into());
    view.insert("options".into(), json!(mount.options));
    view.insert("type".into(), mount.kind.clone().into());
    view
}
