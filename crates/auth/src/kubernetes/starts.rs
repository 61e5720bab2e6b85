//! Starts of containers, as they are kept: one row for each (pod, container, role) of a node.

use dewdrop_core::store::{Revision, Row, Store, StoreError, decode};
use dewdrop_core::{Fault, Moment};
use serde::{Deserialize, Serialize};

const STARTS: &str = "start/";
/// How many rows are read at a time.
const PAGE: usize = 200;

/// What names a start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The node.
    pub node: String,
    /// The pod's uid.
    pub pod: String,
    /// The container.
    pub container: String,
    /// The role.
    pub role: String,
}

/// What is kept of a start.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Start {
    /// The agent's id of it.
    pub start: String,
    /// The accessor of its token, as the server writes it.
    #[serde(default)]
    pub accessor: String,
    /// When it was made.
    pub made: Moment,
    /// The pod's name.
    pub pod_name: String,
    /// The pod's namespace.
    pub namespace: String,
    /// The runtime's id of the container; empty as long as it is not known.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// The first start of the same run of the container, when this is not the first.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub life: String,
    /// Somebody was in the container and has seen what it was given: it is to be replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub seen: bool,
}

/// A start with its place.
#[derive(Debug, Clone)]
pub struct Found {
    /// Its place.
    pub place: Place,
    /// What is kept.
    pub start: Start,
    /// The revision of the row.
    pub revision: Revision,
}

impl Start {
    /// The run of the container that it belongs to, by its first start.
    pub fn life(&self) -> &str {
        if self.life.is_empty() { &self.start } else { &self.life }
    }
}

impl Place {
    /// The key of the row. Its parts hold no slash.
    pub fn key(&self) -> String {
        format!("{STARTS}{}/{}/{}/{}", self.node, self.pod, self.container, self.role)
    }

    fn of_key(key: &[u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(key).ok()?.strip_prefix(STARTS)?.splitn(4, '/').map(str::to_owned);
        Some(Self { node: parts.next()?, pod: parts.next()?, container: parts.next()?, role: parts.next()? })
    }
}

/// The prefix of all starts of a node, or of a container on it.
pub fn prefix(node: &str, container: Option<(&str, &str)>) -> String {
    match container {
        None => format!("{STARTS}{node}/"),
        Some((pod, container)) => format!("{STARTS}{node}/{pod}/{container}/"),
    }
}

/// Some starts below a prefix, behind a key; and the key to go on from, when there may be more.
pub async fn page(
    store: &dyn Store,
    prefix: &str,
    after: Option<&[u8]>,
) -> Result<(Vec<Found>, Option<Vec<u8>>), StoreError> {
    let rows = store.scan(prefix.as_bytes(), after, PAGE).await?;
    let next = rows.last().filter(|_| rows.len() == PAGE).map(|row| row.key.clone());
    Ok((rows.iter().map(read).collect::<Result<_, _>>()?, next))
}

/// All starts below a prefix.
pub async fn all(store: &dyn Store, prefix: &str) -> Result<Vec<Found>, Fault> {
    let mut all = Vec::new();
    let mut after = None;
    loop {
        let (found, next) = page(store, prefix, after.as_deref()).await?;
        all.extend(found);
        if next.is_none() {
            return Ok(all);
        }
        after = next;
    }
}

fn read(row: &Row) -> Result<Found, StoreError> {
    let odd = || StoreError::Damaged("a row of starts has an odd key".into());
    let place = Place::of_key(&row.key).ok_or_else(odd)?;
    Ok(Found { place, start: decode(&row.key, &row.entry)?, revision: row.entry.revision })
}
