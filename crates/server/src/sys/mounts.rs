//! `sys/mounts`, `sys/auth`, `sys/remount`, `sys/internal/ui/mounts`: the tree of mounts.

mod remount;
mod tune;
mod ui;

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{Mount, MountClass, Tune};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::wire::{Flag, Pairs, Text, read_fields};
use dewdrop_core::{Fault, Operation};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::mount_view::{is_builtin, show, tuned};
use super::{Sys, namespace_of};
use crate::mounts::{Mounted, NewMount};
use crate::vault::Vault;
use tune::TuneFields;

/// A new mount.
#[derive(Deserialize, JsonSchema)]
struct MountFields {
    /// The engine's type.
    #[serde(default, rename = "type")]
    kind: Text,
    /// Free words.
    #[serde(default)]
    description: Text,
    /// What can be tuned.
    #[serde(default)]
    config: TuneFields,
    /// Options of the engine.
    #[serde(default)]
    options: Pairs,
    /// Kept and shown.
    #[serde(default)]
    local: Flag,
    /// Kept and shown.
    #[serde(default)]
    seal_wrap: Flag,
    /// The engine's type, where `type` is `plugin`.
    #[serde(default)]
    plugin_name: Text,
    /// Refused: there are no external plugins.
    #[serde(default)]
    plugin_version: Text,
    /// Refused unless false.
    #[serde(default)]
    external_entropy_access: Flag,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("mounts", "The secrets engines.", |r| r.read("Lists secrets engines", Sys::list_mounts))
        .at("auth", "The auth methods.", |r| r.read("Lists auth methods", Sys::list_auths))
        .and(remount::routes())
        .and(ui::routes())
        .and(class_routes())
}

fn class_routes() -> Routes<Sys> {
    Routes::new("")
        .at("mounts/{path*}", "A secrets engine; with `/tune` at the end, its settings.", |r| {
            r.read("Shows a mount or its settings", |s: Arc<Sys>, c, f: NoFields| {
                s.read_mount(MountClass::Secret, c, f)
            })
            .write("Mounts, or tunes", |s: Arc<Sys>, c, f: MountOrTune| s.write_mount(MountClass::Secret, c, f))
            .delete("Unmounts", |s: Arc<Sys>, c, f: NoFields| s.delete_mount(MountClass::Secret, c, f))
        })
        .at("auth/{path*}", "An auth method; with `/tune` at the end, its settings.", |r| {
            r.sudo()
                .read("Shows a method or its settings", |s: Arc<Sys>, c, f: NoFields| {
                    s.read_mount(MountClass::Auth, c, f)
                })
                .write("Mounts, or tunes", |s: Arc<Sys>, c, f: MountOrTune| s.write_mount(MountClass::Auth, c, f))
                .delete("Unmounts", |s: Arc<Sys>, c, f: NoFields| s.delete_mount(MountClass::Auth, c, f))
        })
}

/// Mounting and tuning share their paths, so their fields come together.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct MountOrTune(Map<String, Value>);

impl Sys {
    async fn list_mounts(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(Reply::data(self.listed(&call, MountClass::Secret)?))
    }

    async fn list_auths(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(Reply::data(self.listed(&call, MountClass::Auth)?))
    }

    fn listed(&self, call: &Call, class: MountClass) -> Result<Map<String, Value>, Fault> {
        let mounts = self.vault()?.mounts.of(namespace_of(call));
        Ok(mounts.iter().filter(|m| m.mount.class == class).map(|m| (short(&m.mount), show(&m.mount).into())).collect())
    }

    async fn read_mount(self: Arc<Self>, class: MountClass, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let path = named(&call)?;
        let vault = self.vault()?;
        if let Some(path) = path.strip_suffix("/tune") {
            let mounted = serving(&vault, &call, &full(class, path));
            let mounted =
                mounted.ok_or_else(|| Fault::bad_request(format!("cannot fetch sysview for path \"{path}/\"")))?;
            return Ok(Reply::data(tuned(&mounted.mount)));
        }
        let (what, mounted) = match class {
            MountClass::Auth => ("auth", at(&vault, &call, class, path)),
            MountClass::Secret => ("secret", serving(&vault, &call, &full(class, path))),
        };
        let mounted = mounted.ok_or_else(|| Fault::bad_request(format!("No {what} engine mount at {path}/")))?;
        Ok(Reply::data(show(&mounted.mount)))
    }

    async fn write_mount(self: Arc<Self>, class: MountClass, call: Call, fields: MountOrTune) -> Result<Reply, Fault> {
        let path = named(&call)?.to_owned();
        match path.strip_suffix("/tune") {
            // `bao auth tune` asks there.
            Some(path) if class == MountClass::Secret && path.starts_with("auth/") => {
                self.tune(MountClass::Auth, &call, path.trim_start_matches("auth/"), fields.0).await
            }
            Some(path) => self.tune(class, &call, path, fields.0).await,
            None => self.mount(class, &call, &path, read_fields(fields.0)?).await,
        }
    }

