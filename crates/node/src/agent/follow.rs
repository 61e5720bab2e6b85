//! The end of a container, as the kernel tells it: its process is held by a handle. A runtime has work of its own before it tells, and
//! writes to its disk first (85 to 255 ms were seen); the API server's word takes a second. Whichever comes first ends the
//! start, and the others find it over.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use tokio::runtime::Handle;
use tokio::time::sleep;

use super::hold::Hold;
use super::{Agent, ContainerId};
use crate::api_watch::Step;
use crate::env::Found;
use crate::pidfd;

/// How often the runtime is asked for a process before kubelet's word has to do.
const TRIES: u32 = 3;
const AGAIN: Duration = Duration::from_secs(1);

/// The processes that are followed.
pub struct Followed {
    /// The runtime's callbacks come on a thread of their own, which has none.
    tasks: Handle,
    /// Volumes and containers whose end is waited for.
    ends: Mutex<HashSet<(String, ContainerId)>>,
}

// === impl Followed ===

impl Followed {
    /// Follows nothing yet; what is followed is waited for where this is called.
    pub fn new() -> Self {
        Self { tasks: Handle::current(), ends: Mutex::default() }
    }

    /// How many processes are held.
    pub fn count(&self) -> usize {
        self.ends.lock().len()
    }
}

impl Agent {
    /// Waits for the end of a process that the runtime has named.
    pub(super) fn follow(&self, hold: &Arc<Hold>, id: &str, process: Arc<OwnedFd>) {
        self.wait_for(hold, id, Some(process));
    }

    /// Asks the runtime for the container's process, and waits for its end.
    pub(super) fn find_and_follow(&self, hold: &Arc<Hold>, id: &str) {
        if self.env.cri.is_some() {
            self.wait_for(hold, id, None);
        }
    }

    fn wait_for(&self, hold: &Arc<Hold>, id: &str, process: Option<Arc<OwnedFd>>) {
        let key = (hold.about.volume_id.clone(), id.to_owned());
        let Ok(agent) = self.me() else { return };
        if !self.followed.ends.lock().insert(key.clone()) {
            return;
        }
        let (hold, id) = (hold.clone(), id.to_owned());
        self.followed.tasks.spawn(async move {
            let has_ended = match process {
                Some(process) => pidfd::until_exit(process).await.is_ok(),
                None => agent.until_exit(&hold, &id).await,
            };
            if has_ended {
                agent.take(&hold, Step::Stopped(id));
                agent.look(&hold.about.pod.uid);
            }
            agent.followed.ends.lock().remove(&key);
        });
    }

    /// Answers whether the container has ended; not, when nobody can say.
    pub(super) async fn until_exit(&self, hold: &Hold, id: &str) -> bool {
        let Some(cri) = &self.env.cri else { return false };
        for _ in 0..TRIES {
            match Box::pin(cri.process(id)).await {
                Ok(Found::Ended) => return true,
                Ok(Found::Runs(process)) => {
                    let process = Arc::new(process);
                    hold.follow(id, &process);
                    return pidfd::until_exit(process).await.is_ok();
                }
                Ok(Found::Unknown) => return false,
                Err(why) => {
                    tracing::debug!(container = %hold.about.spec.container, %why, "the process of a container is not found")
                }
            }
            sleep(AGAIN).await;
        }
        false
    }
}
