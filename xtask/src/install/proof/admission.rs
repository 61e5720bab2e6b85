//! The webhook and the policies, as the chart installs them.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{NAMESPACE, Site, is_well, release};
use crate::cluster::image::BUSYBOX;

/// Says what it has, and never what it holds; the text itself must be nowhere in the pod's object.
const LOOK: &str = "case \"$SHOP\" in *correct?horse*) echo has-it;; *) echo has-not;; esac; sleep 600";

/// A pod whose container `app` has a volume of ours, and a second container with these mounts.
fn pod(name: &str, attributes: Value, second: Value) -> String {
    let mut attributes = attributes;
    for (key, value) in [("container", "app"), ("role", "shop"), ("credentials", "db = secret/data/shop")] {
        attributes[key] = json!(value);
    }
    let base = json!({ "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sh", "-c", LOOK] });
    let (mut app, mut side) = (base.clone(), base);
    (app["name"], side["name"]) = (json!("app"), json!("side"));
    app["volumeMounts"] = json!([{ "name": "secrets", "mountPath": "/secrets", "readOnly": true }]);
    side["volumeMounts"] = second;
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "serviceAccountName": "shop", "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 1,
            "containers": [app, side],
            "volumes": [{ "name": "secrets", "csi": {
                "driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": attributes,
            }}],
        },
    })
    .to_string()
}

fn good(name: &str) -> String {
    pod(name, json!({ "variables": "SHOP = db.data" }), json!([]))
}

fn greedy() -> String {
    pod("greedy", json!({}), json!([{ "name": "secrets", "mountPath": "/mine", "readOnly": true }]))
}

