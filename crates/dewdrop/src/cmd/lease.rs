//! lease lookup, list, renew, revoke.

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::json;

use crate::cmd::logical;
use crate::ctx::Ctx;
use crate::duration;
use crate::failure::{Failure, Result};
use crate::output::note;

/// `dewdrop lease`.
#[derive(Debug, Subcommand)]
pub enum Lease {
    /// Show a lease
    Lookup(Lookup),
    /// List the leases below a prefix (needs sudo)
    List(List),
    /// Extend a lease
    Renew(Renew),
    /// End a lease, or all below a prefix
    Revoke(Revoke),
}

/// `dewdrop lease lookup`.
#[derive(Debug, Args)]
pub struct Lookup {
    /// Id of the lease
    id: String,
}

/// `dewdrop lease list`.
#[derive(Debug, Args)]
pub struct List {
    /// Prefix, such as database/creds/app
    #[arg(default_value = "")]
    prefix: String,
}

/// `dewdrop lease renew`.
#[derive(Debug, Args)]
pub struct Renew {
    /// Id of the lease
    id: String,
    /// Ask for so much time
    #[arg(long, short, value_name = "DURATION")]
    increment: Option<String>,
}

/// `dewdrop lease revoke`.
#[derive(Debug, Args)]
pub struct Revoke {
    /// Id of the lease, or a prefix with -prefix
    id: String,
    /// Revoke all leases below the prefix
    #[arg(long)]
    prefix: bool,
    /// Forget the leases even if what they stand for cannot be revoked (with -prefix)
    #[arg(long, short)]
    force: bool,
    /// Wait until it is done
    #[arg(long)]
    sync: bool,
}

impl Lease {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Lookup(cmd) => cmd.run(ctx).await,
            Self::List(cmd) => cmd.run(ctx).await,
            Self::Renew(cmd) => cmd.run(ctx).await,
            Self::Revoke(cmd) => cmd.run(ctx).await,
        }
    }
}

impl Lookup {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let call = Call::write("sys/leases/lookup", &json!({"lease_id": self.id}))?;
        let doing = format!("error looking up lease id {}", self.id);
        let envelope = ctx
            .call(call)
            .await
            .map_err(|e| e.doing(&doing).hint("it may have ended; `dewdrop lease list PREFIX` shows the live ones"))?;
        envelope
            .map_or_else(|| Err(Failure::server("the server tells nothing about the lease")), |e| ctx.out.envelope(&e))
    }
}

impl List {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let prefix = self.prefix.trim_matches('/');
        let path =
            if prefix.is_empty() { "sys/leases/lookup/".to_owned() } else { format!("sys/leases/lookup/{prefix}/") };
        let envelope = ctx
            .call(Call::list(&path)?)
            .await
            .map_err(|e| e.doing(&format!("Error listing leases below {prefix}/")))?;
        logical::keys(ctx, envelope, &path, false)
    }
}

impl Renew {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut body = json!({"lease_id": self.id});
        if let Some(time) = &self.increment {
            body["increment"] = json!(duration::seconds(time)?);
        }
        let doing = format!("Error renewing {}", self.id);
        let envelope = ctx.call(Call::write("sys/leases/renew", &body)?).await.map_err(|e| e.doing(&doing))?;
        envelope.map_or_else(|| Err(Failure::server("the server answered nothing")), |e| ctx.out.envelope(&e))
    }
}

impl Revoke {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let id = self.id.trim_matches('/');
        if self.force && !self.prefix {
            return Err(Failure::usage("Specifying -force requires also specifying -prefix"));
        }
        let (call, doing) = match (self.force, self.prefix) {
            (true, _) => {
                note(
                    "Warning! Force-removing leases can cause the server to become out of sync with what its engines made!",
                );
                (
                    Call::write(&format!("sys/leases/revoke-force/{id}"), &json!({}))?,
                    format!("Error force revoking leases with prefix {}", self.id),
                )
            }
            (false, true) => (
                Call::write(&format!("sys/leases/revoke-prefix/{id}"), &json!({"sync": self.sync}))?,
                format!("Error revoking leases with prefix {}", self.id),
            ),
            (false, false) => (
                Call::write("sys/leases/revoke", &json!({"lease_id": self.id, "sync": self.sync}))?,
                format!("Error revoking lease {}", self.id),
            ),
        };
        let call = call.patient(std::time::Duration::from_secs(600));
        let spinner = crate::progress::spinner("Revoking");
        let done = ctx.call(call).await;
        spinner.finish_and_clear();
        done.map_err(|e| e.doing(&doing))?;
        ctx.out.done(&match (self.force, self.prefix, self.sync) {
            (true, ..) => format!("Success! Force revoked any leases with prefix: {}", self.id),
            (false, _, false) => "All revocation operations queued successfully!".to_owned(),
            (false, true, true) => format!("Success! Revoked any leases with prefix: {}", self.id),
            (false, false, true) => format!("Success! Revoked lease: {}", self.id),
        })
    }
}
