//! Kubernetes itself begins and ends pods: by the hour, for a more urgent one, for want of room.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::{PATIENCE, Stage};
use crate::parts::output_of;
use crate::say;

/// A run that was due an hour ago: the controller starts it at once.
pub fn cron_job(stage: &mut Stage) -> Result<()> {
    let script = "echo user=$(cat /secrets/db/username); sleep 1";
    let pod = TestPod::new("cron").restart("Never").with("app", script).manifest();
    let template = json!({ "metadata": { "labels": { "scene": "cron" } }, "spec": pod["spec"] });
    stage.apply_json(&json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": { "name": "cron" },
        "spec": {
            "schedule": "0 * * * *", "concurrencyPolicy": "Forbid",
            "jobTemplate": { "spec": { "backoffLimit": 0, "template": template } },
        },
    }))?;
    let before = output_of(std::process::Command::new("date").args(["-u", "-d", "-2 hours", "+%FT%TZ"]))?;
    let status = json!({ "status": { "lastScheduleTime": before.trim() } }).to_string();
    stage.kubectl(&["patch", "cronjob", "cron", "--subresource=status", "--type=merge", "-p", &status])?;
    let mut name = String::new();
    stage.wait("the CronJob's pod", PATIENCE, || {
        name = stage
            .kubectl(&["get", "pods", "-l", "scene=cron", "-o", "jsonpath={.items[0].metadata.name}"])
            .unwrap_or_default();
        Ok(!name.is_empty())
    })?;
    let user = stage.user_of(&name, "app")?;
    stage.until_gone(&user)?;
    stage.wait("the CronJob's job to be done", PATIENCE, || {
        let done =
            stage.kubectl(&["get", "jobs", "-l", "scene=cron", "-o", "jsonpath={.items[*].status.succeeded}"])?;
        Ok(done == "1")
    })?;
    stage.kubectl(&["delete", "cronjob", "cron", "--wait=true", "--cascade=foreground"])?;
    stage.until_empty().map(drop)
}

/// The scheduler takes a pod away for one of a higher class that fits nowhere else.
pub fn preempted(stage: &mut Stage) -> Result<()> {
    stage.apply_json(&json!({
        "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": { "name": "urgent" }, "value": 1000,
    }))?;
    let node = stage.node(0)?;
    let cpu = stage.kubectl(&["get", "node", &node, "-o", "jsonpath={.status.allocatable.cpu}"])?;
    let milli = cpu.strip_suffix('m').map_or_else(|| cpu.parse::<u64>().map(|n| n * 1000), str::parse);
    let most = format!("{}m", milli.with_context(|| format!("cpu {cpu:?}"))? * 3 / 4);
    let wants = json!({ "requests": { "cpu": most } });
    let there = json!({ "kubernetes.io/hostname": node });
    let fills = |name: &str| {
        let pod = TestPod::new(name).with("app", WAIT).patched("/spec/nodeSelector", there.clone());
        pod.patched("/spec/containers/0/resources", wants.clone())
    };
    stage.apply(&fills("cheap"))?;
    let cheap = stage.user_of("cheap", "app")?;
    stage.apply(&fills("urgent").patched("/spec/priorityClassName", json!("urgent")))?;
    let took = stage.until_gone(&cheap)?;
    say::line(&format!("the user of the preempted pod is gone {} after the urgent one was asked for", say::time(took)));
    let urgent = stage.user_of("urgent", "app")?;
    ensure!(stage.users()? == [urgent.as_str()], "{:?} instead of {urgent}", stage.users()?);
    let told = stage.kubectl(&[
        "get",
        "events",
        "--field-selector",
        "reason=Preempted,involvedObject.name=cheap",
        "-o",
        "name",
    ])?;
    ensure!(!told.trim().is_empty(), "nobody says that the pod was preempted");
    stage.delete("urgent")?;
    stage.kubectl(&["delete", "priorityclass", "urgent"])?;
    stage.until_empty().map(drop)
}

/// Kubelet's own eviction, for a limit of the pod: what a node under pressure does to it, without bringing the machine there.
pub fn disk_full(stage: &mut Stage) -> Result<()> {
    let fills = "echo user=$(cat /secrets/db/username); dd if=/dev/zero of=/tmp-fill bs=1M count=16 2>/dev/null; while :; do sleep 1; done";
    let limits = json!({ "limits": { "ephemeral-storage": "2Mi" } });
    stage.apply(
        &TestPod::new("fills").restart("Never").with("app", fills).patched("/spec/containers/0/resources", limits),
    )?;
    let user = stage.user_of("fills", "app")?;
    let took = stage.until_gone(&user)?;
    stage.wait("the pod to be told as evicted", PATIENCE, || {
        Ok(stage.kubectl(&["get", "pod", "fills", "-o", "jsonpath={.status.reason}"])? == "Evicted")
    })?;
    say::line(&format!("user gone {} after it was seen", say::time(took)));
    stage.delete("fills")?;
    stage.until_empty().map(drop)
}
