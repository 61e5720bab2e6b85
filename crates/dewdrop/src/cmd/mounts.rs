//! secrets and auth: enable, disable, list, tune, move. Both are mounts; only the words and the paths differ.

mod list;

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::{duration, input};
use list::List;

/// Which kind of mounts a command is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `dewdrop secrets`.
    Secrets,
    /// `dewdrop auth`.
    Auth,
}

/// `dewdrop secrets`.
#[derive(Debug, Subcommand)]
pub enum Secrets {
    /// Mount a secrets engine
    Enable(Enable),
    /// Unmount a secrets engine: revokes what it made, removes what it holds
    Disable(Disable),
    /// List the mounted secrets engines
    List(List),
    /// Change the settings of a mount
    Tune(Tune),
    /// Move a mount to another path
    Move(Move),
}

/// `dewdrop auth`.
#[derive(Debug, Subcommand)]
pub enum Auth {
    /// Mount an auth method
    Enable(Enable),
    /// Unmount an auth method: revokes all tokens it gave
    Disable(Disable),
    /// List the mounted auth methods
    List(List),
    /// Change the settings of a mount
    Tune(Tune),
    /// Move a mount to another path
    Move(Move),
    /// Say how to sign in with an auth method
    Help(crate::cmd::login::AuthHelp),
}

/// What can be set on a mount when it is made and later.
#[derive(Debug, Args)]
struct Settings {
    /// Leases live so long unless the role says otherwise
    #[arg(long, value_name = "DURATION")]
    default_lease_ttl: Option<String>,
    /// No lease lives longer
    #[arg(long, value_name = "DURATION")]
    max_lease_ttl: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Show the mount to those who are not signed in: unauth or hidden
    #[arg(long, value_name = "WORD")]
    listing_visibility: Option<String>,
    /// Request field that the audit log shows in clear; may be repeated
    #[arg(long, value_name = "FIELD")]
    audit_non_hmac_request_keys: Vec<String>,
    /// Reply field that the audit log shows in clear; may be repeated
    #[arg(long, value_name = "FIELD")]
    audit_non_hmac_response_keys: Vec<String>,
    /// Request header that the mount gets to see; may be repeated
    #[arg(long, value_name = "NAME")]
    passthrough_request_headers: Vec<String>,
    /// Reply header that the mount may set; may be repeated
    #[arg(long, value_name = "NAME")]
    allowed_response_headers: Vec<String>,
    /// Type of the tokens that the auth method gives
    #[arg(long, value_name = "TYPE")]
    token_type: Option<String>,
    /// Version of the plugin to run
    #[arg(long, value_name = "VERSION", hide = true)]
    plugin_version: Option<String>,
    /// key=value option of the mount; may be repeated
    #[arg(long, value_name = "K=V")]
    options: Vec<String>,
    /// Version of the engine, such as 2 for kv
    #[arg(long, value_name = "NUMBER")]
    version: Option<u32>,
}

/// `enable`.
#[derive(Debug, Args)]
pub struct Enable {
    /// Type, such as kv, database, userpass or approle
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Where to mount it; the type, unless given
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Keep this mount out of replication
    #[arg(long)]
    local: bool,
    /// Wrap the mount's critical values with the seal as well
    #[arg(long)]
    seal_wrap: bool,
    /// Never cache what this mount stores
    #[arg(long)]
    force_no_cache: bool,
    /// Give the mount the server's external entropy source
    #[arg(long, hide = true)]
    external_entropy_access: bool,
    /// Name of the plugin
    #[arg(long, value_name = "NAME", hide = true)]
    plugin_name: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

/// `disable`.
#[derive(Debug, Args)]
pub struct Disable {
    /// Path of the mount, not its type
    path: String,
}

/// `tune`.
#[derive(Debug, Args)]
pub struct Tune {
    /// Path of the mount, not its type
    path: String,
    #[command(flatten)]
    settings: Settings,
    /// Failed sign-ins of a user before it is locked out
    #[arg(long, value_name = "COUNT")]
    user_lockout_threshold: Option<u64>,
    /// How long a lock-out lasts
    #[arg(long, value_name = "DURATION")]
    user_lockout_duration: Option<String>,
    /// Failed sign-ins are forgotten after so long
    #[arg(long, value_name = "DURATION")]
    user_lockout_counter_reset_duration: Option<String>,
    /// Lock nobody out
    #[arg(long)]
    user_lockout_disable: bool,
}

/// `move`.
#[derive(Debug, Args)]
pub struct Move {
    /// Where the mount is
    source: String,
    /// Where it shall be
    destination: String,
}

impl Secrets {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Enable(cmd) => cmd.run(ctx, Kind::Secrets).await,
            Self::Disable(cmd) => cmd.run(ctx, Kind::Secrets).await,
            Self::List(cmd) => cmd.run(ctx, Kind::Secrets).await,
            Self::Tune(cmd) => cmd.run(ctx, Kind::Secrets).await,
            Self::Move(cmd) => cmd.run(ctx, Kind::Secrets).await,
        }
    }
}

