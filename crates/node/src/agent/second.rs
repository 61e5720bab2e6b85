//! The second net: what the API server tells of this node's pods is applied to their volumes, and the process of each container
//! that it names is followed (docs/decisions/0016).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Agent;
use super::hold::Hold;
use super::nets::Net;
use crate::api_watch::{self, Api, PodSeen, Step, Viewer, steps};
use crate::settings::Settings;

/// How long a fresh agent waits for the runtime's word.
const NRI_FIRST: Duration = Duration::from_secs(3);

/// What the second net knows.
pub struct Second {
    /// The API server, if we may ask it.
    pub api: Option<Arc<Api>>,
    /// Our node.
    pub node: String,
    has_nri: bool,
    pods: Mutex<HashMap<String, PodSeen>>,
}

// === impl Second ===

impl Second {
    /// Knows nothing yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            api: settings.kube.clone().map(|kube| Arc::new(Api::new(kube))),
            node: settings.node.clone(),
            has_nri: settings.nri_socket.is_some(),
            pods: Mutex::default(),
        }
    }

    /// A pod, if it was told of.
    pub fn pod(&self, uid: &str) -> Option<PodSeen> {
        self.pods.lock().get(uid).cloned()
    }

    /// Puts a pod there, unless a newer word of it is there. Answers whether it was put.
    pub fn learn(&self, pod: PodSeen) -> bool {
        let mut pods = self.pods.lock();
        let is_older = pods.get(&pod.uid).is_some_and(|known| pod.version < known.version);
        if !is_older {
            pods.insert(pod.uid.clone(), pod);
        }
        !is_older
    }
}

impl Viewer for Agent {
    fn listing(&self) -> Vec<String> {
        self.holds.lock().keys().cloned().collect()
    }

    fn all(&self, pods: Vec<PodSeen>, before: &[String]) {
        let uids: Vec<String> = pods.iter().map(|pod| pod.uid.clone()).collect();
        *self.second.pods.lock() = pods.into_iter().map(|pod| (pod.uid.clone(), pod)).collect();
        let missing = |hold: &&Arc<Hold>| before.contains(&hold.about.volume_id) && !uids.contains(&hold.about.pod.uid);
        let gone: Vec<Arc<Hold>> = self.holds.lock().values().filter(missing).cloned().collect();
        gone.iter().for_each(|hold| self.pod_is_over(hold));
        uids.iter().for_each(|uid| self.look(uid));
    }

    fn pod(&self, pod: PodSeen) {
        let uid = pod.uid.clone();
        if self.second.learn(pod) {
            self.look(&uid);
        }
    }

    fn gone(&self, uid: &str) {
        self.second.pods.lock().remove(uid);
        self.of_pod(uid).iter().for_each(|hold| self.pod_is_over(hold));
    }

    fn link(&self, state: Result<(), &str>) {
        let is_new = self.nets.set_watch(state.is_ok());
        match state {
            Ok(()) if is_new => tracing::info!("the API server tells of this node's pods"),
            Ok(()) => {}
            Err(why) => tracing::warn!(%why, "the API server does not tell of this node's pods; trying again"),
        }
    }
}

impl Agent {
    /// The API server's word. The runtime's comes first where there is one: what happened while no agent looked, it knows best.
    pub(super) async fn watch(self: Arc<Self>) {
        let Some(api) = self.second.api.clone() else { return };
        if self.second.has_nri {
            self.nets.until_nri(NRI_FIRST).await;
        }
        match api_watch::watch(&api, &self.second.node, self.clone()).await {}
    }

    /// Looks at all pods whenever another net leads than before.
    pub(super) async fn mind_the_nets(self: Arc<Self>) {
        let mut leading = self.nets.leading();
        loop {
            leading = self.nets.change(leading).await;
            if leading != Net::Nri {
                let uids: Vec<String> = self.second.pods.lock().keys().cloned().collect();
                uids.iter().for_each(|uid| self.look(uid));
            }
        }
    }

    /// What the last word about a pod means for its volumes as they are.
    pub(super) fn look(&self, uid: &str) {
        let Some(pod) = self.second.pod(uid) else { return };
        let is_led = self.nets.leading() == Net::Nri;
        for hold in self.of_pod(uid) {
            let view = hold.view(is_led);
            if pod.is_over && !view.lives {
                self.pod_is_over(&hold);
            } else if let Some(status) = pod.statuses.get(&hold.about.spec.container) {
                let steps = steps(status, &view);
                steps.into_iter().for_each(|step| self.take(&hold, step));
            }
        }
    }

    pub(super) fn take(&self, hold: &Arc<Hold>, step: Step) {
        match step {
            Step::Running(id) => self.over(hold, hold.running(&id, None)),
            Step::Stopped(id) => self.over(hold, hold.stopped(&id)),
            Step::Follow(id) => return self.find_and_follow(hold, &id),
        }
        self.note_or_warn(hold);
    }

    /// Nothing of the pod starts any more. Where the runtime tells, it has told of its containers, and kubelet of its volumes.
    fn pod_is_over(&self, hold: &Arc<Hold>) {
        if self.nets.leading() != Net::Nri {
            self.over(hold, hold.close());
        }
    }
}

#[cfg(test)]
mod tests;
