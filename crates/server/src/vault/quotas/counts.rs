//! How many leases live under each lease-count quota.
//!
//! A quota does not hold a number but the set of its leases (a keyed hash of 8 bytes each), so that to take one away twice,
//! or to find one twice, does no harm, and the count is exact whatever happens at the same time. The sets are filled from
//! the store at the first question after the rules changed (or after a start); until then nothing is read. Leases that
//! are being written meanwhile under older rules are in `in_flight`, those that end meanwhile in `ended`.
//!
//! In a cluster each server counts what it made itself since it last filled its sets.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwap;
use dewdrop_core::lease::Lease;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Fault, Kind};
use parking_lot::Mutex;
use tokio::sync::OnceCell;

use super::rule::{Index, Limit, Rule, Spot};
use crate::leases::index;
use crate::tokens::token_lease_id;
use crate::vault::Vault;

/// Rows that are read at a time.
const PAGE: usize = 1000;

/// The counts of all lease-count quotas.
#[derive(Default)]
pub struct LeaseCounts {
    rules: ArcSwap<Counted>,
    hasher: RandomState,
    /// What is being written, by hash. Rules are changed under this lock, so that each knows under which it was asked.
    in_flight: Mutex<HashMap<u64, Flight>>,
}

struct Flight {
    at: Where,
    generation: u64,
}

/// The rules of one time, with their leases.
#[derive(Default)]
struct Counted {
    /// Grows with every change of the rules.
    generation: u64,
    index: Index<Tally>,
    all: Vec<Arc<Tally>>,
    filled: OnceCell<()>,
    /// What ended while the sets are being filled; `None` afterwards.
    ended: Mutex<Option<HashSet<u64>>>,
}

/// One rule with its leases.
struct Tally {
    rule: Rule,
    max: u64,
    leases: Mutex<HashSet<u64>>,
}

/// Where a lease is made.
#[derive(Clone, Debug)]
pub struct Where {
    /// Id of the namespace.
    pub namespace: String,
    /// Uuid of the mount.
    pub mount: String,
    /// Path below it.
    pub below: String,
    /// The role of a login; empty when there is none.
    pub role: String,
}

/// A lease that may be made. Dropped, it is counted no longer; say [`keep`](Self::keep) once the lease is written.
#[must_use]
pub struct Admission<'v> {
    counts: &'v LeaseCounts,
    hash: u64,
    /// Nothing is taken back.
    kept: bool,
}

impl Admission<'_> {
    /// The lease is in the store.
    pub fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        self.counts.in_flight.lock().remove(&self.hash);
        if !self.kept {
            self.counts.release_hash(self.hash);
        }
    }
}

impl LeaseCounts {
    /// Takes new rules; all leases are counted anew at the next question.
    pub fn set(&self, rules: Vec<Rule>) {
        let tally = |rule: Rule| {
            let max = match rule.limit {
                Limit::Leases { max } => max,
                Limit::Rate { .. } => u64::MAX,
            };
            Arc::new(Tally { rule, max, leases: Mutex::default() })
        };
        let all: Vec<Arc<Tally>> = rules.into_iter().map(tally).collect();
        let index = Index::new(&all, |tally: &Tally| &tally.rule);
        let _writing = self.in_flight.lock();
        let generation = self.rules.load().generation + 1;
        let ended = Mutex::new(Some(HashSet::new()));
        self.rules.store(Arc::new(Counted { generation, index, all, filled: OnceCell::new(), ended }));
    }

    /// How many leases a rule has.
    ///
    /// # Errors
    /// The store's, while they are counted.
    pub async fn count(&self, vault: &Vault, rule: &str) -> Result<usize, Fault> {
        let rules = self.rules.load_full();
        self.fill(vault, &rules).await?;
        Ok(rules.all.iter().find(|tally| tally.rule.name == rule).map_or(0, |tally| tally.leases.lock().len()))
    }

