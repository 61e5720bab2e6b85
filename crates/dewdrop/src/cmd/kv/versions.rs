//! kv delete, undelete, destroy, rollback.

use clap::Args;
use dewdrop_api::Call;
use serde_json::{Value, json};

use super::{Place, version_list};
use crate::cmd::logical;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

/// `dewdrop kv delete`.
#[derive(Debug, Args)]
pub struct Delete {
    #[command(flatten)]
    place: Place,
    /// Delete these versions, not the newest (v2)
    #[arg(long, value_name = "NUMBERS")]
    versions: Vec<String>,
}

/// `dewdrop kv undelete`.
#[derive(Debug, Args)]
pub struct Undelete {
    #[command(flatten)]
    place: Place,
    /// The versions to bring back
    #[arg(long, value_name = "NUMBERS")]
    versions: Vec<String>,
}

/// `dewdrop kv destroy`.
#[derive(Debug, Args)]
pub struct Destroy {
    #[command(flatten)]
    place: Place,
    /// The versions to remove for good
    #[arg(long, value_name = "NUMBERS")]
    versions: Vec<String>,
}

/// `dewdrop kv rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    #[command(flatten)]
    place: Place,
    /// The version to make the newest
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
}

impl Delete {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let versions = version_list(&self.versions)?;
        let found = self.place.find(ctx).await?;
        found.need_key()?;
        let path = found.api("data");
        let call = match versions.as_slice() {
            [] => Call::delete(&path)?,
            some => {
                found.need_v2("versions")?;
                Call::write(&found.api("delete"), &json!({"versions": some}))?
            }
        };
        let envelope = ctx.call(call).await.map_err(|e| e.doing(&format!("Error deleting {path}")))?;
        logical::deleted(ctx, envelope, &path)
    }
}

impl Undelete {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        act(ctx, &self.place, &self.versions, "undelete").await
    }
}

impl Destroy {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        act(ctx, &self.place, &self.versions, "destroy").await
    }
}

async fn act(ctx: &Ctx, place: &Place, versions: &[String], verb: &str) -> Result<u8> {
    let versions = version_list(versions)?;
    if versions.is_empty() {
        return Err(Failure::usage(format!(
            "No versions provided, use the \"-versions\" flag to specify the version to {verb}."
        )));
    }
    let found = place.find(ctx).await?;
    found.need_key()?;
    found.need_v2(verb)?;
    let path = found.api(verb);
    let envelope = ctx
        .call(Call::write(&path, &json!({"versions": versions}))?)
        .await
        .map_err(|e| e.doing(&format!("Error writing data to {path}")))?;
    logical::written(ctx, envelope, &path)
}

impl Rollback {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let version = self
            .version
            .filter(|v| *v > 0)
            .ok_or_else(|| Failure::usage("Version flag must be specified").hint("for instance -version=2"))?;
        let found = self.place.find(ctx).await?;
        found.need_key()?;
        found.need_v2("rollback")?;
        let path = found.api("data");
        // The newest version guards the write: whoever writes in between makes it fail, not vanish.
        let newest = ctx
            .ask(Call::read(&path)?)
            .await
            .map_err(|e| e.doing("Error doing pre-read"))?
            .ok_or_else(|| logical::nothing_at(&path))?;
        let current = number_of(&newest).ok_or_else(|| Failure::server(format!("{path} tells no current version")))?;
        let old = ctx
            .ask(Call::read(&path)?.with_query("version", &version.to_string()))
            .await
            .map_err(|e| e.doing("Error doing pre-read"))?
            .and_then(|e| e.data)
            .ok_or_else(|| Failure::server(format!("version {version} of {path} does not exist")))?;
        let data = old.expose().get("data").filter(|d| d.is_object()).ok_or_else(|| {
            Failure::server(format!("version {version} of {path} is deleted or destroyed"))
                .hint(format!("`dewdrop kv undelete -versions={version}` brings a deleted one back"))
        })?;
        let body = json!({"data": data, "options": {"cas": current}});
        let envelope = ctx
            .call(Call::write(&path, &body)?)
            .await
            .map_err(|e| e.doing(&format!("Error writing data to {path}")))?;
        logical::written(ctx, envelope, &path)
    }
}

fn number_of(envelope: &dewdrop_api::Envelope) -> Option<u64> {
    envelope.data.as_ref()?.expose().get("metadata")?.get("version").and_then(Value::as_u64)
}
