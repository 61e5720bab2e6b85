//! `live`: the grants that run now, for the access proxies. A proxy holds a copy and asks again as soon as it is answered;
//! the answer comes when something changed, or after the time that it waits at most.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::{Text, Ttl};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::Access;
use super::case::{Case, State};

/// The longest that an answer is held back.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Groups, roles of other servers and the time change without ringing here.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

#[derive(Deserialize, JsonSchema)]
struct LiveFields {
    /// Only grants for this cluster.
    cluster: Option<Text>,
    /// The `version` that is known: an answer comes when there is another.
    version: Option<Text>,
    /// How long to wait for that at most, up to 30 s; at once when unset.
    wait: Option<Ttl>,
}

#[derive(Deserialize, JsonSchema)]
struct RecordFields {
    /// One object for each request, with texts, numbers and truth values.
    lines: Vec<Map<String, Value>>,
}

/// The most lines in one request.
const MOST_LINES: usize = 1000;

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("live", "The grants that run now, for access proxies.", |route| {
            route.read("Answers them with a version; waits for the next version when asked to.", live)
        })
        .at("record", "What people did by their grants, told by access proxies.", |route| {
            route.write("Writes the lines on the audit log, as the data of this request.", record)
        })
}

/// The lines are on the audit log before this is called, or it is not called: see the walk of a request.
async fn record(access: Arc<Access>, call: Call, fields: RecordFields) -> Result<Reply, Fault> {
    if fields.lines.is_empty() || fields.lines.len() > MOST_LINES {
        return Err(Fault::bad_request(format!("lines: from 1 to {MOST_LINES} objects")));
    }
    for line in fields.lines.iter().filter(|line| line.contains_key("left")) {
        access.note(line, call.now).await?;
    }
    access.keep_around(&fields.lines, call.now).await?;
    Ok(Reply::nothing())
}

async fn live(access: Arc<Access>, call: Call, fields: LiveFields) -> Result<Reply, Fault> {
    let cluster = fields.cluster.map_or_else(String::new, |text| text.0);
    let known = fields.version.map_or_else(String::new, |text| text.0);
    let wait = fields.wait.map_or(Duration::ZERO, |ttl| ttl.0.min(LONGEST_WAIT));
    let start = access.clock.steady();
    loop {
        // Asked for before the look, so that no change falls between the two.
        let news = access.news.notified();
        let now = call.now.plus(access.clock.steady().saturating_sub(start));
        let grants = access.grants(&call, &cluster, now).await?;
        let sweeps = access.sweeps(&cluster, now).await?;
        let version = version(&[&grants[..], &sweeps].concat())?;
        let waited = access.clock.steady().saturating_sub(start);
        if version != known || waited >= wait {
            let authority = access.authorities(now).await?.bundle();
            let data = [
                ("version".to_owned(), version.into()),
                ("grants".to_owned(), Value::Array(grants)),
                ("sweeps".to_owned(), Value::Array(sweeps)),
                ("certificate_authority".to_owned(), authority.into()),
            ];
            return Ok(Reply::data(Map::from_iter(data)));
        }
        let _ = tokio::time::timeout(LOOK_AGAIN.min(wait.saturating_sub(waited)), news).await;
    }
}

pub(super) fn version(grants: &[Value]) -> Result<String, Fault> {
    let text = serde_json::to_vec(grants).map_err(|e| Fault::internal(format!("encode grants: {e}")))?;
    Ok(hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text)))
}

impl Access {
    /// The grants that run, each only as long as its person is there and its role still has it.
    pub(super) async fn grants(&self, call: &Call, cluster: &str, now: Moment) -> Result<Vec<Value>, Fault> {
        let mut grants = Vec::new();
        for case in self.open_cases(now).await? {
            // No proxy carries what goes directly.
            if case.state(now) != State::Active || !is_for(&case, cluster) || case.asked.direct.is_some() {
                continue;
            }
            let Some(role) = self.role(&case.asked.role).await? else { continue };
            let Some(person) = self.person(call, &case.asked.by).await? else { continue };
            if case.asked.scope.within(&role.scope).is_err() || !role.requesters.has(&person) {
                continue;
            }
            grants.push(json!({
                "id": case.id, "user": person.name, "entity": person.id, "role": case.asked.role,
                "groups": role.kubernetes_groups, "scope": case.asked.scope, "reason": case.asked.reason, "record_sessions": !role.unrecorded,
                "ends_at": case.running.map(|running| running.until.rfc3339()),
                "approvers": case.approvers().map(|who| who.name.as_str()).collect::<Vec<_>>(),
            }));
        }
        Ok(grants)
    }
}

fn is_for(case: &Case, cluster: &str) -> bool {
    cluster.is_empty() || case.asked.scope.clusters.iter().any(|name| name == cluster)
}
