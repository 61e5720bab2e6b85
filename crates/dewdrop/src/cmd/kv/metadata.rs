//! kv metadata get, put, patch, delete.

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use super::data::rows;
use super::{Place, print_path};
use crate::cmd::logical;
use crate::ctx::Ctx;
use crate::failure::Result;
use crate::output::{say, table, warn_all};
use crate::{duration, input};

/// `dewdrop kv metadata`.
#[derive(Debug, Subcommand)]
pub enum Metadata {
    /// Print what is known about a key and each of its versions
    Get(Get),
    /// Set the limits and custom metadata of a key
    Put(Put),
    /// Change some of them
    Patch(Patch),
    /// Delete a key with all its versions, for good
    Delete(Delete),
}

/// `dewdrop kv metadata get`.
#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    place: Place,
}

/// `dewdrop kv metadata delete`.
#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    place: Place,
}

/// The limits that can be set.
#[derive(Debug, Args)]
struct Limits {
    /// Keep so many versions; 0: as the mount says
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    max_versions: Option<i64>,
    /// Writes must say which version they replace
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    cas_required: Option<bool>,
    /// Delete each version after so long
    #[arg(long, value_name = "DURATION")]
    delete_version_after: Option<String>,
    /// key=value about the key; may be repeated
    #[arg(long, value_name = "K=V")]
    custom_metadata: Vec<String>,
}

/// `dewdrop kv metadata put`.
#[derive(Debug, Args)]
pub struct Put {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    limits: Limits,
}

/// `dewdrop kv metadata patch`.
#[derive(Debug, Args)]
pub struct Patch {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    limits: Limits,
    /// Remove this key of the custom metadata; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_custom_metadata: Vec<String>,
}

impl Metadata {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Get(cmd) => cmd.run(ctx).await,
            Self::Put(Put { place, limits }) => {
                let body = Value::Object(limits.body()?);
                send(ctx, &place, |path| Call::write(path, &body)).await
            }
            Self::Patch(Patch { place, limits, remove_custom_metadata }) => {
                let mut body = limits.body()?;
                if !remove_custom_metadata.is_empty() {
                    let custom = body.entry("custom_metadata").or_insert_with(|| json!({}));
                    for key in remove_custom_metadata {
                        custom[key] = Value::Null;
                    }
                }
                send(ctx, &place, |path| Call::patch(path, &Value::Object(body))).await
            }
            Self::Delete(cmd) => cmd.run(ctx).await,
        }
    }
}

impl Limits {
    fn body(&self) -> Result<Map<String, Value>> {
        let mut body = Map::new();
        if let Some(count) = self.max_versions.filter(|c| *c >= 0) {
            body.insert("max_versions".into(), json!(count));
        }
        if let Some(required) = self.cas_required {
            body.insert("cas_required".into(), json!(required));
        }
        if let Some(after) = &self.delete_version_after {
            body.insert("delete_version_after".into(), json!(duration::for_api(after)?));
        }
        if !self.custom_metadata.is_empty() {
            body.insert(
                "custom_metadata".into(),
                Value::Object(input::pairs(&self.custom_metadata, "-custom-metadata")?),
            );
        }
        Ok(body)
    }
}

async fn send(
    ctx: &Ctx,
    place: &Place,
    call: impl FnOnce(&str) -> std::result::Result<Call, dewdrop_api::Error>,
) -> Result<u8> {
    let found = place.find(ctx).await?;
    found.need_key()?;
    found.need_v2("metadata")?;
    let path = found.api("metadata");
    let envelope = ctx.call(call(&path)?).await.map_err(|e| e.doing(&format!("Error writing data to {path}")))?;
    logical::written(ctx, envelope, &path)
}

impl Get {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let found = self.place.find(ctx).await?;
        found.need_key()?;
        found.need_v2("metadata")?;
        let path = found.api("metadata");
        let envelope = ctx.call(Call::read(&path)?).await.map_err(|e| e.doing(&format!("Error reading {path}")))?;
        let envelope = envelope.ok_or_else(|| logical::nothing_at(&path))?;
        if !ctx.out.is_table() || ctx.out.field.is_some() || envelope.wrap_info.is_some() {
            return ctx.out.envelope(&envelope);
        }
        print_path("Metadata Path", &path);
        let Some(data) = &envelope.data else { return Ok(0) };
        let mut own = data.expose().clone();
        let versions = own.remove("versions");
        say(&table::titled("Metadata", &rows(&own)));
        let mut versions: Vec<(u64, Map<String, Value>)> = versions
            .as_ref()
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .filter_map(|(number, about)| Some((number.parse().ok()?, about.as_object()?.clone())))
            .collect();
        versions.sort_by_key(|(number, _)| *number);
        for (number, about) in versions {
            say(&format!("\n{}", table::titled(&format!("Version {number}"), &rows(&about))));
        }
        warn_all(&envelope);
        Ok(0)
    }
}

impl Delete {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let found = self.place.find(ctx).await?;
        found.need_key()?;
        found.need_v2("metadata")?;
        let path = found.api("metadata");
        let envelope = ctx.call(Call::delete(&path)?).await.map_err(|e| e.doing(&format!("Error deleting {path}")))?;
        logical::deleted(ctx, envelope, &path)
    }
}
