//! `config` and `check`: the cluster, and how it is reached.

use std::env::var;

use dewdrop_api::outside::in_cluster;
use dewdrop_core::call::Reply;
use dewdrop_core::wire::{Flag, Text};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::shared::Shared;

/// What is kept. No `Debug`: it holds a token.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    /// Another address makes another id: leases know by it which cluster they are in.
    pub(super) id: String,
    /// As it was given; empty: the cluster that we run in.
    pub(super) host: String,
    /// PEM; empty: that of our pod.
    pub(super) ca_cert: String,
    /// Empty: that of our pod.
    pub(super) jwt: String,
    /// Nothing is taken of the pod that we run in.
    pub(super) disable_local: bool,
    /// Since when it is not the configured one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retired: Option<Moment>,
}

/// Fields of the configuration.
#[derive(Deserialize, JsonSchema)]
pub(super) struct ConfigFields {
    /// `https://HOST:PORT` of the API server. Unset: the cluster that the server runs in.
    kubernetes_host: Option<Text>,
    /// PEM of the authority of the API server. Unset: that of the server's pod.
    kubernetes_ca_cert: Option<Text>,
    /// The token of the service account that makes the credentials. Unset: that of the server's pod.
    service_account_jwt: Option<Text>,
    /// Take nothing of the server's pod.
    disable_local_ca_jwt: Option<Flag>,
}

pub(super) async fn read(engine: &Shared) -> Result<Reply, Fault> {
    let config = engine.config().await?.ok_or_else(Fault::not_found)?;
    Reply::of(&json!({
        "disable_local_ca_jwt": config.disable_local,
        "kubernetes_ca_cert": config.ca_cert,
        "kubernetes_host": config.host,
    }))
}

pub(super) async fn write(engine: &Shared, fields: ConfigFields) -> Result<Reply, Fault> {
    engine.change_config(|known| merged(known, fields).map(Some)).await?;
    Ok(Reply::nothing())
}

pub(super) async fn delete(engine: &Shared) -> Result<Reply, Fault> {
    engine.change_config(|_| Ok(None)).await?;
    Ok(Reply::nothing())
}

/// The API asks no more than this; the cluster is asked at the first credential.
pub(super) fn check() -> Result<Reply, Fault> {
    let missing: Vec<&str> = ["KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT_HTTPS"]
        .into_iter()
        .filter(|name| var(name).map_or(true, |text| text.is_empty()))
        .collect();
    if missing.is_empty() {
        return Ok(Reply::nothing());
    }
    Err(Fault::bad_request(format!("Missing environment variables: {}", missing.join(", "))))
}

fn merged(known: Option<Config>, fields: ConfigFields) -> Result<Config, Fault> {
    let old_host = known.as_ref().map(|config| config.host.clone());
    let mut config = known.unwrap_or_else(|| Config {
        id: String::new(),
        host: String::new(),
        ca_cert: String::new(),
        jwt: String::new(),
        disable_local: false,
        retired: None,
    });
    let set = |old: &mut String, new: Option<Text>| {
        if let Some(new) = new {
            new.0.trim().clone_into(old);
        }
    };
    set(&mut config.host, fields.kubernetes_host);
    set(&mut config.ca_cert, fields.kubernetes_ca_cert);
    set(&mut config.jwt, fields.service_account_jwt);
    config.disable_local = fields.disable_local_ca_jwt.map_or(config.disable_local, |flag| flag.0);
    if old_host.is_none_or(|old| old != config.host) {
        config.id = uuid::Uuid::new_v4().to_string();
    }
    config.base()?;
    Ok(config)
}

// === impl Config ===

impl Config {
    /// The address of the API server, without a slash at its end.
    pub(super) fn base(&self) -> Result<String, Fault> {
        if self.host.is_empty() {
            return in_cluster(|name| var(name).ok()).ok_or_else(|| {
                Fault::bad_request("kubernetes_host was unset and could not be determined from environment variables")
            });
        }
        let is_address = |rest: &str| !rest.is_empty() && !rest.contains(['@', '?', '#', ' ']);
        let rest = self.host.strip_prefix("https://").or_else(|| self.host.strip_prefix("http://"));
        if !rest.is_some_and(is_address) {
            return Err(Fault::bad_request("kubernetes_host is no address such as https://192.0.2.1:6443"));
        }
        Ok(self.host.trim_end_matches('/').to_owned())
    }
}
