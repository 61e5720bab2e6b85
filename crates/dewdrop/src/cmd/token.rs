//! token create, lookup, renew, revoke, capabilities.

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;
use crate::{duration, input};

/// `dewdrop token`.
#[derive(Debug, Subcommand)]
pub enum Token {
    /// Make a token, as a child of the one in force
    Create(Box<Create>),
    /// Show what is known about a token
    Lookup(Lookup),
    /// Extend the life of a token
    Renew(Renew),
    /// Revoke a token, its children and what they leased
    Revoke(Revoke),
    /// Show what a token may do with a path
    Capabilities(Capabilities),
}

/// `dewdrop token create`.
#[derive(Debug, Args)]
pub struct Create {
    /// Policy of the token; may be repeated
    #[arg(long, value_name = "NAME")]
    policy: Vec<String>,
    /// How long it lives unless renewed
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// How long it lives at most, however often renewed
    #[arg(long, value_name = "DURATION")]
    explicit_max_ttl: Option<String>,
    /// Each renewal gives it so long, without an end (needs sudo)
    #[arg(long, value_name = "DURATION")]
    period: Option<String>,
    /// How often it can be used
    #[arg(long, value_name = "COUNT")]
    use_limit: Option<u64>,
    /// Make it without a parent (needs sudo)
    #[arg(long)]
    orphan: bool,
    /// Leave the default policy out
    #[arg(long)]
    no_default_policy: bool,
    /// Whether it can be renewed
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "true")]
    renewable: bool,
    /// key=value to keep with it and show in the audit log; may be repeated
    #[arg(long, value_name = "K=V")]
    metadata: Vec<String>,
    /// Name in the audit log and in lists
    #[arg(long, value_name = "NAME")]
    display_name: Option<String>,
    /// Make it by this token role
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// service or batch
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// The entity alias to tie it to (with -role)
    #[arg(long, value_name = "NAME")]
    entity_alias: Option<String>,
    /// The token's own text (needs sudo; shows in the process list)
    #[arg(long, value_name = "TOKEN")]
    id: Option<String>,
}

/// `dewdrop token lookup`.
#[derive(Debug, Args)]
pub struct Lookup {
    /// Token, or accessor with -accessor; without one, the token in force
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long)]
    accessor: bool,
}

/// `dewdrop token renew`.
#[derive(Debug, Args)]
pub struct Renew {
    /// Token, or accessor with -accessor; without one, the token in force
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long)]
    accessor: bool,
    /// Ask for so much time
    #[arg(long, short, value_name = "DURATION")]
    increment: Option<String>,
}

/// `dewdrop token revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Token, or accessor with -accessor
    token: Option<String>,
    /// The argument is an accessor
    #[arg(long)]
    accessor: bool,
    /// Revoke the token in force
    #[arg(long = "self")]
    own: bool,
    /// orphan: leave the children; path: all tokens of the auth path that is given
    #[arg(long, value_parser = ["orphan", "path"])]
    mode: Option<String>,
}

/// `dewdrop token capabilities`.
#[derive(Debug, Args)]
pub struct Capabilities {
    /// [TOKEN] PATH
    #[arg(required = true, num_args = 1..=2, value_name = "[TOKEN] PATH")]
    given: Vec<String>,
    /// The first argument is an accessor
    #[arg(long)]
    accessor: bool,
}

impl Token {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Create(cmd) => cmd.run(ctx).await,
            Self::Lookup(cmd) => cmd.run(ctx).await,
            Self::Renew(cmd) => cmd.run(ctx).await,
            Self::Revoke(cmd) => cmd.run(ctx).await,
            Self::Capabilities(cmd) => cmd.run(ctx).await,
        }
    }
}

impl Create {
    async fn run(&self, ctx: &Ctx) -> Result<u8> {
        let path = match (&self.role, self.orphan) {
            (Some(role), _) => format!("auth/token/create/{role}"),
            (None, true) => "auth/token/create-orphan".to_owned(),
            (None, false) => "auth/token/create".to_owned(),
        };
        let call =
            Call::post(&path, &Value::Object(self.body()?))?.wrapped(ctx.settings.wrap_ttl_for_tokens()?.as_deref());
        ctx.show(&call).await?;
        let envelope = ctx.ask(call).await.map_err(|e| e.doing("Error creating token"))?;
        envelope.map_or_else(|| Err(Failure::server("the server made no token")), |e| ctx.out.envelope(&e))
    }

