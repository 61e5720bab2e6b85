//! status: 0 unsealed, 1 an error, 2 sealed.

use dewdrop_api::{Call, Client};
use serde::{Deserialize, Serialize};

use crate::ctx::Ctx;
use crate::failure::Result;

/// `sys/seal-status`, its fields in the order in which they are printed.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct SealStatus {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    initialized: bool,
    /// Whether the server is sealed.
    #[serde(default)]
    pub sealed: bool,
    #[serde(default)]
    t: u64,
    #[serde(default)]
    n: u64,
    #[serde(default)]
    progress: u64,
    #[serde(default)]
    nonce: String,
    #[serde(default)]
    version: String,
    #[serde(default)]
    commit_date: String,
    #[serde(default)]
    migration: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cluster_name: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    cluster_id: String,
    #[serde(default)]
    recovery_seal: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    storage_type: String,
    #[serde(default)]
    build_date: String,
    #[serde(flatten)]
    leader: Leader,
}

/// `sys/leader`, as far as it is shown.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Leader {
    #[serde(default)]
    ha_enabled: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_self: bool,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    active_time: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    leader_address: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    leader_cluster_address: String,
}

/// Asks for the state of the server, and prints it.
pub async fn run(ctx: &Ctx) -> Result<u8> {
    let status = fetch(ctx).await?;
    print(ctx, &status)?;
    Ok(if status.sealed { 2 } else { 0 })
}

/// The state of the server.
pub async fn fetch(ctx: &Ctx) -> Result<SealStatus> {
    let call = Call::read("sys/seal-status")?.anonymous();
    let mut status: SealStatus = ctx.json(call).await.map_err(|e| e.doing("Error checking seal status").coded(1))?;
    status.leader = leader(ctx.client().await?).await;
    Ok(status)
}

/// A sealed server, or one that stands alone, may tell nothing.
async fn leader(client: &Client) -> Leader {
    let Ok(call) = Call::read("sys/leader") else { return Leader::default() };
    match client.send(call.anonymous()).await {
        Ok(reply) => reply.json().unwrap_or_default(),
        Err(_) => Leader::default(),
    }
}

/// Prints the state, with the leader where the server is one of several.
pub fn print(ctx: &Ctx, status: &SealStatus) -> Result<u8> {
    if let Some(name) = &ctx.out.field {
        let fields = serde_json::to_value(status).ok().and_then(|v| v.as_object().cloned()).unwrap_or_default();
        return ctx.out.field(name, &fields);
    }
    ctx.out.rows_or(&rows(status), status)
}

fn rows(status: &SealStatus) -> Vec<(String, String)> {
    let known = |text: &str| if text.is_empty() { "n/a".to_owned() } else { text.to_owned() };
    let recovery = if status.recovery_seal { "Recovery " } else { "" };
    let mut rows = vec![("Seal Type", status.kind.clone())];
    let seal_type = if status.recovery_seal { "Recovery Seal Type" } else { "" };
    if !seal_type.is_empty() {
        rows.push((seal_type, "shamir".into()));
    }
    rows.push(("Initialized", status.initialized.to_string()));
    rows.push(("Sealed", status.sealed.to_string()));
    rows.push((if recovery.is_empty() { "Total Shares" } else { "Total Recovery Shares" }, status.n.to_string()));
    rows.push(("Threshold", status.t.to_string()));
    if status.sealed {
        rows.push(("Unseal Progress", format!("{}/{}", status.progress, status.t)));
        rows.push(("Unseal Nonce", known(&status.nonce)));
    }
    if status.migration {
        rows.push(("Seal Migration in Progress", "true".into()));
    }
    rows.push(("Version", known(&status.version)));
    rows.push(("Commit Date", known(&status.commit_date)));
    rows.push(("Storage Type", known(&status.storage_type)));
    if !status.cluster_name.is_empty() {
        rows.push(("Cluster Name", status.cluster_name.clone()));
    }
    if !status.cluster_id.is_empty() {
        rows.push(("Cluster ID", status.cluster_id.clone()));
    }
    let leader = &status.leader;
    rows.push(("HA Enabled", leader.ha_enabled.to_string()));
    if leader.ha_enabled && !status.sealed {
        rows.push(("HA Cluster", known(&leader.leader_cluster_address)));
        rows.push(("HA Mode", if leader.is_self { "active" } else { "standby" }.into()));
        if leader.is_self && !leader.active_time.is_empty() && !leader.active_time.starts_with("0001-") {
            rows.push(("Active Since", leader.active_time.clone()));
        }
        if !leader.is_self && !leader.leader_address.is_empty() {
            rows.push(("Active Node Address", leader.leader_address.clone()));
        }
    }
    rows.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
