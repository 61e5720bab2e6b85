//! `csi.v1.Node`: publishes and takes back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::http::Request;

use super::glue::{Answer, GrpcService, unary, unknown};
use super::wire::{
    Empty, NodeGetCapabilitiesResponse, NodeGetInfoResponse, NodePublishVolumeRequest, NodeServiceCapability,
    NodeUnpublishVolumeRequest, Rpc, VOLUME_MOUNT_GROUP,
};
use super::{PublishError, Publisher, checks};

/// The service.
pub struct Node {
    name: String,
    pods_dir: PathBuf,
    publisher: Arc<dyn Publisher>,
    /// One call at a time for each volume; an entry lives as long as somebody holds or awaits it.
    turns: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

// === impl Node ===

impl Node {
    /// The service for the volumes of a node's pods.
    pub fn new(name: &str, pods_dir: &Path, publisher: Arc<dyn Publisher>) -> Self {
        Self { name: name.to_owned(), pods_dir: pods_dir.to_owned(), publisher, turns: Mutex::default() }
    }

    async fn publish(&self, request: NodePublishVolumeRequest) -> Result<Empty, Status> {
        let ask = checks::publish(request, &self.pods_dir)?;
        let turn = self.turn(&ask.volume_id);
        let held = turn.lock().await;
        let volume_id = ask.volume_id.clone();
        let done = self.publisher.publish(ask).await;
        drop(held);
        self.leave(&volume_id, turn);
        done.map(|()| Empty {}).map_err(Status::from)
    }

    async fn unpublish(&self, request: NodeUnpublishVolumeRequest) -> Result<Empty, Status> {
        let volume_id = checks::volume_id(&request.volume_id)?;
        let target = checks::target(&request.target_path, &self.pods_dir)?;
        let turn = self.turn(&volume_id);
        let held = turn.lock().await;
        let done = self.publisher.unpublish(&volume_id, &target).await;
        drop(held);
        self.leave(&volume_id, turn);
        done.map(|()| Empty {}).map_err(Status::from)
    }

    fn turn(&self, volume_id: &str) -> Arc<tokio::sync::Mutex<()>> {
        self.turns.lock().entry(volume_id.to_owned()).or_default().clone()
    }

    fn leave(&self, volume_id: &str, turn: Arc<tokio::sync::Mutex<()>>) {
        let mut turns = self.turns.lock();
        drop(turn);
        if turns.get(volume_id).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(volume_id);
        }
    }
}

impl GrpcService for Node {
    const NAME: &'static str = "csi.v1.Node";

    fn serve(self: Arc<Self>, method: &str, request: Request<Body>) -> Answer {
        match method {
            "NodePublishVolume" => unary(request, move |ask| async move { self.publish(ask).await }),
            "NodeUnpublishVolume" => unary(request, move |ask| async move { self.unpublish(ask).await }),
            "NodeGetCapabilities" => unary(request, |_: Empty| async {
                let rpc = Some(Rpc { kind: VOLUME_MOUNT_GROUP });
                Ok(NodeGetCapabilitiesResponse { capabilities: vec![NodeServiceCapability { rpc }] })
            }),
            "NodeGetInfo" => {
                unary(request, move |_: Empty| async move { Ok(NodeGetInfoResponse { node_id: self.name.clone() }) })
            }
            _ => unknown(),
        }
    }
}

impl From<PublishError> for Status {
    fn from(error: PublishError) -> Self {
        let text = error.to_string();
        match error {
            PublishError::InvalidArgument(_) => Self::invalid_argument(text),
            PublishError::PermissionDenied(_) => Self::permission_denied(text),
            PublishError::Unavailable(_) => Self::unavailable(text),
            PublishError::Internal(_) => Self::internal(text),
        }
    }
}
