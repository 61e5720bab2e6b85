//! A node's sign of life, and what operators may see of nodes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::NoFields;
use dewdrop_core::store::{Batch, StoreError};
use dewdrop_core::{Fault, Moment};
use serde_json::{Value, json};

use super::agent::MOST;
use super::nodes::NODES;
use super::starts::{self, Found, Place};
use super::wire::{BeatRequest, HeldStart};
use super::{Kubernetes, names};
use crate::listing::{Page, list};

/// How many rows are written in one commit.
const AT_ONCE: usize = 50;
/// A start may be younger than the list that does not name it.
const SPARED: Duration = Duration::from_secs(30);

impl Kubernetes {
    pub(super) async fn beat(self: Arc<Self>, call: Call, ask: BeatRequest) -> Result<Reply, Fault> {
        let node = self.agents_node(&call)?;
        let is_complete = ask.complete.is_some_and(|flag| flag.0);
        let held = ask.starts.unwrap_or_default();
        if held.len() > MOST {
            return Err(Fault::bad_request(format!("starts: at most {MOST}")));
        }
        let held: Vec<(Place, HeldStart)> =
            held.into_iter().map(|one| Ok((place(&node, &one)?, one))).collect::<Result<_, Fault>>()?;
        let record = self.hear(&node, call.now).await?;
        let found = starts::all(&*self.place.store, &starts::prefix(&node, None)).await?;
        // What is about to be ended is as good as gone.
        let found = found.into_iter().filter(|found| record.ending.is_none_or(|until| found.start.made > until));
        let known: BTreeMap<Place, Found> = found.map(|found| (found.place.clone(), found)).collect();
        if is_complete {
            self.end_forgotten(&known, &held, call.now).await?;
        }
        let (mut unknown, mut named, mut replace) = (Vec::new(), Vec::new(), Vec::new());
        for (place, one) in held {
            match known.get(&place).filter(|found| found.start.start == one.start) {
                None => unknown.push(show(&place, &one.start)),
                Some(found) => {
                    replace.extend(found.start.seen.then(|| show(&place, &one.start)));
                    named.extend(one.container_id.filter(|id| *id != found.start.container_id).map(|id| (found, id)));
                }
            }
        }
        self.name_containers(&named).await?;
        let grace = self.grace().await?;
        let mut told = json!({ "grace": grace.as_secs(), "next": (grace / 3).as_secs().max(1), "unknown": unknown });
        if !replace.is_empty() {
            told["replace"] = json!(replace);
        }
        Reply::of(&told)
    }

    /// Ends the starts that the agent knows nothing of. One that was asked for while the agent wrote its list is young.
    async fn end_forgotten(
        &self,
        known: &BTreeMap<Place, Found>,
        held: &[(Place, HeldStart)],
        now: Moment,
    ) -> Result<(), Fault> {
        let named: BTreeSet<(&Place, &str)> = held.iter().map(|(place, one)| (place, one.start.as_str())).collect();
        let is_over = |found: &&Found| {
            !named.contains(&(&found.place, found.start.start.as_str())) && found.start.made.plus(SPARED) <= now
        };
        let accessors: Vec<String> = known.values().filter(is_over).map(|found| found.start.accessor.clone()).collect();
        if !accessors.is_empty() {
            self.place.house.end_tokens(&accessors).await?;
        }
        Ok(())
    }

    /// Keeps the runtime's ids of containers. A row that has changed meanwhile is left to the next beat.
    async fn name_containers(&self, named: &[(&Found, String)]) -> Result<(), Fault> {
        for some in named.chunks(AT_ONCE) {
            let mut batch = Batch::new();
            for (found, id) in some {
                let start = starts::Start { container_id: id.clone(), ..found.start.clone() };
                batch = batch.expect(found.place.key(), found.revision).put_json(found.place.key(), &start)?;
            }
            match self.place.store.commit(batch).await {
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    pub(super) async fn list_nodes(self: Arc<Self>, _: Call, page: Page) -> Result<Reply, Fault> {
        list(&*self.place.store, NODES, &page).await
    }

    pub(super) async fn read_node(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = names::node(call.capture("name")).map_err(|_| Fault::not_found())?;
        self.nodes.load().await?;
        let node = self.nodes.get(&name).ok_or_else(Fault::not_found)?;
        let found = starts::all(&*self.place.store, &starts::prefix(&name, None)).await?;
        Reply::of(&json!({
            "name": name,
            "state": if node.record.lost.is_some() { "lost" } else { "live" },
            "last_beat": node.heard.rfc3339(),
            "lost_since": node.record.lost.map(dewdrop_core::Moment::rfc3339),
            "starts": found.iter().map(show_found).collect::<Vec<_>>(),
        }))
    }
}

/// The place of a start that an agent holds, on its own node.
fn place(node: &str, held: &HeldStart) -> Result<Place, Fault> {
    names::uuid("start", &held.start)?;
    if let Some(id) = &held.container_id {
        names::container_id(id)?;
    }
    Ok(Place {
        node: node.to_owned(),
        pod: names::uuid("pod_uid", &held.pod_uid)?,
        container: names::container(&held.container)?,
        role: crate::names::parse_name(&held.role).map_err(|_| Fault::bad_request("role is no name of a role"))?,
    })
}

fn show(place: &Place, start: &str) -> Value {
    json!({ "pod_uid": place.pod, "container": place.container, "role": place.role, "start": start })
}

fn show_found(found: &Found) -> Value {
    let mut shown = show(&found.place, &found.start.start);
    shown["pod_name"] = json!(found.start.pod_name);
    shown["namespace"] = json!(found.start.namespace);
    shown["container_id"] = json!(found.start.container_id);
    shown["made"] = json!(found.start.made.rfc3339());
    shown["accessor"] = json!(found.start.accessor);
    shown
}
