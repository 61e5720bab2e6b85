//! The steps, in their order: each builds on those before it.

mod access;
mod admission;
mod people;

use std::io::Write;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde_json::json;

use super::site::{NAMESPACE, Site};
use super::{guide, helm};
use crate::cluster::image::BUSYBOX;

/// A step of the proof.
type Step = fn(&Site) -> Result<()>;

/// All of them.
pub const STEPS: &[(&str, Step)] = &[
    ("helm finds nothing to complain of", lint),
    ("the API server takes each object", dry_run),
    ("the guide \"first secret\", word by word", first_secret),
    ("the doctor finds nothing missing", doctor),
    ("a refusal is told in the pod's events, and a mended role needs no new pod", refusal),
    ("helm test, with a credential", helm_test),
    ("an upgrade of the agent changes nothing for a pod that runs", upgrade),
    ("a server whose pod is deleted comes back by itself, with everything", restart),
    ("by TokenReview, too", token_review),
    ("the guide \"secret access\", word by word", access::guide),
    ("who asks for more than is granted is told so", access::refused),
    (
        "the operator made anew writes what was declared meanwhile, and a withdrawn grant takes it away",
        access::withdrawn,
    ),
    ("a finalizer that is taken out by hand keeps no role", access::swept),
    ("a declaration that is deleted takes its role and policy with it", access::deleted),
    ("the access proxy: a person asks, another approves, and kubectl works through two of them", people::proxy),
    ("with the webhook a pod in environment mode has its variable, and its neighbour has not", admission::environment),
    ("a pod that mounts another's volume is refused, and so is exec", admission::guards),
    ("the webhook's pods are made anew, and trusted as before", admission::restarted),
    ("without any of them, pods that ask for nothing start, and those that ask are refused", admission::away),
    ("the policies refuse the same without the webhook", admission::policies),
    ("helm uninstall leaves nothing", uninstall),
    ("the variant for kubectl apply -k is taken as well", kustomize),
];

fn lint(site: &Site) -> Result<()> {
    let chart = helm::chart();
    let chart = chart.to_string_lossy();
    site.helm(&["lint", "--strict", &chart])?;
    for wrong in [
        "server.replcas=2",
        "server.replicas=2",
        "agent.stateDir=/var/lib/x",
        "server.enabled=false",
        "agent.nri.socketDir=/var/lib",
        "agent.cri.socketDir=/var",
        "webhook.certificates=secret",
        "proxy.enabled=true",
        "proxy.groups={system:masters}",
        "proxy.recordPatience=4",
    ] {
        let rendered = site.helm(&["template", "dewdrop", &chart, "--set", wrong]);
        ensure!(rendered.is_err(), "--set {wrong} is taken");
    }
    Ok(())
}

