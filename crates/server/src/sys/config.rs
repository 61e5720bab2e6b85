//! `sys/config`: headers of the user interface, and the configuration without its secrets.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json, scan_all};
use dewdrop_core::wire::{Flag, Strings};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ListFields, Sys};

const HEADERS: &str = "core/ui-headers/";

#[derive(Deserialize, JsonSchema)]
struct HeaderFields {
    /// Its values.
    #[serde(default)]
    values: Strings,
    /// Shows all values and not the first one alone.
    #[serde(default)]
    multivalue: Flag,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("config/ui/headers", "Headers of the user interface.", |r| {
            r.sudo().list("Lists headers", Sys::list_ui_headers)
        })
        .at("config/ui/headers/{header}", "A header of the user interface.", |r| {
            r.sudo()
                .read("Shows a header", Sys::read_ui_header)
                .write("Sets a header", Sys::write_ui_header)
                .delete("Removes a header", Sys::delete_ui_header)
        })
        .at("config/state/sanitized", "The configuration without its secrets.", |r| {
            r.read("Shows the configuration", Sys::sanitized)
        })
}

impl Sys {
    async fn list_ui_headers(self: Arc<Self>, _: Call, fields: ListFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let rows = scan_all(&*self.vault()?.store, HEADERS.as_bytes(), 500).await?;
        let names =
            rows.iter().filter_map(|row| Some(std::str::from_utf8(&row.key).ok()?.strip_prefix(HEADERS)?.to_owned()));
        Reply::keys(fields.cut(names))
    }

    async fn read_ui_header(self: Arc<Self>, call: Call, fields: HeaderFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let stored = get_json::<Vec<String>>(&*self.vault()?.store, &key(&call)?).await?;
        let (values, _) = stored.ok_or_else(Fault::not_found)?;
        match fields.multivalue.0 {
            true => Reply::of(&json!({ "values": values })),
            false => Reply::of(&json!({ "value": values.first() })),
        }
    }

    async fn write_ui_header(self: Arc<Self>, call: Call, fields: HeaderFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let key = key(&call)?;
        if fields.values.0.is_empty() {
            return Err(Fault::bad_request("header and values must be specified"));
        }
        if call.capture("header").to_lowercase().starts_with("x-vault-") {
            return Err(Fault::bad_request("X-Vault headers cannot be set"));
        }
        if fields.values.0.iter().any(|value| http::HeaderValue::from_str(value).is_err()) {
            return Err(Fault::bad_request("a value holds characters that cannot stand in a header"));
        }
        self.vault()?.store.commit(Batch::new().put_json(key, &fields.values.0)?).await?;
        Ok(Reply::nothing().warn("stored, but this server serves no user interface yet"))
    }

    async fn delete_ui_header(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        self.vault()?.store.commit(Batch::new().delete(key(&call)?)).await?;
        Ok(Reply::nothing())
    }

    /// Only what this process acts by; the addresses of listeners stay with the configuration file.
    async fn sanitized(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let server = self.server()?;
        let settings = &server.settings;
        let mut seals: Vec<Value> = server
            .auto_seals
            .iter()
            .map(|seal| json!({ "type": seal.kind(), "name": seal.id(), "disabled": false }))
            .collect();
        if seals.is_empty() {
            seals.push(json!({ "type": "shamir", "disabled": false }));
        }
        let listeners: Vec<Value> = settings
            .listeners
            .iter()
            .map(|access| {
                json!({ "config": {
            "disable_unauthed_rekey_endpoints": access.no_open_rekey,
            "disable_unauthed_generate_root_endpoints": access.no_open_generate_root,
            "unauthenticated_metrics_access": access.metrics_without_token,
        } })
            })
            .collect();
        Reply::of(&json!({
            "api_addr": settings.api_addr,
            "default_lease_ttl": settings.limits.default_lease_ttl.as_secs(),
            "max_lease_ttl": settings.limits.max_lease_ttl.as_secs(),
            "listeners": listeners,
            "seals": seals,
            "storage": { "type": settings.storage_type },
        }))
    }
}

fn key(call: &Call) -> Result<Vec<u8>, Fault> {
    let name = call.capture("header");
    http::HeaderName::try_from(name).map_err(|_| Fault::bad_request(format!("{name:?} is no name of a header")))?;
    Ok(format!("{HEADERS}{name}").into_bytes())
}