impl Auth {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Enable(cmd) => cmd.run(ctx, Kind::Auth).await,
            Self::Disable(cmd) => cmd.run(ctx, Kind::Auth).await,
            Self::List(cmd) => cmd.run(ctx, Kind::Auth).await,
            Self::Tune(cmd) => cmd.run(ctx, Kind::Auth).await,
            Self::Move(cmd) => cmd.run(ctx, Kind::Auth).await,
            Self::Help(cmd) => cmd.run(ctx).await,
        }
    }
}

// === impl Kind ===

impl Kind {
    fn words(self) -> &'static str {
        if self == Self::Secrets { "secrets engine" } else { "auth method" }
    }

    fn api(self, mount: &str) -> String {
        format!("sys/{}/{}", if self == Self::Secrets { "mounts" } else { "auth" }, mount.trim_matches('/'))
    }
}

fn slashed(path: &str) -> String {
    format!("{}/", path.trim_matches('/'))
}

// === impl Settings ===

impl Settings {
    /// The tunable settings, as both `enable` (under `config`) and `tune` send them.
    fn config(&self) -> Result<Map<String, Value>> {
        let mut config = Map::new();
        for (name, ttl) in [("default_lease_ttl", &self.default_lease_ttl), ("max_lease_ttl", &self.max_lease_ttl)] {
            if let Some(ttl) = ttl {
                config.insert(name.into(), json!(if ttl == "system" { ttl.clone() } else { duration::for_api(ttl)? }));
            }
        }
        let lists = [
            ("audit_non_hmac_request_keys", &self.audit_non_hmac_request_keys),
            ("audit_non_hmac_response_keys", &self.audit_non_hmac_response_keys),
            ("passthrough_request_headers", &self.passthrough_request_headers),
            ("allowed_response_headers", &self.allowed_response_headers),
        ];
        for (name, list) in lists {
            if !list.is_empty() {
                let items: Vec<&str> = list.iter().flat_map(|l| l.split(',')).map(str::trim).collect();
                config.insert(name.into(), json!(items));
            }
        }
        let words = [
            ("listing_visibility", &self.listing_visibility),
            ("token_type", &self.token_type),
            ("plugin_version", &self.plugin_version),
        ];
        for (name, word) in words {
            if let Some(word) = word {
                config.insert(name.into(), json!(word));
            }
        }
        Ok(config)
    }

    fn options(&self) -> Result<Map<String, Value>> {
        let mut options = input::pairs(&self.options, "-options")?;
        if let Some(version) = self.version {
            options.insert("version".into(), json!(version.to_string()));
        }
        Ok(options)
    }
}

impl Enable {
    async fn run(self, ctx: &Ctx, kind: Kind) -> Result<u8> {
        let mut config = self.settings.config()?;
        if self.force_no_cache {
            config.insert("force_no_cache".into(), json!(true));
        }
        let typed = if self.kind == "plugin" { self.plugin_name.clone().unwrap_or(self.kind) } else { self.kind };
        let mut body = json!({"type": typed, "config": config});
        if let Some(text) = &self.settings.description {
            body["description"] = json!(text);
        }
        let options = self.settings.options()?;
        if !options.is_empty() {
            body["options"] = Value::Object(options);
        }
        for (name, on) in [
            ("local", self.local),
            ("seal_wrap", self.seal_wrap),
            ("external_entropy_access", self.external_entropy_access),
        ] {
            if on {
                body[name] = json!(true);
            }
        }
        let path = slashed(self.path.as_deref().unwrap_or(&typed));
        let doing =
            if kind == Kind::Secrets { "Error enabling".to_owned() } else { format!("Error enabling {typed} auth") };
        ctx.call(Call::post(&kind.api(&path), &body)?).await.map_err(|e| e.doing(&doing))?;
        let the = if kind == Kind::Secrets { "the " } else { "" };
        ctx.out.done(&format!("Success! Enabled {the}{typed} {} at: {path}", kind.words()))
    }
}

