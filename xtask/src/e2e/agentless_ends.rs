//! Agentless mode: more ways to end, and more shapes of pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::agentless_scenes::{PERIOD, SPEAK, play, pod};
use super::scenes::Scene;
use super::stage::{PATIENCE, Stage};
use crate::say;

/// All of them, in order.
pub const ALL: &[Scene] = &[
    ("agentless: init containers and native sidecars", init_and_sidecar),
    ("agentless: a job is done, a pod is evicted", job_and_eviction),
    ("agentless: the kernel kills for want of memory", out_of_memory),
    ("agentless: PostgreSQL is down while a container ends", database_down),
    ("agentless: a node loses its power", node_lost),
];

/// The container `worker` of a pod becomes an init container.
fn as_init(mut pod: Value, restart: Option<&str>) -> Result<Value> {
    let mut worker = pod.pointer_mut("/spec/containers/1").map(Value::take).context("no second container")?;
    if let Some(restart) = restart {
        worker["restartPolicy"] = restart.into();
    }
    pod["spec"]["containers"].as_array_mut().context("no containers")?.truncate(1);
    pod["spec"]["initContainers"] = json!([worker]);
    Ok(pod)
}

fn init_and_sidecar(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        let parts = [("app", SPEAK), ("worker", "echo user=$DB_USERNAME; sleep 1")];
        stage.apply_json(&as_init(pod("alone-init", "Always", &parts), None)?)?;
        let app = stage.user_of("alone-init", "app")?;
        let init = stage.user_of("alone-init", "worker")?;
        ensure!(
            stage.users()? == [app.as_str()],
            "{:?} instead of {app}; the init container had {init}",
            stage.users()?
        );
        stage.delete("alone-init")?;
        stage.until_empty()?;

        stage
            .apply_json(&as_init(pod("alone-side", "Always", &[("app", SPEAK), ("worker", SPEAK)]), Some("Always"))?)?;
        let (app, sidecar) = (stage.user_of("alone-side", "app")?, stage.user_of("alone-side", "worker")?);
        stage.kill_command("alone-side", "worker")?;
        stage.until_gone(&sidecar)?;
        let next = stage.next_user_of("alone-side", "worker", &sidecar)?;
        let users = stage.users()?;
        ensure!(
            users.len() == 2 && users.contains(&app) && users.contains(&next),
            "{users:?} instead of {app} and {next}"
        );
        stage.delete("alone-side")?;
        stage.until_empty().map(drop)
    })
}

fn job_and_eviction(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        let mut template = pod("alone-job", "Never", &[("app", "echo user=$DB_USERNAME; sleep 1")]);
        template["metadata"].as_object_mut().context("no metadata")?.remove("name");
        let template = json!({ "metadata": template["metadata"], "spec": template["spec"] });
        stage.apply_json(&json!({
            "apiVersion": "batch/v1", "kind": "Job", "metadata": { "name": "alone-job" },
            "spec": { "template": template, "backoffLimit": 0 },
        }))?;
        stage.wait("the job to be done", PATIENCE, || {
            Ok(stage.kubectl(&["get", "job", "alone-job", "-o", "jsonpath={.status.succeeded}"])? == "1")
        })?;
        ensure!(stage.users()?.is_empty(), "the job has left {:?}", stage.users()?);
        stage.kubectl(&["delete", "job", "alone-job", "--wait=true"])?;

        stage.apply_json(&pod("alone-evicted", "Always", &[("app", SPEAK)]))?;
        let user = stage.user_of("alone-evicted", "app")?;
        let meta = json!({ "name": "alone-evicted", "namespace": "default" });
        let eviction = json!({ "apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta });
        let file = stage.file("eviction.json", &eviction.to_string())?;
        stage.kubectl(&["create", "--raw", "/api/v1/namespaces/default/pods/alone-evicted/eviction", "-f", &file])?;
        stage.until_gone(&user)?;
        stage.until_empty().map(drop)
    })
}

/// Wrapper and command die together where the kernel kills the whole group: then the time ends the credential.
fn out_of_memory(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        let mut hungry =
            pod("alone-hungry", "Never", &[("app", "echo user=$DB_USERNAME; sleep 1; exec tail /dev/zero")]);
        hungry["spec"]["containers"][0]["resources"] = json!({ "limits": { "memory": "32Mi" } });
        stage.apply_json(&hungry)?;
        let user = stage.user_of("alone-hungry", "app")?;
        let took = stage.until_gone(&user)?;
        say::line(&format!("user gone {} after it was seen to run (it runs for a second)", say::time(took)));
        stage.until_told("alone-hungry", "OOMKilled")?;
        stage.delete("alone-hungry")?;
        stage.until_empty().map(drop)
    })
}

/// The token is gone at once, and with it whoever could ask; its lease waits for the database.
fn database_down(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        stage.apply_json(&pod("alone-outage", "Never", &[("app", SPEAK)]))?;
        let user = stage.user_of("alone-outage", "app")?;
        stage.postgres.stop();
        stage.delete("alone-outage")?;
        stage.postgres.start_again()?;
        let took = stage.until_gone(&user)?;
        say::line(&format!("user gone {} after the database came back", say::time(took)));
        stage.until_empty().map(drop)
    })
}

fn node_lost(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        let (near, far) = (stage.node(0)?, stage.node(1)?);
        for (name, node) in [("alone-near", &near), ("alone-far", &far)] {
            let mut pod = pod(name, "Always", &[("app", SPEAK)]);
            pod["spec"]["nodeName"] = node.as_str().into();
            stage.apply_json(&pod)?;
        }
        let (stays, lost) = (stage.user_of("alone-near", "app")?, stage.user_of("alone-far", "app")?);
        stage.kill_agent(1);
        stage.cluster()?.power_off(&far)?;
        let took = stage.until_gone(&lost)?;
        say::line(&format!("user gone {} after the node (a token lives for {})", say::time(took), say::time(PERIOD)));
        ensure!(took < PERIOD + Duration::from_secs(5), "the sweep came late");
        ensure!(stage.users()? == [stays.as_str()], "{:?} instead of {stays}", stage.users()?);
        stage.kubectl(&["delete", "pod", "alone-far", "--force", "--grace-period=0"])?;
        stage.forget_agent_state(1)?;
        stage.cluster_mut()?.power_on(&far)?;
        stage.delete("alone-near")?;
        stage.until_empty().map(drop)
    })?;
    // While the webhook stands there nobody may make the agent's token by hand.
    stage.start_agent(1)
}
