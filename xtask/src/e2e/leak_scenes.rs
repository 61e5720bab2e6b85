//! Nothing secret lies where it should not: pods of every mode run, each secret that was really issued is collected, and
//! everything that a cluster writes is searched for it.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::leak_search::Search;
use super::scenes::Scene;
use super::stage::Stage;
use crate::cluster::image::BUSYBOX;
use crate::cluster::{Cluster, Node};
use crate::parts::output_of;
use crate::say;

/// All of them.
pub const ALL: &[Scene] = &[("nothing secret lies in etcd, in the runtime, on disk or in logs", nowhere)];

/// A secret that is known beforehand, with characters that every encoding writes differently.
const CANARY: &str = "C4n4ry\"of/the+KV&store=\u{e9}0123456789";
/// What a careless person writes into a pod: it must be found, or the search is worth nothing.
const PLANTED: &str = "pl4nted-by-the-scene-itself-0123456789";
/// The pods: a name, attributes of the volume, whether the wrapper stands in front.
const PODS: &[(&str, &str, bool)] = &[("leak-file", "", false), ("leak-env", "env", true), ("leak-gate", "gate", true)];
/// Says its user, from wherever it has it, and waits.
const SPEAK: &str =
    "echo user=${DB_USERNAME:-$(cat /secrets/db/username)}; trap 'exit 0' TERM; while :; do sleep 0.1; done";

fn nowhere(stage: &mut Stage) -> Result<()> {
    prepare(stage)?;
    for (name, attribute, wrapper) in PODS {
        stage.apply_json(&pod(name, attribute, *wrapper, &stage.node(0)?))?;
    }
    stage.apply_json(&planted(&stage.node(0)?))?;
    for (name, ..) in PODS {
        stage.user_of(name, "app")?;
    }
    stage.user_of("planted", "app")?;
    the_search_finds_what_is_planted(stage)?;
    let mut search = collect(stage)?;
    only_in_tmpfs(stage, &mut search)?;
    let found = everywhere(stage, &mut search)?;
    ensure!(found.is_empty(), "secrets where none may be:\n{}", found.join("\n"));
    ensure!(search.seen > 10_000_000, "only {} bytes were searched", search.seen);
    say::line(&format!("{} MB searched", search.seen / 1_000_000));
    for name in PODS.iter().map(|(name, ..)| *name).chain(["planted"]) {
        stage.delete(name)?;
    }
    let found = everywhere(stage, &mut search)?;
    ensure!(found.is_empty(), "secrets that the end of their pods left:\n{}", found.join("\n"));
    stage.until_empty().map(drop)
}

fn prepare(stage: &Stage) -> Result<()> {
    let root = |path: &str, body: Value| stage.vault.ask("POST", path, Some(body)).map(drop);
    root("sys/mounts/canary", json!({ "type": "kv", "options": { "version": "1" } }))?;
    root("canary/app", json!({ "value": CANARY }))?;
    let policy =
        "path \"database/creds/app\" { capabilities = [\"read\"] }\npath \"canary/app\" { capabilities = [\"read\"] }";
    root("sys/policies/acl/leak", json!({ "policy": policy }))?;
    let role = json!({
        "bound_service_account_names": "default", "bound_service_account_namespaces": "default",
        "audience": "dewdrop", "bound_container_names": "app", "token_policies": "leak", "token_ttl": "1h",
    });
    root("auth/kubernetes/role/leak", role)
}

fn pod(name: &str, attribute: &str, wrapper: bool, node: &str) -> Value {
    let mut attributes = json!({
        "container": "app", "role": "leak", "credentials": "db = database/creds/app\nkv = canary/app",
    });
    if !attribute.is_empty() {
        attributes[attribute] = "true".into();
    }
    let shell = ["/bin/busybox", "sh", "-c", SPEAK];
    let exec: &[&str] = if wrapper { &["/secrets/.dewdrop/exec", "--"] } else { &[] };
    let command = [exec, &shell[..]].concat();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": false,
            "volumes": [{ "name": "secrets", "csi": { "driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": attributes } }],
            "containers": [{
                "name": "app", "image": BUSYBOX, "imagePullPolicy": "Never", "command": command,
                "volumeMounts": [{ "name": "secrets", "mountPath": "/secrets", "readOnly": true }],
            }],
        },
    })
}

