//! Sealing, and the barrier's keys.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Route, Routes};
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::{Flag, Int, Ttl};
use dewdrop_store::Rotation;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Sys;
use crate::seal::barrier_fault;
use crate::server::Server;
use crate::turn::Ending;
use crate::vault::Vault;

#[derive(Deserialize, JsonSchema)]
struct RotateConfigFields {
    /// Whether keys are replaced by themselves; it cannot be switched off.
    enabled: Option<Flag>,
    /// At this age.
    interval: Option<Ttl>,
    /// After so many encryptions.
    max_operations: Option<Int>,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("seal", "Seals the server.", |r| r.sudo().write("Seals", Sys::seal))
        .at("step-down", "Gives the active role up to another server over the same etcd, if there is one.", |r| {
            r.sudo().write("Steps down", Sys::step_down)
        })
        .at("key-status", "The barrier's key.", |r| r.read("The barrier's key", Sys::key_status))
        .at("rotate", "Replaces the barrier's key.", |r| r.sudo().write("Replaces the key", Sys::rotate))
        .at("rotate/keyring", "Replaces the barrier's key.", |r| r.sudo().write("Replaces the key", Sys::rotate))
        .at("rotate/config", "When the barrier's key is replaced by itself.", rotate_config)
        .at("rotate/keyring/config", "When the barrier's key is replaced by itself.", rotate_config)
}

fn rotate_config(route: Route<Sys>) -> Route<Sys> {
    route.sudo().read("Shows when", Sys::read_rotate_config).write("Says when", Sys::write_rotate_config)
}

const ROTATION: &[u8] = b"core/rotation";

/// When the barrier's key is replaced, as it is kept.
#[derive(Serialize, Deserialize)]
struct RotationRecord {
    encryptions: u64,
    age: Option<Duration>,
}

/// Puts in force what was said of the rotation of keys.
///
/// # Errors
/// The store's.
pub(super) async fn load_rotation(server: &Server, vault: &Vault) -> Result<(), Fault> {
    let stored = get_json::<RotationRecord>(&*vault.store, ROTATION).await?;
    let rotation = stored.map_or_else(Rotation::default, |(r, _)| Rotation { encryptions: r.encryptions, age: r.age });
    server.barrier.set_rotation(rotation);
    Ok(())
}

const LEAST_OPERATIONS: i64 = 1_000_000;
const MOST_OPERATIONS: i64 = 3_865_470_566;

impl Sys {
    async fn seal(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        self.server()?.turns.end_with(&call.request_id, Ending::Seal);
        Ok(Reply::nothing())
    }

    async fn step_down(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        self.server()?.turns.end_with(&call.request_id, Ending::StepDown);
        Ok(Reply::nothing())
    }

    async fn key_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let status = self.server()?.barrier.key_status()?;
        Reply::of(&json!({
            "term": status.term,
            "install_time": status.created.rfc3339(),
            "encryptions": status.encryptions,
        }))
    }

    async fn rotate(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        self.server()?.barrier.rotate().await.map_err(barrier_fault)?;
        Ok(Reply::nothing())
    }

    async fn read_rotate_config(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let rotation = self.server()?.barrier.rotation();
        Reply::of(&json!({
            "enabled": true,
            "interval": rotation.age.map_or(json!(0), |age| json!(in_units(age))),
            "max_operations": rotation.encryptions,
        }))
    }

    async fn write_rotate_config(self: Arc<Self>, _: Call, fields: RotateConfigFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        if fields.enabled.is_some_and(|flag| !flag.0) {
            return Err(Fault::bad_request(
                "automatic rotation cannot be switched off: a key that encrypts too often is no longer safe",
            ));
        }
        let server = self.server()?;
        let mut rotation: Rotation = server.barrier.rotation();
        if let Some(Ttl(interval)) = fields.interval {
            if !interval.is_zero() && interval.as_secs() < 24 * 3600 {
                return Err(Fault::bad_request("interval must be greater or equal to 24h0m0s"));
            }
            rotation.age = Some(interval).filter(|i| !i.is_zero());
        }
        if let Some(Int(operations)) = fields.max_operations {
            if !(LEAST_OPERATIONS..=MOST_OPERATIONS).contains(&operations) {
                return Err(Fault::bad_request(format!(
                    "max_operations must be in the range [{LEAST_OPERATIONS},{MOST_OPERATIONS}]"
                )));
            }
            rotation.encryptions = u64::try_from(operations).unwrap_or(rotation.encryptions);
        }
        let record = RotationRecord { encryptions: rotation.encryptions, age: rotation.age };
        self.vault()?.store.commit(Batch::new().put_json(ROTATION, &record)?).await?;
        server.barrier.set_rotation(rotation);
        Ok(Reply::nothing())
    }
}

/// As the API prints a length of time: `48h0m0s`.
fn in_units(time: Duration) -> String {
    let seconds = time.as_secs();
    format!("{}h{}m{}s", seconds / 3600, seconds / 60 % 60, seconds % 60)
}
