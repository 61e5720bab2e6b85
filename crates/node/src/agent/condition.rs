//! The node's condition `DewdropReady`: whether the server was reached, and by which net ends are caught.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::{Clock, Moment};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::Agent;
use super::nets::Net;

/// How often it is looked at.
const TICK: Duration = Duration::from_secs(5);
/// Said again, though nothing has changed.
const REFRESH: Duration = Duration::from_secs(300);
/// Nets come and go one after the other at the start.
const CALM: Duration = Duration::from_millis(500);

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    is_ready: bool,
    net: Net,
}

impl Agent {
    /// Keeps the condition true, where the API server may be asked.
    pub(super) async fn keep_condition(self: Arc<Self>, clock: Arc<dyn Clock>) {
        let Some(api) = self.second.api.clone() else { return };
        let (mut told, mut since) = (None::<State>, clock.now());
        let mut said_at = Instant::now();
        loop {
            let state = State { is_ready: self.vault.has_answered(), net: self.nets.leading() };
            if told != Some(state) || said_at.elapsed() >= REFRESH {
                if told.is_none_or(|told| told.is_ready != state.is_ready) {
                    since = clock.now();
                }
                match api.patch_node(&self.second.node, &patch(state, since, clock.now())).await {
                    Ok(()) => (told, said_at) = (Some(state), Instant::now()),
                    Err(why) => tracing::debug!(%why, "the node's condition cannot be told"),
                }
            }
            tokio::select! {
                () = sleep(TICK) => {}
                _ = self.nets.change(state.net) => sleep(CALM).await,
            }
        }
    }
}

fn patch(state: State, since: Moment, now: Moment) -> Value {
    let (reason, net) = match state.net {
        Net::Nri => ("Nri", "the runtime tells of the ends of containers (NRI)"),
        Net::Watch => ("Watch", "the API server's watch tells of the ends of containers; the runtime does not (NRI)"),
        Net::Nothing => ("None", "nothing tells of the ends of containers: credentials end with their pod"),
    };
    let server = if state.is_ready { "" } else { "; the Dewdrop server was not reached yet" };
    json!({ "status": { "conditions": [{
        "type": "DewdropReady",
        "status": if state.is_ready { "True" } else { "False" },
        "reason": reason,
        "message": format!("{net}{server}"),
        "lastTransitionTime": seconds(since),
        "lastHeartbeatTime": seconds(now),
    }] } })
}

/// Kubernetes takes whole seconds.
fn seconds(moment: Moment) -> String {
    Moment(moment.seconds() * 1000).rfc3339().replace(".000Z", "Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_condition_names_the_net() {
        let at = Moment(1_700_000_000_123);
        let told = patch(State { is_ready: true, net: Net::Watch }, at, at);
        let condition = &told["status"]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("True"), &json!("Watch")));
        assert_eq!(condition["lastTransitionTime"], "2023-11-14T22:13:20Z");
        let told = patch(State { is_ready: false, net: Net::Nothing }, at, at);
        let condition = &told["status"]["conditions"][0];
        assert_eq!((&condition["status"], &condition["reason"]), (&json!("False"), &json!("None")));
        assert!(condition["message"].as_str().unwrap().contains("not reached"));
    }
}
