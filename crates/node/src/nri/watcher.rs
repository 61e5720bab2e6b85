//! The joint to the agent.

use std::time::Duration;

use super::model::{Adjustment, Container, Pod};

/// What happens on this node.
///
/// # Contract
/// - One callback at a time, in the order in which the runtime told it, on a thread that is not the runtime's of tokio.
/// - Answer from memory and at once: all containers of the node wait. After half a second the runtime is answered without
///   you: a guarded container is refused, all else goes on. The callback is still run to its end, its answer unheard.
/// - A panic is caught and counts as such a late answer.
/// - Ends may come twice and for containers never seen; a container that ends at once may be told `stopped` before `started`.
pub trait Watcher: Send + Sync + 'static {
    /// All that runs now, whenever a link is made. Those that are known from before and not here have ended.
    fn synchronize(&self, pods: Vec<Pod>, containers: Vec<Container>);
    /// Before a container is made; its id is known, its pid is not. What is refused is tried again by kubelet, as another
    /// container; the text is shown in the pod's events. A container that is accepted may still come to nothing: then it
    /// is `stopped`.
    ///
    /// # Errors
    /// It must not be made now.
    fn creating(&self, pod: &Pod, container: &Container) -> Result<Adjustment, String>;
    /// It runs; its pid is known.
    fn started(&self, pod: &Pod, container: &Container);
    /// It has ended (by itself or not), is about to be stopped, or is removed.
    fn stopped(&self, pod: &Pod, container: &Container);
    /// Its sandbox is stopped or removed, and all its containers with it.
    fn pod_gone(&self, pod: &Pod);
    /// The link to the runtime, when it changes.
    fn link(&self, state: Link);
}

/// The state of the link to the runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// The runtime tells us all that happens; `synchronize` was called before.
    Connected {
        /// Its name (`containerd`, `cri-o`).
        runtime: String,
        /// Its own version.
        version: String,
        /// Of NRI; empty before 0.12.
        nri: String,
        /// After which it takes us for dead.
        timeout: Duration,
    },
    /// Containers start and end unseen until the next `synchronize`.
    Lost {
        /// In words, for the operator.
        why: String,
    },
}

/// It mounts a volume of some CSI driver: the guard if no finer one is known ([`super::NriSettings::guarded`]).
#[must_use]
pub fn mounts_csi_volume(_pod: &Pod, container: &Container) -> bool {
    container.mounts.iter().any(|mount| mount.source.contains("/kubernetes.io~csi/"))
}
