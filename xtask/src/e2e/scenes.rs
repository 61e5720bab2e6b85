//! The scenes: how a container can start and end, and what must be true of the database's users each time.

use anyhow::{Result, ensure};

use super::account::PODS;
use super::pods::{TestPod, WAIT};
use super::stage::{PATIENCE, Stage};
use super::{admission, breaks, ends};
use crate::say;

/// One scene: a name and what it does.
pub type Scene = (&'static str, fn(&mut Stage) -> Result<()>);

/// All of them, in order.
pub const ALL: &[Scene] = &[
    ("each container has a user of its own", each_its_own),
    ("SIGKILL of a container's process", kill_9),
    ("exit 0 and exit 1", exits),
    ("a crash loop leaves at most one", crash_loop),
    ("a pod is deleted, gently and by force", deleted),
    ("another container mounts the volume", foreign_mount),
    ("a ServiceAccount's own token opens no container's role", stranger),
    ("the agent is killed while pods run, start and end", agent_killed),
    ("the server is down while pods start and end", server_down),
    ("PostgreSQL is down while a container ends", database_down),
    ("the kernel kills a container for want of memory", ends::out_of_memory),
    ("a liveness probe fails", ends::liveness),
    ("a job is done", ends::job),
    ("a Deployment is updated", ends::rolling_update),
    ("init containers and native sidecars", ends::init_and_sidecar),
    ("a pod is evicted", ends::evicted),
    ("many pods at once", ends::crowd),
    ("the agent is late and the runtime drops it", breaks::agent_is_late),
    ("containerd starts anew", breaks::runtime_restarts),
    ("kubelet starts anew", breaks::kubelet_restarts),
    ("a node is cut off and comes back", breaks::node_cut_off),
    ("a node loses its power", breaks::node_lost),
    ("the admission policies", admission::policies),
    ("the admission webhook", admission::webhook),
];

fn each_its_own(stage: &mut Stage) -> Result<()> {
    let pod =
        TestPod::new("own").with("app", WAIT).with("worker", WAIT).beside("side", "while :; do sleep 0.1; done", &[]);
    stage.apply(&pod)?;
    let (app, worker) = (stage.user_of("own", "app")?, stage.user_of("own", "worker")?);
    ensure!(app != worker, "both containers have {app}");
    let users = stage.users()?;
    ensure!(
        users.len() == 2 && users.contains(&app) && users.contains(&worker),
        "users {users:?}, containers {app} and {worker}"
    );
    let side = stage.kubectl(&["exec", "own", "-c", "side", "--", "/bin/busybox", "find", "/secrets"]);
    ensure!(side.is_err(), "the sidecar sees {side:?}");
    stage.delete("own")?;
    let took = stage.until_empty()?;
    say::line(&format!("both users gone {} after the pod", say::time(took)));
    Ok(())
}

fn kill_9(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("killed").with("app", WAIT).with("worker", WAIT))?;
    let (first, worker) = (stage.user_of("killed", "app")?, stage.user_of("killed", "worker")?);
    stage.kill("killed", "app")?;
    let took = stage.until_gone(&first)?;
    say::line(&format!("user gone {} after the kill", say::time(took)));
    let second = stage.next_user_of("killed", "app", &first)?;
    let users = stage.users()?;
    ensure!(users.contains(&second), "the restarted container has {second}, the database {users:?}");
    ensure!(users.contains(&worker), "the other container lost its user: {users:?}");
    ensure!(users.len() == 2, "more users than containers: {users:?}");
    stage.delete("killed")?;
    stage.until_empty().map(drop)
}

pub fn exits(stage: &mut Stage) -> Result<()> {
    for code in [0, 1] {
        let name = format!("exit-{code}");
        let script = format!("echo user=$(cat /secrets/db/username); exit {code}");
        stage.apply(&TestPod::new(&name).restart("Never").with("app", &script))?;
        stage.user_of(&name, "app")?;
        let took = stage.until_empty()?;
        say::line(&format!("exit {code}: nothing left {} after it was seen to run", say::time(took)));
        // Kubelet tells it some time after the runtime did.
        stage.wait("the pod to be told as ended", PATIENCE, || {
            Ok(stage.kubectl(&["get", "pod", &name, "-o", "jsonpath={.status.phase}"])? != "Running")
        })?;
        stage.delete(&name)?;
    }
    Ok(())
}

pub fn crash_loop(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("loop").with("app", "echo user=$(cat /secrets/db/username); sleep 0.3; exit 3"))?;
    let mut most = 0;
    stage.wait("three restarts", PATIENCE, || {
        most = most.max(stage.users()?.len());
        Ok(stage.restarts("loop", "app")? >= 3)
    })?;
    // While one is taken back its successor may be there already.
    ensure!(most <= 2, "{most} users at the same time");
    stage.wait("one user at most", PATIENCE, || Ok(stage.users()?.len() <= 1))?;
    stage.delete("loop")?;
    stage.until_empty().map(drop)
}

