//! The node agents: one on each node, started, stopped, killed and heard by the scenes.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{METRICS, PATIENCE, Stage};
use crate::cluster::Node;
use crate::e2e::account::AGENTS;
use crate::e2e::watch::Mode;
use crate::parts::{Process, exec, output_of};

/// The agent of one node.
pub(super) struct Agent {
    pub(super) node: Node,
    pub(super) process: Option<Process>,
}

impl Stage {
    /// Starts the agent of a node, or starts it again.
    pub fn start_agent(&mut self, index: usize) -> Result<()> {
        self.start_agent_with(index, &[])
    }

    /// The same, with more in its environment.
    pub fn start_agent_with(&mut self, index: usize, env: &[(&str, String)]) -> Result<()> {
        let node = self.agents.get(index).context("no such node")?.node.clone();
        let file = self.dir.path().join(format!("{}.token", node.name));
        std::fs::write(&file, self.minted(AGENTS.on_node(&node.name))?)?;
        let mut command = within(&node, &self.dewdrop);
        command.args(["node", "--node-name", &node.name, "--kubelet-dir"]).arg(&node.root_dir);
        command.arg("--exec-binary").arg(exec::ensure()?).arg("--cri-socket").arg(&node.containerd_sock);
        command.arg("--token-file").arg(&file).arg("--metrics-address").arg(format!("{}:{METRICS}", node.address));
        self.nets(&node, &mut command)?;
        command.args(["--log-level", "debug"]).arg("--state-dir").arg(node.dir().join("dewdrop"));
        command.env("DEWDROP_ADDR", &self.vault.address).env("HOME", self.dir.path());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let log = self.dir.path().join(format!("agent-{}.log", node.name));
        let registered = node.root_dir.join("plugins/csi.dewdrop.dev/csi.sock");
        let mut process = Process::start(command, &log)?;
        process.wait_until(PATIENCE, || registered.exists())?;
        if let Some(agent) = self.agents.get_mut(index) {
            agent.process = Some(process);
        }
        self.until_registered(index)
    }

    /// Waits until kubelet has found the driver.
    pub fn until_registered(&self, index: usize) -> Result<()> {
        let node = self.node(index)?;
        self.wait("kubelet to know the driver", PATIENCE, || {
            let known = self.kubectl(&["get", "csinode", &node, "-o", "jsonpath={.spec.drivers[*].name}"]);
            Ok(known.is_ok_and(|known| known.contains("csi.dewdrop.dev")))
        })
        .map(drop)
    }

    /// Waits until the agent's last word about the runtime is that it is linked to it.
    pub fn until_linked(&self, index: usize) -> Result<()> {
        if self.mode == Mode::Watch {
            return self.until_watching(index);
        }
        let log = self.agent_file(index)?;
        self.wait("the agent to be linked to the runtime", PATIENCE, || {
            let text = std::fs::read_to_string(&log)?;
            let (up, down) = (text.rfind("the runtime tells of starts"), text.rfind("the runtime tells nothing"));
            Ok(up > down)
        })
        .map(drop)
    }

    /// An agent's log.
    pub fn agent_file(&self, index: usize) -> Result<PathBuf> {
        Ok(self.dir.path().join(format!("agent-{}.log", self.node(index)?)))
    }

    /// Runs a command where a node's agent is.
    pub fn beside_agent(&self, index: usize, program: &Path) -> Result<Command> {
        let node = &self.agents.get(index).context("no such node")?.node;
        Ok(within(node, program))
    }

    /// SIGSTOP: the agent answers nothing and nobody.
    pub fn stop_agent(&self, index: usize) -> Result<()> {
        self.signal_agent(index, "-STOP")
    }

    /// SIGCONT.
    pub fn go_on_agent(&self, index: usize) -> Result<()> {
        self.signal_agent(index, "-CONT")
    }

    fn signal_agent(&self, index: usize, signal: &str) -> Result<()> {
        let process = self.agents.get(index).and_then(|agent| agent.process.as_ref());
        let pid = process.context("the agent does not run")?.pid().to_string();
        output_of(Command::new("kill").args([signal, &pid])).map(drop)
    }

    /// The agents that run.
    pub fn agent_pids(&self) -> Vec<u32> {
        self.agents.iter().filter_map(|agent| Some(agent.process.as_ref()?.pid())).collect()
    }

    /// What a node's agent kept is gone, as with a tmpfs after a loss of power.
    pub fn forget_agent_state(&self, index: usize) -> Result<()> {
        let agent = self.agents.get(index).context("no such node")?;
        let state = agent.node.dir().join("dewdrop");
        if state.exists() { Ok(std::fs::remove_dir_all(state)?) } else { Ok(()) }
    }

    /// SIGKILL to the agent of a node.
    pub fn kill_agent(&mut self, index: usize) {
        if let Some(mut process) = self.agents.get_mut(index).and_then(|agent| agent.process.take()) {
            process.kill9();
        }
    }

    /// What an agent said last.
    pub fn agent_log(&self) -> String {
        let tail = |agent: &Agent| agent.process.as_ref().map_or_else(String::new, Process::log_tail);
        let last = |log: String| {
            log.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        self.agents.iter().map(tail).map(last).collect::<Vec<_>>().join("\n")
    }
}

/// A program in a node's network.
fn within(node: &Node, program: &Path) -> Command {
    match &node.netns {
        None => Command::new(program),
        Some(netns) => {
            let mut inside = Command::new("nsenter");
            inside.arg(format!("--net={}", netns.display())).arg(program);
            inside
        }
    }
}
