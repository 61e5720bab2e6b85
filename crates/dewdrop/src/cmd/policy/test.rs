//! policy test: what policies shall allow and refuse, checked offline by the code that the server itself decides with.
//! The form of the file is described in `dewdrop_core::policy` (`case "name" { ... }` and `policy "name" { ... }`).
//! A policy that the file does not hold is looked for beside it (`NAME.hcl`), then on the server.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use dewdrop_api::Call;
use dewdrop_core::SystemClock;
use dewdrop_core::policy::{CaseOutcome, Policy, check_file};
use serde_json::Value;

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::say;

const EXAMPLE: &str = "Example of a test file:

  policy \"app\" {
    path \"secret/data/app/*\" { capabilities = [\"read\"] }
  }
  case \"the app reads its own secrets\" {
    policies     = [\"app\"]
    path         = \"secret/data/app/db\"
    capabilities = [\"read\"]
    allow        = true
  }

A policy that the file does not hold is read from NAME.hcl beside it, else from the server.";

/// `dewdrop policy test`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLE)]
pub struct Test {
    /// File with the cases, HCL
    file: String,
}

impl Test {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let text = input::text_of(&self.file)?;
        let outcomes = self.check(ctx, &text).await?;
        if outcomes.is_empty() {
            return Err(Failure::usage(format!("{} holds no cases, so it tests nothing", self.file)));
        }
        let failed = outcomes.iter().filter(|o| !o.passed).count();
        if ctx.out.is_table() {
            outcomes.iter().for_each(|outcome| say(&line_of(outcome)));
            say(&format!("\n{} passed, {failed} failed\n", outcomes.len() - failed));
        } else {
            ctx.out.structured(&outcomes)?;
        }
        Ok(u8::from(failed > 0))
    }

    /// Runs the cases. Policies are fetched when the cases turn out to need them; each round names one more.
    async fn check(&self, ctx: &Ctx, text: &str) -> Result<Vec<CaseOutcome>> {
        let now = SystemClock::shared().now();
        let mut known: BTreeMap<String, Arc<Policy>> = BTreeMap::new();
        loop {
            let missing = RefCell::new(BTreeSet::new());
            let find = |name: &str| {
                known.get(name).cloned().or_else(|| {
                    missing.borrow_mut().insert(name.to_owned());
                    None
                })
            };
            let checked = check_file(text, now, &find);
            let missing = missing.into_inner();
            match checked {
                Err(_) if !missing.is_empty() => {
                    for name in missing {
                        let policy = self.fetch(ctx, &name).await?;
                        known.insert(name, Arc::new(policy));
                    }
                }
                other => return other.map_err(|e| Failure::usage(format!("{}: {e}", self.file))),
            }
        }
    }

    async fn fetch(&self, ctx: &Ctx, name: &str) -> Result<Policy> {
        let beside = Path::new(&self.file).with_file_name(format!("{name}.hcl"));
        let (text, from) = if beside.is_file() {
            (input::text_of(&beside.to_string_lossy())?, beside.display().to_string())
        } else {
            let doing = format!(
                "{} names the policy {name}, which is not in {}; asking the server",
                self.file,
                beside.display()
            );
            let call = Call::read(&format!("sys/policies/acl/{name}"))?;
            let data = ctx.ask(call).await.map_err(|e| e.doing(&doing))?.and_then(|e| e.data);
            let text = data.as_ref().and_then(|d| d.expose().get("policy")).and_then(Value::as_str).map(str::to_owned);
            (
                text.ok_or_else(|| Failure::server(format!("{doing}: No policy named: {name}")))?,
                format!("policy {name}"),
            )
        };
        Policy::parse(name, "", &text).map_err(|e| Failure::usage(format!("{from}: {e}")))
    }
}

fn line_of(outcome: &CaseOutcome) -> String {
    if outcome.passed {
        return format!("ok      {}\n", outcome.name);
    }
    let mut text = format!("FAILED  {} (line {})\n", outcome.name, outcome.line);
    for surprise in &outcome.surprises {
        let verdict = if surprise.allowed { "is allowed" } else { "is refused" };
        text.push_str(&format!("        {} {} {verdict}: {}\n", surprise.operation, surprise.path, surprise.reason));
        if let Some(rule) = &surprise.smallest_rule {
            rule.trim_end().lines().for_each(|line| text.push_str(&format!("          {line}\n")));
        }
    }
    text
}
