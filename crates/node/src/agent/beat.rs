//! The heartbeat: the server keeps the node's starts while it hears of them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Agent;
use super::vault::{BeatAnswer, StartName};

/// Until the server has said how often it wants to hear.
const FIRST: Duration = Duration::from_secs(10);
/// After a beat that did not come through.
const AGAIN: Duration = Duration::from_secs(2);
/// However seldom the server wants to hear: what it asks for with its answer must not wait for ever.
const LONGEST: Duration = Duration::from_secs(5 * 60);

/// Beats for ever.
pub async fn run(agent: Arc<Agent>) {
    let mut rest = FIRST;
    loop {
        let (held, asked) = agent.starts();
        let starts: Vec<StartName> = held.iter().chain(&asked).cloned().collect();
        match agent.vault.beat(&starts).await {
            Ok(answer) => {
                agent.meters.beat();
                rest = pause(answer.next);
                replace_seen(&agent, &answer);
                replace_lost(&agent, &lost(&held, answer));
            }
            Err(why) => {
                tracing::warn!(%why, "the server does not hear the node's beat");
                rest = rest.min(AGAIN);
            }
        }
        sleep(rest).await;
    }
}

/// Until the next beat, as the server asks for it in seconds.
fn pause(next: u64) -> Duration {
    match next {
        0 => FIRST,
        seconds => Duration::from_secs(seconds).min(LONGEST),
    }
}

/// The starts that the server does not know, of those that it has answered for. One that was asked for while the beat was
/// under way may be made by the time the answer comes.
fn lost(held: &[StartName], answer: BeatAnswer) -> Vec<StartName> {
    let is_held = |name: &StartName| held.iter().any(|held| held.start == name.start);
    answer.unknown.into_iter().filter(is_held).collect()
}

/// Starts whose token is gone: taken back by an operator, or while the node was thought to be lost.
fn replace_lost(agent: &Agent, lost: &[StartName]) {
    for name in lost {
        for hold in agent.of_container(&name.pod_uid, &name.container) {
            if let Some(over) = hold.lost(&name.start) {
                tracing::warn!(pod_uid = %name.pod_uid, container = %name.container, start = %name.start,
                    "the server has ended a start that goes on here: it gets a new credential");
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

#[cfg(test)]
mod tests {
    use super::*;

    fn name(start: &str) -> StartName {
        StartName {
            pod_uid: String::new(),
            container: String::new(),
            start: start.into(),
            role: String::new(),
            container_id: None,
        }
    }

    #[test]
    fn no_beat_is_put_off_for_ever() {
        assert_eq!([0, 3, u64::MAX].map(pause), [FIRST, Duration::from_secs(3), LONGEST]);
    }

    #[test]
    fn what_was_only_asked_for_is_not_lost() {
        let answer = BeatAnswer { unknown: vec![name("held"), name("asked")], ..BeatAnswer::default() };
        let lost = lost(&[name("held"), name("other")], answer);
        assert_eq!(lost.iter().map(|name| name.start.as_str()).collect::<Vec<_>>(), ["held"]);
    }
}