impl Disable {
    async fn run(self, ctx: &Ctx, kind: Kind) -> Result<u8> {
        let path = slashed(&self.path);
        let call = Call::delete(&kind.api(&path))?.patient(std::time::Duration::from_secs(600));
        let spinner = crate::progress::spinner(&format!("Disabling {path}; what it made is being revoked"));
        let done = ctx.call(call).await;
        spinner.finish_and_clear();
        done.map_err(|e| e.doing(&format!("Error disabling {} at {path}", kind.words())))?;
        ctx.out.done(&format!("Success! Disabled the {} (if it existed) at: {path}", kind.words()))
    }
}

impl Tune {
    async fn run(self, ctx: &Ctx, kind: Kind) -> Result<u8> {
        let path = slashed(&self.path);
        let mut body = self.settings.config()?;
        if let Some(text) = &self.settings.description {
            body.insert("description".into(), json!(text));
        }
        let options = self.settings.options()?;
        if !options.is_empty() {
            body.insert("options".into(), Value::Object(options));
        }
        let mut lockout = Map::new();
        if let Some(count) = self.user_lockout_threshold {
            lockout.insert("lockout_threshold".into(), json!(count.to_string()));
        }
        for (name, time) in [
            ("lockout_duration", &self.user_lockout_duration),
            ("lockout_counter_reset_duration", &self.user_lockout_counter_reset_duration),
        ] {
            if let Some(time) = time {
                lockout.insert(name.into(), json!(duration::for_api(time)?));
            }
        }
        if self.user_lockout_disable {
            lockout.insert("lockout_disable".into(), json!(true));
        }
        if !lockout.is_empty() {
            body.insert("user_lockout_config".into(), Value::Object(lockout));
        }
        let call = Call::post(&format!("{}/tune", kind.api(&path)), &Value::Object(body))?;
        ctx.call(call).await.map_err(|e| e.doing(&format!("Error tuning {} {path}", kind.words())))?;
        ctx.out.done(&format!("Success! Tuned the {} at: {path}", kind.words()))
    }
}

impl Move {
    async fn run(self, ctx: &Ctx, kind: Kind) -> Result<u8> {
        let (from, to) = (slashed(&self.source), slashed(&self.destination));
        let prefix = if kind == Kind::Auth { "auth/" } else { "" };
        let body = json!({"from": format!("{prefix}{from}"), "to": format!("{prefix}{to}")});
        let doing = format!("Error moving {} {from} to {to}", kind.words());
        let envelope = ctx.call(Call::post("sys/remount", &body)?).await.map_err(|e| e.doing(&doing))?;
        let Some(id) = envelope.and_then(|e| e.data).and_then(|d| d.text("migration_id").map(str::to_owned)) else {
            return ctx.out.done(&format!("Success! Moved {} {from} to: {to}", kind.words()));
        };
        let moving = format!("moving {} {from} to {to}, with migration ID {id}", kind.words());
        ctx.out.done(&format!("Started {moving}"))?;
        let spinner = crate::progress::spinner(&format!("Moving {from} to {to}"));
        let mut backoff = dewdrop_api::Backoff::new(
            std::time::Duration::from_millis(100),
            std::time::Duration::from_secs(3),
            std::process::id().into(),
        );
        loop {
            let call = Call::read(&format!("sys/remount/status/{id}"))?;
            let status = ctx.ask(call).await.map_err(|e| e.doing(&doing))?.and_then(|e| e.data);
            let status = status
                .as_ref()
                .and_then(|d| d.expose().get("migration_info"))
                .and_then(|i| i.get("status"))
                .and_then(Value::as_str)
                .unwrap_or("unknown");
            match status {
                "success" => break,
                "in-progress" => tokio::time::sleep(backoff.wait()).await,
                other => {
                    spinner.finish_and_clear();
                    return Err(Failure::server(format!("Failure! Error moving: the migration's status is {other}"))
                        .hint("the server's log says why"));
                }
            }
        }
        spinner.finish_and_clear();
        ctx.out.done(&format!("Success! Finished {moving}"))
    }
}
