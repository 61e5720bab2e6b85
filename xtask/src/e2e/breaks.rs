//! Parts of the node break: the agent is late, the runtime or kubelet starts anew, a node is cut off or loses its power.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::pods::{TestPod, WAIT};
use super::stage::{PATIENCE, Stage};
use crate::say;

/// The runtime drops a plug-in that does not answer, and goes on without it. What the agent missed must show afterwards.
pub fn agent_is_late(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("late").on(&stage.node(0)?).with("app", WAIT))?;
    let first = stage.user_of("late", "app")?;
    stage.stop_agent(0)?;
    stage.kill("late", "app")?;
    // Longer than the runtime waits for a plug-in.
    std::thread::sleep(Duration::from_secs(4));
    stage.go_on_agent(0)?;
    stage.until_gone(&first)?;
    stage.wait("the container to run with the only user there is", PATIENCE, || {
        let has = stage.kubectl(&["exec", "late", "-c", "app", "--", "/bin/busybox", "cat", "/secrets/db/username"]);
        Ok(has.is_ok_and(|has| stage.users().is_ok_and(|users| users == [has])))
    })?;
    stage.delete("late")?;
    stage.until_empty().map(drop)
}

/// Containers run on while containerd is away; the link is made anew.
pub fn runtime_restarts(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("runtime").on(&stage.node(0)?).with("app", WAIT).with("worker", WAIT))?;
    let (app, worker) = (stage.user_of("runtime", "app")?, stage.user_of("runtime", "worker")?);
    let node = stage.node(0)?;
    stage.cluster_mut()?.restart_runtime(&node)?;
    ensure!(stage.users()?.len() == 2, "a restart of containerd took a user");
    stage.wait("kubelet to reach the runtime again", PATIENCE, || Ok(stage.containers("runtime")?.len() == 2))?;
    stage.until_linked(0)?;
    stage.kill("runtime", "app")?;
    stage.until_gone(&app)?;
    let users = stage.users()?;
    ensure!(users.contains(&worker), "the other container lost its user: {users:?}");
    stage.next_user_of("runtime", "app", &app)?;
    stage.delete("runtime")?;
    stage.until_empty().map(drop)
}

/// A restart of kubelet changes nothing for running pods.
pub fn kubelet_restarts(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("kubelet").on(&stage.node(0)?).with("app", WAIT))?;
    let app = stage.user_of("kubelet", "app")?;
    let node = stage.node(0)?;
    stage.cluster_mut()?.restart_kubelet(&node)?;
    stage.until_registered(0)?;
    stage.apply(&TestPod::new("after").on(&stage.node(0)?).with("app", WAIT))?;
    let after = stage.user_of("after", "app")?;
    let users = stage.users()?;
    ensure!(
        users.len() == 2 && users.contains(&app) && users.contains(&after),
        "{users:?} instead of {app} and {after}"
    );
    stage.delete("kubelet")?;
    stage.delete("after")?;
    stage.until_empty().map(drop)
}

/// The second node is cut off: its users go after the grace, others stay; when it is back its containers get new ones.
pub fn node_cut_off(stage: &mut Stage) -> Result<()> {
    let (near, far) = (stage.node(0)?, stage.node(1)?);
    stage.apply(&TestPod::new("near").on(&near).with("app", WAIT))?;
    stage.apply(&TestPod::new("far").on(&far).with("app", WAIT))?;
    let (near_user, far_user) = (stage.user_of("near", "app")?, stage.user_of("far", "app")?);
    stage.cluster()?.cable(&far, false)?;
    let took = stage.until_gone(&far_user)?;
    say::line(&format!("the users of the node that was cut off are gone after {}", say::time(took)));
    ensure!(stage.users()? == [near_user.as_str()], "{:?} instead of {near_user}", stage.users()?);
    stage.cluster()?.cable(&far, true)?;
    stage.wait("a new user for the container that ran on", PATIENCE, || Ok(stage.users()?.len() == 2))?;
    stage.wait("its file to be the new one", PATIENCE, || {
        let has = stage.kubectl(&["exec", "far", "-c", "app", "--", "/bin/busybox", "cat", "/secrets/db/username"]);
        Ok(has.is_ok_and(|has| has != far_user && stage.users().is_ok_and(|users| users.contains(&has))))
    })?;
    stage.delete("near")?;
    stage.delete("far")?;
    stage.until_empty().map(drop)
}

/// The second node loses its power, agent and all.
pub fn node_lost(stage: &mut Stage) -> Result<()> {
    let (near, far) = (stage.node(0)?, stage.node(1)?);
    stage.apply(&TestPod::new("stays").on(&near).with("app", WAIT))?;
    stage.apply(&TestPod::new("lost").on(&far).with("app", WAIT))?;
    let (stays, lost) = (stage.user_of("stays", "app")?, stage.user_of("lost", "app")?);
    stage.kill_agent(1);
    stage.cluster()?.power_off(&far)?;
    stage.until_gone(&lost)?;
    ensure!(stage.users()? == [stays.as_str()], "{:?} instead of {stays}", stage.users()?);
    stage.kubectl(&["delete", "pod", "lost", "--force", "--grace-period=0"]).context("delete the lost pod")?;
    stage.forget_agent_state(1)?;
    stage.cluster_mut()?.power_on(&far)?;
    stage.start_agent(1)?;
    stage.apply(&TestPod::new("again").on(&far).with("app", WAIT))?;
    stage.user_of("again", "app")?;
    for pod in ["stays", "again"] {
        stage.delete(pod)?;
    }
    stage.until_empty().map(drop)
}
