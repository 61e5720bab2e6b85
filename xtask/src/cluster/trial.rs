//! `cargo xtask cluster try`: proves on a running cluster what the end-to-end tests build on, and says how long it takes.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::daemon::LOOK_AGAIN;
use super::image::{BUSYBOX, Entry, Image};
use super::record::{Cluster, Node};
use super::status;
use crate::parts::output_of;
use crate::say::{self, Stopwatch};

/// How long anything here may take. The machine may be busy.
const LIMIT: Duration = Duration::from_secs(60);
/// Name of the image that is made here.
const GREETER: &str = "dewdrop.test/greeter:1";
/// A node is given up after 40 s of silence.
const LOST: Duration = Duration::from_secs(90);

/// Runs all of it; what it made in the cluster is gone afterwards.
pub fn run(mut cluster: Cluster) -> Result<()> {
    say::heading("trying the cluster");
    let nodes = cluster.nodes.clone();
    if nodes.is_empty() {
        bail!("`try` looks behind the API, which it can only do on a cluster of our own");
    }
    cluster.import_image(&greeter()?)?;
    let tried =
        nodes.iter().try_for_each(|node| pod(&cluster, node)).and_then(|()| service(&cluster)).and_then(
            |()| match nodes.iter().find(|node| node.netns.is_some()) {
                Some(node) => partition(&cluster, node).and_then(|()| power(&mut cluster, node)),
                None => Ok(()),
            },
        );
    let gone = kubectl(&cluster, &["delete", "pod,service", "-l", "dewdrop=try", "--grace-period=1", "--timeout=60s"]);
    tried.and(gone.map(drop))?;
    say::good("everything works");
    Ok(())
}

/// An image of our own making, as the tests bring theirs: its entrypoint is a script behind a link.
fn greeter() -> Result<Image> {
    Ok(Image {
        name: GREETER.to_owned(),
        entries: vec![
            Entry::program("bin/sh", std::fs::read("/bin/busybox").context("no /bin/busybox")?),
            Entry::program("greet", b"#!/bin/sh\necho hello from $0\n".to_vec()),
            Entry::link("again", "greet"),
        ],
        entrypoint: vec!["/again".to_owned()],
        ..Image::default()
    })
}

/// An init container and two others, of which one is killed and started again in place; logs and exec.
fn pod(cluster: &Cluster, node: &Node) -> Result<()> {
    let name = format!("try-{}", node.name);
    let before = cluster.container_pids(node)?;
    let clock = Stopwatch::start();
    cluster.apply(&manifest(&name, node).to_string())?;
    until(LIMIT, "the pod is Ready", || {
        field(cluster, &name, "{.status.conditions[?(@.type=='Ready')].status}") == "True"
    })?;
    say::line(&format!("{}: a pod of two containers is Ready ({})", node.name, say::time(clock.elapsed())));
    until(LIMIT, "its log", || said(cluster, &["logs", &name, "-c", "greet"], "hello from /again"))?;
    until(LIMIT, "exec", || said(cluster, &["exec", &name, "-c", "second", "--", "id", "-u"], "65534"))?;
    say::line(&format!("{}: logs and exec", node.name));
    let at = "{.status.containerStatuses[?(@.name=='first')].restartCount}";
    let ours: Vec<i32> = cluster.container_pids(node)?.into_iter().filter(|pid| !before.contains(pid)).collect();
    let pid =
        ours.into_iter().find(|pid| command_of(*pid).contains("sleep 1000001")).context("no process of `first`")?;
    let clock = Stopwatch::start();
    output_of(std::process::Command::new("kill").args(["-KILL", &pid.to_string()]))?;
    until(LIMIT, "a new start of the container", || {
        let now = cluster.container_pids(node).unwrap_or_default();
        now.into_iter().any(|new| new != pid && !before.contains(&new) && command_of(new).contains("sleep 1000001"))
    })?;
    say::line(&format!("{}: killed, and started again in place ({})", node.name, say::time(clock.elapsed())));
    until(LIMIT, "the API to count the restart", || field(cluster, &name, at) == "1")
}

fn manifest(name: &str, node: &Node) -> Value {
    let container = |name: &str, command: &str| {
        json!({
            "name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["/bin/sh", "-c", command],
            "securityContext": { "runAsUser": 65534 },
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "dewdrop": "try", "on": node.name } },
        "spec": {
            "nodeName": node.name, "terminationGracePeriodSeconds": 1,
            "initContainers": [{ "name": "greet", "image": GREETER, "imagePullPolicy": "Never" }],
            "containers": [
                container("first", "exec sleep 1000001"),
                container("second", "mkdir -p /tmp/w; echo served > /tmp/w/index.html; exec httpd -f -p 8080 -h /tmp/w"),
            ],
        },
    })
}