    fn body(&self) -> Result<Map<String, Value>> {
        let mut body = Map::new();
        body.insert("renewable".into(), json!(self.renewable));
        if !self.policy.is_empty() {
            let names: Vec<&str> = self.policy.iter().flat_map(|p| p.split(',')).map(str::trim).collect();
            body.insert("policies".into(), json!(names));
        }
        for (name, time) in [("ttl", &self.ttl), ("explicit_max_ttl", &self.explicit_max_ttl), ("period", &self.period)]
        {
            if let Some(time) = time {
                body.insert(name.into(), json!(duration::for_api(time)?));
            }
        }
        for (name, text) in [
            ("display_name", &self.display_name),
            ("type", &self.kind),
            ("entity_alias", &self.entity_alias),
            ("id", &self.id),
        ] {
            if let Some(text) = text {
                body.insert(name.into(), json!(text));
            }
        }
        if let Some(count) = self.use_limit {
            body.insert("num_uses".into(), json!(count));
        }
        if self.no_default_policy {
            body.insert("no_default_policy".into(), json!(true));
        }
        if self.orphan {
            body.insert("no_parent".into(), json!(true));
        }
        if !self.metadata.is_empty() {
            body.insert("meta".into(), Value::Object(input::pairs(&self.metadata, "-metadata")?));
        }
        Ok(body)
    }
}

/// `auth/token/VERB` for a token, `VERB-accessor` for an accessor, `VERB-self` for the one in force.
fn aimed(verb: &str, token: Option<&str>, accessor: bool) -> Result<(String, Map<String, Value>)> {
    let mut body = Map::new();
    let suffix = match (token, accessor) {
        (Some(token), false) => {
            body.insert("token".into(), json!(token));
            ""
        }
        (Some(text), true) => {
            body.insert("accessor".into(), json!(text));
            "-accessor"
        }
        (None, false) => "-self",
        (None, true) => return Err(Failure::usage("Not enough arguments: -accessor needs the accessor")),
    };
    Ok((format!("auth/token/{verb}{suffix}"), body))
}

impl Lookup {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let (path, body) = aimed("lookup", self.token.as_deref(), self.accessor)?;
        let call = if self.token.is_some() { Call::post(&path, &Value::Object(body))? } else { Call::read(&path)? };
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error looking up token"))?;
        envelope
            .map_or_else(|| Err(Failure::server("the server tells nothing about the token")), |e| ctx.out.envelope(&e))
    }
}

impl Renew {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let (path, mut body) = aimed("renew", self.token.as_deref(), self.accessor)?;
        if let Some(time) = &self.increment {
            body.insert("increment".into(), json!(duration::for_api(time)?));
        }
        let envelope =
            ctx.call(Call::write(&path, &Value::Object(body))?).await.map_err(|e| e.doing("Error renewing token"))?;
        envelope.map_or_else(|| Err(Failure::server("the server answered nothing")), |e| ctx.out.envelope(&e))
    }
}

impl Revoke {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        match (&self.token, self.own) {
            (None, false) => return Err(Failure::usage("Not enough arguments (expected 1 or -self, got 0)")),
            (Some(_), true) => {
                return Err(Failure::usage("Too many arguments with -self: it revokes the token in force"));
            }
            _ => {}
        }
        if self.own && self.accessor {
            return Err(Failure::usage("Cannot use -self with -accessor!"));
        }
        let (path, body) = match (self.mode.as_deref(), self.token.as_deref()) {
            (Some(mode), _) if self.own || self.accessor => {
                return Err(Failure::usage(format!("Cannot use -self or -accessor with -mode={mode}")));
            }
            (Some("path"), Some(path)) => (format!("sys/leases/revoke-prefix/{}", path.trim_matches('/')), Map::new()),
            (Some("orphan"), token) => (format!("auth/token/revoke-{}", "orphan"), aimed("revoke", token, false)?.1),
            (_, token) => aimed("revoke", token, self.accessor)?,
        };
        ctx.call(Call::write(&path, &Value::Object(body))?).await.map_err(|e| e.doing("Error revoking token"))?;
        ctx.out.done("Success! Revoked token (if it existed)")
    }
}

impl Capabilities {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let (token, path) = match self.given.as_slice() {
            [path] => (None, path),
            [token, path] => (Some(token), path),
            _ => return Err(Failure::usage("Not enough arguments (expected [TOKEN] PATH)")),
        };
        let mut body = json!({"paths": [path]});
        let api = match (token, self.accessor) {
            (None, false) => "sys/capabilities-self",
            (Some(token), false) => {
                body["token"] = json!(token);
                "sys/capabilities"
            }
            (Some(accessor), true) => {
                body["accessor"] = json!(accessor);
                "sys/capabilities-accessor"
            }
            (None, true) => return Err(Failure::usage("Not enough arguments: -accessor needs an accessor and a path")),
        };
        let envelope = ctx.call(Call::post(api, &body)?).await.map_err(|e| e.doing("Error listing capabilities"))?;
        let data = envelope.and_then(|e| e.data).ok_or_else(|| Failure::server("the server listed no capabilities"))?;
        let mut found = data.list(path);
        if found.is_empty() {
            found = data.list("capabilities");
        }
        found.sort();
        if ctx.out.is_table() {
            say(&format!("{}\n", found.join(", ")));
            return Ok(0);
        }
        ctx.out.structured(&found)
    }
}
