//! Quotas: how often clients may ask, and how many leases may live. The rules are in the store; what they are compared
//! with is in memory, and each server of a cluster has its own.

mod counts;
mod rule;
mod strangers;
mod window;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use dewdrop_core::Fault;
use dewdrop_core::store::{Batch, SharedStore, decode, get_json, scan_all};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::vault::{Namespaces, Vault};
pub use counts::{LeaseCounts, Where, where_of_token};
pub use rule::{Index, Limit, Rule, Spot, Target};
pub use strangers::Strangers;
pub use window::{Bounded, Pace, Verdict, Window};

const PREFIX: &[u8] = b"quota/";
const CONFIG: &[u8] = b"quota-config";

/// All quotas.
pub struct Quotas {
    store: SharedStore,
    /// Sorted by kind and name.
    rules: ArcSwap<Vec<Rule>>,
    config: ArcSwap<QuotaConfig>,
    /// There is a rate limit. Without one a request costs no more than to look here.
    any_rate: AtomicBool,
    rates: ArcSwap<Index<RateLimit>>,
    /// Leases under quotas.
    pub leases: Arc<LeaseCounts>,
    /// Those who fail without a token.
    pub strangers: Strangers,
    writing: Mutex<()>,
}

/// What holds for all rate limits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaConfig {
    /// Refused requests are on the audit log.
    #[serde(rename = "enable_rate_limit_audit_logging")]
    pub audit: bool,
    /// Answers say what is left.
    #[serde(rename = "enable_rate_limit_response_headers")]
    pub headers: bool,
    /// Paths within their namespace, and all that begin with them, for which no rate limit holds.
    #[serde(rename = "rate_limit_exempt_paths")]
    pub exempt: Vec<String>,
}

/// The two kinds of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleKind {
    /// Requests.
    Rate,
    /// Leases.
    Leases,
}

/// A rate limit with its clients.
pub struct RateLimit {
    rule: Rule,
    pace: Pace,
    clients: Bounded<IpAddr, Window>,
}

impl Default for QuotaConfig {
    /// As it is before anybody says otherwise: what a server needs to be opened is never limited.
    fn default() -> Self {
        const EXEMPT: [&str; 7] = [
            "sys/generate-recovery-token/attempt",
            "sys/generate-recovery-token/update",
            "sys/generate-root/attempt",
            "sys/generate-root/update",
            "sys/health",
            "sys/seal-status",
            "sys/unseal",
        ];
        Self { audit: false, headers: false, exempt: EXEMPT.map(str::to_owned).to_vec() }
    }
}

impl QuotaConfig {
    /// Whether no rate limit holds for a path within its namespace.
    #[must_use]
    pub fn exempts(&self, path: &str) -> bool {
        self.exempt.iter().any(|exempt| path.starts_with(exempt.strip_suffix('*').unwrap_or(exempt)))
    }
}

impl RuleKind {
    /// The word in paths.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate-limit",
            Self::Leases => "lease-count",
        }
    }
}

impl Rule {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> RuleKind {
        match self.limit {
            Limit::Rate { .. } => RuleKind::Rate,
            Limit::Leases { .. } => RuleKind::Leases,
        }
    }
}

impl RateLimit {
    fn new(rule: &Rule) -> Option<Self> {
        let Limit::Rate { rate, interval, block } = rule.limit else { return None };
        Some(Self {
            rule: rule.clone(),
            pace: Pace { limit: whole(rate), interval, block },
            clients: Bounded::default(),
        })
    }

    /// Counts one request. `now` is steady time. Requests whose address is not known share one count.
    #[must_use]
    pub fn take(&self, address: Option<IpAddr>, now: Duration) -> Verdict {
        let client = address.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ip| ip.to_canonical());
        self.clients.with(&client, |window| window.take(&self.pace, now))
    }

    /// Requests in one interval.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.pace.limit
    }
}

/// A part of a request counts as one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be positive; beyond the range it saturates"
)]
fn whole(rate: f64) -> u64 {
    (rate.ceil() as u64).max(1)
}