/// A literal secret in a pod's object, which its container says aloud.
fn planted(node: &str) -> Value {
    let script = "echo user=$PLANT; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "planted" },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": false,
            "containers": [{
                "name": "app", "image": BUSYBOX, "imagePullPolicy": "Never", "env": [{ "name": "PLANT", "value": PLANTED }],
                "command": ["/bin/busybox", "sh", "-c", script],
            }],
        },
    })
}

/// A secret in the pod's object gets to all these places.
fn the_search_finds_what_is_planted(stage: &Stage) -> Result<()> {
    let mut search = Search::default();
    search.add("the planted secret", PLANTED)?;
    let found = everywhere(stage, &mut search)?;
    for place in ["/etcd/", "/containerd/", "/pod-logs/", "ctr containers info", "kubectl get pods"] {
        ensure!(found.iter().any(|told| told.contains(place)), "the search misses what is in {place}: {found:?}");
    }
    Ok(())
}

/// Each secret that was really issued: from the volumes, from the commands' environment, and the agent's tokens.
fn collect(stage: &Stage) -> Result<Search> {
    let mut search = Search::default();
    search.add("the canary of the KV store", CANARY)?;
    for pod in ["leak-file", "leak-gate"] {
        let cat = ["exec", pod, "--", "/bin/busybox", "cat", "/secrets/db/password"];
        search.add(&format!("the password of {pod}"), stage.kubectl(&cat)?.trim())?;
        let value = stage.kubectl(&["exec", pod, "--", "/bin/busybox", "cat", "/secrets/kv/value"])?;
        ensure!(value == CANARY, "{pod} has another canary");
    }
    let cluster = stage.cluster()?;
    let node = first(cluster)?;
    let environments = cluster.container_pids(node)?.into_iter().filter_map(|pid| {
        let text = std::fs::read(format!("/proc/{pid}/environ")).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split('\0').find_map(|pair| pair.strip_prefix("DB_PASSWORD=")).map(str::to_owned)
    });
    let mut environments: Vec<String> = environments.collect();
    environments.dedup();
    ensure!(!environments.is_empty(), "no command has a variable DB_PASSWORD");
    for password in &environments {
        search.add("the password of leak-env", password)?;
    }
    let tokens = tokens(&node.dir().join("dewdrop"))?;
    ensure!(tokens.len() >= PODS.len(), "the agent's journal has {} tokens", tokens.len());
    for token in &tokens {
        search.add("a token of the agent's journal", token)?;
    }
    Ok(search)
}

/// The tokens in the agent's journal: the starts', and the pods' own that kubelet brought.
fn tokens(journal: &Path) -> Result<Vec<String>> {
    let mut tokens = Vec::new();
    let mut todo = vec![journal.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                todo.push(path);
            } else if let Ok(text) = std::fs::read_to_string(&path) {
                tokens.extend(
                    text.split('"')
                        .filter(|word| ["s.", "eyJ"].iter().any(|start| word.starts_with(start)))
                        .map(str::to_owned),
                );
            }
        }
    }
    tokens.sort();
    tokens.dedup();
    Ok(tokens)
}

/// The volumes hold the secrets, and each volume is a tmpfs. Who is root on the node can read them there.
fn only_in_tmpfs(stage: &Stage, search: &mut Search) -> Result<()> {
    let node = first(stage.cluster()?)?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let ours = node.root_dir.join("pods");
    let volumes = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (path, kind) = (words.next()?, words.next()?);
        let ours = path.starts_with(&*ours.to_string_lossy()) && path.contains("/kubernetes.io~csi/");
        ours.then(|| (PathBuf::from(path), kind.to_owned()))
    });
    let mut holding = 0;
    for (path, kind) in volumes {
        let found = search.walk(&path, &[])?;
        ensure!(found.is_empty() || kind == "tmpfs", "{} is a {kind} and holds {found:?}", path.display());
        holding += usize::from(!found.is_empty());
    }
    ensure!(holding >= 2, "{holding} volumes hold what two pods have in files");
    Ok(())
}

