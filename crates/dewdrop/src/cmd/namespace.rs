//! namespace create, list, scan, lookup, patch, delete, lock, unlock.

use clap::{Args, Subcommand};
use dewdrop_api::{Call, Envelope};
use serde_json::{Map, Value, json};

use crate::cmd::logical;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::{note, say};

/// `dewdrop namespace`.
#[derive(Debug, Subcommand)]
pub enum Namespace {
    /// Make a namespace below the one in force
    Create(Create),
    /// List the namespaces below the one in force
    List(List),
    /// List them with all that are below them
    Scan(List),
    /// Show a namespace
    Lookup(Name),
    /// Change the custom metadata of a namespace
    Patch(Patch),
    /// Delete a namespace and all in it
    Delete(Name),
    /// Refuse all requests to a namespace and those below it
    Lock(Maybe),
    /// Let requests in again
    Unlock(Unlock),
}

/// `dewdrop namespace create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Name of the namespace
    path: String,
    /// key=value about it; may be repeated
    #[arg(long, value_name = "K=V")]
    custom_metadata: Vec<String>,
}

/// `dewdrop namespace list` and `scan`.
#[derive(Debug, Args)]
pub struct List {
    /// Show what is known about each
    #[arg(long)]
    detailed: bool,
}

/// Which namespace.
#[derive(Debug, Args)]
pub struct Name {
    /// Name of the namespace
    path: String,
}

/// Which namespace; the one in force, unless given.
#[derive(Debug, Args)]
pub struct Maybe {
    /// Name of the namespace; the one in force, unless given
    path: Option<String>,
}

/// `dewdrop namespace patch`.
#[derive(Debug, Args)]
pub struct Patch {
    /// Name of the namespace
    path: String,
    /// key=value about it; may be repeated
    #[arg(long, value_name = "K=V")]
    custom_metadata: Vec<String>,
    /// Remove this key; may be repeated
    #[arg(long, value_name = "KEY")]
    remove_custom_metadata: Vec<String>,
}

/// `dewdrop namespace unlock`.
#[derive(Debug, Args)]
pub struct Unlock {
    /// Name of the namespace; the one in force, unless given
    path: Option<String>,
    /// The key that `lock` printed; without it, sudo is needed. `-` reads it from stdin
    #[arg(long, value_name = "KEY")]
    unlock_key: Option<String>,
}

fn api(path: &str) -> String {
    format!("sys/namespaces/{}", path.trim_matches('/'))
}

impl Namespace {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Create(cmd) => {
                let body = json!({"custom_metadata": input::pairs(&cmd.custom_metadata, "-custom-metadata")?});
                shown(
                    ctx,
                    ctx.call(Call::post(&api(&cmd.path), &body)?)
                        .await
                        .map_err(|e| e.doing("Error creating namespace"))?,
                )
            }
            Self::List(cmd) => list(ctx, "list", "Error listing namespaces", cmd.detailed).await,
            Self::Scan(cmd) => list(ctx, "scan", "Error scanning namespaces", cmd.detailed).await,
            Self::Lookup(cmd) => {
                let envelope =
                    ctx.call(Call::read(&api(&cmd.path))?).await.map_err(|e| e.doing("Error looking up namespace"))?;
                let envelope = envelope.ok_or_else(|| {
                    Failure::server("Namespace not found").hint("`dewdrop namespace list` shows those there are")
                })?;
                ctx.out.envelope(&envelope)
            }
            Self::Patch(cmd) => cmd.run(ctx).await,
            Self::Delete(cmd) => delete(ctx, &cmd.path).await,
            Self::Lock(cmd) => lock(ctx, cmd.path.as_deref()).await,
            Self::Unlock(cmd) => cmd.run(ctx).await,
        }
    }
}

fn shown(ctx: &Ctx, envelope: Option<Envelope>) -> Result<u8> {
    envelope.map_or(Ok(0), |e| ctx.out.envelope(&e))
}

async fn list(ctx: &Ctx, verb: &str, doing: &str, detailed: bool) -> Result<u8> {
    let envelope =
        ctx.call(Call::read("sys/namespaces")?.with_query(verb, "true")).await.map_err(|e| e.doing(doing))?;
    logical::keys(ctx, envelope, "sys/namespaces", detailed)
}

async fn delete(ctx: &Ctx, path: &str) -> Result<u8> {
    let path = path.trim_matches('/');
    let envelope = ctx.call(Call::delete(&api(path))?).await.map_err(|e| e.doing("Error deleting namespace"))?;
    if envelope.as_ref().is_some_and(|e| e.warnings.iter().flatten().any(|w| w.contains("does not exist"))) {
        note("Requested namespace does not exist");
        return Ok(0);
    }
    ctx.out.done(&format!("Success! Namespace deletion scheduled: {path}/"))
}

fn lock_path(verb: &str, path: Option<&str>) -> String {
    let base = format!("sys/namespaces/api-lock/{verb}");
    path.map(|p| p.trim_matches('/')).filter(|p| !p.is_empty()).map_or(base.clone(), |p| format!("{base}/{p}"))
}

async fn lock(ctx: &Ctx, path: Option<&str>) -> Result<u8> {
    let envelope = ctx
        .call(Call::write(&lock_path("lock", path), &json!({}))?)
        .await
        .map_err(|e| e.doing("Error locking namespace"))?;
    let Some(envelope) = envelope else { return ctx.out.done("Namespace is now locked.") };
    if !ctx.out.is_table() || ctx.out.field.is_some() {
        return ctx.out.envelope(&envelope);
    }
    if let Some(key) = envelope.data.as_ref().and_then(|d| d.text("unlock_key")) {
        say(&format!("Unlock Key: {key}\n\n"));
        say(
            "Namespace is now locked. Please securely store the unlock key printed above.\nYou must supply the unlock key to re-enable access to the namespace.\n",
        );
        say("If the unlock key is lost, sudo capability is required to unlock the namespace without it.\n");
    }
    Ok(0)
}

impl Unlock {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut body = Map::new();
        match self.unlock_key.as_deref() {
            Some("-") => body.insert("unlock_key".into(), json!(crate::prompt::from_stdin("the unlock key")?.expose())),
            Some(key) => body.insert("unlock_key".into(), json!(key)),
            None => None,
        };
        let with_key = !body.is_empty();
        let call = Call::write(&lock_path("unlock", self.path.as_deref()), &Value::Object(body))?;
        ctx.call(call).await.map_err(|e| e.doing("Error unlocking namespace"))?;
        if with_key {
            return ctx.out.done("Namespace unlocked");
        }
        note("Namespace unlocked using sudo capabilities");
        Ok(0)
    }
}

impl Patch {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut custom = input::pairs(&self.custom_metadata, "-custom-metadata")?;
        custom.extend(self.remove_custom_metadata.iter().map(|key| (key.clone(), Value::Null)));
        let call = Call::patch(&api(&self.path), &json!({"custom_metadata": custom}))?;
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error patching namespace"))?;
        shown(ctx, envelope)
    }
}
