//! One start of a container, as the agent holds it: the server's token, and what was read with it.

use std::time::Duration;

use dewdrop_api::SecretText;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::vault::StartName;
use crate::env::Variable;

/// A token that the server made for one start, with its leases.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// Which start.
    pub name: StartName,
    /// The first start of the same run of the container; empty: this one.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub life: String,
    /// Its token. Everything hangs on it.
    #[serde(serialize_with = "open", deserialize_with = "closed")]
    pub token: SecretText,
    /// Seconds of the token when it was made; 0: it does not end by itself.
    pub seconds: u64,
    /// The leases below it.
    pub leases: Vec<Held>,
    /// What its wrapper gives to the command.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<Variable>,
}

/// A lease.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Its id; empty for what has no lease.
    pub lease_id: String,
    /// Seconds when it was made.
    pub seconds: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
}

// === impl Start ===

impl Start {
    /// The run of the container that it belongs to, by its first start.
    #[must_use]
    pub fn life(&self) -> &str {
        if self.life.is_empty() { &self.name.start } else { &self.life }
    }

    /// How long until something has to be renewed: a third of the shortest life. `None`: nothing ends.
    #[must_use]
    pub fn rest(&self) -> Option<Duration> {
        let leases = self.leases.iter().filter(|held| !held.lease_id.is_empty()).map(|held| held.seconds);
        let shortest = leases.chain(Some(self.seconds)).filter(|seconds| *seconds > 0).min()?;
        Some(Duration::from_secs(shortest).div_f64(3.0))
    }
}

/// For the journal, which lies in memory, and nowhere else.
fn open<S: Serializer>(token: &SecretText, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(token.expose())
}

fn closed<'de, D: Deserializer<'de>>(from: D) -> Result<SecretText, D::Error> {
    SecretText::deserialize(from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(seconds: u64, leases: &[u64]) -> Start {
        let held = |seconds: &u64| Held { lease_id: "l".into(), seconds: *seconds, renewable: true };
        let name = StartName {
            pod_uid: "u".into(),
            container: "app".into(),
            start: "s".into(),
            role: "r".into(),
            container_id: None,
        };
        Start {
            name,
            life: String::new(),
            token: "t".into(),
            seconds,
            leases: leases.iter().map(held).collect(),
            variables: Vec::new(),
        }
    }

    #[test]
    fn the_shortest_life_sets_the_pace() {
        assert_eq!(start(90, &[30, 60]).rest(), Some(Duration::from_secs(10)));
        assert_eq!(start(0, &[]).rest(), None);
    }

    #[test]
    fn the_token_is_in_the_journal_and_not_in_debug() {
        let mut start = start(90, &[]);
        start.variables.push(Variable { name: "DB_PASSWORD".into(), value: "hunter2".into() });
        let text = serde_json::to_string(&start).unwrap();
        let back: Start = serde_json::from_str(&text).unwrap();
        assert_eq!(back.token.expose(), "t");
        assert_eq!(back.variables, start.variables);
        let told = format!("{start:?}");
        assert!(told.contains("[secret]") && !told.contains("hunter2"), "{told}");
    }
}
