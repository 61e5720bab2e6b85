//! The network of a cluster: one bridge on the machine, with the first node's pods on it, and a veth into the network
//! namespace of each further node. Addresses are private to the machine; no packet leaves it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::instance;
use super::record::{Cluster, Node};
use crate::parts::output_of;

/// Settings of the kernel that a cluster changes: routing by us, the others by kubelet.
const SYSCTLS: &[&str] = &[
    "net/ipv4/ip_forward",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/panic",
    "kernel/panic_on_oops",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
];

/// The tables that kube-proxy makes.
const TABLES: &[&str] = &["ip", "ip6"];

/// Looks whether the names are free, notes the kernel's settings, and makes the bridge.
pub fn make(cluster: &mut Cluster) -> Result<()> {
    let bridge = &instance::bridge(cluster.instance);
    refuse_others(bridge, &cluster.state)?;
    for name in SYSCTLS {
        // A kernel without it has nothing to be put back.
        if let Ok(value) = std::fs::read_to_string(Path::new("/proc/sys").join(name)) {
            cluster.sysctls.insert((*name).to_owned(), value.trim().to_owned());
        }
    }
    // What another one has changed already is put back by whichever goes last.
    for other in instance::others(cluster.instance) {
        cluster.sysctls.extend(other.sysctls);
        cluster.outside.extend(other.outside);
    }
    cluster.save()?;
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot switch routing on")?;
    ip(&["link", "add", bridge, "address", &hardware(cluster.instance), "type", "bridge"])?;
    ip(&["link", "set", bridge, "alias", &cluster.state.to_string_lossy()])?;
    ip(&["address", "add", &format!("{}/24", instance::host(cluster.instance)), "dev", bridge])?;
    ip(&["link", "set", bridge, "up"])?;
    for node in &cluster.nodes {
        if let Some(netns) = &node.netns {
            join(cluster, node, netns)?;
        }
    }
    Ok(())
}

/// The bridge's hardware address. Without one it takes the least of its ports': a pod that comes or goes would change it, and
/// whoever knew the former is cut off until its neighbour table notices, about half a minute later.
fn hardware(instance: u8) -> String {
    format!("02:de:3d:00:00:{instance:02x}")
}

/// Another cluster with this bridge would have the same addresses.
fn refuse_others(bridge: &str, state: &Path) -> Result<()> {
    let Some(owner) = owner(bridge) else { return Ok(()) };
    if owner.is_empty() || Path::new(&owner) == state {
        bail!("the bridge {bridge} is there already, left by a start that was cut off: ip link delete {bridge}");
    }
    bail!("the bridge {bridge} belongs to another cluster: cargo xtask cluster down --state {owner}")
}

/// The state folder of the cluster whose bridge is there. The bridge itself tells it.
pub fn owner(bridge: &str) -> Option<String> {
    let folder = Path::new("/sys/class/net").join(bridge);
    let alias = || std::fs::read_to_string(folder.join("ifalias")).unwrap_or_default();
    folder.exists().then(|| alias().trim().to_owned())
}

/// A network namespace with its own pods behind it. It is kept by a mount below the state folder.
fn join(cluster: &Cluster, node: &Node, netns: &Path) -> Result<()> {
    std::fs::create_dir_all(node.dir()).with_context(|| format!("cannot make {}", node.dir().display()))?;
    std::fs::write(netns, "").with_context(|| format!("cannot make {}", netns.display()))?;
    output_of(Command::new("unshare").arg(format!("--net={}", netns.display())).arg("true"))?;
    let (outer, path) = (veth(cluster, node), netns.to_string_lossy());
    let bridge = &instance::bridge(cluster.instance);
    ip(&["link", "add", &outer, "type", "veth", "peer", "name", "eth0", "netns", &path])?;
    ip(&["link", "set", &outer, "master", bridge, "up"])?;
    let inside = |args: &[&str]| -> Result<()> {
        let mut command = Command::new("nsenter");
        output_of(command.arg(format!("--net={path}")).arg("--").args(args)).map(drop)
    };
    inside(&["ip", "link", "set", "lo", "up"])?;
    inside(&["ip", "address", "add", &format!("{}/24", node.address), "dev", "eth0"])?;
    inside(&["ip", "link", "set", "eth0", "up"])?;
    inside(&["ip", "route", "add", "default", "via", &instance::host(cluster.instance)])?;
    inside(&["sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"])?;
    // Pods' bridge: the CNI plug-in takes what is there.
    inside(&["ip", "link", "add", bridge, "address", &hardware(cluster.instance), "type", "bridge"])?;
    ip(&["route", "add", &node.pods, "via", &node.address, "dev", bridge])
}

/// The machine's end of the cable to a node.
fn veth(cluster: &Cluster, node: &Node) -> String {
    format!("{}-{}", instance::bridge(cluster.instance), node.name)
}

/// Pulls the cable of a node, or puts it back: its containers run on, but nobody hears of them.
pub fn cable(cluster: &Cluster, node: &Node, plugged: bool) -> Result<()> {
    if node.netns.is_none() {
        bail!("{} lives in the machine's own network: it has no cable", node.name);
    }
    ip(&["link", "set", &veth(cluster, node), if plugged { "up" } else { "down" }])
}

/// Takes everything back, if it is ours. What is not there is no error.
pub fn remove(cluster: &Cluster) -> Result<()> {
    // Without a name it was made a moment before its maker ended.
    let bridge = &instance::bridge(cluster.instance);
    if owner(bridge).is_some_and(|owner| owner.is_empty() || Path::new(&owner) == cluster.state) {
        for node in cluster.nodes.iter().filter(|node| node.netns.is_some()) {
            delete(&veth(cluster, node))?;
        }
        // Other instances have their tables in networks of their own.
        if cluster.instance == 0 {
            remove_tables();
        }
        delete(bridge)?;
    }
    if !instance::others(cluster.instance).is_empty() {
        return Ok(());
    }
    for (name, value) in &cluster.sysctls {
        let file = Path::new("/proc/sys").join(name);
        if std::fs::read_to_string(&file).is_ok_and(|now| now.trim() != value) {
            std::fs::write(&file, value).with_context(|| format!("cannot put {} back", file.display()))?;
        }
    }
    Ok(())
}

/// Deletes an interface, if it is there. A cable goes by itself a moment after the namespace at its other end.
fn delete(interface: &str) -> Result<()> {
    let is_there = || Path::new("/sys/class/net").join(interface).exists();
    if !is_there() {
        return Ok(());
    }
    match ip(&["link", "delete", interface]) {
        Err(error) if is_there() => Err(error),
        _ => Ok(()),
    }
}

/// The tables are there only if kube-proxy came so far.
fn remove_tables() {
    for family in TABLES {
        drop(output_of(Command::new("nft").args(["delete", "table", family, "kube-proxy"])));
    }
}

fn ip(args: &[&str]) -> Result<()> {
    output_of(Command::new("ip").args(args)).map(drop).with_context(|| format!("ip {}", args.join(" ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_cables_are_short_enough_for_the_kernel() {
        let cluster = Cluster::plan(0, Path::new("/run/x"), Path::new("/bin"), 9).expect("plan");
        assert!(cluster.nodes.iter().all(|node| veth(&cluster, node).len() <= 15));
    }

    #[test]
    fn the_first_node_has_no_cable_to_pull() {
        let cluster = Cluster::plan(0, Path::new("/run/x"), Path::new("/bin"), 1).expect("plan");
        let error = cable(&cluster, cluster.node("n1").expect("node"), false).expect_err("no cable");
        assert!(error.to_string().contains("no cable"), "{error}");
    }
}
