//! `watch`: the requests that somebody may see and that are not settled, for whoever sits and waits for them. As with
//! `live`, the answer is held back until there is another one than the caller has.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::{Text, Ttl};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::case::Case;
use super::{Access, ask, keys, live, view};

/// Groups, roles of other servers and the time change without ringing here.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

#[derive(Deserialize, JsonSchema)]
struct WatchFields {
    /// The `version` that is known: an answer comes when there is another.
    version: Option<Text>,
    /// How long to wait for that at most, up to 30 s; at once when unset.
    wait: Option<Ttl>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("").at("watch", "Open requests: the caller's own, and those that the caller may approve.", |route| {
        route.read("Answers them with a version; waits for the next version when asked to.", watch)
    })
}

async fn watch(access: Arc<Access>, call: Call, fields: WatchFields) -> Result<Reply, Fault> {
    let known = fields.version.map_or_else(String::new, |text| text.0);
    let wait = fields.wait.map_or(Duration::ZERO, |ttl| ttl.0.min(live::LONGEST_WAIT));
    let start = access.clock.steady();
    loop {
        // Asked for before the look, so that no change falls between the two.
        let news = access.news.notified();
        let now = call.now.plus(access.clock.steady().saturating_sub(start));
        let requests = access.unsettled(&call, now).await?;
        let version = live::version(&requests)?;
        let waited = access.clock.steady().saturating_sub(start);
        if version != known || waited >= wait {
            let data = [("version".to_owned(), version.into()), ("requests".to_owned(), Value::Array(requests))];
            return Ok(Reply::data(Map::from_iter(data)));
        }
        let _ = tokio::time::timeout(LOOK_AGAIN.min(wait.saturating_sub(waited)), news).await;
    }
}

impl Access {
    /// What is open or waits for a review, and the caller may see, in the order in which it was asked.
    async fn unsettled(&self, call: &Call, now: Moment) -> Result<Vec<Value>, Fault> {
        // Asked each time: who left a group sees no more.
        let person = self.caller(call).await?;
        let mut cases = self.open_cases(now).await?;
        for case in self.listed_cases(keys::UNREVIEWED).await? {
            if !cases.iter().any(|one| one.id == case.id) {
                cases.push(case);
            }
        }
        let mut seen = ask::seen(self, cases, &person).await?;
        seen.sort_by(|a, b| (a.asked.at, &a.id).cmp(&(b.asked.at, &b.id)));
        Ok(seen.iter().map(|case| line(case, case.asked.by.entity == person.id, now)).collect())
    }
}

fn line(case: &Case, is_own: bool, now: Moment) -> Value {
    let mut line = view::line(case, now);
    let approvals: Vec<&str> = case.approvers().map(|who| who.name.as_str()).collect();
    for (name, value) in [
        ("id", json!(case.id)),
        ("ttl", json!(case.asked.ttl.as_secs())),
        ("extends", json!(case.asked.extends)),
        ("own", json!(is_own)),
        ("approved_by", json!(approvals)),
    ] {
        line[name] = value;
    }
    line
}
