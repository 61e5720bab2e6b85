//! `dewdrop kube whoami`: the person, and each grant with its reason, its approvers and the time left.

use std::fmt::Write as _;

use clap::Args;
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use super::grants::{self, Grant, in_words};
use crate::cmd::access::told::{clean, text};
use crate::cmd::access::{Mount, data_of};
use crate::ctx::Ctx;
use crate::failure::Result;
use crate::output::say;

/// `dewdrop kube whoami`.
#[derive(Debug, Args)]
pub struct Whoami {
    #[command(flatten)]
    mount: Mount,
}

impl Whoami {
    /// Runs it.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        ctx.token()?;
        let token = ctx
            .ask(Call::read("auth/token/lookup-self")?)
            .await
            .map_err(|e| e.doing("Error looking at your token").hint("sign in: dewdrop kube login"))?;
        let token = data_of(token)?;
        let grants = grants::mine(ctx, &self.mount).await?;
        if !ctx.out.is_table() {
            return ctx.out.structured(&structure(&token, &grants));
        }
        say(&words(&token, &grants));
        Ok(0)
    }
}

fn structure(token: &Map<String, Value>, grants: &[Grant]) -> Value {
    json!({
        "person": grants::person(grants, token),
        "entity_id": text(token, "entity_id"),
        "token": { "display_name": text(token, "display_name"), "seconds_left": token.get("ttl") },
        "grants": grants.iter().map(Grant::json).collect::<Vec<_>>(),
    })
}

fn words(token: &Map<String, Value>, grants: &[Grant]) -> String {
    let mut said = format!("You are {}", grants::person(grants, token));
    let ttl = token.get("ttl").and_then(Value::as_u64).unwrap_or_default();
    let how = clean(token.get("display_name").and_then(Value::as_str).unwrap_or_default());
    let _ = match ttl {
        0 => writeln!(said, " (signed in as {how})."),
        left => writeln!(said, " (signed in as {how}, for another {}).", in_words(left)),
    };
    if grants.is_empty() {
        said.push_str("You have no access to any cluster now.\n");
    }
    grants.iter().for_each(|grant| say_grant(&mut said, grant));
    said
}

/// A grant, or a request that waits.
pub fn say_grant(said: &mut String, grant: &Grant) {
    let what = if grant.is_usable() { "Grant" } else { "Request" };
    let role = text(&grant.case, "role");
    let _ = writeln!(said, "\n{what} {} on cluster {}, by the role {role}", grant.id(), grant.cluster());
    let _ = writeln!(said, "  Time      {}", grant.time());
    for (name, key) in [("Reason", "reason"), ("Ticket", "ticket")] {
        let value = text(&grant.case, key);
        if !value.is_empty() {
            let _ = writeln!(said, "  {name:<10}{value}");
        }
    }
    let approvers = grant.approvers();
    if !approvers.is_empty() {
        let _ = writeln!(said, "  Approved  by {}", approvers.join(", "));
    } else if grant.case.get("break_glass") == Some(&Value::Bool(true)) {
        said.push_str("  Approved  by nobody: break-glass, which is reviewed afterwards\n");
    }
    for line in grant.summary() {
        let _ = writeln!(said, "  {}  {line}", if grant.is_usable() { "You may " } else { "It wants" });
    }
    if grant.is_direct() {
        said.push_str(
            "  Directly  without the access proxy: the cluster's RBAC decides, ask it by kubectl auth can-i --list\n",
        );
    }
}