    /// Asks whether one more lease may be made, and counts it.
    ///
    /// # Errors
    /// 429: the quota is used up; the store's.
    pub async fn admit(&self, vault: &Vault, at: Where, lease_id: &str) -> Result<Admission<'_>, Fault> {
        let hash = self.hash(&at.namespace, lease_id);
        let rules = {
            let mut flying = self.in_flight.lock();
            let rules = self.rules.load_full();
            flying.insert(hash, Flight { at: at.clone(), generation: rules.generation });
            rules
        };
        let mut admission = Admission { counts: self, hash, kept: false };
        if !rules.all.is_empty() {
            self.fill(vault, &rules).await?;
            if let Some(tally) = find(vault, &rules, &at) {
                let mut leases = tally.leases.lock();
                // There already is such a lease, so this one will not be written.
                admission.kept = leases.contains(&hash);
                if !admission.kept && leases.len() as u64 >= tally.max {
                    return Err(exceeded(vault, &at));
                }
                leases.insert(hash);
            }
        }
        Ok(admission)
    }

    /// Asks whether there is room for one more, without counting: batch tokens have no lease, but are not made either
    /// when the quota is used up.
    ///
    /// # Errors
    /// 429: the quota is used up; the store's.
    pub async fn room(&self, vault: &Vault, at: &Where) -> Result<(), Fault> {
        let rules = self.rules.load_full();
        if rules.all.is_empty() {
            return Ok(());
        }
        self.fill(vault, &rules).await?;
        match find(vault, &rules, at) {
            Some(tally) if tally.leases.lock().len() as u64 >= tally.max => Err(exceeded(vault, at)),
            _ => Ok(()),
        }
    }

    /// A lease is gone.
    pub fn release(&self, namespace: &str, lease_id: &str) {
        let hash = self.hash(namespace, lease_id);
        self.in_flight.lock().remove(&hash);
        self.release_hash(hash);
    }

    fn release_hash(&self, hash: u64) {
        let rules = self.rules.load();
        if rules.all.is_empty() {
            return;
        }
        if let Some(ended) = rules.ended.lock().as_mut() {
            ended.insert(hash);
        }
        for tally in &rules.all {
            tally.leases.lock().remove(&hash);
        }
    }

    async fn fill(&self, vault: &Vault, rules: &Counted) -> Result<(), Fault> {
        rules.filled.get_or_try_init(|| self.read_all(vault, rules)).await?;
        Ok(())
    }

    async fn read_all(&self, vault: &Vault, rules: &Counted) -> Result<(), Fault> {
        let note = |hash: u64, at: &Where| {
            if let Some(tally) = find(vault, rules, at) {
                tally.leases.lock().insert(hash);
            }
        };
        // Before the store is read: what is no longer in flight by then is found in the store. Whoever asks under these
        // rules waits for us and counts itself.
        for (hash, flight) in self.in_flight.lock().iter().filter(|(_, flight)| flight.generation < rules.generation) {
            note(*hash, &flight.at);
        }
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = vault.store.scan(index::LEASES, after.as_deref(), PAGE).await?;
            for row in &rows {
                let lease: Lease = dewdrop_core::store::decode(&row.key, &row.entry)?;
                if let Some(at) = where_of_lease(vault, &lease) {
                    note(self.hash(&lease.namespace, &lease.id), &at);
                }
            }
            after = rows.last().map(|row| row.key.clone());
            if rows.len() < PAGE {
                break;
            }
        }
        let mut after: Option<String> = None;
        loop {
            let tokens = vault.tokens.accessors(after.as_deref(), PAGE).await?;
            for (_, record) in &tokens {
                if let Some(at) = where_of_token(vault, record) {
                    note(self.hash(&record.namespace, &token_lease_id(record)), &at);
                }
            }
            after = tokens.last().map(|(accessor, _)| accessor.clone());
            if tokens.len() < PAGE {
                break;
            }
        }
        for hash in rules.ended.lock().take().unwrap_or_default() {
            for tally in &rules.all {
                tally.leases.lock().remove(&hash);
            }
        }
        Ok(())
    }

    fn hash(&self, namespace: &str, lease_id: &str) -> u64 {
        self.hasher.hash_one((namespace, lease_id))
    }
}

/// Where a token counts; `None` for those that no quota holds for: tokens of `root`, and those that wrap an answer.
#[must_use]
pub fn where_of_token(vault: &Vault, record: &TokenRecord) -> Option<Where> {
    if record.is_root() || crate::pipeline::is_wrapping(record) {
        return None;
    }
    let namespace = vault.namespaces.by_id(&record.namespace)?;
    let full = format!("{}{}", namespace.path, record.path);
    let (mounted, below) = vault.mounts.find(&full)?;
    let role = record.meta.get("role_name").or_else(|| record.meta.get("role"));
    Some(Where {
        namespace: record.namespace.clone(),
        mount: mounted.mount.uuid.clone(),
        below: below.to_owned(),
        role: role.cloned().unwrap_or_default(),
    })
}

/// Where the lease of a credential counts; `None` when its mount is gone.
fn where_of_lease(vault: &Vault, lease: &Lease) -> Option<Where> {
    let mounted = vault.mounts.by_uuid(&lease.mount)?;
    let path = lease.id.rsplit_once('/').map_or("", |(path, _)| path);
    // The lease of a mount that was moved has the old path in its name: it counts for the mount as a whole.
    let below = path.strip_prefix(mounted.mount.path.as_str()).unwrap_or_default();
    Some(Where {
        namespace: lease.namespace.clone(),
        mount: lease.mount.clone(),
        below: below.to_owned(),
        role: String::new(),
    })
}

fn find<'r>(vault: &Vault, rules: &'r Counted, at: &Where) -> Option<&'r Arc<Tally>> {
    let namespace = vault.namespaces.by_id(&at.namespace)?;
    let role = Some(at.role.as_str()).filter(|role| !role.is_empty());
    rules.index.find(&vault.namespaces, Spot { namespace: &namespace, mount: &at.mount, below: &at.below, role })
}

fn exceeded(vault: &Vault, at: &Where) -> Fault {
    let mount = vault.mounts.by_uuid(&at.mount).map(|mounted| mounted.mount.path.clone()).unwrap_or_default();
    Fault::new(Kind::TooMany, format!("request path \"{mount}{}\": lease count quota exceeded", at.below))
}
