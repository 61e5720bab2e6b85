//! `sys/audit`, `sys/audit-hash`, `sys/config/auditing`: the audit devices; and `sys/audit-chain`, our own log.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::wire::{Flag, Pairs, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Sys;
use crate::audit::settings::{self, DeviceRecord, FORBIDDEN};
use crate::config::{AuditDevice, AuditSink};

/// The chain itself, for `sys/audit-hash`: it has no device.
const CHAIN: &str = "chain/";

#[derive(Deserialize, JsonSchema)]
struct DeviceFields {
    /// `file`, `socket` or `syslog`.
    #[serde(default, rename = "type")]
    kind: Text,
    /// Free words.
    #[serde(default)]
    description: Text,
    /// Options of the kind.
    #[serde(default)]
    options: Pairs,
    /// Kept out of replication; there is none.
    #[expect(dead_code, reason = "the API documents it; it has no effect")]
    local: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
struct HashFields {
    /// The text whose hash is wanted.
    #[serde(default)]
    input: Text,
}

#[derive(Deserialize, JsonSchema)]
struct HeaderFields {
    /// Whether its values are hashed.
    #[serde(default)]
    hmac: Flag,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("audit", "The audit devices.", |r| r.sudo().read("Lists audit devices", Sys::list_audit))
        .at("audit/{path*}", "An audit device.", |r| {
            r.sudo()
                .write("Adds an audit device", Sys::enable_audit)
                .delete("Removes an audit device", Sys::disable_audit)
        })
        .at("audit-hash/{path*}", "The hash that a text has in the audit log.", |r| {
            r.write("Hashes a text", Sys::audit_hash)
        })
        .at("audit-chain", "The chained audit log: how it stands, what verifies it, and how far each device is.", |r| {
            r.sudo().read("How the chain stands", Sys::audit_chain)
        })
        .at("config/auditing/request-headers", "Request headers that the audit log shows.", |r| {
            r.sudo().read("Lists the headers", Sys::list_audit_headers)
        })
        .at("config/auditing/request-headers/{header}", "A request header that the audit log shows.", |r| {
            r.sudo()
                .read("Shows a header", Sys::read_audit_header)
                .write("Shows a header from now on", Sys::write_audit_header)
                .delete("Shows a header no more", Sys::delete_audit_header)
        })
}

fn path_of(call: &Call) -> String {
    format!("{}/", call.capture("path").trim_matches('/'))
}

fn show(device: &AuditDevice) -> Value {
    let kind = match device.sink {
        AuditSink::File { .. } => "file",
        AuditSink::Socket { .. } => "socket",
        AuditSink::Syslog { .. } => "syslog",
    };
    json!({ "path": device.path, "type": kind, "description": device.description, "options": device.options, "local": false })
}

impl Sys {
    async fn list_audit(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let devices: Map<String, Value> =
            self.vault()?.audit.devices().iter().map(|d| (d.path.clone(), show(d))).collect();
        Ok(Reply::data(devices))
    }

    async fn enable_audit(self: Arc<Self>, call: Call, fields: DeviceFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let vault = self.vault()?;
        if !vault.audit.allow_api {
            return Err(Fault::bad_request(FORBIDDEN));
        }
        let path = path_of(&call);
        if path == CHAIN || vault.audit.devices().iter().any(|device| device.path == path) {
            return Err(Fault::bad_request("path already in use"));
        }
        let record =
            DeviceRecord { path, kind: fields.kind.0, description: fields.description.0, options: fields.options.0 };
        let device = record.device(vault.audit.allow_prefix)?;
        vault.audit.add_device(device, false).map_err(|error| Fault::bad_request(error.whole()))?;
        settings::save_device(&*vault.store, &record).await?;
        Ok(Reply::nothing())
    }

    async fn disable_audit(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let vault = self.vault()?;
        let path = path_of(&call);
        // Its thread ends within its write timeout; nobody else waits for that.
        let (audit, named) = (vault.audit.clone(), path.clone());
        let removed = tokio::task::spawn_blocking(move || audit.remove_device(&named)).await;
        if !removed.map_err(|_| Fault::internal("the task that ends an audit device broke"))? {
            return Err(Fault::bad_request(
                "cannot disable audit device via API: it stands in the server's configuration; remove it there",
            ));
        }
        settings::drop_device(&*vault.store, &path).await?;
        Ok(Reply::nothing())
    }

    async fn audit_hash(self: Arc<Self>, call: Call, fields: HashFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let vault = self.vault()?;
        if fields.input.0.is_empty() {
            return Err(Fault::bad_request("the \"input\" parameter is empty"));
        }
        let path = path_of(&call);
        let has_chain = path == CHAIN && vault.audit.standing().is_some();
        if !has_chain && !vault.audit.devices().iter().any(|device| device.path == path) {
            return Err(Fault::bad_request(format!("unknown audit backend {path:?}")));
        }
        let hash = vault.audit.hash(&fields.input.0).ok_or_else(Fault::sealed)?;
        Reply::of(&json!({ "hash": hash }))
    }

    async fn audit_chain(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let audit = self.vault()?.audit.clone();
        let standing = audit
            .standing()
            .ok_or_else(|| Fault::missing("this server keeps everything in memory and has no audit log"))?;
        let key = audit.public_key();
        Reply::of(&json!({
            "chain": standing,
            "public_key": key.map(|key| key.base64()),
            "public_key_pem": key.map(|key| key.pem()),
            "devices": audit.device_standings(),
        }))
    }

    async fn list_audit_headers(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let rules = self.vault()?.audit.headers();
        let headers: Map<String, Value> =
            rules.iter().map(|(name, hmac)| (name.clone(), json!({ "hmac": hmac }))).collect();
        Reply::of(&json!({ "headers": headers }))
    }

    async fn read_audit_header(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let name = call.capture("header");
        let rules = self.vault()?.audit.headers();
        let hmac = rules
            .get(&name.to_ascii_lowercase())
            .ok_or_else(|| Fault::bad_request("Could not find header in config"))?;
        let mut data = Map::new();
        data.insert(name.to_owned(), json!({ "hmac": hmac }));
        Ok(Reply::data(data))
    }

    async fn write_audit_header(self: Arc<Self>, call: Call, fields: HeaderFields) -> Result<Reply, Fault> {
        self.change_headers(&call, Some(fields.hmac.0)).await
    }

    async fn delete_audit_header(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.change_headers(&call, None).await
    }

    async fn change_headers(&self, call: &Call, hmac: Option<bool>) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let name = call.capture("header").to_ascii_lowercase();
        if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
            return Err(Fault::bad_request(format!("{name:?} is no name of a header")));
        }
        let vault = self.vault()?;
        let mut rules = (*vault.audit.headers()).clone();
        match hmac {
            Some(hmac) => rules.insert(name, hmac),
            None => rules.remove(&name),
        };
        settings::save_headers(&vault.audit, &*vault.store, rules).await?;
        Ok(Reply::nothing())
    }
}