impl Quotas {
    /// Reads them from the store; `leases` is where the leases are counted, later, at the first question.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(store: SharedStore, leases: Arc<LeaseCounts>) -> Result<Self, Fault> {
        let quotas = Self {
            store,
            rules: ArcSwap::default(),
            config: ArcSwap::default(),
            any_rate: AtomicBool::new(false),
            rates: ArcSwap::default(),
            leases,
            strangers: Strangers::default(),
            writing: Mutex::default(),
        };
        quotas.reload().await?;
        Ok(quotas)
    }

    /// Reads them anew: another server of the cluster wrote.
    ///
    /// # Errors
    /// The store's.
    pub async fn reload(&self) -> Result<(), Fault> {
        let config = get_json::<QuotaConfig>(&*self.store, CONFIG).await?.map(|(config, _)| config);
        self.config.store(Arc::new(config.unwrap_or_default()));
        let rows = scan_all(&*self.store, PREFIX, 500).await?;
        let rules = rows.iter().map(|row| decode(&row.key, &row.entry)).collect::<Result<Vec<Rule>, _>>()?;
        self.take(rules);
        Ok(())
    }

    /// What holds for all rate limits.
    #[must_use]
    pub fn config(&self) -> Arc<QuotaConfig> {
        self.config.load_full()
    }

    /// Writes what holds for all rate limits.
    ///
    /// # Errors
    /// The store's.
    pub async fn set_config(&self, config: QuotaConfig) -> Result<(), Fault> {
        self.store.commit(Batch::new().put_json(CONFIG, &config)?).await?;
        self.config.store(Arc::new(config));
        Ok(())
    }

    /// The rules of a kind whose mount or namespace is still there, by name.
    #[must_use]
    pub fn rules(&self, vault: &Vault, kind: RuleKind) -> Vec<Rule> {
        self.rules.load().iter().filter(|rule| rule.kind() == kind && rule.on.show(vault).is_some()).cloned().collect()
    }

    /// One rule.
    #[must_use]
    pub fn rule(&self, vault: &Vault, kind: RuleKind, name: &str) -> Option<Rule> {
        self.rules
            .load()
            .iter()
            .find(|rule| rule.kind() == kind && rule.name == name && rule.on.show(vault).is_some())
            .cloned()
    }

    /// Writes a rule, new or in place of the one of that name. Rules whose mount or namespace is gone are removed with it.
    ///
    /// # Errors
    /// 400: another rule holds for the same; the store's.
    pub async fn put(&self, vault: &Vault, rule: Rule) -> Result<(), Fault> {
        let _writing = self.writing.lock().await;
        let mut batch = Batch::new();
        let mut rules = Vec::new();
        for old in self.rules.load().iter().filter(|old| old.kind() != rule.kind() || old.name != rule.name) {
            if old.on.show(vault).is_none() {
                batch = batch.delete(key(old.kind(), &old.name));
                continue;
            }
            if old.kind() == rule.kind() && old.on == rule.on {
                return Err(Fault::bad_request(format!(
                    "quota rule with similar properties exists under the name {:?}",
                    old.name
                )));
            }
            rules.push(old.clone());
        }
        self.store.commit(batch.put_json(key(rule.kind(), &rule.name), &rule)?).await?;
        rules.push(rule);
        self.take(rules);
        Ok(())
    }

    /// Removes a rule; already gone is fine.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, kind: RuleKind, name: &str) -> Result<(), Fault> {
        let _writing = self.writing.lock().await;
        self.store.commit(Batch::new().delete(key(kind, name))).await?;
        let rules = self.rules.load().iter().filter(|rule| rule.kind() != kind || rule.name != name).cloned().collect();
        self.take(rules);
        Ok(())
    }

    /// Whether any rate limit may hold: one load.
    #[must_use]
    pub fn has_rates(&self) -> bool {
        self.any_rate.load(Ordering::Relaxed)
    }

    /// Whether the role of a login at a mount (by uuid) matters to a rate limit.
    #[must_use]
    pub fn wants_role(&self, mount: &str) -> bool {
        self.rates.load().wants_role(mount)
    }

    /// The rate limit that holds.
    #[must_use]
    pub fn rate(&self, namespaces: &Namespaces, spot: Spot<'_>) -> Option<Arc<RateLimit>> {
        self.rates.load().find(namespaces, spot).cloned()
    }

    /// Puts rules in force. What clients have used is kept for rules that stay as they were.
    fn take(&self, mut rules: Vec<Rule>) {
        rules.sort_by(|a, b| (a.kind().name(), &a.name).cmp(&(b.kind().name(), &b.name)));
        let before = self.rules.load_full();
        let of =
            |rules: &[Rule], kind| rules.iter().filter(|rule: &&Rule| rule.kind() == kind).cloned().collect::<Vec<_>>();
        let old = self.rates.load_full();
        let rates: Vec<Arc<RateLimit>> = rules
            .iter()
            .filter_map(|rule| match old.all().find(|kept| kept.rule == *rule) {
                Some(kept) => Some(kept.clone()),
                None => RateLimit::new(rule).map(Arc::new),
            })
            .collect();
        self.rates.store(Arc::new(Index::new(&rates, |rate: &RateLimit| &rate.rule)));
        self.any_rate.store(!rates.is_empty(), Ordering::Relaxed);
        let leases = of(&rules, RuleKind::Leases);
        if leases != of(&before, RuleKind::Leases) {
            self.leases.set(leases);
        }
        self.rules.store(Arc::new(rules));
    }
}

fn key(kind: RuleKind, name: &str) -> Vec<u8> {
    format!("quota/{}/{name}", kind.name()).into_bytes()
}

#[cfg(test)]
mod tests;