fn dry_run(site: &Site) -> Result<()> {
    let values = site.values();
    let chart = helm::chart();
    let (values, chart) = (values.to_string_lossy(), chart.to_string_lossy());
    site.kubectl(&["create", "namespace", "dry"])?;
    let many = [
        "--set=server.verify=token_review",
        "--set=server.replicas=3",
        "--set=server.storage.type=etcd",
        "--set=server.storage.etcd.address=https://etcd:2379",
    ];
    let admission = ["--set=webhook.enabled=true", "--set=policies.enabled=true", "--set=auth.audience=vault"];
    let agentless =
        ["--set=webhook.enabled=true", "--set=webhook.execImage=dewdrop-exec:1", "--set=webhook.execImageVolume=true"];
    let brought = ["--set=webhook.enabled=true", "--set=webhook.certificates=secret", "--set=webhook.secretName=own"];
    let operator = ["--set=operator.enabled=true", "--set=operator.replicas=2"];
    let proxy = [
        "--set=proxy.enabled=true",
        "--set=proxy.cluster=prod",
        "--set=proxy.sweep=true",
        "--set=proxy.auditSecret=heard",
        "--set=proxy.recordPatience=60",
    ];
    let elsewhere = ["--set=server.enabled=false", "--set=external.address=https://dewdrop.example:8200"];
    // The test's pod wants its ServiceAccount to be there already.
    let base = ["template", "dewdrop", &chart, "--namespace", "dry", "--values", &values, "--skip-tests"];
    for sets in [&[][..], &many, &admission, &agentless, &brought, &operator, &proxy, &elsewhere] {
        let made = site.helm(&[&base[..], sets].concat())?;
        let mut kubectl = site.cluster()?.kubectl_command();
        kubectl
            .args(["apply", "--dry-run=server", "-f", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        let mut child = kubectl.spawn().context("cannot start kubectl")?;
        child.stdin.take().context("kubectl takes no input")?.write_all(made.as_bytes())?;
        let out = child.wait_with_output()?;
        if !out.status.success() || !out.stderr.is_empty() {
            bail!("{}", String::from_utf8_lossy(&out.stderr).trim());
        }
    }
    site.kubectl(&["delete", "namespace", "dry", "--wait=false"]).map(drop)
}

fn first_secret(site: &Site) -> Result<()> {
    let told = site.shell(&guide::first_secret()?)?;
    ensure!(told.contains("correct-horse"), "the pod's secret is not in what the guide shows:\n{told}");
    Ok(())
}

fn doctor(site: &Site) -> Result<()> {
    let told = site.dewdrop("dewdrop kube doctor")?;
    // The chart installs guards only when it is told to.
    ensure!(told.contains("warning  there are no guards"), "{told}");
    ensure!(is_well(&told.replace("warning  there are no guards", "")), "{told}");
    Ok(())
}

/// Whether the doctor says nothing that somebody should look at.
fn is_well(told: &str) -> bool {
    !told.contains("missing ") && !told.contains("warning ") && !told.contains("? ")
}

/// A pod with a container that the role does not name.
fn refusal(site: &Site) -> Result<()> {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "refused" },
        "spec": {
            "serviceAccountName": "shop", "automountServiceAccountToken": false,
            "containers": [{
                "name": "side", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "600"],
                "volumeMounts": [{ "name": "secrets", "mountPath": "/secrets" }],
            }],
            "volumes": [{ "name": "secrets", "csi": { "driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": {
                "container": "side", "role": "shop", "credentials": "db = secret/data/shop",
            }}}],
        },
    });
    site.cluster()?.apply(&pod.to_string())?;
    let words = "the server answers 403 to POST auth/kubernetes/agent/start: permission denied";
    site.wait("the refusal in the pod's events", || {
        Ok(site.kubectl(&["describe", "pod", "refused"])?.contains(words))
    })?;
    let log = site.kubectl(&["-n", NAMESPACE, "logs", "dewdrop-0"])?;
    let known = r#"container \"side\" is not among bound_container_names"#;
    ensure!(log.contains(known), "the server's log does not say why");
    site.dewdrop(
        "dewdrop write auth/kubernetes/role/shop audience=dewdrop token_policies=shop token_ttl=1h bound_container_names=app,side \
         bound_service_account_names=shop bound_service_account_namespaces=default",
    )?;
    site.kubectl(&["wait", "--for=condition=Ready", "pod/refused", "--timeout=90s"])?;
    site.kubectl(&["delete", "pod", "refused", "--grace-period=1", "--timeout=60s"]).map(drop)
}

fn helm_test(site: &Site) -> Result<()> {
    site.dewdrop(
        "dewdrop write auth/kubernetes/role/smoke audience=dewdrop token_policies=shop token_ttl=5m bound_container_names=test \
         bound_service_account_names=dewdrop-test bound_service_account_namespaces=dewdrop-system",
    )?;
    release(site, &["--set", "test.role=smoke", "--set", "test.credentials=test = secret/data/shop"])?;
    site.helm(&["test", "dewdrop", "--namespace", NAMESPACE, "--timeout=2m"]).map(drop)
}

/// `helm upgrade` with what it had and more.
fn release(site: &Site, more: &[&str]) -> Result<()> {
    let chart = helm::chart();
    let chart = chart.to_string_lossy();
    let base = ["upgrade", "dewdrop", &chart, "--namespace", NAMESPACE, "--reuse-values", "--wait", "--timeout=3m"];
    site.helm(&[&base[..], more].concat()).map(drop)
}

