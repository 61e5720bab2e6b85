//! `dewdrop kube doctor`: looks at a cluster, with the eyes of kubectl, and says what our volumes lack there. It changes nothing.

mod judge;
mod look;

use clap::Args;
use dewdrop_api::Call;
use serde_json::Value;

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;
use judge::{Finding, Grade};

/// `dewdrop kube doctor`.
#[derive(Debug, Args)]
pub struct Doctor {
    /// The program that asks the cluster
    #[arg(long, value_name = "PROGRAM", default_value = "kubectl")]
    kubectl: String,
    /// kubectl's context, where it is not the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// The Kubernetes namespace that Dewdrop is installed in
    #[arg(long, value_name = "NAME", default_value = "dewdrop-system")]
    system: String,
    /// Where the Kubernetes auth method is mounted
    #[arg(long, value_name = "PATH", default_value = "kubernetes")]
    auth_mount: String,
    /// The role of that method for agents
    #[arg(long, value_name = "NAME", default_value = "dewdrop-node")]
    role: String,
}

impl Doctor {
    /// Looks, judges, tells.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut seen = look::at(&self.kubectl, self.context.as_deref(), &self.system).await?;
        let mut findings = Vec::new();
        match self.role(ctx).await {
            Ok(role) => seen.role = Some(role),
            Err(why) => findings.push(Finding::new(
                Grade::Unknown,
                format!("the server's role {:?} was not looked at: {why}", self.role),
                "set DEWDROP_ADDR and DEWDROP_TOKEN to have that checked, too",
            )),
        }
        match look::guards(&self.kubectl, self.context.as_deref(), &self.system, &seen.pods).await {
            Ok(guards) => seen.guards = Some(guards),
            Err(failure) => findings.push(Finding::new(
                Grade::Unknown,
                format!("the guards were not looked at: {}", in_a_line(&failure)),
                "ask as somebody who may read webhook configurations and admission policies",
            )),
        }
        findings.extend(judge::all(&seen));
        findings.sort_by_key(|finding| finding.grade);
        let is_well = findings.iter().all(|finding| finding.grade != Grade::Bad);
        if ctx.out.is_table() {
            findings.iter().for_each(|finding| say(&finding.text()));
        } else {
            ctx.out.structured(&findings)?;
        }
        Ok(if is_well { 0 } else { 2 })
    }

    /// The agents' role, as the server has it.
    async fn role(&self, ctx: &Ctx) -> std::result::Result<Value, String> {
        let told = |failure: Failure| in_a_line(&failure);
        ctx.token().map_err(told)?;
        let path = format!("auth/{}/role/{}", self.auth_mount.trim_matches('/'), self.role);
        let call = Call::read(&path).map_err(|error| error.to_string())?;
        let found = ctx.ask(call).await.map_err(told)?;
        Ok(found.and_then(|envelope| envelope.data).map_or(Value::Null, |role| Value::Object(role.expose().clone())))
    }
}

fn in_a_line(failure: &Failure) -> String {
    failure.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