/// Where secrets lie that lie anywhere: each place with what it holds.
fn everywhere(stage: &Stage, search: &mut Search) -> Result<Vec<String>> {
    let cluster = stage.cluster()?;
    // The agent's journal has the tokens of the starts, on a node in /run; its folder is for root alone.
    let journals: Vec<PathBuf> = cluster.nodes.iter().map(|node| node.dir().join("dewdrop")).collect();
    let mut found = search.walk(&cluster.state, &journals)?;
    found.extend(search.walk(stage.vault.dir(), &[])?);
    let notes = PathBuf::from(stage.file("leak.txt", "")?);
    let own = notes.parent().context("no folder")?;
    found.extend(search.walk(own, &[])?);
    let mut found: Vec<String> = found.into_iter().map(|(path, what)| format!("{}: {what}", path.display())).collect();
    for (place, bytes) in [objects(stage)?, records(cluster)?, processes(cluster, stage)?].concat() {
        if let Some(what) = search.find(&bytes) {
            found.push(format!("{place}: {what}"));
        }
    }
    Ok(found)
}

/// What the API server tells of everything that we touch.
fn objects(stage: &Stage) -> Result<Vec<(String, Vec<u8>)>> {
    let kinds = ["pods", "events", "secrets", "configmaps", "csinodes", "nodes", "serviceaccounts"];
    let ask = |kind: &str| {
        let text = stage.kubectl(&["get", kind, "--all-namespaces", "-o", "json"])?;
        Ok((format!("kubectl get {kind}"), text.into_bytes()))
    };
    kinds.into_iter().map(ask).collect()
}

/// The runtime's record of each container, with its OCI spec.
fn records(cluster: &Cluster) -> Result<Vec<(String, Vec<u8>)>> {
    let mut records = Vec::new();
    for node in &cluster.nodes {
        let ctr = |args: &[&str]| {
            let mut command = Command::new(cluster.bin.join("ctr"));
            output_of(command.arg("--address").arg(&node.containerd_sock).args(["--namespace", "k8s.io"]).args(args))
        };
        for id in ctr(&["containers", "list", "--quiet"])?.lines() {
            // One that goes meanwhile has no record.
            let text = ctr(&["containers", "info", id]).unwrap_or_default();
            records.push((format!("ctr containers info {id}"), text.into_bytes()));
        }
    }
    Ok(records)
}

/// Command lines and environments: of all daemons with their shims, of the agents, the server, and the wrappers.
fn processes(cluster: &Cluster, stage: &Stage) -> Result<Vec<(String, Vec<u8>)>> {
    let mut pids: Vec<String> = stage.agent_pids().iter().map(u32::to_string).collect();
    pids.push(stage.vault.pid()?.to_string());
    pids.extend(cluster.daemons.iter().map(|daemon| daemon.pid.to_string()));
    for node in &cluster.nodes {
        pids.extend(cluster.daemon_pids(node)?.iter().map(i32::to_string));
        let wrapper = |pid: &String| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"/secrets/.dewdrop/exec"))
        };
        pids.extend(cluster.container_pids(node)?.iter().map(i32::to_string).filter(wrapper));
    }
    let read = |pid: &String| ["cmdline", "environ"].map(|file| format!("/proc/{pid}/{file}"));
    let paths = pids.iter().flat_map(read);
    Ok(paths.filter_map(|path| std::fs::read(&path).ok().map(|bytes| (path, bytes))).collect())
}

fn first(cluster: &Cluster) -> Result<&Node> {
    cluster.nodes.first().context("no node")
}
