//! A node: containerd with NRI, kubelet, kube-proxy, the images that every pod needs.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::control::flags;
use super::daemon::{Daemon, Start, start};
use super::record::{Cluster, Node};
use super::{cgroup, texts};
use crate::parts::output_of;

/// How long containerd may take until it answers. The machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);

/// Writes the configuration of a node.
pub fn prepare(cluster: &Cluster, node: &Node) -> Result<()> {
    let dir = node.dir();
    for folder in ["cni", "s", "nri/plugins", "nri/conf.d", "kubelet", "pod-logs", "volume-plugins"] {
        std::fs::create_dir_all(dir.join(folder)).with_context(|| format!("cannot make {folder} of {}", node.name))?;
    }
    std::fs::write(dir.join("containerd.toml"), texts::containerd(cluster, node))?;
    write(&dir.join("cni/10-dewdrop.conflist"), &texts::cni(cluster, node))?;
    write(&dir.join("kubelet.json"), &texts::kubelet(cluster, node))?;
    write(&dir.join("kubelet.kubeconfig"), &texts::kubeconfig(cluster, &format!("{}-client", node.name)))?;
    let kubeconfig = dir.join("proxy.kubeconfig");
    write(&kubeconfig, &texts::kubeconfig(cluster, "proxy"))?;
    write(&dir.join("proxy.json"), &texts::proxy(cluster, node, &kubeconfig))?;
    cgroup::make(&cluster.cgroup, &node.name).map(drop)
}

/// Starts the container runtime. It answers some time later.
pub fn containerd(cluster: &mut Cluster, node: &Node) -> Result<Daemon> {
    let args = vec!["--config".to_owned(), node.dir().join("containerd.toml").to_string_lossy().into_owned()];
    run(cluster, node, "containerd", args)
}

/// Waits until the container runtime answers.
pub fn wait_for_containerd(cluster: &Cluster, node: &Node, containerd: &Daemon) -> Result<()> {
    let asks = || node.containerd_sock.exists() && output_of(ctr(cluster, node).arg("version")).is_ok();
    containerd.wait_until("containerd answers", LIMIT, asks)
}

/// Starts kubelet and kube-proxy.
pub fn kubelet(cluster: &mut Cluster, node: &Node) -> Result<()> {
    let file = |name: &str| node.dir().join(name).to_string_lossy().into_owned();
    let args = flags(&[
        ("config", &file("kubelet.json")),
        ("kubeconfig", &file("kubelet.kubeconfig")),
        ("root-dir", &node.root_dir.to_string_lossy()),
        ("cert-dir", &file("kubelet/pki")),
        ("hostname-override", &node.name),
        ("node-ip", &node.address),
    ]);
    run(cluster, node, "kubelet", args)?;
    run(cluster, node, "kube-proxy", flags(&[("config", &file("proxy.json"))])).map(drop)
}

/// Imports an OCI archive.
pub fn import(cluster: &Cluster, node: &Node, archive: &Path) -> Result<()> {
    let mut command = ctr(cluster, node);
    command.args(["-n", "k8s.io", "images", "import", "--local"]).arg(archive);
    output_of(&mut command).map(drop).with_context(|| format!("cannot import {} on {}", archive.display(), node.name))
}

/// containerd's own client.
pub fn ctr(cluster: &Cluster, node: &Node) -> Command {
    let mut command = Command::new(cluster.bin.join("ctr"));
    command.arg("--address").arg(&node.containerd_sock);
    command
}

fn run(cluster: &mut Cluster, node: &Node, program: &str, args: Vec<String>) -> Result<Daemon> {
    let name = format!("{}-{program}", node.name);
    start(cluster, Start { name, group: node.daemons_group(), netns: node.netns.as_deref(), program, args })
}

/// JSON into a file.
pub fn write(file: &Path, value: &Value) -> Result<()> {
    let text = serde_json::to_vec_pretty(value)?;
    std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
