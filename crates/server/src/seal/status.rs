//! `sys/seal-status` and `sys/health`.

use dewdrop_core::Fault;
use serde_json::{Value, json};

use super::SealConfig;
use crate::server::Server;

/// The version that is shown.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The body of `sys/seal-status`.
///
/// # Errors
/// The store's.
pub async fn seal_status(server: &Server) -> Result<Value, Fault> {
    let config = SealConfig::load(&*server.store).await?;
    let ceremonies = server.ceremonies.lock().await;
    let unsealing = &ceremonies.unsealing;
    let kind = config.as_ref().map_or_else(|| seal_kind(server), |c| c.kind.clone());
    let mut status = json!({
        "type": kind,
        "initialized": config.is_some(),
        "sealed": server.is_sealed(),
        "t": config.as_ref().map_or(0, |c| c.threshold),
        "n": config.as_ref().map_or(0, |c| c.shares),
        "progress": unsealing.progress(),
        "nonce": unsealing.nonce,
        "recovery_seal": !server.auto_seals.is_empty(),
        "version": VERSION,
        "commit_date": "",
        "migration": false,
        "storage_type": server.settings.storage_type,
    });
    if let (Some(config), false, Some(fields)) = (&config, server.is_sealed(), status.as_object_mut()) {
        fields.insert("cluster_name".into(), config.cluster_name.clone().into());
        fields.insert("cluster_id".into(), config.cluster_id.clone().into());
    }
    Ok(status)
}

fn seal_kind(server: &Server) -> String {
    server.auto_seals.first().map_or("shamir", |seal| seal.kind()).to_owned()
}

/// Body and status of `sys/health`: 200 serving, 429 standing by, 501 not initialized, 503 sealed, unless the caller names others.
///
/// # Errors
/// The store's.
pub async fn health(server: &Server, codes: &HealthCodes) -> Result<(u16, Value), Fault> {
    let config = SealConfig::load(&*server.store).await?;
    let sealed = server.is_sealed();
    let standby = server.turns.leader().is_some();
    let status = match (&config, sealed) {
        (None, _) => codes.uninit,
        (_, true) => codes.sealed,
        _ if standby => codes.standby,
        _ => codes.active,
    };
    let mut body = json!({
        "initialized": config.is_some(),
        "sealed": sealed,
        "standby": sealed || standby,
        "replication_performance_mode": if sealed { "unknown" } else { "disabled" },
        "replication_dr_mode": if sealed { "unknown" } else { "disabled" },
        "server_time_utc": server.clock().now().seconds(),
        "version": VERSION,
        "performance_standby": false,
    });
    if let (Some(config), false, Some(fields)) = (&config, sealed, body.as_object_mut()) {
        fields.insert("cluster_name".into(), config.cluster_name.clone().into());
        fields.insert("cluster_id".into(), config.cluster_id.clone().into());
    }
    Ok((status, body))
}

/// The statuses that a caller wants.
#[derive(Debug, Clone, Copy)]
pub struct HealthCodes {
    /// Serving.
    pub active: u16,
    /// Another server serves.
    pub standby: u16,
    /// Sealed.
    pub sealed: u16,
    /// Not initialized.
    pub uninit: u16,
}
