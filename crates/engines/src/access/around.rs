//! `around`: what people did at the API server without an access proxy, as the API server's own audit tells it. All of it is on
//! the audit chain; here it is kept to be listed.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::store::{Batch, decode, scan_all};
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Access, PAGE, keys};

/// Of these the newest are kept; so many more before that is looked after, whatever the hour.
const MOST: usize = 10_000;
const SURPLUS: usize = 2000;
const KEEP_AROUND: Duration = Duration::from_secs(30 * 24 * 3600);
/// In one answer.
const AT_ONCE: usize = 1000;
/// What is kept of a line.
const WORDS: [&str; 9] = ["cluster", "time", "user", "acting_as", "verb", "target", "namespace", "name", "source"];
const LONGEST: usize = 1024;

#[derive(Deserialize, JsonSchema)]
struct ListFields {
    /// Only what was done at this cluster.
    cluster: Option<Text>,
    /// Only what this user did.
    user: Option<Text>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("").at("around", "What was done at API servers without an access proxy.", |route| {
        route.list("Lists it, the newest first: at most 1000, of the last 30 days.", list)
    })
}

async fn list(access: Arc<Access>, _: Call, fields: ListFields) -> Result<Reply, Fault> {
    let wanted = [("cluster", fields.cluster), ("user", fields.user)];
    let mut all: Vec<(String, Map<String, Value>)> = Vec::new();
    for row in scan_all(&*access.store, keys::AROUND.as_bytes(), PAGE).await?.iter().rev() {
        let about: Map<String, Value> = decode(&row.key, &row.entry)?;
        let fits = |(name, text): &(&str, Option<Text>)| {
            text.as_ref().is_none_or(|text| about.get(*name).and_then(Value::as_str) == Some(text.0.as_str()))
        };
        if all.len() < AT_ONCE && wanted.iter().all(fits) {
            let id = String::from_utf8_lossy(row.key.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
            all.push((id.into_owned(), about));
        }
    }
    Reply::listed(all.into_iter().map(|(id, about)| (id, about.into())))
}

/// Where a line is kept: the same event told again lies at the same place.
fn key(line: &Map<String, Value>) -> Option<String> {
    let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
    let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-:.".contains(&b));
    let is_name = |text: &str| (1..=64).contains(&text.len()) && is_plain(text);
    let (time, id) = (text("time"), text("audit_id"));
    (is_name(time) && is_name(id)).then(|| format!("{}{time}/{id}", keys::AROUND))
}

impl Access {
    /// Keeps those lines of the record that went round the proxies.
    pub(super) async fn keep_around(&self, lines: &[Map<String, Value>], now: Moment) -> Result<(), Fault> {
        let mut batch = Batch::new();
        for line in lines.iter().filter(|line| line.get("around") == Some(&Value::Bool(true))) {
            let is_long = |value: &Value| value.as_str().is_some_and(|text| text.len() > LONGEST);
            let Some(key) = key(line).filter(|_| !line.values().any(is_long)) else {
                return Err(Fault::bad_request("a line that went around needs time and audit_id, and short words"));
            };
            let word = |name: &&str| Some(((*name).to_owned(), line.get(*name)?.as_str()?.into()));
            let mut about: Map<String, Value> = WORDS.iter().filter_map(word).collect();
            about.insert("code".to_owned(), line.get("code").and_then(Value::as_u64).unwrap_or_default().into());
            batch = batch.put_json(key, &about)?;
        }
        let count = batch.changes.len();
        if count == 0 {
            return Ok(());
        }
        self.store.commit(batch).await?;
        if self.around.fetch_add(count, Ordering::Relaxed) + count >= SURPLUS {
            self.around.store(0, Ordering::Relaxed);
            self.tidy_around(now).await?;
        }
        Ok(())
    }

    /// Removes what was kept long enough, and what is too much.
    pub(super) async fn tidy_around(&self, now: Moment) -> Result<(), Fault> {
        let rows = scan_all(&*self.store, keys::AROUND.as_bytes(), PAGE).await?;
        let too_many = rows.len().saturating_sub(MOST);
        let oldest = now.0.saturating_sub(u64::try_from(KEEP_AROUND.as_millis()).unwrap_or(u64::MAX));
        let oldest = format!("{}{}", keys::AROUND, Moment(oldest).rfc3339());
        let old: Vec<Vec<u8>> = rows
            .into_iter()
            .enumerate()
            .filter(|(at, row)| *at < too_many || row.key.as_slice() < oldest.as_bytes())
            .map(|(_, row)| row.key)
            .collect();
        for some in old.chunks(PAGE) {
            let batch = some.iter().fold(Batch::new(), |batch, key| batch.delete(key.as_slice()));
            self.store.commit(batch).await?;
        }
        Ok(())
    }
}
