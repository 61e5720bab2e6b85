//! By which net the agents catch the ends of containers: with NRI, or by the API server's watch alone.

use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::pods::{TestPod, WAIT};
use super::stage::{METRICS, PATIENCE, Stage};
use crate::cluster::Node;
use crate::parts::output_of;

/// The nets of the agents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// NRI, with the watch behind it.
    Nri,
    /// The watch alone.
    Watch,
}

impl Mode {
    /// As the command line says it.
    pub fn parse(text: Option<&String>) -> Result<Self> {
        match text.map(String::as_str) {
            Some("nri") => Ok(Self::Nri),
            Some("watch") => Ok(Self::Watch),
            _ => bail!("--mode is nri or watch"),
        }
    }
}

/// As [`WAIT`], but looks again: without NRI nothing holds a restarted container up until its credential is there.
const LOOK_AGAIN: &str = "trap 'exit 0' TERM; while :; do user=$(cat /secrets/db/username); \
                          [ \"$user\" = \"$last\" ] || echo user=$user; last=$user; sleep 0.1; done";

impl Stage {
    /// Starts all agents anew in another mode.
    pub fn play_in(&mut self, mode: Mode) -> Result<()> {
        if self.mode == mode {
            return Ok(());
        }
        self.mode = mode;
        for index in 0..self.count() {
            self.kill_agent(index);
            self.start_agent(index)?;
        }
        Ok(())
    }

    /// The pod as this mode needs it.
    pub fn fitted(&self, pod: &TestPod) -> TestPod {
        match self.mode {
            Mode::Nri => pod.clone(),
            Mode::Watch => pod.clone().saying(WAIT, LOOK_AGAIN),
        }
    }

    /// The agent's flags for its nets.
    pub fn nets(&self, node: &Node, command: &mut Command) -> Result<()> {
        let token = self.kubectl(&["create", "token", "dewdrop-node", "-n", "dewdrop-system"])?;
        let file = self.file(&format!("{}.kube-token", node.name), token.trim())?;
        command.arg("--kube-server").arg(format!("https://{}", self.cable.address));
        command.arg("--kube-ca-file").arg(&self.cluster()?.ca).arg("--kube-token-file").arg(file);
        match self.mode {
            Mode::Nri => command.arg("--nri-socket").arg(&node.nri_sock),
            Mode::Watch => command.args(["--nri-socket", ""]),
        };
        Ok(())
    }

    /// Waits until the agent's last word about the API server is that it tells.
    pub fn until_watching(&self, index: usize) -> Result<()> {
        let log = self.agent_file(index)?;
        self.wait("the agent to hear the API server", PATIENCE, || {
            let text = std::fs::read_to_string(&log)?;
            let (up, down) = (text.rfind("the API server tells of"), text.rfind("the API server does not tell"));
            Ok(up > down)
        })
        .map(drop)
    }

    /// The net that the node's own condition names.
    pub fn net_of(&self, index: usize) -> Result<String> {
        let node = self.node(index)?;
        let path = "jsonpath={.status.conditions[?(@.type==\"DewdropReady\")].reason}";
        self.kubectl(&["get", "node", &node, "-o", path])
    }

    /// Waits for it.
    pub fn until_net(&self, index: usize, reason: &str) -> Result<()> {
        let mut last = String::new();
        let waited = self.wait(&format!("the node's condition to say {reason}"), PATIENCE, || {
            last = self.net_of(index)?;
            Ok(last == reason)
        });
        waited.map(drop).with_context(|| format!("it says {last:?}"))
    }

    /// The agent answers for itself that it is well.
    pub fn check_agent(&self, index: usize) -> Result<()> {
        let mut command = self.beside_agent(index, self.program())?;
        command.args(["node", "--check", "--node-name", "x", "--kubelet-dir"]).arg(self.kubelet_dir(index)?);
        output_of(&mut command).map(drop)
    }

    fn metrics(&self, index: usize) -> Result<String> {
        let url = format!("http://{}:{METRICS}/metrics", self.address(index)?);
        Ok(ureq::get(&url).call()?.body_mut().read_to_string()?)
    }

    /// What the agent's metrics say of a name with its labels.
    pub fn metric(&self, index: usize, name: &str) -> Result<f64> {
        let text = self.metrics(index)?;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let value = line.with_context(|| format!("no {name} in the agent's metrics"))?;
        ensure!(!value.is_empty(), "{name} has no value");
        Ok(value.trim().parse()?)
    }
}
