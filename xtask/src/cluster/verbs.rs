//! What a test does with a cluster.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use super::image::Image;
use super::record::{Cluster, Node};
use super::{cgroup, down, network, node, path_with, up};

impl Cluster {
    /// kubectl with the administrator's way in, ready for arguments.
    pub fn kubectl_command(&self) -> Command {
        let ours = self.bin.join("kubectl");
        // A cluster of somebody else may be used without ever building one.
        let mut command = Command::new(if ours.is_file() { ours.as_path() } else { Path::new("kubectl") });
        // The cache of what the API server offers would land in the home folder.
        let cache = std::env::temp_dir().join("dewdrop-kubectl");
        command.arg("--kubeconfig").arg(&self.kubeconfig).arg("--cache-dir").arg(cache);
        command.env("PATH", path_with(&self.bin)).stdin(Stdio::null());
        command
    }

    /// Runs kubectl to its end; what it says, good or bad.
    pub fn kubectl(&self, args: &[&str]) -> Result<Output> {
        self.kubectl_command().args(args).output().context("cannot start kubectl")
    }

    /// `kubectl apply` of a text, YAML or JSON.
    pub fn apply(&self, manifest: &str) -> Result<()> {
        up::apply(self, manifest)
    }

    /// Puts an image on every node. Pods that use it say `imagePullPolicy: Never`.
    pub fn import_image(&self, image: &Image) -> Result<()> {
        let file = self.state.join("images").join("import.tar");
        std::fs::write(&file, image.archive()?).with_context(|| format!("cannot write {}", file.display()))?;
        let imported = self.nodes.iter().try_for_each(|node| node::import(self, node, &file));
        std::fs::remove_file(&file)?;
        imported
    }

    /// The processes of all containers of a node, the pause processes too, as this machine numbers them.
    pub fn container_pids(&self, node: &Node) -> Result<Vec<i32>> {
        let groups = cgroup::make(&self.cgroup, &node.name)?;
        Ok(groups.first().map(|group| cgroup::members(group)).unwrap_or_default())
    }

    /// Pulls the cable of a node, or puts it back: a partition, in which its containers run on.
    pub fn cable(&self, node: &str, plugged: bool) -> Result<()> {
        network::cable(self.node(node)?, plugged)
    }

    /// Ends everything on a node at once, as a loss of power does. `power_on` starts it again.
    pub fn power_off(&self, node: &str) -> Result<()> {
        let node = self.node(node)?;
        for group in [node.daemons_group(), node.name.clone()] {
            cgroup::kill(&format!("{}/{group}", self.cgroup), &[])?;
        }
        Ok(())
    }

    /// Starts the daemons of a node that was powered off.
    pub fn power_on(&mut self, node: &str) -> Result<()> {
        let node = &self.node(node)?.clone();
        if self.daemons.iter().any(|daemon| daemon.name.starts_with(&format!("{}-", node.name)) && daemon.alive()) {
            bail!("{} runs", node.name);
        }
        let runtime = node::containerd(self, node)?;
        node::wait_for_containerd(self, node, &runtime)?;
        node::kubelet(self, node)
    }

    /// Ends the cluster, if it is ours.
    pub fn down(self) -> Result<()> {
        if self.nodes.is_empty() { Ok(()) } else { down::down(&self) }
    }
}
