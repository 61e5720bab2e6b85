//! How a cluster does.

use anyhow::{Result, bail};
use serde_json::Value;

use super::daemon::Daemon;
use super::record::Cluster;
use crate::say;

/// What was seen.
#[derive(Debug)]
pub struct Status {
    /// Names of the nodes that are Ready.
    pub ready: Vec<String>,
    /// Names of the nodes that are not, with the reason where one is told.
    pub waiting: Vec<String>,
    /// Names of the nodes that should be there.
    expected: Vec<String>,
}

impl Status {
    /// Whether all nodes are Ready: those that we started, or all that there are in a cluster of somebody else.
    pub fn is_ready(&self) -> bool {
        let all = self.expected.iter().all(|name| self.ready.contains(name));
        all && self.waiting.is_empty() && !self.ready.is_empty()
    }
}

/// Asks the cluster. One that does not answer has no node.
pub fn of(cluster: &Cluster) -> Status {
    let out = cluster.kubectl(&["get", "nodes", "-o", "json", "--request-timeout=5s"]);
    let answer = out.ok().filter(|out| out.status.success()).and_then(|out| serde_json::from_slice(&out.stdout).ok());
    let (ready, waiting) = nodes_in(&answer.unwrap_or(Value::Null));
    Status { ready, waiting, expected: cluster.nodes.iter().map(|node| node.name.clone()).collect() }
}

fn nodes_in(list: &Value) -> (Vec<String>, Vec<String>) {
    let text = |value: &Value, at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    let (mut ready, mut waiting) = (Vec::new(), Vec::new());
    for node in list.pointer("/items").and_then(Value::as_array).into_iter().flatten() {
        let name = text(node, "/metadata/name");
        let conditions = node.pointer("/status/conditions").and_then(Value::as_array).into_iter().flatten();
        match conditions.into_iter().find(|condition| text(condition, "/type") == "Ready") {
            Some(condition) if text(condition, "/status") == "True" => ready.push(name),
            Some(condition) => waiting.push(format!("{name} ({})", text(condition, "/message"))),
            None => waiting.push(name),
        }
    }
    (ready, waiting)
}

/// Prints what runs; an error unless all nodes are Ready.
pub fn tell(cluster: &Cluster) -> Result<()> {
    let (runs, ended): (Vec<&Daemon>, Vec<&Daemon>) = cluster.daemons.iter().partition(|daemon| daemon.alive());
    let names = |list: &[&Daemon]| -> String {
        list.iter().map(|daemon| format!("{} ({})", daemon.name, daemon.pid)).collect::<Vec<_>>().join(", ")
    };
    if !runs.is_empty() {
        say::line(&format!("runs: {}", names(&runs)));
    }
    if !ended.is_empty() {
        say::warning(&format!("ended: {}", names(&ended)));
    }
    let status = of(cluster);
    if !status.ready.is_empty() {
        say::good(&format!("Ready: {}", status.ready.join(", ")));
    }
    if !status.is_ready() {
        let missing = status.expected.iter().filter(|name| !status.ready.contains(name));
        let missing: Vec<&str> = missing.map(String::as_str).collect();
        bail!("not Ready: {}", if status.waiting.is_empty() { missing.join(", ") } else { status.waiting.join(", ") });
    }
    if ended.is_empty() { Ok(()) } else { bail!("{} ended", names(&ended)) }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn node(name: &str, ready: &str) -> Value {
        let conditions = json!([{ "type": "Ready", "status": ready, "message": "no network" }]);
        json!({ "metadata": { "name": name }, "status": { "conditions": conditions } })
    }

    fn status(list: &[Value], expected: &[&str]) -> Status {
        let (ready, waiting) = nodes_in(&json!({ "items": list }));
        Status { ready, waiting, expected: expected.iter().map(|name| (*name).to_owned()).collect() }
    }

    #[test]
    fn ready_is_only_what_says_so() {
        assert!(status(&[node("n1", "True")], &["n1"]).is_ready());
        assert!(!status(&[node("n1", "Unknown")], &["n1"]).is_ready());
        assert!(!status(&[json!({ "metadata": { "name": "n1" } })], &["n1"]).is_ready());
    }

    #[test]
    fn a_node_that_did_not_come_is_missed() {
        assert!(!status(&[node("n1", "True")], &["n1", "n2"]).is_ready());
        assert!(!status(&[], &[]).is_ready(), "no node is no cluster");
    }

    #[test]
    fn the_reason_is_told() {
        let seen = status(&[node("n1", "True"), node("n2", "False")], &["n1", "n2"]);
        assert_eq!(seen.ready, ["n1"]);
        assert_eq!(seen.waiting, ["n2 (no network)"]);
    }
}
