//! Leases: what is kept of a credential's life, and the rules of time. Deciding only; the server's keeper acts.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Moment;
use crate::wire::brief_ttl;

/// Whose end ends the lease.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Owner {
    /// The token that asked, by accessor: the API's own rule.
    Token(String),
    /// One start of one container.
    Container {
        /// Name of the cluster.
        cluster: String,
        /// Name of the node.
        node: String,
        /// The pod's UID.
        pod: String,
        /// The container's name in the pod.
        container: String,
        /// The runtime's id of this start.
        instance: String,
    },
    /// A person's session.
    Session(String),
    /// A CI job.
    Job(String),
}

/// How far a lease is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LeaseState {
    /// Written before the credential is made; after a crash it is revoked, since nobody was told.
    Intent,
    /// The caller has it.
    Live,
    /// To be taken back; stays until the target confirms.
    Revoking {
        /// Tries so far.
        tries: u32,
        /// When the next try is due.
        next: Moment,
        /// Why the last try failed; for the operator.
        why: String,
    },
}

/// What is kept of a lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// Path that made it and a random end, within its namespace: `database/creds/app/Xy...`.
    pub id: String,
    /// Id of its namespace.
    pub namespace: String,
    /// The mount (uuid) that must take it back.
    pub mount: String,
    /// How far it is.
    pub state: LeaseState,
    /// Whose end ends it.
    pub owner: Owner,
    /// When it was made.
    pub issued: Moment,
    /// When it ends.
    pub expires: Moment,
    /// When it was renewed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<Moment>,
    /// No renewal goes beyond this.
    pub latest: Moment,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// What the engine needs to find the credential again. No secret that it can do without.
    pub internal: Value,
}

/// The life to give: what was asked, or the role's default, or the mount's; never above any of the ceilings that is
/// not zero. `warnings` tells the caller about what was cut.
#[must_use]
pub fn life(ask: &LifeAsk) -> Life {
    let mut warnings = Vec::new();
    let ceiling = if ask.role_max.is_zero() { ask.mount_max } else { ask.role_max.min(ask.mount_max) };
    let mut ttl =
        [ask.increment, ask.role_ttl, ask.mount_default].into_iter().find(|t| !t.is_zero()).unwrap_or_default();
    let left = ask.issued.plus(ceiling).since(ask.now);
    if ttl > left {
        // Less than a second is what passed since the lease was made.
        if ttl - left >= Duration::from_secs(1) {
            warnings.push(format!(
                "TTL of {:?} exceeded the effective max_ttl of {:?}; TTL value is capped accordingly",
                brief_ttl(ttl),
                brief_ttl(left)
            ));
        }
        ttl = left;
    }
    Life { ttl, latest: ask.issued.plus(ceiling), warnings }
}

/// What [`life`] is asked. Zero means "unset" for each duration but the mount's.
#[derive(Debug, Clone, Copy, Default)]
pub struct LifeAsk {
    /// When the credential was or is made.
    pub issued: Moment,
    /// Now.
    pub now: Moment,
    /// What the caller asks.
    pub increment: Duration,
    /// The role's default.
    pub role_ttl: Duration,
    /// The role's ceiling.
    pub role_max: Duration,
    /// The mount's default.
    pub mount_default: Duration,
    /// The mount's ceiling.
    pub mount_max: Duration,
}

/// What [`life`] answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// The life from now.
    pub ttl: Duration,
    /// No renewal goes beyond this.
    pub latest: Moment,
    /// What was cut.
    pub warnings: Vec<String>,
}

/// How long to wait before try number `tries` (from 1) of a revocation that fails: 1 s, 2 s, 4 s ... at most 5 min, for
/// ever; `jitter` (0..=255) spreads them over the last quarter.
#[must_use]
pub fn back_off(tries: u32, jitter: u8) -> Duration {
    let seconds = 1u64 << tries.saturating_sub(1).min(9);
    let full = Duration::from_secs(seconds.min(300));
    full - (full / 4) * u32::from(jitter) / 255
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_life_is_cut_at_the_lowest_ceiling() {
        let ask = LifeAsk {
            increment: 10 * HOUR,
            role_max: 2 * HOUR,
            mount_default: HOUR,
            mount_max: 5 * HOUR,
            ..LifeAsk::default()
        };
        let life = life(&ask);
        assert_eq!(life.ttl, 2 * HOUR);
        assert_eq!(life.warnings.len(), 1);
    }

    #[test]
    fn renewals_never_pass_the_first_ceiling() {
        let issued = Moment(0);
        let ask = LifeAsk {
            issued,
            now: issued.plus(4 * HOUR),
            mount_default: 2 * HOUR,
            mount_max: 5 * HOUR,
            ..LifeAsk::default()
        };
        let life = life(&ask);
        assert_eq!(life.ttl, HOUR);
        assert!(life.warnings[0].contains("\"2h\""), "a default that is cut is told as well: {:?}", life.warnings);
    }

    #[test]
    fn back_off_grows_and_stays() {
        assert_eq!(back_off(1, 0), Duration::from_secs(1));
        assert_eq!(back_off(4, 0), Duration::from_secs(8));
        assert_eq!(back_off(1000, 0), Duration::from_secs(300));
        assert!(back_off(1000, 255) >= Duration::from_secs(225));
    }
}
