//! operator unseal.

use clap::Args;
use dewdrop_api::Call;
use serde_json::json;

use crate::cmd::status::{self, SealStatus};
use crate::ctx::Ctx;
use crate::failure::Result;

/// `dewdrop operator unseal`.
#[derive(Debug, Args)]
pub struct Unseal {
    /// A key share (shows in the shell's history), or - for stdin; asked for when it is not given
    key: Option<String>,
    /// Forget the shares given so far
    #[arg(long)]
    reset: bool,
    /// The share belongs to a migration to another seal
    #[arg(long)]
    migrate: bool,
}

impl Unseal {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let (body, doing) = if self.reset {
            (json!({"reset": true}), "Error resetting unseal process")
        } else {
            let key = super::share(ctx, self.key.as_deref(), "Unseal Key")?;
            (json!({"key": key.expose(), "migrate": self.migrate}), "Error unsealing")
        };
        let call = Call::write("sys/unseal", &body)?.anonymous();
        let told: SealStatus = ctx.json(call).await.map_err(|e| e.doing(doing))?;
        // Once unsealed, the leader is known as well.
        let status = if told.sealed { told } else { status::fetch(ctx).await.unwrap_or(told) };
        status::print(ctx, &status)
    }
}
