//! The API server's word about the pods of this node, for runtimes that do not tell of their containers themselves (NRI). It
//! comes a second or two after the fact, so it is the second net where there is a first; alone it does what the first does.

mod client;
mod decide;
mod feed;
mod lines;
mod wire;

pub use client::{Api, KubeSettings};
pub use decide::{Step, View, steps};
pub use feed::{Viewer, watch};
pub use wire::PodSeen;
#[cfg(test)]
pub use wire::{Newest, Status};
