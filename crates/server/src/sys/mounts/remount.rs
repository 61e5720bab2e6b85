//! `sys/remount`: a mount gets another path, in its namespace or in another one.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{MountClass, Namespace};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::is_reserved;
use crate::mounts::remount;
use crate::sys::mount_view::is_builtin;
use crate::sys::{Sys, namespace_of};
use crate::vault::Vault;

#[derive(Deserialize, JsonSchema)]
struct RemountFields {
    /// The path of now.
    #[serde(default)]
    from: Text,
    /// The path to be.
    #[serde(default)]
    to: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("").at("remount", "Moves a mount.", |r| r.sudo().write("Moves a mount", Sys::remount)).at(
        "remount/status/{migration_id}",
        "How a move went.",
        |r| r.read("How a move went", Sys::remount_status),
    )
}

impl Sys {
    /// The move is done when this answers; clients that ask for its status see the end of it at once.
    async fn remount(self: Arc<Self>, call: Call, fields: RemountFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let here = namespace_of(&call);
        let (from, to) = (cleaned(&fields.from.0, "source")?, cleaned(&fields.to.0, "destination")?);
        let (source, path) = located(&vault, here, &from);
        let mounted = vault.mounts.at(&format!("{}{path}", source.path));
        let mounted = mounted.ok_or_else(|| Fault::bad_request(format!("no matching mount at \"{from}\"")))?;
        if is_builtin(&mounted.mount) {
            return Err(Fault::bad_request(format!("cannot remount \"{from}\"")));
        }
        let (target, path) = located(&vault, here, &to);
        let is_auth = mounted.mount.class == MountClass::Auth;
        if path.starts_with("auth/") != is_auth {
            return Err(Fault::bad_request(format!(
                "cannot remount between secrets engines and auth methods: \"{from}\" to \"{to}\""
            )));
        }
        if path.is_empty() || (!is_auth && is_reserved(&path)) {
            return Err(Fault::bad_request(format!("cannot remount to destination \"{to}\"")));
        }
        let id = remount(&vault, &mounted, target, path).await?;
        let reply = Reply::of(&json!({ "migration_id": id }))?;
        Ok(reply.warn("Mount move has been queued. Progress will be reported in the server log, tagged with the returned migration_id"))
    }

    async fn remount_status(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let id = call.capture("migration_id");
        let (source, target) = self.vault()?.mounts.moved(id).ok_or_else(Fault::not_found)?;
        Reply::of(&json!({
            "migration_id": id,
            "migration_info": { "source_mount": source, "target_mount": target, "status": "success" },
        }))
    }
}

/// A path with one slash at its end and no parts that are empty or dots.
fn cleaned(path: &str, what: &str) -> Result<String, Fault> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Err(Fault::bad_request("both 'from' and 'to' path must be specified as a string"));
    }
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(Fault::bad_request(format!("invalid {what} mount: {path:?} has a part that is empty or dots")));
    }
    Ok(format!("{path}/"))
}

/// The namespace of a mount path and the path within it. Of an auth method both `team/auth/x` and `auth/team/x` are read.
fn located(vault: &Vault, here: &Arc<Namespace>, path: &str) -> (Arc<Namespace>, String) {
    if let Some(rest) = path.strip_prefix("auth/") {
        let full = format!("{}{rest}", here.path);
        let (namespace, rest) = vault.namespaces.split(&full);
        if namespace.path.len() > here.path.len() {
            return (namespace, format!("auth/{rest}"));
        }
    }
    let full = format!("{}{path}", here.path);
    let (namespace, rest) = vault.namespaces.split(&full);
    (namespace, rest.to_owned())
}
