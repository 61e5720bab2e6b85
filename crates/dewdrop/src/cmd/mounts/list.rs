//! `list`: what is mounted.

use clap::Args;
use dewdrop_api::Call;
use serde_json::Value;

use super::Kind;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{Format, say, table, value};

/// `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Show all settings
    #[arg(long)]
    detailed: bool,
}

impl List {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx, kind: Kind) -> Result<u8> {
        let call = Call::read(if kind == Kind::Secrets { "sys/mounts" } else { "sys/auth" })?;
        let envelope = ctx.call(call).await.map_err(|e| {
            e.doing(&format!(
                "Error listing {}s",
                if kind == Kind::Secrets { "secrets engine" } else { "enabled auth" }
            ))
        })?;
        let envelope = envelope.ok_or_else(|| Failure::server("the server listed nothing"))?;
        if envelope.wrap_info.is_some() || ctx.out.field.is_some() {
            return ctx.out.envelope(&envelope);
        }
        let data = envelope.data.unwrap_or_default();
        let mounts = data.expose();
        if matches!(ctx.out.format, Format::Json | Format::Yaml) {
            return ctx.out.structured(mounts);
        }
        let mut sorted: Vec<(&String, &Value)> = mounts.iter().collect();
        sorted.sort_by_key(|(path, _)| *path);
        if self.detailed {
            say(&detailed(&sorted, kind));
        } else {
            say(&brief(&sorted, kind));
        }
        Ok(0)
    }
}

fn text(mount: &Value, name: &str) -> String {
    match mount.get(name) {
        None | Some(Value::Null) => "n/a".into(),
        Some(found) => value::cell("", found),
    }
}

fn brief(mounts: &[(&String, &Value)], kind: Kind) -> String {
    let mut heading = vec!["Path", "Type", "Accessor", "Description"];
    if kind == Kind::Auth {
        heading.push("Version");
    }
    let row = |(path, mount): &(&String, &Value)| {
        let mut row = vec![(*path).clone(), text(mount, "type"), text(mount, "accessor"), text(mount, "description")];
        if kind == Kind::Auth {
            row.push(text(mount, "plugin_version"));
        }
        row
    };
    table::columns(Some(&heading), &mounts.iter().map(row).collect::<Vec<_>>())
}

fn detailed(mounts: &[(&String, &Value)], kind: Kind) -> String {
    let mut heading = vec!["Path", "Plugin", "Accessor", "Default TTL", "Max TTL"];
    heading.push(if kind == Kind::Auth { "Token Type" } else { "Force No Cache" });
    heading.extend([
        "Replication",
        "Seal Wrap",
        "External Entropy Access",
        "Options",
        "Description",
        "UUID",
        "Version",
        "Running Version",
        "Running SHA256",
        "Deprecation Status",
    ]);
    let row = |(path, mount): &(&String, &Value)| {
        let config = mount.get("config").unwrap_or(&Value::Null);
        let own = matches!(mount.get("type").and_then(Value::as_str), Some("system" | "cubbyhole"));
        let ttl = |name: &str| match config.get(name).and_then(Value::as_i64) {
            _ if own => "n/a".to_owned(),
            None | Some(0) => "system".to_owned(),
            Some(seconds) => seconds.to_string(),
        };
        let local = mount.get("local").and_then(Value::as_bool) == Some(true);
        let options = mount.get("options").filter(|o| o.is_object()).map_or_else(|| "map[]".to_owned(), value::plain);
        vec![
            (*path).clone(),
            text(mount, "type"),
            text(mount, "accessor"),
            ttl("default_lease_ttl"),
            ttl("max_lease_ttl"),
            text(config, if kind == Kind::Auth { "token_type" } else { "force_no_cache" }),
            if local { "local" } else { "replicated" }.to_owned(),
            text(mount, "seal_wrap"),
            text(mount, "external_entropy_access"),
            options,
            text(mount, "description"),
            text(mount, "uuid"),
            text(mount, "plugin_version"),
            text(mount, "running_plugin_version"),
            text(mount, "running_sha256"),
            text(mount, "deprecation_status"),
        ]
    };
    table::columns(Some(&heading), &mounts.iter().map(row).collect::<Vec<_>>())
}
