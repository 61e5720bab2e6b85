//! The CSI side: a volume is published when its credential is in it, and gone when kubelet takes it back.

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

use super::Agent;
use super::fail::Fail;
use super::hold::{About, Hold};
use super::life::Phase;
use crate::csi::{PublishAsk, PublishError, Publisher};
use crate::volume::Volume;

#[async_trait]
impl Publisher for Agent {
    async fn publish(&self, ask: PublishAsk) -> Result<(), PublishError> {
        let held = self.holds.lock().get(&ask.volume_id).cloned();
        if let Some(hold) = held {
            // Kubelet comes again and again, with a fresh token of the pod each time.
            hold.renew_pod_token(ask.token);
            self.note(&hold).map_err(told)?;
            return Ok(());
        }
        self.refuse_twin(&ask)?;
        let about = About {
            volume_id: ask.volume_id,
            target: ask.target,
            spec: ask.spec,
            pod: ask.pod,
            fs_group: ask.fs_group,
        };
        let hold = Arc::new(Hold::new(about, Phase::Minting, ask.token, None));
        match self.mint(&hold).await {
            Ok(start) => {
                hold.begin(start);
                self.note(&hold).map_err(told)?;
                self.me().map_err(told)?.take_up(hold);
                Ok(())
            }
            Err(why) => {
                self.clear(&hold.about.volume_id, &hold.about.target).await.map_err(told)?;
                Err(told(why))
            }
        }
    }

    async fn unpublish(&self, volume_id: &str, target: &Path) -> Result<(), PublishError> {
        let held = self.holds.lock().remove(volume_id);
        if let Some(hold) = held {
            // Whatever is being written down about it now is written before this, and nothing after.
            let over = hold.close();
            drop(hold.pen.lock());
            over.into_iter().for_each(|over| self.ender.end(over.name.clone()));
        }
        self.clear(volume_id, target).await.map_err(told)
    }

    fn is_ready(&self) -> bool {
        self.vault.has_answered()
    }
}

impl Agent {
    /// A container has one start for each role: two volumes would take it from each other.
    fn refuse_twin(&self, ask: &PublishAsk) -> Result<(), PublishError> {
        let twins = self.of_container(&ask.pod.uid, &ask.spec.container);
        match twins.into_iter().find(|hold| hold.about.spec.role == ask.spec.role) {
            None => Ok(()),
            Some(_) => Err(PublishError::InvalidArgument(format!(
                "container {:?} has another volume with the role {:?}: name all credentials in one of them",
                ask.spec.container, ask.spec.role
            ))),
        }
    }

    /// Wipes and unmounts a volume, and forgets it.
    async fn clear(&self, volume_id: &str, target: &Path) -> Result<(), Fail> {
        self.env.close_door(volume_id).await;
        let path = target.to_owned();
        let gone = tokio::task::spawn_blocking(move || Volume::unmount(&path));
        gone.await.map_err(|_| Fail::odd("the task that removes a volume broke"))??;
        self.journal.remove(volume_id)
    }
}

/// What kubelet shows in the pod's events.
fn told(why: Fail) -> PublishError {
    match why.status() {
        Some(400 | 404) => PublishError::InvalidArgument(why.to_string()),
        Some(401 | 403) => PublishError::PermissionDenied(why.to_string()),
        _ if why.is_passing() => PublishError::Unavailable(why.to_string()),
        _ => PublishError::Internal(why.to_string()),
    }
}
