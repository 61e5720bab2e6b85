//! `cargo xtask demo --kubernetes`: the same promise for containers, on a real cluster on this machine.

use std::path::PathBuf;

use anyhow::{Result, ensure};

use crate::e2e::{Stage, TestPod, WAIT};
use crate::say::{self, Look};

/// What the sidecar does: nothing, for ever.
const IDLE: &str = "trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// Runs the demo; an error when a claim does not hold.
pub fn run(dewdrop: PathBuf) -> Result<()> {
    let clock = say::Stopwatch::start();
    say::heading("A real Kubernetes, a PostgreSQL, a Dewdrop server, and the agent `dewdrop node`");
    let mut stage = Stage::open(dewdrop, 1)?;
    say::good(&format!("everything runs ({})", say::time(clock.elapsed())));

    let app = two_containers(&stage)?;
    sidecar_sees_nothing(&stage)?;
    kill_a_container(&stage, &app)?;
    delete_the_pod(&stage)?;
    audit(&mut stage)?;
    println!();
    say::good(&format!(
        "every credential was born with its container and gone with it ({})",
        say::time(clock.elapsed())
    ));
    Ok(())
}

/// Answers the user of the first.
fn two_containers(stage: &Stage) -> Result<String> {
    say::heading("A pod with two containers that each ask for database/creds, and a sidecar that does not");
    stage.apply(&TestPod::new("shop").with("app", WAIT).with("worker", WAIT).beside("side", IDLE, &[]))?;
    let (app, worker) = (stage.user_of("shop", "app")?, stage.user_of("shop", "worker")?);
    say::good(&format!("container app works as    {}", user(&app)));
    say::good(&format!("container worker works as {}", user(&worker)));
    ensure!(app != worker, "both containers have the user {app}");
    let users = stage.users()?;
    ensure!(users.len() == 2, "the database has the users {users:?}");
    Ok(app)
}

fn sidecar_sees_nothing(stage: &Stage) -> Result<()> {
    say::heading("The sidecar looks for them");
    let found = stage.kubectl(&["exec", "shop", "-c", "side", "--", "/bin/busybox", "ls", "/secrets"]);
    ensure!(found.is_err(), "the sidecar found {found:?}");
    say::good("in its own files there is nothing");
    stage.apply(&TestPod::new("thief").with("app", WAIT).beside("thief", "cat /secrets/db/password", &["app"]))?;
    stage.until_told("thief", "belongs to container")?;
    say::good("a sidecar that mounts the app's volume is not started: \"a volume that belongs to container\"");
    stage.delete("thief")
}

fn kill_a_container(stage: &Stage, first: &str) -> Result<()> {
    say::heading("kill -9 of the process of container app");
    stage.kill("shop", "app")?;
    let took = stage.until_gone(first)?;
    say::good(&format!("{} is gone {} after the kill", user(first), say::time(took)));
    let second = stage.next_user_of("shop", "app", first)?;
    say::good(&format!("its successor works as     {}", user(&second)));
    let users = stage.users()?;
    ensure!(users.len() == 2 && users.contains(&second), "the database has the users {users:?}");
    Ok(())
}

fn delete_the_pod(stage: &Stage) -> Result<()> {
    say::heading("kubectl delete pod shop");
    stage.delete("shop")?;
    let took = stage.until_empty()?;
    say::good(&format!("no user is left in the database ({} after kubectl said \"deleted\")", say::time(took)));
    Ok(())
}

fn audit(stage: &mut Stage) -> Result<()> {
    say::heading("The audit log: chained, signed, checked offline");
    let told = stage.verify_audit()?;
    told.lines().take(5).for_each(say::line);
    say::good("no line was changed, dropped or reordered");
    Ok(())
}

fn user(name: &str) -> String {
    say::dye(Look::Cyan, name)
}
