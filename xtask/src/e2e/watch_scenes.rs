//! Scenes without NRI: the same ends, caught by the API server's watch and by handles of processes.

use anyhow::{Result, ensure};
use serde_json::json;

use super::pods::{TestPod, WAIT};
use super::scenes::{self, Scene};
use super::stage::{PATIENCE, Stage};
use super::watch::Mode;
use crate::say;

/// Scenes of this mode alone.
const OWN: &[Scene] = &[
    ("watch: SIGKILL of a container's process", kill_9),
    ("watch: the API server is away for a while", api_server_away),
    ("watch: a role that binds the pod's labels", bound_labels),
    ("watch: one net after the other", nets),
];

/// Scenes of the whole list that `--mode watch` leaves out, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("another container mounts the volume", "the refusal is NRI's; without it the admission webhook stands alone"),
    ("wrapper: another container runs that of a volume", "it waits for that same refusal of NRI's"),
    ("a sidecar and an ephemeral container try to read", "it ends with that same refusal of NRI's"),
    ("the agent is late and the runtime drops it", "nothing can be late without NRI"),
    ("SIGKILL of a container's process", "has one of its own here, with figures"),
    ("the admission policies", "no agent takes part"),
    ("the admission webhook", "no agent takes part"),
];

/// The whole list in this mode.
pub fn all() -> Vec<Scene> {
    let is_in = |scene: &&Scene| !LEFT_OUT.iter().any(|(name, _)| *name == scene.0);
    let whole = scenes::ALL.iter().chain(super::env_scenes::ALL).chain(super::proof::ALL);
    whole.filter(is_in).chain(OWN).copied().collect()
}

/// How soon a user is gone after SIGKILL, and that the next start has another.
fn kill_9(stage: &mut Stage) -> Result<()> {
    const BUDGET_MS: u128 = 3000;
    stage.play_in(Mode::Watch)?;
    stage.apply(&TestPod::new("killed").with("app", WAIT).with("worker", WAIT))?;
    let (mut user, worker) = (stage.user_of("killed", "app")?, stage.user_of("killed", "worker")?);
    for round in 1..=2 {
        let restarts = stage.restarts("killed", "app")?;
        stage.kill("killed", "app")?;
        let took = stage.until_gone(&user)?;
        say::line(&format!("round {round}: user gone {} after the kill", say::time(took)));
        ensure!(took.as_millis() < BUDGET_MS, "the user was there for {}", say::time(took));
        stage.wait("the next start", PATIENCE, || Ok(stage.restarts("killed", "app")? > restarts))?;
        user = stage.next_user_of("killed", "app", &user)?;
        let users = stage.users()?;
        ensure!(
            users.len() == 2 && users.contains(&worker) && users.contains(&user),
            "{users:?}, not {worker} and {user}"
        );
    }
    stage.delete("killed")?;
    stage.until_empty().map(drop)
}

/// The agents go on with what they have; what they missed shows when the line is mended.
fn api_server_away(stage: &mut Stage) -> Result<()> {
    stage.play_in(Mode::Watch)?;
    stage.apply(&TestPod::new("before").on(&stage.node(0)?).with("app", WAIT))?;
    stage.apply(&TestPod::new("held").on(&stage.node(0)?).with("app", WAIT))?;
    let (before, held) = (stage.user_of("before", "app")?, stage.user_of("held", "app")?);
    stage.wait("a handle of each process", PATIENCE, || Ok(stage.metric(0, "dewdrop_node_starts_followed")? >= 2.0))?;
    stage.cable.set_cut(true);
    // The handle of its process tells without the API server.
    stage.kill("held", "app")?;
    let took = stage.until_gone(&held)?;
    say::line(&format!("user gone {} after the kill, without the API server", say::time(took)));
    stage.apply(
        &TestPod::new("during")
            .on(&stage.node(0)?)
            .restart("Never")
            .with("app", "echo user=$(cat /secrets/db/username)"),
    )?;
    stage.user_of("during", "app")?;
    ensure!(stage.users()?.contains(&before), "the pod that ran on lost its user {before}");
    stage.cable.set_cut(false);
    stage.until_watching(0)?;
    let held = stage.next_user_of("held", "app", &held)?;
    stage.wait("the users of those that run, and no others", PATIENCE, || {
        let users = stage.users()?;
        Ok(users.len() == 2 && users.contains(&before) && users.contains(&held))
    })?;
    for pod in ["before", "held", "during"] {
        stage.delete(pod)?;
    }
    stage.until_empty().map(drop)
}

/// The agent tells the pod's labels as the API server has them.
fn bound_labels(stage: &mut Stage) -> Result<()> {
    stage.play_in(Mode::Watch)?;
    let role = |name: &str, more: serde_json::Value| -> Result<()> {
        let mut body = json!({
            "bound_service_account_names": "default", "bound_service_account_namespaces": "default", "audience": "dewdrop",
            "bound_container_names": "app", "token_policies": "app", "token_ttl": "1h",
        });
        more.as_object().into_iter().flatten().for_each(|(key, value)| body[key.as_str()] = value.clone());
        stage.vault.ask("POST", &format!("auth/kubernetes/role/{name}"), Some(body)).map(drop)
    };
    role("web", json!({ "bound_pod_labels": { "tier": "web" } }))?;
    role("pinned", json!({ "bound_image_digests": format!("sha256:{}", "a".repeat(64)) }))?;
    let pod = |name: &str, role: &str, tier: &str| {
        let pod = TestPod::new(name).with("app", WAIT).patched("/metadata/labels/tier", tier.into());
        pod.patched("/spec/volumes/0/csi/volumeAttributes/role", role.into())
    };
    stage.apply(&pod("web", "web", "web"))?;
    let user = stage.user_of("web", "app")?;
    stage.apply(&pod("other", "web", "other"))?;
    stage.until_told("other", "permission denied")?;
    stage.apply(&pod("pinned", "pinned", "web"))?;
    stage.until_told("pinned", "NAME@sha256:")?;
    ensure!(stage.users()? == [user.as_str()], "{:?} and not {user} alone", stage.users()?);
    for name in ["web", "other", "pinned"] {
        stage.delete(name)?;
    }
    stage.until_empty().map(drop)
}

/// Which net is active is a condition of the node and a metric; a change of nets changes nothing for what runs.
fn nets(stage: &mut Stage) -> Result<()> {
    stage.play_in(Mode::Watch)?;
    stage.until_net(0, "Watch")?;
    stage.apply(&TestPod::new("nets").on(&stage.node(0)?).with("app", WAIT))?;
    let user = stage.user_of("nets", "app")?;
    stage.check_agent(0)?;
    stage.cable.set_cut(true);
    stage.wait("no net at all", PATIENCE, || Ok(stage.metric(0, "dewdrop_node_net{net=\"none\"}")? == 1.0))?;
    stage.cable.set_cut(false);
    stage.wait("the watch", PATIENCE, || Ok(stage.metric(0, "dewdrop_node_net{net=\"watch\"}")? == 1.0))?;
    stage.play_in(Mode::Nri)?;
    stage.until_linked(0)?;
    stage.until_net(0, "Nri")?;
    ensure!(stage.metric(0, "dewdrop_node_net{net=\"nri\"}")? == 1.0, "the metric does not name NRI");
    stage.until_watching(0)?;
    ensure!(stage.users()? == [user.as_str()], "{:?} and not {user} alone", stage.users()?);
    stage.kill_agent(0);
    ensure!(stage.check_agent(0).is_err(), "an agent that does not run passes for one that does");
    stage.start_agent(0)?;
    stage.delete("nets")?;
    stage.until_empty().map(drop)
}