/// A Service in front of the last node's pod, asked by the first node's: through kube-proxy, over both networks.
fn service(cluster: &Cluster) -> Result<()> {
    let (first, last) = (cluster.nodes.first().context("a node")?, cluster.nodes.last().context("a node")?);
    let service = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": "try", "labels": { "dewdrop": "try" } },
        "spec": { "selector": { "on": last.name }, "ports": [{ "port": 80, "targetPort": 8080 }] },
    });
    cluster.apply(&service.to_string())?;
    let out = kubectl(cluster, &["get", "service", "try", "-o", "jsonpath={.spec.clusterIP}"])?;
    let (url, asks) = (format!("http://{}/", out.trim()), format!("try-{}", first.name));
    // Not `wget -T`: Debian's static busybox 1.35 dies of it.
    let get = ["exec", &asks, "-c", "first", "--", "timeout", "3", "wget", "-q", "-O", "-", &url];
    until(LIMIT, "the Service answers", || said(cluster, &get, "served"))?;
    say::line("a Service answers at its ClusterIP");
    let api = ["exec", &asks, "-c", "first", "--", "timeout", "3", "nc", "10.96.0.1", "443", "-e", "true"];
    until(LIMIT, "the API server answers a pod", || kubectl(cluster, &api).is_ok())?;
    say::line("the API server is reached from a pod, at the ClusterIP of the Service `kubernetes`");
    let keys = kubectl(cluster, &["get", "--raw", "/openid/v1/jwks"])?;
    if keys.contains("RS256") { Ok(()) } else { bail!("the issuer shows no keys: {keys}") }
}

/// A node behind a pulled cable is given up; its containers run on; it comes back.
fn partition(cluster: &Cluster, node: &Node) -> Result<()> {
    let before = cluster.container_pids(node)?.len();
    let clock = Stopwatch::start();
    cluster.cable(&node.name, false)?;
    until(LOST, "the node is given up", || !status::of(cluster).ready.contains(&node.name))?;
    let during = cluster.container_pids(node)?.len();
    say::line(&format!("{}: cable pulled, given up ({})", node.name, say::time(clock.elapsed())));
    let clock = Stopwatch::start();
    cluster.cable(&node.name, true)?;
    until(LOST, "the node is back", || status::of(cluster).is_ready())?;
    say::line(&format!("{}: cable back, Ready ({})", node.name, say::time(clock.elapsed())));
    if during < before { bail!("of {before} processes behind the pulled cable {during} were left") } else { Ok(()) }
}

/// A node without power has no process, and comes back.
fn power(cluster: &mut Cluster, node: &Node) -> Result<()> {
    cluster.power_off(&node.name)?;
    let left = cluster.container_pids(node)?;
    if !left.is_empty() {
        bail!("{left:?} run without power");
    }
    let clock = Stopwatch::start();
    cluster.power_on(&node.name)?;
    let name = format!("try-{}", node.name);
    let runs = |pid: i32| command_of(pid).contains("sleep 1000001");
    until(LOST, "the pod runs again", || cluster.container_pids(node).unwrap_or_default().into_iter().any(runs))?;
    until(LOST, "the node is Ready", || status::of(cluster).is_ready())?;
    until(LOST, "exec", || said(cluster, &["exec", &name, "-c", "first", "--", "echo", "again"], "again"))?;
    say::line(&format!("{}: power lost and back, its pod runs again ({})", node.name, say::time(clock.elapsed())));
    Ok(())
}

fn command_of(pid: i32) -> String {
    let text = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ")
}

fn field(cluster: &Cluster, pod: &str, at: &str) -> String {
    kubectl(cluster, &["get", "pod", pod, "-o", &format!("jsonpath={at}")]).unwrap_or_default()
}

fn said(cluster: &Cluster, args: &[&str], wanted: &str) -> bool {
    kubectl(cluster, args).is_ok_and(|text| text.contains(wanted))
}

fn kubectl(cluster: &Cluster, args: &[&str]) -> Result<String> {
    output_of(cluster.kubectl_command().args(args))
}

fn until(limit: Duration, what: &str, mut is_so: impl FnMut() -> bool) -> Result<()> {
    let clock = Stopwatch::start();
    while clock.elapsed() < limit {
        if is_so() {
            return Ok(());
        }
        std::thread::sleep(LOOK_AGAIN);
    }
    bail!("{what}: not within {limit:?}")
}
