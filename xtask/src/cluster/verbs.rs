//! What a test does with a cluster.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use super::image::{self, Image};
use super::record::{Cluster, Node};
use super::{certs, cgroup, control, down, network, node, path_with};
use crate::parts::output_of;

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
        let mut kubectl = self.kubectl_command();
        kubectl.args(["apply", "-f", "-"]).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = kubectl.spawn().context("cannot start kubectl")?;
        let mut input = child.stdin.take().context("kubectl takes no input")?;
        // When it ends early, its own words say more than this.
        let written = input.write_all(manifest.as_bytes());
        drop(input);
        let out = child.wait_with_output()?;
        if !out.status.success() {
            bail!("kubectl apply: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        written.context("cannot hand the manifest to kubectl")
    }

    /// Puts an image on every node. Pods that use it say `imagePullPolicy: Never`.
    pub fn import_image(&self, image: &Image) -> Result<()> {
        if self.nodes.is_empty() {
            bail!("{}: an image can be brought by hand only to a cluster of our own", image.name);
        }
        let archive = image.archive()?;
        let file = self.state.join("images").join(format!("{}.tar", image::hash(&archive)));
        std::fs::write(&file, archive).with_context(|| format!("cannot write {}", file.display()))?;
        self.nodes.iter().try_for_each(|node| node::import(self, node, &file))
    }

    /// The processes of all containers of a node, the pause processes too, as this machine numbers them.
    pub fn container_pids(&self, node: &Node) -> Result<Vec<i32>> {
        cgroup::pids(&format!("{}/{}", self.cgroup, node.name))
    }

    /// The processes of a node's daemons, containerd's shims too.
    pub fn daemon_pids(&self, node: &Node) -> Result<Vec<i32>> {
        cgroup::pids(&format!("{}/{}", self.cgroup, node.daemons_group()))
    }

    /// Pulls the cable of a node, or puts it back: a partition, in which its containers run on.
    pub fn cable(&self, node: &str, plugged: bool) -> Result<()> {
        network::cable(self, self.node(node)?, plugged)
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

    /// Kills a node's container runtime and starts it again. Its containers run on.
    pub fn restart_runtime(&mut self, node: &str) -> Result<()> {
        let node = &self.node(node)?.clone();
        self.kill_daemon(&format!("{}-containerd", node.name))?;
        let runtime = node::containerd(self, node)?;
        node::wait_for_containerd(self, node, &runtime)
    }

    /// Kills a node's kubelet (and its proxy) and starts it again. Its containers run on.
    pub fn restart_kubelet(&mut self, node: &str) -> Result<()> {
        let node = &self.node(node)?.clone();
        for program in ["kubelet", "kube-proxy"] {
            self.kill_daemon(&format!("{}-{program}", node.name))?;
        }
        node::kubelet(self, node)
    }

    /// The API server signs the tokens of ServiceAccounts with a new key from now on, and knows the former one still.
    pub fn rotate_account_keys(&mut self) -> Result<()> {
        certs::new_service_accounts(self)?;
        self.restart_api()
    }

    /// Kills the API server and starts it again, with the keys of ServiceAccounts that it has.
    pub fn restart_api(&mut self) -> Result<()> {
        let pki = |file: &str| certs::folder(self).join(format!("{}{file}.pem", certs::NEW_ACCOUNTS));
        let keys = [("service-account-key-file", pki("")), ("service-account-signing-key-file", pki("-key"))];
        let keys = keys.into_iter().filter(|(_, file)| file.exists());
        let more: Vec<String> = keys.map(|(name, file)| format!("--{name}={}", file.display())).collect();
        self.kill_daemon("kube-apiserver")?;
        let api = control::api(self, &more)?;
        control::wait(self, &api)
    }

    /// SIGKILL to one of our daemons.
    fn kill_daemon(&self, name: &str) -> Result<()> {
        for daemon in self.daemons.iter().filter(|daemon| daemon.name == name && daemon.alive()) {
            output_of(Command::new("kill").args(["-9", &daemon.pid.to_string()]))?;
            daemon.wait_until_gone()?;
        }
        Ok(())
    }

    /// Ends the cluster, if it is ours.
    pub fn down(self) -> Result<()> {
        if self.nodes.is_empty() { Ok(()) } else { down::down(&self) }
    }
}
