//! A request that waits for its decision: a spinner at a terminal, lines elsewhere. Ctrl-C ends the waiting and not the request.

use std::io::IsTerminal;
use std::time::Duration;

use dewdrop_core::{Moment, SystemClock};
use serde_json::{Map, Value, json};
use tokio::signal::unix::{SignalKind, signal};

use super::{Mount, read, told};
use crate::cmd::kube::in_words;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::line;
use crate::progress;

/// Between two looks at a request that waits.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// So many looks in a row may fail before that is said to whoever waits.
const PATIENCE: u32 = 15;
/// What shells say of a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Waits until the request is not pending any more, and answers it as it is then.
pub async fn decision(ctx: &Ctx, mount: &Mount, mut case: Map<String, Value>) -> Result<Map<String, Value>> {
    let id = told::text(&case, "id");
    // Before anything is said of Ctrl-C, so that it does what is said.
    let mut interrupted = signal(SignalKind::interrupt())
        .map_err(|e| Failure::usage(format!("wait for Ctrl-C: {e}")).hint("use -no-wait"))?;
    let mut shown = Shown::begin(&case);
    let mut failed = 0;
    while told::text(&case, "state") == "pending" {
        tokio::select! {
            () = tokio::time::sleep(LOOK_AGAIN) => {}
            _ = interrupted.recv() => {
                shown.end();
                return Err(stands(&id));
            }
        }
        match read(ctx, mount, &id).await {
            Ok(now) => (case, failed) = (now, 0),
            // A server that is away for a moment changes nothing about the request.
            Err(e) if failed < PATIENCE && !matches!(e.status(), Some(403 | 404)) => failed += 1,
            Err(e) => {
                shown.end();
                return Err(e.hint(format!("the request stands; look at it later: dewdrop access show {id}")));
            }
        }
        shown.update(&case);
    }
    shown.end();
    Ok(case)
}

fn stands(id: &str) -> Failure {
    Failure::server(format!("\nThe request {id} stands, and waits for approval."))
        .hint(format!("see it: dewdrop access show {id}; take it back: dewdrop access withdraw {id}"))
        .coded(INTERRUPTED)
}

/// What is shown meanwhile.
struct Shown {
    spinner: Option<indicatif::ProgressBar>,
    last: String,
}

impl Shown {
    fn begin(case: &Map<String, Value>) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        if !is_terminal {
            line(&format!("Request {} waits; Ctrl-C leaves it standing.", told::text(case, "id")));
        }
        let spinner = is_terminal.then(|| progress::spinner(&whole(case)));
        let mut shown = Self { spinner, last: String::new() };
        shown.update(case);
        shown
    }

    fn update(&mut self, case: &Map<String, Value>) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(whole(case));
            return;
        }
        // Time goes on all the time: a line comes when somebody said something.
        let now = progress_of(case);
        if told::text(case, "state") == "pending" && now != self.last {
            line(&format!("{now}{}", time(case)));
            self.last = now;
        }
    }

    fn end(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }
}

fn whole(case: &Map<String, Value>) -> String {
    let id = told::text(case, "id");
    format!("request {id}: {}{}; Ctrl-C leaves it standing", progress_of(case), time(case))
}

/// Who may approve, how many are missing, who has approved.
fn progress_of(case: &Map<String, Value>) -> String {
    let missing = case.get("approvals_missing").and_then(Value::as_u64).unwrap_or(1);
    let mut said = format!("waits for approval by {}: {missing} missing", told::text(case, "approvals_needed"));
    let decisions = case.get("decisions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
    let by: Vec<String> =
        decisions.filter(|one| one.get("approves") == Some(&json!(true))).map(|one| told::text(one, "by")).collect();
    if !by.is_empty() {
        said.push_str(&format!(", approved by {}", by.join(", ")));
    }
    said
}

fn time(case: &Map<String, Value>) -> String {
    let now = SystemClock::shared().now();
    let until = Moment::parse_rfc3339(&told::text(case, "pending_until")).ok();
    until.map_or_else(String::new, |until| format!(", {} left", in_words(until.since(now).as_secs())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_missing() {
        let mut case = json!({ "approvals_needed": "2 of leads", "approvals_missing": 2, "decisions": [] });
        let said = |case: &Value| progress_of(case.as_object().unwrap());
        assert_eq!(said(&case), "waits for approval by 2 of leads: 2 missing");
        case["approvals_missing"] = json!(1);
        case["decisions"] = json!([{ "by": "ben", "approves": true }]);
        assert_eq!(said(&case), "waits for approval by 2 of leads: 1 missing, approved by ben");
    }
}
