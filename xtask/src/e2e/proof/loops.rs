//! A crash loop, without kubelet's pauses between the starts.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::agent::{self, token_of, uid_of};
use crate::e2e::account::PODS;
use crate::e2e::pods::TestPod;
use crate::e2e::stage::Stage;
use crate::say::{self, Stopwatch};

const STARTS: u32 = 1000;
/// The users are counted every so many starts.
const LOOK: u32 = 50;

/// Kubelet would take days over as many starts, so the scene takes the agent's place: real server, real database, the token of a
/// real pod, and no end told of any start, as when the agent hears of none.
pub fn thousand(stage: &mut Stage) -> Result<()> {
    let node = stage.node(1)?;
    stage.apply(&TestPod::new("looped").on(&node).beside("app", "while :; do sleep 1; done", &[]))?;
    let pod = uid_of(stage, "looped")?;
    stage.kill_agent(1);
    let jwt = stage.minted(PODS.on_pod("looped"))?;
    let agent = agent::login(stage, &node)?;
    let caller = stage.vault.caller();
    let clock = Stopwatch::start();
    let mut most = 0;
    for number in 0..STARTS {
        let body = json!({
            "role": "app", "jwt": jwt, "container": "app", "start": format!("00000000-0000-4000-8000-{number:012}"),
        });
        let (status, made) = caller.with_token(&agent).send("POST", "auth/kubernetes/agent/start", Some(body))?;
        let token = token_of(&made).with_context(|| format!("start {number}: {status} {}", made["errors"]))?;
        let (status, made) = caller.with_token(&token).send("GET", "database/creds/app", None)?;
        ensure!(status == 200, "start {number}: the credential: {status} {}", made["errors"]);
        if number % LOOK == LOOK - 1 {
            most = most.max(stage.users()?.len());
        }
    }
    say::line(&format!("{STARTS} starts in {}, {most} users at most when looked at", say::time(clock.elapsed())));
    let took = stage.wait("one user at most", crate::e2e::stage::PATIENCE, || Ok(stage.users()?.len() == 1))?;
    say::line(&format!("one user left {} after the last start", say::time(took)));
    // While one is taken back its successor may be there already.
    ensure!(most <= 2, "{most} users at the same time");
    let ended = json!({ "starts": [{ "pod_uid": pod, "container": "app" }] });
    let (status, answer) = caller.with_token(&agent).send("POST", "auth/kubernetes/agent/end", Some(ended))?;
    ensure!(matches!(status, 200 | 204), "the end: {status} {}", answer["errors"]);
    stage.until_empty()?;
    stage.start_agent(1)?;
    stage.delete("looped")
}
