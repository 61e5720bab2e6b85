//! More ways for a container to end, and more shapes of pods.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::pods::{TestPod, WAIT};
use super::stage::{PATIENCE, Stage};
use crate::say;

/// The kernel kills it for want of memory.
pub fn out_of_memory(stage: &mut Stage) -> Result<()> {
    let eats = "echo user=$(cat /secrets/db/username); sleep 1; exec tail /dev/zero";
    let pod = TestPod::new("hungry").restart("Never").with("app", eats);
    stage.apply(&pod.patched("/spec/containers/0/resources", json!({ "limits": { "memory": "24Mi" } })))?;
    let user = stage.user_of("hungry", "app")?;
    stage.until_gone(&user)?;
    stage.until_told("hungry", "OOMKilled")?;
    stage.delete("hungry")?;
    stage.until_empty().map(drop)
}

/// Kubelet restarts it, since its probe fails.
pub fn liveness(stage: &mut Stage) -> Result<()> {
    let probe = json!({
        "exec": { "command": ["/bin/busybox", "test", "-f", "/tmp/well"] }, "initialDelaySeconds": 2, "periodSeconds": 1,
        "failureThreshold": 1, "terminationGracePeriodSeconds": 1,
    });
    stage.apply(&TestPod::new("sick").with("app", WAIT).patched("/spec/containers/0/livenessProbe", probe))?;
    let first = stage.user_of("sick", "app")?;
    let second = stage.next_user_of("sick", "app", &first)?;
    stage.until_gone(&first)?;
    ensure!(first != second, "the restarted container has the old user");
    stage.delete("sick")?;
    stage.until_empty().map(drop)
}

/// A job that is done has nothing left, though its pod is still there to be looked at.
pub fn job(stage: &mut Stage) -> Result<()> {
    let pod =
        TestPod::new("job").restart("Never").with("app", "echo user=$(cat /secrets/db/username); sleep 1").manifest();
    let template = json!({ "metadata": pod["metadata"], "spec": pod["spec"] });
    stage.apply_json(&json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "job" },
        "spec": { "template": template, "backoffLimit": 0 },
    }))?;
    stage.wait("the job to be done", PATIENCE, || {
        Ok(stage.kubectl(&["get", "job", "job", "-o", "jsonpath={.status.succeeded}"])? == "1")
    })?;
    let took = stage.until_empty()?;
    say::line(&format!("nothing left {} after the job was done", say::time(took)));
    stage.kubectl(&["delete", "job", "job", "--wait=true"]).map(drop)
}

/// Each new pod has a user of its own, and no old one stays.
pub fn rolling_update(stage: &mut Stage) -> Result<()> {
    let pod = TestPod::new("web").with("app", WAIT).manifest();
    let deployment = |version: &str| {
        let mut template = json!({ "metadata": { "labels": { "scene": "web" } }, "spec": pod["spec"] });
        template["metadata"]["annotations"] = json!({ "version": version });
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" },
            "spec": { "replicas": 2, "selector": { "matchLabels": { "scene": "web" } }, "template": template },
        })
    };
    let rolled = |stage: &Stage, version: &str| -> Result<Vec<String>> {
        stage.apply_json(&deployment(version))?;
        stage.kubectl(&["rollout", "status", "deployment/web", "--timeout=80s"])?;
        stage.wait("one user for each pod", PATIENCE, || Ok(stage.users()?.len() == 2))?;
        stage.users()
    };
    let (old, new) = (rolled(stage, "1")?, rolled(stage, "2")?);
    ensure!(new.iter().all(|user| !old.contains(user)), "{old:?} and after the update {new:?}");
    stage.kubectl(&["delete", "deployment", "web", "--wait=true"])?;
    stage.until_empty().map(drop)
}

/// An init container's credential ends with it; a native sidecar has its own for as long as it runs.
pub fn init_and_sidecar(stage: &mut Stage) -> Result<()> {
    let pod = TestPod::new("shapes").with("app", WAIT).with("worker", "echo user=$(cat /secrets/db/username); sleep 1");
    let mut manifest = pod.manifest();
    let worker = manifest.pointer_mut("/spec/containers/1").map(Value::take).unwrap_or_default();
    manifest["spec"]["containers"].as_array_mut().into_iter().for_each(|all| all.truncate(1));
    manifest["spec"]["initContainers"] = json!([worker]);
    stage.apply_json(&manifest)?;
    let app = stage.user_of("shapes", "app")?;
    let init = stage.user_of("shapes", "worker")?;
    stage.until_gone(&init)?;
    ensure!(stage.users()?.contains(&app), "the app's user is gone as well");
    stage.delete("shapes")?;
    stage.until_empty()?;

    let mut manifest = TestPod::new("native").with("app", WAIT).with("worker", WAIT).manifest();
    let mut sidecar = manifest.pointer_mut("/spec/containers/1").map(Value::take).unwrap_or_default();
    sidecar["restartPolicy"] = "Always".into();
    manifest["spec"]["containers"].as_array_mut().into_iter().for_each(|all| all.truncate(1));
    manifest["spec"]["initContainers"] = json!([sidecar]);
    stage.apply_json(&manifest)?;
    let (app, sidecar) = (stage.user_of("native", "app")?, stage.user_of("native", "worker")?);
    stage.kill("native", "worker")?;
    let next = stage.next_user_of("native", "worker", &sidecar)?;
    stage.until_gone(&sidecar)?;
    let users = stage.users()?;
    ensure!(users.contains(&app) && users.contains(&next), "{users:?} instead of {app} and {next}");
    stage.delete("native")?;
    stage.until_empty().map(drop)
}

/// The API server evicts the pod.
pub fn evicted(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("evicted").with("app", WAIT))?;
    let user = stage.user_of("evicted", "app")?;
    let eviction = json!({
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": { "name": "evicted", "namespace": "default" },
    });
    let file = stage.file("eviction.json", &eviction.to_string())?;
    stage.kubectl(&["create", "--raw", "/api/v1/namespaces/default/pods/evicted/eviction", "-f", &file])?;
    stage.until_gone(&user)?;
    stage.until_empty().map(drop)
}

/// Many pods at once: each has its own, none is left.
pub fn crowd(stage: &mut Stage) -> Result<()> {
    const MANY: usize = 110;
    let pods: Vec<Value> =
        (0..MANY).map(|n| TestPod::new(&format!("crowd-{n}")).with("app", WAIT).manifest()).collect();
    stage.apply_json(&json!({ "apiVersion": "v1", "kind": "List", "items": pods }))?;
    let took = stage.wait("a user for each pod", PATIENCE * 2, || Ok(stage.users()?.len() == MANY))?;
    stage.wait("all pods to run", PATIENCE * 2, || {
        let phases =
            stage.kubectl(&["get", "pods", "-o", "jsonpath={range .items[*]}{.status.phase}{\"\\n\"}{end}"])?;
        Ok(phases.lines().filter(|phase| *phase == "Running").count() == MANY)
    })?;
    let users = stage.users()?;
    ensure!(users.len() == MANY, "{} users for {MANY} pods", users.len());
    say::line(&format!("{MANY} pods had their users {} after they were asked for", say::time(took)));
    stage.kubectl(&["delete", "pods", "--all", "--grace-period=1", "--timeout=120s"])?;
    let took = stage.until_empty()?;
    say::line(&format!("all users gone {} after the pods", say::time(took)));
    Ok(())
}
