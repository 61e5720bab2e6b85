//! A live list of requests, for whoever approves: each line as it comes, until Ctrl-C.

use std::collections::BTreeMap;
use std::time::Duration;

use clap::Args;
use dewdrop_api::{Call, Client, Error};
use serde_json::{Map, Value, json};

use super::{Mount, told};
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{line, say};

/// How long the server holds its answer back.
const WAIT: &str = "25s";
/// The whole of one question, with some time for the way.
const PATIENCE: Duration = Duration::from_secs(40);
/// Between two tries while the server is away.
const TRY_AGAIN: Duration = Duration::from_secs(1);

/// `dewdrop access watch`.
#[derive(Debug, Args)]
pub struct Watch {
    #[command(flatten)]
    mount: Mount,
}

type Request = Map<String, Value>;
type Requests = BTreeMap<String, Request>;

/// What is new about a request.
#[derive(Debug, PartialEq)]
enum Change {
    /// It was not there, or was another.
    Is(Request),
    /// It is settled, by its name.
    Gone(String),
}

impl Watch {
    /// Runs until Ctrl-C.
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let call = self.call("")?;
        ctx.show(&call).await?;
        let client = ctx.client().await?.with_retries(0);
        tokio::select! {
            ended = self.watch(ctx, &client) => ended,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.map(|()| 0).map_err(|e| Failure::usage(format!("wait for Ctrl-C: {e}")))
            }
        }
    }

    async fn watch(&self, ctx: &Ctx, client: &Client) -> Result<u8> {
        let (mut known, mut version, mut is_away) = (Requests::new(), String::new(), false);
        line("Watching requests that you may see; Ctrl-C ends it.");
        loop {
            match self.ask(client, &version).await {
                Ok((now, requests)) => {
                    if std::mem::take(&mut is_away) {
                        line("The server is back.");
                    }
                    for change in changes(&known, &requests) {
                        self.tell(ctx, client, change).await;
                    }
                    (known, version) = (requests, now);
                }
                Err(error) if error.is_passing() && !version.is_empty() => {
                    if !std::mem::replace(&mut is_away, true) {
                        line(&format!("The server does not answer, which is tried again: {error}"));
                    }
                    tokio::time::sleep(TRY_AGAIN).await;
                }
                Err(error) => return Err(Failure::from(error).doing("Error watching requests")),
            }
        }
    }

    fn call(&self, version: &str) -> Result<Call> {
        let call = Call::read(&self.mount.path("watch")?)?;
        Ok(call.with_query("version", version).with_query("wait", WAIT).patient(PATIENCE))
    }

    async fn ask(&self, client: &Client, version: &str) -> std::result::Result<(String, Requests), Error> {
        let call = self.call(version).map_err(|failure| Error::BadCall(failure.to_string()))?;
        let envelope = client.call(call).await?;
        let data = envelope.and_then(|envelope| envelope.data).map(|data| data.expose().clone()).unwrap_or_default();
        let all = data.get("requests").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
        let requests = all.map(|one| (told::text(one, "id"), one.clone())).collect();
        Ok((told::text(&data, "version"), requests))
    }

    async fn tell(&self, ctx: &Ctx, client: &Client, change: Change) {
        let request = match change {
            Change::Is(request) => request,
            Change::Gone(id) => self.settled(client, &id).await,
        };
        if ctx.out.is_table() {
            say(&words(&request));
        } else {
            say(&format!("{}\n", Value::Object(request)));
        }
    }

    /// How it ended. Who is not told any more still knows that it did.
    async fn settled(&self, client: &Client, id: &str) -> Request {
        let read = async {
            let call = Call::read(&self.mount.path(&format!("requests/{id}")).ok()?).ok()?;
            client.call(call).await.ok()??.data.map(|data| data.expose().clone())
        };
        let known = read.await.unwrap_or_default();
        let names = ["state", "role", "requester", "cluster", "reason", "ttl", "ended", "break_glass", "needs_review"];
        let mut request: Request = known.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect();
        request.insert("id".into(), id.into());
        request.entry("state").or_insert_with(|| json!("settled"));
        request
    }
}

/// What is to be told of a list, to whoever knows the one before.
fn changes(known: &Requests, now: &Requests) -> Vec<Change> {
    let gone = known.keys().filter(|id| !now.contains_key(*id)).map(|id| Change::Gone(id.clone()));
    let mut new: Vec<&Request> =
        now.iter().filter(|(id, one)| known.get(*id) != Some(*one)).map(|(_, one)| one).collect();
    new.sort_by_key(|one| told::text(one, "created_at"));
    gone.chain(new.into_iter().cloned().map(Change::Is)).collect()
}

/// A request in one line; for one that waits, with what to type.
fn words(request: &Request) -> String {
    let text = |name: &str| told::text(request, name);
    let (id, state) = (text("id"), text("state"));
    let mut said = format!("{:<10} {state:<9}", text("id"));
    if !text("requester").is_empty() {
        let minutes = request.get("ttl").and_then(Value::as_u64).unwrap_or_default().div_ceil(60);
        said.push_str(&format!(" {} {} on {}, {minutes} min", text("requester"), text("role"), text("cluster")));
    }
    let is = |name: &str| request.get(name) == Some(&Value::Bool(true));
    if !text("extends").is_empty() {
        said.push_str(&format!(" (more time for {})", text("extends")));
    }
    if !text("reason").is_empty() {
        said.push_str(&format!(": {}", text("reason")));
    }
    if is("break_glass") && is("needs_review") {
        said.push_str(&format!(" | BREAK-GLASS, not reviewed: dewdrop access review {id}"));
    } else if state == "pending" && !is("own") {
        said.push_str(&format!(" | dewdrop access approve {id}"));
    }
    // What others wrote must not move the cursor, nor make a line of its own.
    let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{}\n", said.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(requests: &[Value]) -> Requests {
        let all = requests.iter().map(|one| one.as_object().unwrap().clone());
        all.map(|one| (told::text(&one, "id"), one)).collect()
    }

    #[test]
    fn only_what_is_new_is_told_in_the_order_in_which_it_came() {
        let a = json!({ "id": "b", "state": "pending", "created_at": "1" });
        let b = json!({ "id": "a", "state": "pending", "created_at": "2" });
        let granted = json!({ "id": "b", "state": "granted", "created_at": "1" });
        let is = |value: &Value| Change::Is(value.as_object().unwrap().clone());
        let before = list(&[a.clone(), b.clone()]);
        assert_eq!(changes(&Requests::new(), &before), [is(&a), is(&b)]);
        assert_eq!(changes(&before, &before), []);
        assert_eq!(changes(&before, &list(std::slice::from_ref(&granted))), [Change::Gone("a".into()), is(&granted)]);
    }

    #[test]
    fn a_line_says_what_to_type_and_stays_one_line() {
        let mut request = json!({
            "id": "4k2", "state": "pending", "requester": "ann", "role": "look", "cluster": "prod", "ttl": 600,
            "reason": "disk\nfull \u{1b}[2J", "break_glass": false, "needs_review": false, "own": false,
        });
        let said = words(request.as_object().unwrap());
        assert_eq!(
            said,
            "4k2        pending   ann look on prod, 10 min: disk full \u{fffd}[2J | dewdrop access approve 4k2\n"
        );
        request["own"] = json!(true);
        assert!(!words(request.as_object().unwrap()).contains("approve"));
        request["break_glass"] = json!(true);
        request["needs_review"] = json!(true);
        assert!(words(request.as_object().unwrap()).contains("BREAK-GLASS"));
    }
}
