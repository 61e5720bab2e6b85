//! More scenes of the proof: what ends a pod from outside, who tries to read what is another's, clocks and keys that change.

mod agent;
mod clock;
mod keys;
mod loops;
mod minted;
mod outages;
mod reading;
mod scheduling;
mod tokens;

use super::scenes::Scene;

/// All of them, in order.
pub const ALL: &[Scene] = &[
    ("a CronJob's run", scheduling::cron_job),
    ("a pod is preempted", scheduling::preempted),
    ("kubelet evicts a pod that fills its disk", scheduling::disk_full),
    ("a sidecar and an ephemeral container try to read", reading::neighbours),
    ("an ephemeral container targets a container without the guards and with them", reading::targeted),
    ("a subPath that leaves its volume", reading::sub_path),
    ("a sidecar asks the server with every token it finds", tokens::found),
    ("a ServiceAccount's holder mints tokens for our audience", minted::tokens),
    ("a thousand starts of one container", loops::thousand),
    ("the server starts anew beside running pods", outages::server_restarts),
    ("server or database are away when a pod starts", outages::away_at_the_start),
    ("the agent's clock is five minutes off", clock::off),
    // It leaves the server with the keys of the API server, which is what a cluster has.
    ("the server finds the cluster's keys and its new ones", keys::rotated),
];
