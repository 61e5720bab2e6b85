//! The server: configuration, HTTP, the walk of a request, tokens, leases, the seal, the audit log.

pub mod audit;
pub mod config;
#[doc(hidden)]
pub mod fuzzing;
pub mod http;
mod ids;
mod leases;
mod mfa;
mod mounts;
mod page;
mod pipeline;
pub mod run;
mod seal;
pub mod server;
mod sys;
pub mod telemetry;
#[cfg(test)]
mod testing;
mod tokens;
mod turn;
mod vault;
