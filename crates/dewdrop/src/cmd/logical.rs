//! The plain verbs: read, list, scan, write, patch, delete, unwrap.

use clap::Args;
use dewdrop_api::{Call, Envelope};
use serde_json::{Map, Value};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{Format, say, table, value, warn_all};
use crate::{input, prompt};

/// `dewdrop read`.
#[derive(Debug, Args)]
pub struct Read {
    /// Path to read, such as database/creds/app
    pub path: String,
    /// Query parameters, as key=value
    #[arg(value_name = "K=V")]
    pub data: Vec<String>,
}

/// `dewdrop list` and `dewdrop scan`.
#[derive(Debug, Args)]
pub struct List {
    /// Path to list
    pub path: String,
    /// Start after this key
    #[arg(long, value_name = "KEY")]
    pub after: Option<String>,
    /// Return at most so many keys
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub limit: Option<i64>,
    /// Show what the server tells about each key
    #[arg(long)]
    pub detailed: bool,
}

/// `dewdrop write` and `dewdrop patch`.
#[derive(Debug, Args)]
pub struct Write {
    /// Path to write to
    pub path: String,
    /// key=value, key=@file, key=- (stdin), @file.json, or - (JSON from stdin)
    #[arg(value_name = "K=V")]
    pub data: Vec<String>,
    /// Write without any data
    #[arg(long, short)]
    pub force: bool,
}

/// `dewdrop delete`.
#[derive(Debug, Args)]
pub struct Delete {
    /// Path to delete
    pub path: String,
    /// Query parameters, as key=value
    #[arg(value_name = "K=V")]
    pub data: Vec<String>,
}

/// `dewdrop unwrap`.
#[derive(Debug, Args)]
pub struct Unwrap {
    /// The wrapping token, or - for stdin; without one, the token in force is unwrapped
    pub token: Option<String>,
}

impl Read {
    /// Reads a path.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let call = with_query(Call::read(&self.path)?, &self.data)?;
        let path = call.path().to_owned();
        let reading = format!("Error reading {path}");
        if ctx.out.format == Format::Raw {
            let reply = ctx.raw(call.wrapped(ctx.settings.wrap_ttl.as_deref())).await.map_err(|e| e.doing(&reading))?;
            say(&String::from_utf8_lossy(reply.expose()));
            return Ok(if reply.status == 404 { 2 } else { 0 });
        }
        match ctx.call(call).await.map_err(|e| e.doing(&reading))? {
            Some(envelope) => ctx.out.envelope(&envelope),
            None => Err(nothing_at(&path)),
        }
    }
}

/// What is said when a path holds nothing.
pub fn nothing_at(path: &str) -> Failure {
    Failure::server(format!("No value found at {path}"))
}

fn with_query(mut call: Call, data: &[String]) -> Result<Call> {
    for (key, value) in input::fields(data)? {
        match value {
            Value::Array(items) => {
                for item in items {
                    call = call.with_query(&key, &value::plain(&item));
                }
            }
            one => call = call.with_query(&key, &value::plain(&one)),
        }
    }
    Ok(call)
}

impl List {
    /// Lists a path (`list`), or all below it (`scan`).
    pub async fn run(self, ctx: &Ctx, verb: &str) -> Result<u8> {
        let doing = if verb == "scan" { "Error scanning" } else { "Error listing" };
        let mut call = Call::read(&self.path)?.with_query(verb, "true");
        if let Some(after) = &self.after {
            call = call.with_query("after", after);
        }
        if let Some(limit) = self.limit {
            call = call.with_query("limit", &limit.to_string());
        }
        let path = call.path().to_owned();
        let envelope = ctx.call(call).await.map_err(|e| e.doing(&format!("{doing} {path}")))?;
        keys(ctx, envelope, &path, self.detailed)
    }
}