pub fn deleted(stage: &mut Stage) -> Result<()> {
    for (name, force) in [("gently", false), ("forced", true)] {
        stage.apply(&TestPod::new(name).with("app", WAIT))?;
        let user = stage.user_of(name, "app")?;
        let more: &[&str] = if force { &["--force", "--grace-period=0"] } else { &[] };
        stage.kubectl(&[&["delete", "pod", name], more].concat())?;
        let took = stage.until_gone(&user)?;
        say::line(&format!("{name}: user gone {} after the deletion was answered", say::time(took)));
    }
    stage.until_empty().map(drop)
}

fn foreign_mount(stage: &mut Stage) -> Result<()> {
    let script = "ls -R /secrets; cat /secrets/db/password /secrets/password; sleep 1000";
    let whole = serde_json::json!({ "name": "secrets-app", "mountPath": "/secrets", "readOnly": true });
    let mut part = whole.clone();
    part["subPath"] = "db".into();
    for (name, mount) in [("thief", whole), ("thief-of-a-part", part)] {
        let pod = TestPod::new(name).with("app", WAIT).beside("thief", script, &[]);
        stage.apply(&pod.patched("/spec/containers/1/volumeMounts", serde_json::json!([mount])))?;
        stage.user_of(name, "app")?;
        stage.until_told(name, "belongs to container")?;
        let log = stage.kubectl(&["logs", name, "-c", "thief"]).unwrap_or_default();
        ensure!(log.is_empty(), "the other container of {name} ran and said {log:?}");
        stage.delete(name)?;
    }
    stage.until_empty().map(drop)
}

fn stranger(stage: &mut Stage) -> Result<()> {
    let token = stage.minted(PODS)?;
    let caller = stage.vault.caller().with_token("");
    for (path, more) in [
        ("login", serde_json::json!({})),
        ("agent/start", serde_json::json!({"container": "app", "start": "00000000-0000-4000-8000-000000000000"})),
    ] {
        let mut body = serde_json::json!({ "role": "app", "jwt": token });
        for (key, value) in more.as_object().into_iter().flatten() {
            body[key.as_str()] = value.clone();
        }
        let (status, answer) = caller.send("POST", &format!("auth/kubernetes/{path}"), Some(body))?;
        ensure!(status == 403 || status == 400, "{path} answered {status} {answer}");
        ensure!(answer.pointer("/auth/client_token").is_none(), "{path} gave a token");
    }
    Ok(())
}

pub fn agent_killed(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("before").on(&stage.node(0)?).with("app", WAIT))?;
    stage.apply(&TestPod::new("ends").on(&stage.node(0)?).with("app", WAIT))?;
    let (before, ends) = (stage.user_of("before", "app")?, stage.user_of("ends", "app")?);
    stage.kill_agent(0);
    stage.kill("ends", "app")?;
    stage.apply(&TestPod::new("during").on(&stage.node(0)?).with("app", WAIT))?;
    ensure!(stage.users()?.len() == 2, "without an agent nothing is made and nothing taken back");
    stage.start_agent(0)?;
    let during = stage.user_of("during", "app")?;
    stage.until_gone(&ends)?;
    let users = stage.users()?;
    ensure!(users.contains(&before), "the pod that ran all the time lost its user {before}: {users:?}");
    ensure!(users.contains(&during), "{users:?} without {during}");
    let again = stage.kubectl(&["exec", "before", "-c", "app", "--", "/bin/busybox", "cat", "/secrets/db/username"])?;
    ensure!(again == before, "the running pod's file changed from {before} to {again}");
    for pod in ["before", "ends", "during"] {
        stage.delete(pod)?;
    }
    stage.until_empty().map(drop)
}

fn server_down(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("early").with("app", WAIT))?;
    let early = stage.user_of("early", "app")?;
    stage.vault.kill9();
    stage.apply(&TestPod::new("late").with("app", WAIT))?;
    stage.delete("early")?;
    ensure!(stage.users()? == [early.as_str()], "without a server nothing changes");
    let state = stage.kubectl(&["get", "pod", "late", "-o", "jsonpath={.status.containerStatuses[0].started}"])?;
    ensure!(state != "true", "a container runs without its credential");
    stage.vault.start()?;
    stage.until_gone(&early)?;
    let late = stage.user_of("late", "app")?;
    ensure!(stage.users()? == [late.as_str()], "{:?} instead of {late}", stage.users()?);
    stage.delete("late")?;
    stage.until_empty().map(drop)
}

fn database_down(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("outage").restart("Never").with("app", WAIT))?;
    let user = stage.user_of("outage", "app")?;
    stage.postgres.stop();
    stage.delete("outage")?;
    stage.postgres.start_again()?;
    let took = stage.until_gone(&user)?;
    say::line(&format!("user gone {} after the database came back", say::time(took)));
    stage.until_empty().map(drop)
}
