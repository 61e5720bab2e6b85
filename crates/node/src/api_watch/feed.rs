//! Keeps a watch up, for ever: a list, then what happens after it; a new list only where the API server has forgotten.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_api::Backoff;
use tokio::time::sleep;

use super::client::{Api, ApiError};
use super::wire::{Event, PodSeen};

const LEAST: Duration = Duration::from_millis(200);
const MOST: Duration = Duration::from_secs(15);
/// How long one watch is asked for, and by how much more by chance: not all nodes come back at once.
const SECONDS: u32 = 240;
const SPREAD: u32 = 120;

/// Who looks on.
///
/// # Contract
/// Answers from memory: what comes next waits.
pub trait Viewer: Send + Sync + 'static {
    /// A list is about to be asked for. What is answered here comes back with it: only what was there before can be missing
    /// in it.
    fn listing(&self) -> Vec<String>;
    /// All pods that there are, and what `listing` answered.
    fn all(&self, pods: Vec<PodSeen>, before: &[String]);
    /// A pod as it is now.
    fn pod(&self, pod: PodSeen);
    /// A pod is gone.
    fn gone(&self, uid: &str);
    /// Whether all that happens is told now; else why not.
    fn link(&self, state: Result<(), &str>);
}

/// Why one watch ended.
enum Ended {
    /// As was asked for.
    InTime,
    /// A list is needed.
    Expired,
    /// In words.
    Broke(String),
}

/// Watches the pods of a node.
pub async fn watch(api: &Api, node: &str, viewer: Arc<dyn Viewer>) -> std::convert::Infallible {
    let seed = u64::from(std::process::id());
    let mut backoff = Backoff::new(LEAST, MOST, seed);
    let spread = u32::try_from(seed % u64::from(SPREAD)).unwrap_or(0);
    let mut version = None;
    loop {
        let (ended, heard) = once(api, node, SECONDS + spread, viewer.as_ref(), &mut version).await;
        if heard {
            backoff.reset();
        }
        match ended {
            Ended::InTime => {}
            Ended::Expired => version = None,
            Ended::Broke(why) => viewer.link(Err(&why)),
        }
        // Also after what is no failure: a server that ends each watch at once must not be asked without a pause.
        sleep(backoff.wait()).await;
    }
}

/// One watch, with a list before it if one is needed. Also answers whether anything was heard.
async fn once(api: &Api, node: &str, seconds: u32, viewer: &dyn Viewer, version: &mut Option<String>) -> (Ended, bool) {
    let from = match version {
        Some(version) => version.clone(),
        None => {
            let before = viewer.listing();
            match api.list(node).await {
                Ok(listed) => {
                    viewer.all(listed.pods, &before);
                    version.insert(listed.version).clone()
                }
                Err(why) => return (Ended::Broke(why.to_string()), false),
            }
        }
    };
    let mut watching = match api.watch(node, &from, seconds).await {
        Ok(watching) => watching,
        Err(ApiError::Expired) => return (Ended::Expired, false),
        Err(why) => return (Ended::Broke(why.to_string()), false),
    };
    viewer.link(Ok(()));
    let mut heard = false;
    loop {
        let (event, new) = match watching.next().await {
            Ok(Some(told)) => told,
            Ok(None) => return (Ended::InTime, heard),
            Err(why) => return (Ended::Broke(why), heard),
        };
        match event {
            Event::Pod(pod) => viewer.pod(pod),
            Event::Gone(uid) => viewer.gone(&uid),
            Event::Other => {}
            Event::Expired => return (Ended::Expired, heard),
        }
        heard = true;
        if !new.is_empty() {
            *version = Some(new);
        }
    }
}

#[cfg(test)]
mod tests;
