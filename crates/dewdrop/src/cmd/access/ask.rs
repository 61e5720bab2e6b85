//! To ask, and to wait for the answer.

use std::time::Duration;

use clap::Args;
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use super::{Mount, data_of, read, told};
use crate::ctx::Ctx;
use crate::duration;
use crate::failure::{Failure, Result};
use crate::progress;

/// Between two looks at a request that waits.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// `dewdrop access request`.
#[derive(Debug, Args)]
pub struct Request {
    #[command(flatten)]
    mount: Mount,
    /// The role to ask for
    role: String,
    /// Why; approvers read it, and it is on the record for ever
    #[arg(long)]
    reason: String,
    /// The cluster; may be left out when the role has one only
    #[arg(long)]
    cluster: Option<String>,
    /// Namespaces, with commas; all of the role's when left out
    #[arg(long)]
    namespaces: Option<String>,
    /// For how long
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// The ticket
    #[arg(long)]
    ticket: Option<String>,
    /// Rules as JSON, within the role's: [{"api_groups": [""], "resources": ["pods"], "verbs": ["get"]}]
    #[arg(long)]
    rules: Option<String>,
    /// At once, with alarm to all approvers and a review afterwards
    #[arg(long)]
    break_glass: bool,
    /// Do not wait for the decision
    #[arg(long)]
    no_wait: bool,
}

/// `dewdrop access extend`.
#[derive(Debug, Args)]
pub struct Extend {
    #[command(flatten)]
    mount: Mount,
    /// Name of the grant
    id: String,
    /// How much longer
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Why
    #[arg(long)]
    reason: Option<String>,
    /// Do not wait for the decision
    #[arg(long)]
    no_wait: bool,
}

impl Request {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut body = json!({ "role": self.role, "reason": self.reason, "break_glass": self.break_glass });
        let texts = [
            ("cluster", &self.cluster),
            ("namespaces", &self.namespaces),
            ("ticket", &self.ticket),
            ("rules", &self.rules),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                body[name] = json!(text);
            }
        }
        if let Some(ttl) = &self.ttl {
            body["ttl"] = json!(duration::seconds(ttl)?);
        }
        let call = Call::post(&self.mount.path("request")?, &body)?;
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error asking for access"))?;
        decided(ctx, &self.mount, data_of(envelope)?, !self.no_wait).await
    }
}

impl Extend {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut body = json!({});
        if let Some(reason) = &self.reason {
            body["reason"] = json!(reason);
        }
        if let Some(ttl) = &self.ttl {
            body["ttl"] = json!(duration::seconds(ttl)?);
        }
        let call = Call::post(&self.mount.path(&format!("requests/{}/extend", self.id))?, &body)?;
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error asking for more time"))?;
        decided(ctx, &self.mount, data_of(envelope)?, !self.no_wait).await
    }
}

/// Shows the request, and waits for the decision when that is wanted. A request that was not granted is a failure.
async fn decided(ctx: &Ctx, mount: &Mount, mut case: Map<String, Value>, wait: bool) -> Result<u8> {
    let id = told::text(&case, "id");
    if wait && told::text(&case, "state") == "pending" {
        let spinner = progress::spinner(&format!(
            "request {id} waits for approval by {}; `dewdrop access approve {id}` gives it",
            told::text(&case, "approvals_needed")
        ));
        while told::text(&case, "state") == "pending" {
            tokio::time::sleep(LOOK_AGAIN).await;
            case = read(ctx, mount, &id).await?;
        }
        spinner.finish_and_clear();
    }
    let state = told::text(&case, "state");
    let code = told::case(ctx, &case)?;
    match state.as_str() {
        "pending" | "granted" | "active" | "applied" => Ok(code),
        _ => Err(Failure::server(format!("the request is {state}")).coded(2)),
    }
}
