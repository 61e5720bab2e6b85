//! What the server says of itself: its host, its versions, its cluster, its plugins (all built in).

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::MountClass;
use dewdrop_core::route::{AnyFields, NoFields, Routes};
use dewdrop_core::store::{Batch, decode, get_json, scan_all};
use dewdrop_core::{Fault, Kind, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Sys;
use crate::mounts::known_kinds;
use crate::seal::VERSION;
use crate::vault::Vault;

const VERSIONS: &str = "core/versions/";
/// Databases whose credentials are made here.
const DATABASES: &[&str] = &["postgresql-database-plugin"];

/// When a version first opened this store.
#[derive(Serialize, Deserialize)]
struct VersionRecord {
    installed: Moment,
    previous: Option<String>,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("host-info", "The machine.", |r| r.sudo().read("Shows the machine", Sys::host_info))
        .at("in-flight-req", "The requests under way.", |r| r.sudo().read("Shows the requests", Sys::in_flight))
        .at("version-history", "The versions that this store has seen.", |r| {
            r.list("Lists versions", Sys::version_history)
        })
        .at("ha-status", "The servers of the cluster.", |r| r.read("Lists servers", Sys::ha_status))
        .at("plugins/catalog", "The engines that can be mounted, all built in.", |r| {
            r.read("Lists plugins", Sys::plugins)
        })
        .at("plugins/catalog/{type}", "The plugins of a type: auth, secret or database.", |r| {
            r.sudo().list("Lists plugins of a type", Sys::plugins_of)
        })
        .at("plugins/catalog/{type}/{name}", "A plugin.", |r| {
            r.sudo()
                .read("Shows a plugin", Sys::plugin)
                .write("Refused: all plugins are built in", Sys::refuse_plugin)
                .delete("Removes nothing: all plugins are built in", Sys::no_plugin)
        })
        .at("plugins/reload/backend", "Starting plugins anew: they are part of the server.", |r| {
            r.sudo().write("Refused: all plugins are built in", Sys::refuse_plugin)
        })
}

/// Notes that this version has opened the store, once.
///
/// # Errors
/// The store's.
pub(super) async fn note_version(vault: &Vault) -> Result<(), Fault> {
    let key = format!("{VERSIONS}{VERSION}").into_bytes();
    if get_json::<VersionRecord>(&*vault.store, &key).await?.is_some() {
        return Ok(());
    }
    let last = versions(vault).await?.into_iter().max_by_key(|(_, record)| record.installed);
    let record = VersionRecord { installed: vault.clock.now(), previous: last.map(|(version, _)| version) };
    match vault.store.commit(Batch::new().expect(key.clone(), 0).put_json(key, &record)?).await {
        // Another server of the cluster was quicker.
        Ok(_) | Err(dewdrop_core::store::StoreError::Conflict) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn versions(vault: &Vault) -> Result<Vec<(String, VersionRecord)>, Fault> {
    let mut all = Vec::new();
    for row in scan_all(&*vault.store, VERSIONS.as_bytes(), 500).await? {
        let record = decode(&row.key, &row.entry)?;
        let name = std::str::from_utf8(&row.key).ok().and_then(|key| key.strip_prefix(VERSIONS));
        all.extend(name.map(|name| (name.to_owned(), record)));
    }
    Ok(all)
}

impl Sys {
    async fn host_info(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let memory = memory(&read("/proc/meminfo"));
        let uptime =
            read("/proc/uptime").split('.').next().and_then(|text| text.parse::<u64>().ok()).unwrap_or_default();
        Reply::of(&json!({
            "timestamp": call.now.rfc3339(),
            "cpu": cpus(&read("/proc/cpuinfo")),
            "host": {
                "hostname": hostname(),
                "uptime": uptime,
                "bootTime": call.now.seconds().saturating_sub(uptime),
                "os": std::env::consts::OS,
                "kernelVersion": read("/proc/sys/kernel/osrelease").trim(),
                "kernelArch": std::env::consts::ARCH,
            },
            "memory": memory,
        }))
    }

    async fn in_flight(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        Ok(crate::seal::plain(&self.server()?.metrics.running.show()))
    }

    async fn version_history(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let mut all = versions(&*self.vault()?).await?;
        all.sort_by_key(|(_, record)| record.installed);
        let keys: Vec<&String> = all.iter().map(|(version, _)| version).collect();
        let info: Map<String, Value> = all
            .iter()
            .map(|(version, record)| {
                (
                    version.clone(),
                    json!({
                        "commit_date": "",
                        "previous_version": record.previous,
                        "timestamp_installed": record.installed.rfc3339(),
                    }),
                )
            })
            .collect();
        Reply::of(&json!({ "keys": keys, "key_info": info }))
    }

    async fn ha_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let server = self.server()?;
        Reply::of(&json!({ "nodes": [{
            "hostname": hostname(),
            "api_address": server.settings.api_addr,
            "cluster_address": server.settings.cluster_addr,
            "active_node": true,
            "last_echo": null,
            "version": VERSION,
        }] }))
    }

    async fn plugins(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let mut data = Map::new();
        let mut detailed = Vec::new();
        for kind in ["auth", "database", "secret"] {
            let names = names(kind).unwrap_or_default();
            detailed.extend(names.iter().map(|name| json!({
                "builtin": true, "deprecation_status": "supported", "name": name, "type": kind, "version": version(),
            })));
            data.insert(kind.into(), names.into());
        }
        data.insert("detailed".into(), detailed.into());
        Ok(Reply::data(data))
    }

    async fn plugins_of(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let unknown = || Fault::new(Kind::Unsupported, "1 error occurred:\n\t* unsupported operation\n\n");
        Reply::keys(names(call.capture("type")).ok_or_else(unknown)?.iter().map(ToString::to_string).collect())
    }

    async fn plugin(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = call.capture("name");
        let is_known = names(call.capture("type")).is_some_and(|names| names.contains(&name));
        if !is_known {
            return Err(Fault::not_found());
        }
        Reply::of(&json!({
            "args": null, "builtin": true, "command": "", "declarative": false, "deprecation_status": "supported", "name": name,
            "oci": false, "sha256": "", "version": version(),
        }))
    }

    async fn refuse_plugin(self: Arc<Self>, _: Call, _: AnyFields) -> Result<Reply, Fault> {
        Err(Fault::bad_request("there are no external plugins here: every engine is built in"))
    }
}

impl Sys {
    /// Of the plugins that could be taken out there are none, so it is gone already.
    async fn no_plugin(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(Reply::nothing())
    }
}

fn names(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "auth" => Some(known_kinds(MountClass::Auth)),
        "secret" => Some(known_kinds(MountClass::Secret)),
        "database" => Some(DATABASES),
        _ => None,
    }
}

fn version() -> String {
    format!("v{VERSION}+builtin.dewdrop")
}

/// The machine's name.
pub fn hostname() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|text| text.trim().to_owned()).unwrap_or_default()
}

/// One for each processor of `/proc/cpuinfo`.
fn cpus(text: &str) -> Vec<Value> {
    let blocks = text.split("\n\n").filter(|block| !block.trim().is_empty());
    blocks
        .map(|block| {
            let field = |name: &str| {
                let line = block.lines().find(|line| line.split(':').next().is_some_and(|head| head.trim() == name));
                line.and_then(|line| line.split_once(':')).map_or("", |(_, value)| value.trim())
            };
            json!({
                "cpu": field("processor").parse::<u64>().unwrap_or_default(),
                "vendorId": field("vendor_id"),
                "modelName": field("model name"),
                "mhz": field("cpu MHz").parse::<f64>().unwrap_or_default(),
            })
        })
        .collect()
}

/// Bytes, from `/proc/meminfo`.
fn memory(text: &str) -> Value {
    let bytes = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|n| n.parse::<u64>().ok()).unwrap_or_default()
            * 1024
    };
    let (total, available) = (bytes("MemTotal"), bytes("MemAvailable"));
    json!({ "total": total, "available": available, "free": bytes("MemFree"), "used": total.saturating_sub(available) })
}