/// What a pod's container is and has: its id, how often it was started again, its file, and its start's token.
fn state_of(site: &Site) -> Result<String> {
    let path = "jsonpath={.status.containerStatuses[0].containerID} {.status.containerStatuses[0].restartCount}";
    let container = site.kubectl(&["get", "pod", "shop", "-o", path])?;
    let file = site.kubectl(&["exec", "shop", "--", "sh", "-c", "readlink /secrets/..data; cat /secrets/db/data"])?;
    Ok(format!("{container}\n{file}\n{}", starts(site)?))
}

/// The ids of all starts on the node, a line for each.
fn starts(site: &Site) -> Result<String> {
    site.dewdrop("dewdrop read -format=json auth/kubernetes/agent/nodes/n1 | grep -o '\"start\": *\"[^\"]*\"' || true")
}

fn upgrade(site: &Site) -> Result<()> {
    let agent =
        || site.kubectl(&["-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/component=node", "-o", "name"]);
    // The test's pod may still be going.
    site.wait("one start to be left", || Ok(starts(site)?.lines().count() == 1))?;
    let (before, agent_before) = (state_of(site)?, agent()?);
    release(site, &["--set", "agent.podAnnotations.upgraded=yes"])?;
    ensure!(agent()? != agent_before, "the agent is still {agent_before}");
    let after = state_of(site)?;
    ensure!(before == after, "before:\n{before}\nafter:\n{after}");
    Ok(())
}

fn restart(site: &Site) -> Result<()> {
    site.kubectl(&["-n", NAMESPACE, "delete", "pod", "dewdrop-0", "--timeout=90s"])?;
    site.kubectl(&["-n", NAMESPACE, "rollout", "status", "statefulset/dewdrop", "--timeout=90s"])?;
    again(site)
}

/// The guide's pod anew: a login and a credential.
fn again(site: &Site) -> Result<()> {
    let pod = site.kubectl(&[
        "get",
        "pod",
        "shop",
        "-o",
        "jsonpath={.metadata.annotations.kubectl\\.kubernetes\\.io/last-applied-configuration}",
    ])?;
    site.kubectl(&["delete", "pod", "shop", "--grace-period=1", "--timeout=60s"])?;
    site.cluster()?.apply(&pod)?;
    site.kubectl(&["wait", "--for=condition=Ready", "pod/shop", "--timeout=90s"])?;
    let file = site.kubectl(&["exec", "shop", "--", "cat", "/secrets/db/data"])?;
    ensure!(file.contains("correct-horse"), "the file holds {file:?}");
    Ok(())
}

fn token_review(site: &Site) -> Result<()> {
    release(site, &["--set", "server.verify=token_review"])?;
    site.dewdrop("dewdrop write auth/kubernetes/config kubernetes_host=https://10.96.0.1 verify=token_review")?;
    again(site)
}

fn uninstall(site: &Site) -> Result<()> {
    site.kubectl(&["delete", "pod", "shop", "--grace-period=1", "--timeout=60s"])?;
    site.helm(&["uninstall", "dewdrop", "--namespace", NAMESPACE, "--wait", "--timeout=2m"])?;
    site.wait("the pods to be gone", || {
        Ok(site.kubectl(&["-n", NAMESPACE, "get", "pods", "-o", "name"])?.trim().is_empty())
    })?;
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let ours: Vec<&str> = mounts.lines().filter(|line| line.starts_with("dewdrop ")).collect();
    ensure!(ours.is_empty(), "mounts are left: {ours:?}");
    let kinds = "csidriver,clusterrole,clusterrolebinding,role,rolebinding,daemonset,deployment,statefulset,service,configmap,\
                 serviceaccount,networkpolicy,pdb,validatingwebhookconfiguration,mutatingwebhookconfiguration,\
                 validatingadmissionpolicy,validatingadmissionpolicybinding";
    let left = site.kubectl(&["get", kinds, "-A", "-l", "app.kubernetes.io/name=dewdrop", "-o", "name"])?;
    ensure!(left.trim().is_empty(), "left: {left}");
    Ok(())
}

fn kustomize(site: &Site) -> Result<()> {
    let folder = helm::chart().join("../../kustomize");
    site.kubectl(&["apply", "--dry-run=server", "-k", &folder.to_string_lossy()]).map(drop)
}
