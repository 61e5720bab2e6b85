//! Starts a cluster: the control plane and the container runtimes side by side, then the kubelets.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::daemon::{Daemon, LOOK_AGAIN, tail};
use super::record::{Cluster, Node};
use super::{Options, build, certs, control, down, instance, network, node, status, stock, texts};
use crate::parts::{free_port, output_of};
use crate::say::{self, Stopwatch};
use crate::tools;

/// How long the nodes may take to be Ready. The machine may be busy.
const LIMIT: Duration = Duration::from_secs(120);

/// Anybody may read the keys that ServiceAccounts' tokens are checked with, as where OIDC is used in earnest.
const DISCOVERY: &str = r#"{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"ClusterRoleBinding",
"metadata":{"name":"dewdrop-test-issuer-discovery"},
"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"system:service-account-issuer-discovery"},
"subjects":[{"apiGroup":"rbac.authorization.k8s.io","kind":"Group","name":"system:unauthenticated"}]}"#;

/// Brings a cluster up, or takes the one that runs already. When it fails, nothing is left of it.
pub fn up(options: &Options) -> Result<Cluster> {
    if !tools::is_root()? {
        bail!("a cluster needs root: it makes namespaces, mounts and a bridge");
    }
    if let Some(cluster) = running(options)? {
        say::good(&format!("it runs already, in {}", cluster.state.display()));
        return Ok(cluster);
    }
    for (program, package) in [("ip", "iproute2"), ("nsenter", "util-linux"), ("nft", "nftables")] {
        tools::bring(program, package, "the network of the cluster")?;
    }
    let bin = build::ensure(options.helm)?;
    let clock = Stopwatch::start();
    say::heading(&format!("starting Kubernetes with {} in {}", nodes(options.nodes), options.state.display()));
    let mut cluster = Cluster::plan(options.instance, &options.state, &bin, options.nodes)?;
    if let Err(error) = bring_up(&mut cluster, options) {
        say::line("it failed; cleaning up");
        down::down(&cluster).context(format!("{error:#}\nand what was started could not be ended"))?;
        return Err(error);
    }
    say::good(&format!("Kubernetes is up after {}: {}", say::time(clock.elapsed()), cluster.server));
    Ok(cluster)
}

fn nodes(number: u8) -> String {
    if number == 1 { "one node".to_owned() } else { format!("{number} nodes") }
}

/// The cluster that is there, if it is whole. What a crash left is taken away.
fn running(options: &Options) -> Result<Option<Cluster>> {
    let Some(cluster) = Cluster::load(&options.state)? else { return Ok(None) };
    if !cluster.daemons.iter().any(Daemon::alive) {
        say::line("taking away what a former cluster left");
        down::down(&cluster)?;
        return Ok(None);
    }
    if cluster.nodes.len() != usize::from(options.nodes) || !status::of(&cluster).is_ready() {
        let told = format!("cargo xtask cluster down --state {}", cluster.state.display());
        bail!("another cluster runs there, or it is not whole (cargo xtask cluster status); first: {told}");
    }
    Ok(Some(cluster))
}

fn bring_up(cluster: &mut Cluster, options: &Options) -> Result<()> {
    step("folders, network, certificates", || prepare(cluster))?;
    let nodes = cluster.nodes.clone();
    let api = step("etcd; container runtimes and API server started", || {
        let runtimes: Vec<Daemon> = nodes.iter().map(|node| node::containerd(cluster, node)).collect::<Result<_>>()?;
        control::etcd(cluster)?;
        Ok((control::api(cluster, &options.api_args)?, runtimes))
    });
    let (api, runtimes) = api?;
    step("images (pause, busybox)", || {
        let archives = stock::write(&cluster.state.join("images"))?;
        for (node, runtime) in nodes.iter().zip(&runtimes) {
            node::wait_for_containerd(cluster, node, runtime)?;
            archives.iter().try_for_each(|archive| node::import(cluster, node, archive))?;
        }
        Ok(())
    })?;
    step("API server ready", || control::wait(cluster, &api))?;
    step("controllers, scheduler, kubelets, kube-proxies started", || {
        control::rest(cluster)?;
        nodes.iter().try_for_each(|node| node::kubelet(cluster, node))?;
        cluster.apply(DISCOVERY)
    })?;
    step("nodes Ready", || wait_for_nodes(cluster))?;
    step("ServiceAccount `default` there", || wait_for(cluster, &["get", "serviceaccount", "default"]))
}

