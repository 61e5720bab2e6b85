//! kv get, put, patch, list.

use clap::Args;
use dewdrop_api::{Call, Envelope};
use serde_json::{Map, Value, json};

use super::{Found, Place, print_path};
use crate::cmd::logical;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::{say, table, value, warn_all};

/// `dewdrop kv get`.
#[derive(Debug, Args)]
pub struct Get {
    #[command(flatten)]
    place: Place,
    /// Read this version, not the newest (v2)
    #[arg(long, value_name = "NUMBER")]
    version: Option<u64>,
}

/// `dewdrop kv put`.
#[derive(Debug, Args)]
pub struct Put {
    #[command(flatten)]
    place: Place,
    /// key=value, key=@file, key=-, @file.json or -
    #[arg(value_name = "K=V")]
    data: Vec<String>,
    /// Write only if this is the newest version; 0: only if the key does not exist (v2)
    #[arg(long, value_name = "VERSION", allow_negative_numbers = true)]
    cas: Option<i64>,
}

/// `dewdrop kv patch`.
#[derive(Debug, Args)]
pub struct Patch {
    #[command(flatten)]
    place: Place,
    /// key=value, key=@file, key=-, @file.json or -
    #[arg(value_name = "K=V")]
    data: Vec<String>,
    /// Change only if this is the newest version
    #[arg(long, value_name = "VERSION", allow_negative_numbers = true)]
    cas: Option<i64>,
    /// patch: ask the server to change it; rw: read, change here, write. Default: patch, then rw where the policy forbids it
    #[arg(long, value_parser = ["patch", "rw"])]
    method: Option<String>,
    /// Remove this field; may be repeated
    #[arg(long, value_name = "FIELD")]
    remove_data: Vec<String>,
}

/// `dewdrop kv list` and `dewdrop kv scan`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    place: Place,
}

impl Get {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let found = self.place.find(ctx).await?;
        found.need_key()?;
        let path = found.api("data");
        let mut call = Call::read(&path)?;
        if let Some(version) = self.version.filter(|_| found.v2) {
            call = call.with_query("version", &version.to_string());
        }
        let envelope = ctx.call(call).await.map_err(|e| e.doing(&format!("Error reading {path}")))?;
        let envelope = envelope.ok_or_else(|| logical::nothing_at(&path))?;
        if envelope.wrap_info.is_some() {
            return ctx.out.envelope(&envelope);
        }
        if found.v2 { print_v2(ctx, &path, &envelope) } else { print_v1(ctx, &envelope) }
    }
}

fn print_v1(ctx: &Ctx, envelope: &Envelope) -> Result<u8> {
    if ctx.out.field.is_some() || !ctx.out.is_table() {
        return ctx.out.envelope(envelope);
    }
    if let Some(data) = &envelope.data {
        say(&table::titled("Data", &rows(data.expose())));
    }
    warn_all(envelope);
    Ok(0)
}

fn print_v2(ctx: &Ctx, path: &str, envelope: &Envelope) -> Result<u8> {
    let outer = envelope.data.as_ref().map(|d| d.expose());
    let data = outer.and_then(|d| d.get("data")).and_then(Value::as_object);
    if let Some(field) = &ctx.out.field {
        let mut fields = data.cloned().unwrap_or_default();
        fields.entry("data").or_insert_with(|| Value::Object(data.cloned().unwrap_or_default()));
        return ctx.out.field(field, &fields);
    }
    if !ctx.out.is_table() {
        return ctx.out.envelope(envelope);
    }
    print_path("Secret Path", path);
    if let Some(metadata) = outer.and_then(|d| d.get("metadata")).and_then(Value::as_object) {
        say(&format!("{}\n", table::titled("Metadata", &rows(metadata))));
    }
    if let Some(data) = data {
        say(&table::titled("Data", &rows(data)));
    }
    warn_all(envelope);
    Ok(0)
}

pub(super) fn rows(fields: &Map<String, Value>) -> Vec<(String, String)> {
    let mut rows: Vec<_> = fields.iter().map(|(k, v)| (k.clone(), value::cell(k, v))).collect();
    rows.sort();
    rows
}