/// Prints the keys of a list reply.
pub fn keys(ctx: &Ctx, envelope: Option<Envelope>, path: &str, detailed: bool) -> Result<u8> {
    let Some(envelope) =
        envelope.filter(|e| e.wrap_info.is_some() || e.data.as_ref().is_some_and(|d| d.expose().contains_key("keys")))
    else {
        if ctx.out.is_table() {
            return Err(nothing_at(path));
        }
        say("{}\n");
        return Ok(2);
    };
    let Some(data) = envelope.data.as_ref().filter(|_| envelope.wrap_info.is_none()) else {
        return ctx.out.envelope(&envelope);
    };
    if ctx.out.field.is_some() {
        return ctx.out.envelope(&envelope);
    }
    let mut keys = data.list("keys");
    keys.sort();
    let info = data.expose().get("key_info").and_then(Value::as_object).filter(|_| detailed);
    match (ctx.out.format, info) {
        (Format::Table | Format::Raw, Some(info)) => say(&detailed_table(&keys, info)),
        (Format::Table | Format::Raw, None) => {
            say(&table::columns(Some(&["Keys"]), &keys.iter().map(|k| vec![k.clone()]).collect::<Vec<_>>()))
        }
        (_, Some(info)) => {
            ctx.out.structured(info)?;
        }
        (_, None) => {
            ctx.out.structured(&keys)?;
        }
    }
    if ctx.out.is_table() {
        warn_all(&envelope);
    }
    Ok(0)
}

fn detailed_table(keys: &[String], info: &Map<String, Value>) -> String {
    let mut names: Vec<String> = info.values().filter_map(Value::as_object).flat_map(|i| i.keys().cloned()).collect();
    names.sort();
    names.dedup();
    let mut heading = vec!["Keys"];
    heading.extend(names.iter().map(String::as_str));
    let cell = |key: &str, name: &str| {
        info.get(key).and_then(|i| i.get(name)).map_or_else(|| "n/a".to_owned(), |v| value::cell(name, v))
    };
    let rows: Vec<Vec<String>> = keys
        .iter()
        .map(|key| std::iter::once(key.clone()).chain(names.iter().map(|n| cell(key, n))).collect())
        .collect();
    table::columns(Some(&heading), &rows)
}

impl Write {
    /// Writes (`PUT`), or changes the fields that are given (`PATCH`).
    pub async fn run(self, ctx: &Ctx, patch: bool) -> Result<u8> {
        let data = input::fields(&self.data)?;
        if data.is_empty() && !self.force {
            return Err(
                Failure::usage("Must supply data or use -force").hint("data is written as key=value after the path")
            );
        }
        let body = Value::Object(data);
        let call = if patch { Call::patch(&self.path, &body)? } else { Call::write(&self.path, &body)? };
        let path = call.path().to_owned();
        let envelope = ctx.call(call).await.map_err(|e| e.doing(&format!("Error writing data to {path}")))?;
        written(ctx, envelope, &path)
    }
}

/// Prints what came back from a write, or that it is done.
pub fn written(ctx: &Ctx, envelope: Option<Envelope>, path: &str) -> Result<u8> {
    match envelope {
        Some(envelope) => {
            if ctx.out.is_table() && envelope.data.is_none() && envelope.auth.is_none() && envelope.wrap_info.is_none()
            {
                ctx.out.done(&format!("Success! Data written to: {path}"))?;
            }
            ctx.out.envelope(&envelope)
        }
        None => ctx.out.done(&format!("Success! Data written to: {path}")),
    }
}

impl Delete {
    /// Deletes a path.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let call = with_query(Call::delete(&self.path)?, &self.data)?;
        let path = call.path().to_owned();
        let envelope = ctx.call(call).await.map_err(|e| e.doing(&format!("Error deleting {path}")))?;
        deleted(ctx, envelope, &path)
    }
}

/// Prints that something is gone.
pub fn deleted(ctx: &Ctx, envelope: Option<Envelope>, path: &str) -> Result<u8> {
    if let Some(envelope) = envelope.filter(|e| e.data.is_some() || e.warnings.is_some()) {
        ctx.out.done(&format!("Success! Data deleted (if it existed) at: {path}"))?;
        return ctx.out.envelope(&envelope);
    }
    ctx.out.done(&format!("Success! Data deleted (if it existed) at: {path}"))
}

impl Unwrap {
    /// Fetches what a wrapping token holds.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let given = match self.token.as_deref() {
            Some("-") => Some(prompt::from_stdin("the wrapping token")?),
            other => other.map(Into::into),
        };
        // The wrapping token is its own credential; this way the caller needs no other.
        let token = match given {
            Some(token) => token,
            None => ctx.token()?,
        };
        let call = Call::write("sys/wrapping/unwrap", &Value::Object(Map::new()))?.with_token(&token);
        let envelope = ctx.call(call).await.map_err(|e| {
            e.doing("Error unwrapping").hint("a wrapping token works once and for a short time; if somebody else has used it, what it held must be replaced")
        })?;
        match envelope {
            Some(envelope) => ctx.out.envelope(&envelope),
            None => Err(Failure::server("Could not find wrapped response")),
        }
    }
}
