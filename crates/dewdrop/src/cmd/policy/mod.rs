//! policy list, read, write, delete, fmt, explain, test.

mod explain;
mod fmt;
mod test;

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::json;

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::say;

/// `dewdrop policy`.
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// List the policies
    List,
    /// Print a policy
    Read(Name),
    /// Store a policy from a file, or from stdin (-)
    Write(Write),
    /// Delete a policy
    Delete(Name),
    /// Format a policy file in place
    Fmt(fmt::Fmt),
    /// Say whether something is allowed, which rule decides, and which rule would allow it
    Explain(explain::Explain),
    /// Check policy files against a list of what they shall allow and deny
    Test(test::Test),
}

/// Which policy.
#[derive(Debug, Args)]
pub struct Name {
    /// Name of the policy
    name: String,
}

/// `dewdrop policy write`.
#[derive(Debug, Args)]
pub struct Write {
    /// Name of the policy
    name: String,
    /// File with its rules, or - for stdin
    file: String,
}

impl Policy {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::List => list(ctx).await,
            Self::Read(Name { name }) => read(ctx, &name).await,
            Self::Write(cmd) => cmd.run(ctx).await,
            Self::Delete(Name { name }) => {
                let name = tidy(&name);
                ctx.call(Call::delete(&format!("sys/policies/acl/{name}"))?)
                    .await
                    .map_err(|e| e.doing(&format!("Error deleting {name}")))?;
                ctx.out.done(&format!("Success! Deleted policy: {name}"))
            }
            Self::Fmt(cmd) => cmd.run(ctx),
            Self::Explain(cmd) => cmd.run(ctx).await,
            Self::Test(cmd) => cmd.run(ctx).await,
        }
    }
}

fn tidy(name: &str) -> String {
    name.trim().to_lowercase()
}

async fn list(ctx: &Ctx) -> Result<u8> {
    let envelope = ctx.call(Call::list("sys/policies/acl")?).await.map_err(|e| e.doing("Error listing policies"))?;
    let mut names = envelope.and_then(|e| e.data).map(|d| d.list("keys")).unwrap_or_default();
    names.sort();
    if ctx.out.is_table() {
        names.iter().for_each(|name| say(&format!("{name}\n")));
        return Ok(0);
    }
    ctx.out.structured(&names)
}

async fn read(ctx: &Ctx, name: &str) -> Result<u8> {
    let name = tidy(name);
    let envelope = ctx
        .call(Call::read(&format!("sys/policies/acl/{name}"))?)
        .await
        .map_err(|e| e.doing(&format!("Error reading policy named {name}")))?;
    let data = envelope.and_then(|e| e.data);
    let Some(rules) = data.as_ref().and_then(|d| d.text("policy")) else {
        return Err(
            Failure::server(format!("No policy named: {name}")).hint("`dewdrop policy list` shows those there are")
        );
    };
    if ctx.out.is_table() {
        say(&format!("{}\n", rules.trim()));
        return Ok(0);
    }
    ctx.out.structured(&json!({"policy": rules}))
}

impl Write {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let name = tidy(&self.name);
        let rules = input::text_of(&self.file).map_err(|e| e.doing("Error opening policy file").coded(2))?;
        let call = Call::write(&format!("sys/policies/acl/{name}"), &json!({"policy": rules}))?;
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error uploading policy"))?;
        if let Some(envelope) = envelope {
            crate::output::warn_all(&envelope);
        }
        ctx.out.done(&format!("Success! Uploaded policy: {name}"))
    }
}
