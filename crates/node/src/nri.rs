//! The NRI plug-in: the container runtime of this node says when a container is created, starts and ends.
//!
//! One unix socket carries two connections (`mux`), each of them ttrpc (`ttrpc`): on one the runtime calls us
//! (`service`), on the other we call it once, to register (`link`). `run` keeps such a link up for ever.
//!
//! # What the runtime does to a plug-in, and what follows for us
//! - Every call is synchronous and holds up all containers of the node: a [`Watcher`] answers from memory. Its callbacks
//!   run in order on a thread of their own (`worker`); one that is late or panics is not waited for.
//! - A plug-in that does not answer within the runtime's time (2 s) is dropped and the container is created without it.
//!   So we answer well before that, and a late answer about a guarded container is a refusal. We also ask the runtime to
//!   fail the request in such a case; runtimes before NRI 0.12.5 do not know that.
//! - With a new link the runtime tells first what runs now (`Synchronize`), without what has ended: what a watcher knows
//!   and is not told again has ended meanwhile.
//! - Runtimes with NRI before 0.12 tell most events as `StateChange`; newer ones have a call for each. Both are served.

pub mod fuzzing;
mod link;
mod model;
mod mux;
mod run;
mod service;
mod ttrpc;
mod watcher;
mod wire;
mod worker;

#[cfg(test)]
mod tests;

pub use model::{Adjustment, Container, Ended, Mount, Pod, State};
pub use run::{NriSettings, SettingsError, run};
pub use watcher::{Link, Watcher, mounts_csi_volume};
