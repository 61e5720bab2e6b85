//! To ask, and to wait for the answer.

use clap::Args;
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use super::{Mount, data_of, told, wait};
use crate::ctx::Ctx;
use crate::duration;
use crate::failure::{Failure, Result};

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
    /// A request for all that a role has.
    pub fn of(mount: Mount, role: String, reason: String) -> Self {
        let (break_glass, no_wait) = (false, false);
        Self {
            mount,
            role,
            reason,
            cluster: None,
            namespaces: None,
            ttl: None,
            ticket: None,
            rules: None,
            break_glass,
            no_wait,
        }
    }

    /// What else may be said.
    pub fn terms(&mut self, cluster: Option<String>, ttl: Option<String>, ticket: Option<String>) {
        (self.cluster, self.ttl, self.ticket) = (cluster, ttl, ticket);
    }

    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let (mount, wait) = (self.mount.clone(), !self.no_wait);
        let case = opened(ctx, self).await?;
        decided(ctx, &mount, case, wait).await
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
async fn decided(ctx: &Ctx, mount: &Mount, case: Map<String, Value>, wait: bool) -> Result<u8> {
    let case = waited(ctx, mount, case, wait).await?;
    let state = told::text(&case, "state");
    let code = told::case(ctx, &case)?;
    match state.as_str() {
        "pending" | "granted" | "active" | "applied" => Ok(code),
        _ => Err(Failure::server(format!("the request is {state}")).coded(2)),
    }
}

/// The request as it is when it was decided, or at once when that is not waited for.
pub async fn waited(ctx: &Ctx, mount: &Mount, case: Map<String, Value>, wait: bool) -> Result<Map<String, Value>> {
    if wait && told::text(&case, "state") == "pending" { wait::decision(ctx, mount, case).await } else { Ok(case) }
}

/// Makes the request.
pub async fn opened(ctx: &Ctx, request: Request) -> Result<Map<String, Value>> {
    let mut body = json!({ "role": request.role, "reason": request.reason, "break_glass": request.break_glass });
    let texts = [
        ("cluster", &request.cluster),
        ("namespaces", &request.namespaces),
        ("ticket", &request.ticket),
        ("rules", &request.rules),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            body[name] = json!(text);
        }
    }
    if let Some(ttl) = &request.ttl {
        body["ttl"] = json!(duration::seconds(ttl)?);
    }
    let call = Call::post(&request.mount.path("request")?, &body)?;
    data_of(ctx.call(call).await.map_err(|e| e.doing("Error asking for access"))?)
}
