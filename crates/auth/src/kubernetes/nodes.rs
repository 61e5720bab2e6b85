//! The nodes: when the agent of each was heard last. What is written lags behind what is in memory by a third of the
//! grace, so that many nodes cost few writes; silence is measured by the steady clock of this process, from when it began
//! to listen, so that a restart makes no node look silent.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::store::{Batch, Revision, SharedStore, StoreError, decode, get_json, scan_all};
use dewdrop_core::{Clock, Fault, Moment};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub const NODES: &str = "node/";
/// How many times a write starts anew because another came first.
const TRIES: usize = 20;
/// How many nodes are written in one commit.
const AT_ONCE: usize = 50;

/// What is kept of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Record {
    /// When its agent was heard, to within a third of the grace.
    pub heard: Moment,
    /// Since when it is lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Moment>,
    /// Starts that were made until then are to be ended. Stands until that is done, even when the node is back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Moment>,
}

/// A node in memory.
#[derive(Debug, Clone, Copy)]
pub struct Node {
    /// As it is written.
    pub record: Record,
    revision: Revision,
    /// When its agent was heard, by the wall clock.
    pub heard: Moment,
    /// The same by the steady clock.
    steady: Duration,
}

/// All nodes of a mount.
pub struct Nodes {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    state: Mutex<Option<State>>,
    /// Held while they are read.
    loading: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    nodes: BTreeMap<String, Node>,
    /// When [`Nodes::silent`] was asked last.
    asked: Option<Duration>,
}

pub fn key(name: &str) -> Vec<u8> {
    format!("{NODES}{name}").into_bytes()
}

