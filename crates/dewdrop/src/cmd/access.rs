//! access request, list, watch, show, approve, deny, withdraw, revoke, extend, review, recordings, around, replay: people and clusters, just in time.

mod around;
pub mod ask;
mod left;
mod recordings;
mod replay;
pub mod told;
mod wait;
mod watch;

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;

/// Where the engine is mounted.
#[derive(Debug, Clone, Args)]
pub struct Mount {
    /// Mount of the access engine
    #[arg(long, env = "DEWDROP_ACCESS_MOUNT", default_value = "access")]
    mount: String,
}

/// `dewdrop access`.
#[derive(Debug, Subcommand)]
pub enum Access {
    /// Ask for access to a cluster
    Request(ask::Request),
    /// Requests of yours, and those that you may approve
    List(List),
    /// Watch requests as they come
    Watch(watch::Watch),
    /// Show a request: what it allows, who decided
    Show(One),
    /// Approve a request, after showing it
    Approve(Word),
    /// Deny a request; that is final
    Deny(Word),
    /// Take a request of your own back
    Withdraw(Why),
    /// End a grant at once
    Revoke(Why),
    /// Ask for more time
    Extend(ask::Extend),
    /// Say that a break-glass was looked at
    Review(Word),
    /// List the sessions that were recorded, or search in them
    Recordings(recordings::Recordings),
    /// What was done at API servers without an access proxy
    Around(around::Around),
    /// Play a recorded session
    Replay(replay::Replay),
}

/// `dewdrop access list`.
#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    mount: Mount,
    /// Only yours
    #[arg(long)]
    mine: bool,
    /// Only those in this state: pending, granted, active, expired, lapsed, denied, withdrawn, revoked
    #[arg(long)]
    state: Option<String>,
}

/// A request by its name.
#[derive(Debug, Args)]
pub struct One {
    #[command(flatten)]
    mount: Mount,
    /// Name of the request
    id: String,
}

/// A word about a request.
#[derive(Debug, Args)]
pub struct Word {
    #[command(flatten)]
    one: One,
    /// Why; whoever asked reads it
    #[arg(long, default_value = "")]
    comment: String,
}

/// The end of a request or grant.
#[derive(Debug, Args)]
pub struct Why {
    #[command(flatten)]
    one: One,
    /// Why
    #[arg(long, default_value = "")]
    reason: String,
}

impl Access {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Request(cmd) => cmd.run(ctx).await,
            Self::List(cmd) => cmd.run(ctx).await,
            Self::Watch(cmd) => cmd.run(ctx).await,
            Self::Show(one) => {
                let case = read(ctx, &one.mount, &one.id).await?;
                told::case(ctx, &case)
            }
            Self::Approve(word) => word.approve(ctx).await,
            Self::Deny(word) => word.say(ctx, "deny").await,
            Self::Review(word) => word.say(ctx, "review").await,
            Self::Withdraw(why) => why.say(ctx, "withdraw").await,
            Self::Revoke(why) => why.say(ctx, "revoke").await,
            Self::Extend(cmd) => cmd.run(ctx).await,
            Self::Recordings(cmd) => cmd.run(ctx).await,
            Self::Around(cmd) => cmd.run(ctx).await,
            Self::Replay(cmd) => cmd.run(ctx).await,
        }
    }
}

impl List {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut call = Call::list(&self.mount.path("requests")?)?;
        if self.mine {
            call = call.with_query("mine", "true");
        }
        if let Some(state) = &self.state {
            call = call.with_query("state", state);
        }
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error listing requests"))?;
        let Some(data) = envelope.and_then(|envelope| envelope.data) else {
            return told::nothing(ctx, "There are no requests.");
        };
        told::list(ctx, data.expose())
    }
}

impl Word {
    /// What is approved is what was shown: the digest goes with it.
    async fn approve(self, ctx: &Ctx) -> Result<u8> {
        let case = read(ctx, &self.one.mount, &self.one.id).await?;
        if ctx.out.is_table() {
            say(&told::words(&case));
        }
        let body = json!({ "comment": self.comment, "digest": case.get("digest") });
        let case = act(ctx, &self.one, "approve", &body).await?;
        told::state(ctx, &case)
    }

    async fn say(self, ctx: &Ctx, what: &str) -> Result<u8> {
        let case = act(ctx, &self.one, what, &json!({ "comment": self.comment })).await?;
        told::state(ctx, &case)
    }
}

impl Why {
    async fn say(self, ctx: &Ctx, what: &str) -> Result<u8> {
        let case = act(ctx, &self.one, what, &json!({ "reason": self.reason })).await?;
        told::state(ctx, &case)
    }
}

impl Mount {
    /// A path below the mount.
    pub fn path(&self, below: &str) -> Result<String> {
        match self.mount.trim_matches('/') {
            "" => Err(Failure::usage("-mount: where the access engine is, such as access")),
            mount => Ok(format!("{mount}/{below}")),
        }
    }
}

/// A request, as the server tells it.
pub async fn read(ctx: &Ctx, mount: &Mount, id: &str) -> Result<Map<String, Value>> {
    let call = Call::read(&mount.path(&format!("requests/{id}"))?)?;
    let envelope = ctx.ask(call).await.map_err(|e| e.doing(&format!("Error reading the request {id}")))?;
    data_of(envelope)
}

async fn act(ctx: &Ctx, one: &One, what: &str, body: &Value) -> Result<Map<String, Value>> {
    let call = Call::post(&one.mount.path(&format!("requests/{}/{what}", one.id))?, body)?;
    let envelope = ctx.call(call).await.map_err(|e| e.doing(&format!("Error: {what} {}", one.id)))?;
    data_of(envelope)
}

/// The data of an answer.
pub fn data_of(envelope: Option<dewdrop_api::Envelope>) -> Result<Map<String, Value>> {
    let data = envelope.and_then(|envelope| envelope.data).map(|data| data.expose().clone());
    data.ok_or_else(|| Failure::server("the server answered nothing"))
}
