//! print, version, path-help, version-history, plugin.

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::{Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{say, table};

/// `dewdrop print`.
#[derive(Debug, Subcommand)]
pub enum Print {
    /// Print the token in force
    Token,
}

/// `dewdrop path-help`.
#[derive(Debug, Args)]
pub struct PathHelp {
    /// Path, such as database/roles/app
    path: String,
}

/// `dewdrop plugin`. Whatever is asked, the answer is the same.
#[derive(Debug, Args)]
pub struct Plugin {
    /// What would be done
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    args: Vec<String>,
}

impl Print {
    /// Prints it.
    pub fn run(&self, ctx: &Ctx) -> Result<u8> {
        let Self::Token = self;
        let token = ctx.settings.token()?.unwrap_or_default();
        if ctx.out.is_table() {
            say(&format!("{}\n", token.expose()));
            return Ok(0);
        }
        ctx.out.structured(&json!({"token": token.expose()}))
    }
}

/// The version of this program.
pub fn version() -> String {
    format!("Dewdrop v{}", env!("CARGO_PKG_VERSION"))
}

impl PathHelp {
    /// Prints what the server says about a path.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let call = Call::read(&self.path)?.with_query("help", "1");
        let reply = ctx.raw(call).await.map_err(|e| e.doing("Error retrieving help"))?;
        let value: Value = reply.json()?;
        let help = value.get("help").or_else(|| value.get("data").and_then(|d| d.get("help"))).and_then(Value::as_str);
        let Some(help) = help else { return Err(Failure::server(format!("there is no help for {}", self.path))) };
        if ctx.out.is_table() {
            say(&format!("{}\n", help.trim()));
            return Ok(0);
        }
        let openapi =
            value.get("openapi").or_else(|| value.get("data").and_then(|d| d.get("openapi"))).filter(|o| !o.is_null());
        ctx.out.structured(openapi.unwrap_or(&value))
    }
}

/// Prints which versions the server has run with, and since when.
pub async fn version_history(ctx: &Ctx) -> Result<u8> {
    let envelope =
        ctx.call(Call::list("sys/version-history")?).await.map_err(|e| e.doing("Error reading version history"))?;
    let data = envelope.and_then(|e| e.data).ok_or_else(|| Failure::server("the server tells no version history"))?;
    if !ctx.out.is_table() {
        return ctx.out.structured(data.expose());
    }
    let about = |version: &str, name: &str| {
        data.expose()
            .get("key_info")
            .and_then(|i| i.get(version))
            .and_then(|i| i.get(name))
            .and_then(Value::as_str)
            .unwrap_or("n/a")
            .to_owned()
    };
    let rows: Vec<Vec<String>> = data
        .list("keys")
        .into_iter()
        .map(|v| vec![v.clone(), about(&v, "timestamp_installed"), about(&v, "commit_date")])
        .collect();
    say(&table::columns(Some(&["Version", "Installation Time", "Commit Date"]), &rows));
    Ok(0)
}

impl Plugin {
    /// Says why not.
    pub fn run(&self) -> Result<u8> {
        Err(Failure::usage("Dewdrop has no external plug-ins: all engines and auth methods are built in")
            .hint("`dewdrop secrets enable -help` and `dewdrop auth enable -help` say how to mount them"))
    }
}
