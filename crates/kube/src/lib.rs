//! What the API server of a cluster asks us before a pod is made or entered: the admission webhook. The rules are pure
//! (`rules`, `mutate`); `judge` puts a question to the right ones; `serve` does TLS and HTTP. And the `operator`, which makes
//! declarations of teams into policies and roles.

pub mod agentless;
pub mod certs;
pub mod cluster;
#[doc(hidden)]
pub mod fuzzing;
pub mod gate;
pub mod judge;
pub mod mutate;
pub mod operator;
pub mod patch;
pub mod pod;
pub mod review;
pub mod rules;
pub mod serve;
pub mod trial;
pub mod wrapper;
