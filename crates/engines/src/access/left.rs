//! What a grant left behind: what the access proxies saw being made of the kinds by which access can be kept, and what became
//! of it after the grant's end.

use std::time::Duration;

use dewdrop_core::store::{Batch, Revision, get_json};
use dewdrop_core::{Fault, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::case::Case;
use super::{Access, keys};
use crate::shared::cas::{commits, gave_up};

/// Objects of one grant that are kept by name; of more than these only the number.
const MOST: usize = 200;
/// The longest path, uid or reason.
const LONGEST: usize = 1024;
/// What could not be deleted is told to the proxies again after this time.
const AGAIN: Duration = Duration::from_secs(60);
/// For this long after the grant's end.
const TRY_FOR: Duration = Duration::from_secs(24 * 3600);

/// What happens to it at the grant's end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Sweep {
    /// It is on the audit log, and nowhere else.
    None,
    /// It is shown with the grant.
    #[default]
    Report,
    /// It is shown, and the access proxy deletes it.
    Delete,
}

/// All of it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Left {
    cluster: String,
    /// As the role said when the last of it was made; asked again while there is a role.
    policy: Sweep,
    items: Vec<Item>,
    /// How many more there were.
    more: u64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Item {
    act: String,
    path: String,
    uid: String,
    until: String,
    /// Why it is not known or was kept.
    why: String,
    at: Moment,
    /// `swept` or `gone`; empty: it may be there.
    end: String,
    tried: Option<Moment>,
}

/// One thing that a proxy tells.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Told {
    act: String,
    path: String,
    uid: String,
    until: String,
    why: String,
}

// === impl Sweep ===

impl Sweep {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::None),
            "report" => Ok(Self::Report),
            "delete" => Ok(Self::Delete),
            _ => Err("sweep must be none, report or delete".into()),
        }
    }
}

// === impl Left ===

impl Left {
    /// Writes down what is told; `false`: nothing is new. The same may be told twice.
    fn take(&mut self, told: Told, now: Moment) -> bool {
        let is_full = self.items.len() >= MOST;
        let of = self.items.iter_mut().find(|item| item.path == told.path && item.uid == told.uid);
        match (told.act.as_str(), of) {
            ("swept" | "gone", Some(item)) if item.end.is_empty() => told.act.clone_into(&mut item.end),
            ("kept", Some(item)) if item.end.is_empty() => (item.why, item.tried) = (told.why, Some(now)),
            // First made, then changed: it is still the one that was made.
            ("made" | "changed", Some(_)) | ("swept" | "gone" | "kept", _) => return false,
            ("made" | "changed" | "token", _) if is_full => self.more += 1,
            ("made" | "changed" | "token", _) => {
                let Told { act, path, uid, until, why } = told;
                self.items.push(Item { act, path, uid, until, why, at: now, end: String::new(), tried: None });
            }
            _ => return false,
        }
        true
    }

    fn due(&self) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(|item| item.act == "made" && item.end.is_empty() && !item.uid.is_empty())
    }

    pub(super) fn shown(&self) -> Value {
        let item = |item: &Item| {
            json!({
                "act": item.act, "path": item.path, "uid": item.uid, "expires_at": item.until, "why": item.why,
                "at": item.at.rfc3339(), "end": item.end,
            })
        };
        json!({ "items": self.items.iter().map(item).collect::<Vec<_>>(), "more": self.more, "sweep": self.policy })
    }
}

impl Access {
    /// What was left by a case; `None`: nothing that is known.
    pub(super) async fn left(&self, id: &str) -> Result<Option<(Left, Revision)>, Fault> {
        Ok(get_json::<Left>(&*self.store, keys::left(id).as_bytes()).await?)
    }

    /// A line of the record that tells of such a thing.
    pub(super) async fn note(&self, line: &Map<String, Value>, now: Moment) -> Result<(), Fault> {
        let text = |name: &str| line.get(name).and_then(Value::as_str).unwrap_or_default();
        let told = line.get("left").cloned().and_then(|told| serde_json::from_value::<Told>(told).ok());
        let Some(told) = told else { return Ok(()) };
        let is_short = |text: &String| text.len() <= LONGEST;
        let (id, cluster) = (text("grant"), text("cluster"));
        if ![&told.path, &told.uid, &told.until, &told.why].into_iter().all(is_short) {
            return Err(Fault::bad_request("left: a path, uid or reason is too long"));
        }
        let found = get_json::<Case>(&*self.store, keys::case(id).as_bytes()).await?;
        // A proxy tells of grants for its own cluster.
        let Some((case, _)) = found.filter(|(case, _)| case.asked.scope.clusters.iter().any(|name| name == cluster))
        else {
            return Ok(());
        };
        let key = keys::left(id);
        let _turn = self.queues.turn(&key).await;
        let (mut left, revision) = self.left(id).await?.unwrap_or_default();
        let role = self.role(&case.asked.role).await?;
        left.policy = role.map_or(left.policy, |role| role.sweep);
        cluster.clone_into(&mut left.cluster);
        if left.policy == Sweep::None || !left.take(told, now) {
            return Ok(());
        }
        let batch = Batch::new().put_json(key.as_str(), &left)?.expect(key.as_str(), revision);
        let open = keys::sweep(id);
        let batch = if left.due().next().is_some() { batch.put(open, Vec::new()) } else { batch.delete(open) };
        if commits(&*self.store, batch).await? { Ok(()) } else { Err(gave_up()) }
    }

    /// What a cluster's proxies shall delete now.
    pub(super) async fn sweeps(&self, cluster: &str, now: Moment) -> Result<Vec<Value>, Fault> {
        let mut sweeps = Vec::new();
        for id in self.names(keys::SWEEPS).await? {
            let (Some((left, _)), Ok((case, _))) = (self.left(&id).await?, self.case(&id).await) else { continue };
            if left.cluster != cluster || !case.state(now).is_over() {
                continue;
            }
            let role = self.role(&case.asked.role).await?;
            if role.map_or(left.policy, |role| role.sweep) != Sweep::Delete {
                continue;
            }
            let end = case.end.as_ref().map(|end| end.at).or(case.running.map(|running| running.until));
            if end.is_none_or(|end| now.since(end) > TRY_FOR) {
                continue;
            }
            let is_due = |item: &&Item| item.tried.is_none_or(|tried| now.since(tried) >= AGAIN);
            let items: Vec<Value> =
                left.due().filter(is_due).map(|item| json!({ "path": item.path, "uid": item.uid })).collect();
            if !items.is_empty() {
                sweeps.push(json!({ "grant": id, "items": items }));
            }
        }
        Ok(sweeps)
    }
}