/// What the API server says to a pod that it must not take.
fn refusal_of(site: &Site, pod: &str) -> Result<String> {
    match site.cluster()?.apply(pod) {
        Ok(()) => anyhow::bail!("the pod is taken"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

/// The webhook comes with an upgrade; from then on a pod in environment mode has its variable.
pub fn environment(site: &Site) -> Result<()> {
    release(site, &["--set", "test.guardsIn=default"])?;
    ensure!(helm_test(site).is_err(), "helm test finds guards where there are none");
    release(site, &["--set", "webhook.enabled=true"])?;
    site.cluster()?.apply(&good("env"))?;
    site.kubectl(&["wait", "--for=condition=Ready", "pod/env", "--timeout=90s"])?;
    site.wait("the variable", || Ok(site.kubectl(&["logs", "env", "-c", "app"])?.contains("has-it")))?;
    let other = site.kubectl(&["logs", "env", "-c", "side"])?;
    ensure!(other.contains("has-not"), "the other container says {other:?}");
    let object = site.kubectl(&["get", "pod", "env", "-o", "json"])?;
    ensure!(!object.contains("correct-horse"), "the pod's object holds the secret");
    all_is_well(site)
}

/// Another's volume is refused by the webhook, with the rule's name; a door is closed.
pub fn guards(site: &Site) -> Result<()> {
    let told = refusal_of(site, &greedy())?;
    ensure!(told.contains("admission webhook") && told.contains("[volume-elsewhere]"), "{told}");
    let Err(told) = site.kubectl(&["exec", "env", "-c", "app", "--", "true"]) else {
        anyhow::bail!("exec into a pod with secrets is open");
    };
    ensure!(format!("{told:#}").contains("[doors]"), "{told:#}");
    helm_test(site).map(drop)
}

/// `helm test` of the guards alone.
fn helm_test(site: &Site) -> Result<String> {
    site.helm(&["test", "dewdrop", "--namespace", NAMESPACE, "--timeout=1m", "--filter=name=dewdrop-test-guards"])
}

/// The pods of the webhook are new ones: the authority is the same, and theirs is trusted.
pub fn restarted(site: &Site) -> Result<()> {
    let trusted = || {
        let path = "jsonpath={.webhooks[*].clientConfig.caBundle}";
        site.kubectl(&["get", "validatingwebhookconfiguration", "dewdrop", "-o", path])
    };
    let before = trusted()?;
    ensure!(!before.trim().is_empty(), "no authority was written into the configuration");
    site.kubectl(&["-n", NAMESPACE, "rollout", "restart", "deployment/dewdrop-webhook"])?;
    site.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/dewdrop-webhook", "--timeout=90s"])?;
    ensure!(before == trusted()?, "the authority is another one");
    let told = refusal_of(site, &greedy())?;
    ensure!(told.contains("[volume-elsewhere]"), "{told}");
    Ok(())
}

/// With no webhook at all, pods that ask for nothing start, and pods that ask are refused.
pub fn away(site: &Site) -> Result<()> {
    scale(site, 0)?;
    let plain = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": "plain" },
        "spec": { "terminationGracePeriodSeconds": 1, "containers": [{
            "name": "app", "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["sleep", "600"],
        }]},
    });
    site.cluster()?.apply(&plain.to_string())?;
    site.kubectl(&["wait", "--for=condition=Ready", "pod/plain", "--timeout=60s"])?;
    let told = refusal_of(site, &good("env-2"))?;
    ensure!(told.contains("failed calling webhook"), "{told}");
    scale(site, 2)?;
    site.kubectl(&["delete", "pod", "plain", "--timeout=60s"])?;
    // The tables of the node may be a moment behind the pods.
    site.wait("the webhook to answer again", || Ok(refusal_of(site, &greedy())?.contains("[volume-elsewhere]")))
        .map(drop)
}

fn scale(site: &Site, replicas: usize) -> Result<()> {
    let replicas_arg = format!("--replicas={replicas}");
    site.kubectl(&["-n", NAMESPACE, "scale", "deployment/dewdrop-webhook", &replicas_arg])?;
    site.wait("the webhook's pods", || {
        let of = ["-n", NAMESPACE, "get", "pods", "-l", "app.kubernetes.io/component=webhook", "-o"];
        let path = "jsonpath={.items[*].status.containerStatuses[0].ready}";
        let told = site.kubectl(&[&of[..], &[path]].concat())?;
        Ok(told.split_whitespace().filter(|ready| *ready == "true").count() == replicas
            && told.split_whitespace().count() == replicas)
    })
    .map(drop)
}

/// The same guard without anything of ours running: the policies.
pub fn policies(site: &Site) -> Result<()> {
    site.kubectl(&["delete", "pod", "env", "--timeout=60s"])?;
    release(site, &["--set", "webhook.enabled=false", "--set", "policies.enabled=true"])?;
    site.wait("the policy to refuse", || {
        let told = site.kubectl(&["get", "validatingadmissionpolicy", "-o", "name"])?;
        ensure!(told.contains("pods.dewdrop.dev"), "no policy is there: {told}");
        match site.cluster()?.apply(&greedy()) {
            // A policy takes a moment until the API server has read it.
            Ok(()) => site.kubectl(&["delete", "pod", "greedy", "--timeout=60s"]).map(|_| false),
            Err(error) => {
                let told = format!("{error:#}");
                ensure!(told.contains("ValidatingAdmissionPolicy") && told.contains("[volume-elsewhere]"), "{told}");
                Ok(true)
            }
        }
    })?;
    all_is_well(site)
}

/// The doctor sees guards, and nothing wrong with them. Pods that were just replaced may be there for a moment.
fn all_is_well(site: &Site) -> Result<()> {
    let mut told = String::new();
    let look = || {
        let looked = site.dewdrop("dewdrop kube doctor || true");
        let found = looked.is_ok();
        told = looked.unwrap_or_else(|error| format!("{error:#}"));
        Ok(found && is_well(&told))
    };
    let well = site.wait("the doctor to find nothing wrong", look);
    well.map(drop).with_context(|| format!("it says: {told}"))
}