fn step<T>(what: &str, act: impl FnOnce() -> Result<T>) -> Result<T> {
    let clock = Stopwatch::start();
    let done = act().with_context(|| format!("not done: {what}"))?;
    say::line(&format!("{what} ({})", say::time(clock.elapsed())));
    Ok(done)
}

fn prepare(cluster: &mut Cluster) -> Result<()> {
    folders(cluster)?;
    network::make(cluster)?;
    for (name, port) in [("etcd", free_port()?), ("api", port_of(&instance::host(cluster.instance), 6443)?)] {
        cluster.ports.insert(name.to_owned(), port);
    }
    for node in &cluster.nodes {
        // A namespace of its own has all ports to itself.
        let port = if node.netns.is_some() { 10250 } else { port_of(&node.address, 10250)? };
        cluster.ports.insert(format!("{}-kubelet", node.name), port);
    }
    let api = cluster.ports.get("api").context("it was just chosen")?;
    cluster.server = format!("https://{}:{api}", instance::host(cluster.instance));
    cluster.save()?;
    certs::make(cluster)?;
    node::write(&cluster.kubeconfig, &texts::kubeconfig(cluster, "admin"))?;
    for who in ["controller-manager", "scheduler"] {
        node::write(&cluster.state.join(format!("{who}.kubeconfig")), &texts::kubeconfig(cluster, who))?;
    }
    cluster.nodes.iter().try_for_each(|node| node::prepare(cluster, node))
}

/// The state folder becomes a mount of its own that shares what is mounted below it: containers hand mounts to kubelet
/// (CSI) and get them from it, and nothing is changed for the rest of the machine.
fn folders(cluster: &Cluster) -> Result<()> {
    let state = &cluster.state;
    std::fs::create_dir_all(state.join("logs")).with_context(|| format!("cannot make {}", state.display()))?;
    // Pods with user namespaces walk through it; nobody else has anything to read here.
    std::fs::set_permissions(state, std::fs::Permissions::from_mode(0o711))?;
    cluster.save()?;
    output_of(Command::new("mount").arg("--bind").arg(state).arg(state))?;
    output_of(Command::new("mount").arg("--make-rshared").arg(state)).map(drop)
}

/// The usual port of that address, or any that is free.
fn port_of(host: &str, usual: u16) -> Result<u16> {
    let bound = std::net::TcpListener::bind((host, usual)).or_else(|_| std::net::TcpListener::bind((host, 0)));
    Ok(bound.with_context(|| format!("no free port on {host}"))?.local_addr()?.port())
}

fn wait_for_nodes(cluster: &Cluster) -> Result<()> {
    let clock = Stopwatch::start();
    while clock.elapsed() < LIMIT {
        let status = status::of(cluster);
        if status.is_ready() {
            return Ok(());
        }
        if let Some(dead) = cluster.daemons.iter().find(|daemon| !daemon.alive()) {
            bail!("{} ended; the end of {}:\n{}", dead.name, dead.log.display(), dead.log_tail());
        }
        std::thread::sleep(LOOK_AGAIN * 5);
    }
    let late = status::of(cluster);
    let logs = |node: &Node| format!("{}:\n{}", node.name, tail(&cluster.log_of(&format!("{}-kubelet", node.name))));
    let logs: Vec<String> = cluster.nodes.iter().filter(|node| !late.ready.contains(&node.name)).map(logs).collect();
    bail!("not Ready after {LIMIT:?}; the ends of the kubelets' logs:\n{}", logs.join("\n"))
}

/// Waits until kubectl says yes.
fn wait_for(cluster: &Cluster, args: &[&str]) -> Result<()> {
    let clock = Stopwatch::start();
    loop {
        match output_of(cluster.kubectl_command().args(args)) {
            Ok(_) => return Ok(()),
            Err(error) if clock.elapsed() > LIMIT => return Err(error),
            Err(_) => std::thread::sleep(LOOK_AGAIN * 5),
        }
    }
}
