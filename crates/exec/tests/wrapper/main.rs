//! The wrapper as a process, with an agent that is played.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod agent;
mod agentless;
mod server;
mod signals;
mod simple;
mod waiting;
