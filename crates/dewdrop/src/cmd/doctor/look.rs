//! What kubectl shows.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::failure::{Failure, Result};

/// What was seen of a cluster. `Null` is what is not there.
#[derive(Debug, Default)]
pub struct Seen {
    /// `kubectl version`.
    pub version: Value,
    /// The nodes.
    pub nodes: Value,
    /// What kubelet knows of CSI drivers, node by node.
    pub csi_nodes: Value,
    /// The CSIDriver object.
    pub driver: Value,
    /// The namespace that we are installed in.
    pub namespace: Value,
    /// Our pods.
    pub pods: Value,
    /// The agents' role; `None`: nobody looked.
    pub role: Option<Value>,
}

/// Looks at a cluster.
pub async fn at(kubectl: &str, context: Option<&str>, system: &str) -> Result<Seen> {
    let ask = Ask { kubectl, context };
    Ok(Seen {
        version: ask.json(&["version"]).await?,
        nodes: ask.json(&["get", "nodes"]).await?,
        csi_nodes: ask.json(&["get", "csinodes"]).await?,
        driver: ask.json(&["get", "csidriver", "csi.dewdrop.dev", "--ignore-not-found"]).await?,
        namespace: ask.json(&["get", "namespace", system, "--ignore-not-found"]).await?,
        pods: ask.json(&["get", "pods", "--namespace", system, "--selector", "app.kubernetes.io/name=dewdrop"]).await?,
        role: None,
    })
}

struct Ask<'a> {
    kubectl: &'a str,
    context: Option<&'a str>,
}

impl Ask<'_> {
    /// One question. Nothing said is `Null`.
    async fn json(&self, words: &[&str]) -> Result<Value> {
        let mut command = Command::new(self.kubectl);
        command.args(words).args(["--output", "json"]).stdin(Stdio::null());
        command.args(self.context.map(|context| format!("--context={context}")));
        let out = command.output().await.map_err(|e| {
            Failure::usage(format!("{} cannot be started: {e}", self.kubectl))
                .hint("say where it is: --kubectl PROGRAM")
        })?;
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !out.status.success() {
            return Err(Failure::usage(format!("{} {}: {}", self.kubectl, words.join(" "), told(&out.stderr))));
        }
        if out.stdout.trim_ascii().is_empty() {
            return Ok(Value::Null);
        }
        let odd = |_| Failure::usage(format!("{} {} says no JSON", self.kubectl, words.join(" ")));
        serde_json::from_slice(&out.stdout).map_err(odd)
    }
}