    async fn mount(&self, class: MountClass, call: &Call, path: &str, fields: MountFields) -> Result<Reply, Fault> {
        let mut options = fields.options.0;
        let kind = match fields.kind.0.as_str() {
            "" => return Err(Fault::bad_request("backend type must be specified as a string")),
            "kv-v1" => versioned(&mut options, "1"),
            "kv-v2" => versioned(&mut options, "2"),
            "plugin" => fields.plugin_name.0.clone(),
            kind => kind.to_owned(),
        };
        refuse_plugin_version(&fields.plugin_version)?;
        if !["", kind.as_str(), fields.kind.0.as_str()].contains(&fields.plugin_name.0.as_str()) {
            return Err(Fault::bad_request("plugin_name is not the same as type: leave one of them out"));
        }
        if fields.external_entropy_access.0 {
            return Err(Fault::not_built("external_entropy_access is not built; leave it out"));
        }
        check_kind(class, &kind, path)?;
        let vault = self.vault()?;
        let mut tune = Tune { force_no_cache: fields.config.force_no_cache.0, ..Tune::default() };
        fields.config.apply(&mut tune)?;
        if class == MountClass::Secret {
            // Of no meaning there, and accepted as OpenBao does.
            tune.token_type = String::new();
        }
        TuneFields::check_new(&tune, &vault.limits)?;
        let new = NewMount {
            class,
            path: full(class, path),
            kind,
            description: fields.description.0,
            options,
            tune,
            local: fields.local.0,
            seal_wrap: fields.seal_wrap.0,
        };
        vault.mounts.add(&vault, namespace_of(call).clone(), new).await?;
        Ok(Reply::nothing())
    }

    async fn delete_mount(self: Arc<Self>, class: MountClass, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let path = named(&call)?.to_owned();
        let vault = self.vault()?;
        let Some(mounted) = at(&vault, &call, class, &path) else { return Ok(Reply::nothing()) };
        if is_builtin(&mounted.mount) {
            return Err(Fault::bad_request(format!("cannot unmount \"{path}/\"")));
        }
        crate::mounts::unmount(&vault, &mounted).await?;
        Ok(Reply::nothing())
    }
}

/// The path that a call names, without its last slash.
fn named(call: &Call) -> Result<&str, Fault> {
    match call.capture("path").trim_end_matches('/') {
        "" if call.operation == Operation::Update => {
            Err(Fault::bad_request("cannot write to a path ending in '/': it ends in the path of a mount"))
        }
        "" => Err(Fault::missing("1 error occurred:\n\t* unsupported path\n\n")),
        path => Ok(path),
    }
}

/// The mount that serves a path below this namespace: its own path or one above.
fn serving(vault: &Vault, call: &Call, path: &str) -> Option<Mounted> {
    let here = &namespace_of(call).path;
    let (mounted, _) = vault.mounts.find(&format!("{here}{path}"))?;
    mounted.mount.namespace.path.starts_with(here.as_str()).then_some(mounted)
}

fn at(vault: &Vault, call: &Call, class: MountClass, path: &str) -> Option<Mounted> {
    let mounted = vault.mounts.at(&format!("{}{}", namespace_of(call).path, full(class, path)));
    mounted.filter(|m| m.mount.class == class)
}

fn full(class: MountClass, path: &str) -> String {
    match class {
        MountClass::Secret => format!("{path}/"),
        MountClass::Auth => format!("auth/{path}/"),
    }
}

/// The path as its own list shows it: without `auth/`.
fn short(mount: &Mount) -> String {
    match mount.class {
        MountClass::Secret => mount.path.clone(),
        MountClass::Auth => mount.path.strip_prefix("auth/").unwrap_or(&mount.path).to_owned(),
    }
}

fn versioned(options: &mut BTreeMap<String, String>, version: &str) -> String {
    options.insert("version".into(), version.into());
    "kv".into()
}

fn check_kind(class: MountClass, kind: &str, path: &str) -> Result<(), Fault> {
    if class == MountClass::Secret && is_reserved(path) {
        return Err(Fault::bad_request(format!("cannot mount \"{path}/\"")));
    }
    let known = crate::mounts::known_kinds(class);
    // `generic` is what KV version 1 was called once.
    if known.contains(&kind) || (class == MountClass::Secret && kind == "generic") {
        return Ok(());
    }
    Err(Fault::bad_request(format!("plugin not found in the catalog; there are: {}", known.join(", "))))
}

/// Whether a path begins with a word of the server's own.
fn is_reserved(path: &str) -> bool {
    let reserved = ["auth", "sys", "cubbyhole", "identity", "audit"];
    path.split('/').next().is_some_and(|head| reserved.contains(&head))
}

fn refuse_plugin_version(version: &Text) -> Result<(), Fault> {
    if version.0.is_empty() {
        return Ok(());
    }
    Err(Fault::bad_request(
        "plugin not found in the catalog: all engines are built in and have no versions; leave plugin_version out",
    ))
}