impl Put {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let data = input::fields(&self.data)?;
        if data.is_empty() {
            return Err(Failure::usage("Must supply data").hint("data is written as key=value after the key"));
        }
        let found = self.place.find(ctx).await?;
        found.need_key()?;
        let path = found.api("data");
        let body = if found.v2 { versioned(data, self.cas.filter(|c| *c >= 0)) } else { Value::Object(data) };
        let envelope = ctx
            .call(Call::write(&path, &body)?)
            .await
            .map_err(|e| e.doing(&format!("Error writing data to {path}")))?;
        finish(ctx, &found, envelope, &path)
    }
}

fn versioned(data: Map<String, Value>, cas: Option<i64>) -> Value {
    match cas {
        Some(cas) => json!({"data": data, "options": {"cas": cas}}),
        None => json!({"data": data}),
    }
}

/// Prints the metadata of a new version.
fn finish(ctx: &Ctx, found: &Found, envelope: Option<Envelope>, path: &str) -> Result<u8> {
    match envelope {
        Some(envelope) if found.v2 && ctx.out.is_table() && ctx.out.field.is_none() && envelope.wrap_info.is_none() => {
            print_path("Secret Path", path);
            if let Some(data) = &envelope.data {
                say(&table::titled("Metadata", &rows(data.expose())));
            }
            warn_all(&envelope);
            Ok(0)
        }
        other => logical::written(ctx, other, path),
    }
}

impl Patch {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut data = input::fields(&self.data)?;
        // A merge patch removes what it sets to null.
        data.extend(self.remove_data.iter().map(|field| (field.clone(), Value::Null)));
        if data.is_empty() {
            return Err(Failure::usage("Must supply data")
                .hint("fields to change are written as key=value, fields to remove as -remove-data=key"));
        }
        let found = self.place.find(ctx).await?;
        found.need_key()?;
        found.need_v2("patch")?;
        let path = found.api("data");
        let cas = self.cas.filter(|c| *c > 0);
        if self.method.as_deref() == Some("rw") {
            return self.read_write(ctx, &found, &path, data).await;
        }
        match ctx.call(Call::patch(&path, &versioned(data.clone(), cas))?).await {
            Ok(Some(envelope)) => finish(ctx, &found, Some(envelope), &path),
            Ok(None) => Err(logical::nothing_at(&path).hint("`dewdrop kv put` makes it")),
            Err(e) if self.method.is_none() && e.is_forbidden_or_unsupported() => {
                self.read_write(ctx, &found, &path, data).await
            }
            Err(e) => Err(e.doing(&format!("Error writing data to {path}"))),
        }
    }

    async fn read_write(&self, ctx: &Ctx, found: &Found, path: &str, change: Map<String, Value>) -> Result<u8> {
        let envelope = ctx.ask(Call::read(path)?).await.map_err(|e| e.doing("Error doing pre-read"))?;
        let outer = envelope.and_then(|e| e.data).ok_or_else(|| logical::nothing_at(path))?;
        let object = |name: &str| outer.expose().get(name).and_then(Value::as_object);
        let mut data = object("data").cloned().ok_or_else(|| logical::nothing_at(path))?;
        let version = object("metadata").and_then(|m| m.get("version")).and_then(Value::as_i64);
        for (field, value) in change {
            if value.is_null() {
                data.remove(&field)
            } else {
                data.insert(field, value)
            };
        }
        let body = versioned(data, self.cas.filter(|c| *c > 0).or(version));
        let envelope =
            ctx.call(Call::write(path, &body)?).await.map_err(|e| e.doing(&format!("Error writing data to {path}")))?;
        finish(ctx, found, envelope, path)
    }
}

impl List {
    pub(super) async fn run(self, ctx: &Ctx, verb: &str) -> Result<u8> {
        let found = self.place.find(ctx).await?;
        let path = found.api("metadata");
        let path = path.trim_end_matches('/');
        let doing = if verb == "scan" { "Error scanning" } else { "Error listing" };
        let envelope = ctx
            .call(Call::read(path)?.with_query(verb, "true"))
            .await
            .map_err(|e| e.doing(&format!("{doing} {path}")))?;
        logical::keys(ctx, envelope, path, false)
    }
}
