//! The server starts anew beside running pods; server and database are away when a pod starts.

use anyhow::{Result, ensure};

use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::Stage;
use crate::say;

/// What runs keeps its user over every restart of the server, and loses it as ever when it ends afterwards.
pub fn server_restarts(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("over").with("app", WAIT).with("worker", WAIT))?;
    let (app, worker) = (stage.user_of("over", "app")?, stage.user_of("over", "worker")?);
    for gently in [true, false] {
        if gently {
            stage.vault.stop()
        } else {
            stage.vault.kill9()
        }
        let took = stage.vault.start()?;
        let told = if gently { "SIGTERM" } else { "SIGKILL" };
        say::line(&format!("after {told} the server serves again within {}", say::time(took)));
        // Longer than a silent node's grace: the agents must have been heard, and told that all is as it was.
        std::thread::sleep(std::time::Duration::from_secs(8));
        let users = stage.users()?;
        ensure!(
            users.len() == 2 && users.contains(&app) && users.contains(&worker),
            "after {told}: {users:?} instead of {app} and {worker}"
        );
    }
    stage.kill("over", "app")?;
    stage.until_gone(&app)?;
    let next = stage.next_user_of("over", "app", &app)?;
    let users = stage.users()?;
    ensure!(
        users.len() == 2 && users.contains(&next) && users.contains(&worker),
        "{users:?} instead of {next} and {worker}"
    );
    stage.delete("over")?;
    stage.until_empty().map(drop)
}

/// A pod that asks while one of them is away waits, with a reason that can be read, and starts when it is back. A pod that does
/// not ask is not held up.
pub fn away_at_the_start(stage: &mut Stage) -> Result<()> {
    for (name, server) in [("no-server", true), ("no-database", false)] {
        if server {
            stage.vault.kill9()
        } else {
            stage.postgres.stop()
        }
        let begun = begins_without(stage, name);
        if server {
            stage.vault.start().map(drop)?
        } else {
            stage.postgres.start_again()?
        }
        begun?;
        let user = stage.user_of(name, "app")?;
        ensure!(stage.users()? == [user.as_str()], "{:?} instead of {user}", stage.users()?);
        stage.delete(name)?;
        stage.delete(&format!("{name}-free"))?;
        stage.until_empty()?;
    }
    Ok(())
}

fn begins_without(stage: &Stage, name: &str) -> Result<()> {
    let free = format!("{name}-free");
    stage.apply(&TestPod::new(name).with("app", WAIT))?;
    stage.apply(&TestPod::new(&free).beside("app", "echo free; while :; do sleep 1; done", &[]))?;
    stage.until_told(name, "FailedMount")?;
    let state = stage.kubectl(&["get", "pod", name, "-o", "jsonpath={.status.containerStatuses[0].state}"])?;
    ensure!(!state.contains("running"), "{name} runs without its credential: {state}");
    stage.wait("the pod that asked for nothing to run", crate::e2e::stage::PATIENCE, || {
        Ok(stage.kubectl(&["logs", &free]).unwrap_or_default().contains("free"))
    })?;
    Ok(())
}
