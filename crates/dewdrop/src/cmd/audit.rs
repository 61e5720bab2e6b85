//! audit enable, disable, list. (`audit verify` and `audit trace` work on files: see `audit_cmd`.)

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::{Format, say, table, value};

/// `dewdrop audit`.
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Add an audit device (where the server's configuration permits it)
    Enable(Enable),
    /// Remove an audit device
    Disable(Disable),
    /// List the audit devices
    List(List),
    /// Prove offline that no line of an audit log was changed, dropped or moved
    #[command(disable_help_flag = true)]
    Verify(Offline),
    /// Walk offline from a lease, a grant, a recording, a person or a kubectl command to all that belongs to it
    #[command(disable_help_flag = true)]
    Trace(Offline),
}

/// Arguments that `audit_cmd` reads itself. `main` hands them over before clap sees them; this is for help and completion.
#[derive(Debug, Args)]
pub struct Offline {
    /// See `dewdrop audit verify -help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// `dewdrop audit enable`.
#[derive(Debug, Args)]
pub struct Enable {
    /// Type: file, socket or syslog
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Options, as key=value
    #[arg(value_name = "K=V")]
    options: Vec<String>,
    /// Where to mount it; the type, unless given
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// What it is for
    #[arg(long, value_name = "TEXT", default_value = "")]
    description: String,
    /// Keep it out of replication
    #[arg(long)]
    local: bool,
}

/// `dewdrop audit disable`.
#[derive(Debug, Args)]
pub struct Disable {
    /// Path of the device
    path: String,
}

/// `dewdrop audit list`.
#[derive(Debug, Args)]
pub struct List {
    /// Show the options
    #[arg(long)]
    detailed: bool,
}

impl Audit {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Enable(cmd) => cmd.run(ctx).await,
            Self::Disable(cmd) => {
                let path = format!("{}/", cmd.path.trim_matches('/'));
                let call = Call::delete(&format!("sys/audit/{}", path.trim_end_matches('/')))?;
                ctx.call(call).await.map_err(|e| e.doing("Error disabling audit device"))?;
                ctx.out.done(&format!("Success! Disabled audit device (if it was enabled) at: {path}"))
            }
            Self::List(cmd) => cmd.run(ctx).await,
            Self::Verify(cmd) => crate::offline_audit("verify", &cmd.args),
            Self::Trace(cmd) => crate::offline_audit("trace", &cmd.args),
        }
    }
}

impl Enable {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let options = input::fields(&self.options)?;
        let path = self.path.as_deref().unwrap_or(&self.kind).trim_matches('/').to_owned();
        let body = json!({"type": self.kind, "description": self.description, "options": options, "local": self.local});
        ctx.call(Call::write(&format!("sys/audit/{path}"), &body)?).await.map_err(|e| {
            e.doing("Error enabling audit device")
                .hint("audit devices belong into the server's configuration file: audit \"file\" { ... }")
        })?;
        ctx.out.done(&format!("Success! Enabled the {} audit device at: {path}/", self.kind))
    }
}

impl List {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let envelope = ctx.call(Call::read("sys/audit")?).await.map_err(|e| e.doing("Error listing audits"))?;
        let data = envelope.and_then(|e| e.data).ok_or_else(|| Failure::server("the server listed nothing"))?;
        if matches!(ctx.out.format, Format::Json | Format::Yaml) {
            return ctx.out.structured(data.expose());
        }
        let devices: &Map<String, Value> = data.expose();
        if devices.is_empty() {
            say("No audit devices are enabled.\n");
            return Ok(2);
        }
        let text =
            |device: &Value, name: &str| device.get(name).map_or_else(|| "n/a".to_owned(), |v| value::cell(name, v));
        let mut rows: Vec<Vec<String>> = devices
            .iter()
            .map(|(path, device)| {
                let mut row = vec![path.clone(), text(device, "type"), text(device, "description")];
                if self.detailed {
                    let local = device.get("local").and_then(Value::as_bool) == Some(true);
                    row.push(if local { "local" } else { "replicated" }.to_owned());
                    let options = device.get("options").and_then(Value::as_object);
                    let mut pairs: Vec<String> =
                        options.into_iter().flatten().map(|(k, v)| format!("{k}={}", value::plain(v))).collect();
                    pairs.sort();
                    row.push(pairs.join(" "));
                }
                row
            })
            .collect();
        rows.sort();
        let mut heading = vec!["Path", "Type", "Description"];
        if self.detailed {
            heading.extend(["Replication", "Options"]);
        }
        say(&table::columns(Some(&heading), &rows));
        Ok(0)
    }
}