impl Nodes {
    /// None are read yet.
    pub fn new(store: SharedStore, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, state: Mutex::default(), loading: tokio::sync::Mutex::default() }
    }

    /// Forgets what is in memory.
    pub fn forget(&self) {
        *self.state.lock() = None;
    }

    /// Reads the nodes, unless they are known. Each has its whole grace before it from now on.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(&self) -> Result<(), Fault> {
        if self.state.lock().is_some() {
            return Ok(());
        }
        let _loading = self.loading.lock().await;
        if self.state.lock().is_some() {
            return Ok(());
        }
        let steady = self.clock.steady();
        let mut nodes = BTreeMap::new();
        for row in scan_all(&*self.store, NODES.as_bytes(), 1000).await? {
            let record: Record = decode(&row.key, &row.entry)?;
            let name = String::from_utf8_lossy(row.key.get(NODES.len()..).unwrap_or_default()).into_owned();
            nodes.insert(name, Node { record, revision: row.entry.revision, heard: record.heard, steady });
        }
        *self.state.lock() = Some(State { nodes, asked: None });
        Ok(())
    }

    /// A node; `None`: its agent was never heard.
    pub fn get(&self, name: &str) -> Option<Node> {
        self.state.lock().as_ref()?.nodes.get(name).copied()
    }

    /// The agent of a node was heard. Written when what is written is old, or wrong.
    ///
    /// # Errors
    /// The store's.
    pub async fn hear(&self, name: &str, now: Moment, grace: Duration) -> Result<Record, Fault> {
        for _ in 0..TRIES {
            self.load().await?;
            let steady = self.clock.steady();
            let known = self.with(name, |node| {
                (node.heard, node.steady) = (now.max(node.heard), steady);
                (node.record, node.revision)
            });
            let (old, revision) = known.unwrap_or_default();
            let is_fresh = known.is_some() && old.lost.is_none() && now.since(old.heard) < grace / 3;
            if is_fresh {
                return Ok(old);
            }
            let record = Record { heard: now, lost: None, ending: old.ending };
            if self.write(name, record, revision).await? {
                self.with(name, |node| (node.heard, node.steady) = (now, steady));
                return Ok(record);
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Nodes that were silent for longer than the grace, and are not lost yet.
    ///
    /// # Errors
    /// The store's.
    pub async fn silent(&self, grace: Duration) -> Result<Vec<String>, Fault> {
        self.load().await?;
        let steady = self.clock.steady();
        let mut state = self.state.lock();
        let Some(state) = state.as_mut() else { return Ok(Vec::new()) };
        let before = state.asked.replace(steady);
        // Whoever was away himself (a halted machine, a turn at another server) has heard nobody.
        if before.is_some_and(|before| steady > before + grace / 2) {
            state.nodes.values_mut().for_each(|node| node.steady = steady);
        }
        let is_silent = |node: &Node| node.record.lost.is_none() && steady > node.steady + grace;
        Ok(state.nodes.iter().filter(|(_, node)| is_silent(node)).map(|(name, _)| name.clone()).collect())
    }

    /// Nodes for which a question is answered with yes.
    pub fn which(&self, is_it: impl Fn(&Node) -> bool) -> Vec<(String, Node)> {
        let state = self.state.lock();
        let all = state.as_ref().into_iter().flat_map(|state| &state.nodes);
        all.filter(|(_, node)| is_it(node)).map(|(name, node)| (name.clone(), *node)).collect()
    }

    /// Writes nodes down as lost: all that was made for them until now is to be ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn lose(&self, names: &[String], now: Moment) -> Result<(), Fault> {
        for some in names.chunks(AT_ONCE) {
            let (mut batch, mut written) = (Batch::new(), Vec::new());
            for name in some {
                let Some(node) = self.get(name) else { continue };
                let record = Record { lost: Some(now), ending: Some(now), ..node.record };
                batch = batch.expect(key(name), node.revision).put_json(key(name), &record)?;
                written.push((name, record));
            }
            match self.store.commit(batch).await {
                Ok(revision) => written.into_iter().for_each(|(name, record)| self.keep(name, record, revision)),
                // One of them was heard just now: the next round looks again.
                Err(StoreError::Conflict) => {
                    for name in some {
                        self.reread(name).await?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// All that was to be ended until a moment has ended.
    ///
    /// # Errors
    /// The store's.
    pub async fn ended(&self, name: &str, until: Moment) -> Result<(), Fault> {
        for _ in 0..TRIES {
            let Some(node) = self.get(name).filter(|node| node.record.ending == Some(until)) else { return Ok(()) };
            if self.write(name, Record { ending: None, ..node.record }, node.revision).await? {
                return Ok(());
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Forgets a node for good, unless it was written to meanwhile.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, name: &str, node: &Node) -> Result<(), Fault> {
        match self.store.commit(Batch::new().expect(key(name), node.revision).delete(key(name))).await {
            Ok(_) | Err(StoreError::Conflict) => self.reread(name).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Writes a record; `false`: another write came first, and what it wrote is known now.
    async fn write(&self, name: &str, record: Record, revision: Revision) -> Result<bool, Fault> {
        match self.store.commit(Batch::new().expect(key(name), revision).put_json(key(name), &record)?).await {
            Ok(revision) => {
                self.keep(name, record, revision);
                Ok(true)
            }
            Err(StoreError::Conflict) => {
                self.reread(name).await?;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn reread(&self, name: &str) -> Result<(), Fault> {
        match get_json::<Record>(&*self.store, &key(name)).await? {
            Some((record, revision)) => self.keep(name, record, revision),
            None => {
                if let Some(state) = self.state.lock().as_mut() {
                    state.nodes.remove(name);
                }
            }
        }
        Ok(())
    }

    /// Takes over what is written, unless something newer is known.
    fn keep(&self, name: &str, record: Record, revision: Revision) {
        let steady = self.clock.steady();
        if let Some(state) = self.state.lock().as_mut() {
            let fresh = Node { record, revision, heard: record.heard, steady };
            let node = state.nodes.entry(name.to_owned()).or_insert(fresh);
            if node.revision < revision {
                (node.record, node.revision) = (record, revision);
            }
        }
    }

    fn with<R>(&self, name: &str, change: impl FnOnce(&mut Node) -> R) -> Option<R> {
        self.state.lock().as_mut()?.nodes.get_mut(name).map(change)
    }
}
