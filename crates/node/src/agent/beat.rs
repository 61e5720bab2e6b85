//! The heartbeat: the server keeps the node's starts while it hears of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Agent;
use super::vault::BeatAnswer;

/// Until the server has said how often it wants to hear.
const FIRST: Duration = Duration::from_secs(10);
/// After a beat that did not come through.
const AGAIN: Duration = Duration::from_secs(2);

/// Beats for ever.
pub async fn run(agent: Arc<Agent>) {
    let mut rest = FIRST;
    loop {
        match agent.vault.beat(&agent.starts()).await {
            Ok(answer) => {
                agent.meters.beat();
                rest = match answer.next {
                    0 => FIRST,
                    seconds => Duration::from_secs(seconds),
                };
                replace_lost(&agent, &answer);
                replace_seen(&agent, &answer);
            }
            Err(why) => {
                tracing::warn!(%why, "the server does not hear the node's beat");
                rest = rest.min(AGAIN);
            }
        }
        sleep(rest).await;
    }
}

/// Starts whose token is gone: taken back by an operator, or while the node was thought to be lost.
fn replace_lost(agent: &Agent, answer: &BeatAnswer) {
    for name in &answer.unknown {
        for hold in agent.of_container(&name.pod_uid, &name.container) {
            if let Some(over) = hold.lost(&name.start) {
                tracing::info!(container = %name.container, start = %name.start, "the server has ended a start: it gets a new one");
                agent.ender.end(over.name.clone());
            }
        }
    }
}

/// Starts of containers that somebody was in. Told until it is done; once it is done, the start has another name.
fn replace_seen(agent: &Agent, answer: &BeatAnswer) {
    for name in &answer.replace {
        for hold in agent.of_container(&name.pod_uid, &name.container) {
            if hold.must_stay() {
                // A command that runs cannot be given other variables; the audit log has who was in there.
                tracing::debug!(container = %name.container, start = %name.start,
                    "somebody was in a container whose credential is in its environment: with the attribute `signal: TERM` it would be started anew");
            } else if hold.seen_through(&name.start) {
                tracing::info!(container = %name.container, start = %name.start, "somebody was in a container: it gets a new credential");
            }
        }
    }
}
