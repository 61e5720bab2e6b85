//! policy explain: which rule decides, which lost, and which would allow it. Asks the server about a token
//! (`sys/policies/explain`), or works offline on policy files by the same code.

use std::sync::Arc;

use clap::Args;
use dewdrop_api::Call;
use dewdrop_core::policy::{Ask, Policy, PolicySet};
use dewdrop_core::{Operation, SystemClock};
use serde_json::{Map, Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::{say, table, value};

const OPERATIONS: [Operation; 7] = [
    Operation::Create,
    Operation::Read,
    Operation::Update,
    Operation::Delete,
    Operation::List,
    Operation::Scan,
    Operation::Patch,
];

/// `dewdrop policy explain`.
#[derive(Debug, Args)]
pub struct Explain {
    /// Path that is asked about, as in a policy: mount and all
    path: String,
    /// Fields that the request would have, as key=value
    #[arg(value_name = "K=V")]
    parameters: Vec<String>,
    /// What is to be done with it: create, read, update, delete, list, scan or patch
    #[arg(long, visible_alias = "capability", default_value = "read")]
    operation: String,
    /// Ask about the token with this accessor, not about the one in force
    #[arg(long, value_name = "ACCESSOR", conflicts_with = "file")]
    accessor: Option<String>,
    /// Work offline: ask about a holder of these policy files; may be repeated
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
}

impl Explain {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let told = if self.file.is_empty() { self.ask_server(ctx).await? } else { self.ask_files()? };
        let explanation = told.get("explanation").unwrap_or(&told);
        let verdict = explanation.get("allowed").and_then(Value::as_bool);
        let allowed = verdict.ok_or_else(|| Failure::server("the server's explanation holds no verdict"))?;
        if ctx.out.is_table() && ctx.out.field.is_none() {
            say(&page(&told, explanation, allowed));
        } else if let Some(name) = &ctx.out.field {
            ctx.out.field(name, explanation.as_object().unwrap_or(&Map::new()))?;
        } else {
            ctx.out.structured(&told)?;
        }
        Ok(if allowed { 0 } else { 2 })
    }

    async fn ask_server(&self, ctx: &Ctx) -> Result<Value> {
        let mut body = json!({"path": self.path.trim_start_matches('/'), "operation": self.operation});
        if let Some(accessor) = &self.accessor {
            body["accessor"] = json!(accessor);
        }
        if !self.parameters.is_empty() {
            body["parameters"] = Value::Object(input::fields(&self.parameters)?);
        }
        let elsewhere = "OpenBao and Vault servers cannot explain; `dewdrop token capabilities` works with them, -file works offline";
        let envelope = ctx.call(Call::post("sys/policies/explain", &body)?).await.map_err(|e| {
            let unknown = matches!(e.status(), Some(404 | 405));
            let e = e.doing("Error explaining");
            if unknown { e.hint(elsewhere) } else { e }
        })?;
        let data = envelope.and_then(|e| e.data);
        let data = data.ok_or_else(|| Failure::server("the server explained nothing").hint(elsewhere))?;
        Ok(Value::Object(data.expose().clone()))
    }

    fn ask_files(&self) -> Result<Value> {
        let mut policies = Vec::new();
        for file in &self.file {
            let text = input::text_of(file)?;
            let name =
                std::path::Path::new(file).file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
            policies
                .push(Arc::new(Policy::parse(&name, "", &text).map_err(|e| Failure::usage(format!("{file}: {e}")))?));
        }
        let operation = OPERATIONS.into_iter().find(|o| o.name() == self.operation).ok_or_else(|| {
            let known: Vec<&str> = OPERATIONS.iter().map(|o| o.name()).collect();
            Failure::usage(format!("{:?} is no operation", self.operation))
                .hint(format!("use one of {}", known.join(", ")))
        })?;
        let parameters = input::fields(&self.parameters)?;
        let path = self.path.trim_start_matches('/');
        let ask = Ask { parameters: Some(&parameters), ..Ask::new(operation, path, SystemClock::shared().now()) };
        let explanation = PolicySet::compile(&policies, None).explain(&ask);
        let told = serde_json::to_value(&explanation);
        Ok(json!({"explanation": told.map_err(|e| Failure::usage(format!("the explanation cannot be shown: {e}")))?}))
    }
}

/// The explanation for people.
fn page(told: &Value, explanation: &Value, allowed: bool) -> String {
    let text = |name: &str| explanation.get(name).and_then(Value::as_str).unwrap_or_default();
    let words = |name: &str| {
        let items = explanation.get(name).and_then(Value::as_array);
        items.into_iter().flatten().map(value::plain).collect::<Vec<_>>().join(", ")
    };
    let mut page =
        format!("{}: {} {}\n\n", if allowed { "Allowed" } else { "Denied" }, text("operation"), text("path"));
    let mut rows = Vec::new();
    if let Some(principal) = told.get("principal") {
        let known = |name: &str| principal.get(name).and_then(Value::as_str).unwrap_or_default();
        let policies = principal.get("policies").map(value::plain).unwrap_or_default();
        rows.push(("who", format!("{} (accessor {}), policies {policies}", known("display_name"), known("accessor"))));
    }
    rows.extend([("why", text("reason").to_owned()), ("needs", words("needs")), ("holds", words("holds"))]);
    for rule in explanation.get("decided_by").and_then(Value::as_array).into_iter().flatten() {
        rows.push(("decided by", rule_of(rule)));
    }
    for other in explanation.get("others").and_then(Value::as_array).into_iter().flatten() {
        let why = other.get("why").and_then(Value::as_str).unwrap_or_default();
        rows.push(("not by", format!("{}: {why}", other.get("rule").map(rule_of).unwrap_or_default())));
    }
    rows.push(("try", text("hint").to_owned()));
    let rows = rows.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| vec![name.to_owned(), text]);
    page.push_str(&table::columns(None, &rows.collect::<Vec<_>>()));
    if !text("smallest_rule").is_empty() {
        page.push_str(&format!("\nThe smallest rule that would allow it:\n\n{}\n", text("smallest_rule").trim_end()));
    }
    page
}

fn rule_of(rule: &Value) -> String {
    let text = |name: &str| rule.get(name).and_then(Value::as_str).unwrap_or_default();
    let line = rule.get("line").and_then(Value::as_u64).unwrap_or_default();
    let namespace = Some(text("namespace")).filter(|n| !n.is_empty()).map(|n| format!(", namespace {n:?}"));
    format!("path {:?} (policy {:?}, line {line}{})", text("path"), text("policy"), namespace.unwrap_or_default())
}
