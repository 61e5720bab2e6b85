//! The CSI driver `csi.dewdrop.dev`: kubelet asks it for a pod's volumes before it starts anything of the pod, so nothing
//! runs without its credential. gRPC on two unix sockets below kubelet's folder: one for the driver, one by which kubelet
//! finds it. Messages follow the CSI specification and kubelet's plugin registration; only what we read or say is declared.

mod checks;
pub(crate) mod glue;
mod identity;
mod node;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_api::SecretText;
use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;

pub use wire::{Empty, ProbeResponse};

use crate::spec::{PodInfo, VolumeSpec};

/// The driver's name, in pods and in the CSIDriver object.
pub const DRIVER: &str = "csi.dewdrop.dev";

/// The socket by which kubelet finds the driver. Kubelet's client sends the socket's path, percent-encoded, as the
/// `:authority` of its calls; Rust's HTTP/2 refuses such a host, but takes what stands before an `@` for a user's name.
const REGISTRATION: &str = "csi.dewdrop.dev@registration.sock";

/// One volume to be published.
pub struct PublishAsk {
    /// Kubelet's id of the volume.
    pub volume_id: String,
    /// Where the container's mount will come from.
    pub target: PathBuf,
    /// What the pod says of it.
    pub spec: VolumeSpec,
    /// The pod.
    pub pod: PodInfo,
    /// A token of the pod's ServiceAccount, for our audience.
    pub token: SecretText,
    /// The pod's fsGroup.
    pub fs_group: Option<u32>,
}

/// Why a volume cannot be published; kubelet shows the text in the pod's events.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The pod asks for what cannot be.
    #[error("{0}")]
    InvalidArgument(String),
    /// The server refuses.
    #[error("{0}")]
    PermissionDenied(String),
    /// Try again.
    #[error("{0}")]
    Unavailable(String),
    /// A defect, or a node that is broken.
    #[error("{0}")]
    Internal(String),
}

/// The joint to the agent.
///
/// # Contract
/// Both are called for one volume at a time, and run to their end even if kubelet hangs up.
#[async_trait]
pub trait Publisher: Send + Sync + 'static {
    /// Makes the credential, mounts the volume and writes it; returns when it is there. The same volume again is fine:
    /// kubelet comes now and then, with a fresh token.
    async fn publish(&self, ask: PublishAsk) -> Result<(), PublishError>;
    /// Ends what was published. Not there is fine.
    async fn unpublish(&self, volume_id: &str, target: &Path) -> Result<(), PublishError>;
    /// Whether the server has been reached.
    fn is_ready(&self) -> bool;
}

/// Where the driver listens.
#[must_use]
pub fn driver_socket(kubelet_dir: &Path) -> PathBuf {
    kubelet_dir.join("plugins").join(DRIVER).join("csi.sock")
}

/// Serves both sockets until `stop` ends.
///
/// # Errors
/// A socket cannot be opened.
pub async fn serve(
    kubelet_dir: &Path,
    node: &str,
    publisher: Arc<dyn Publisher>,
    stop: impl Future<Output = ()> + Send + Clone + 'static,
) -> io::Result<()> {
    let driver_socket = driver_socket(kubelet_dir);
    let registration_socket = kubelet_dir.join("plugins_registry").join(REGISTRATION);
    let node = node::Node::new(node, &kubelet_dir.join("pods"), publisher.clone());
    let driver = tonic::transport::Server::builder()
        .add_service(glue::Glue(Arc::new(identity::Identity(publisher))))
        .add_service(glue::Glue(Arc::new(node)))
        .serve_with_incoming_shutdown(listen(&driver_socket)?, stop.clone());
    // Kubelet calls the driver as soon as it finds this one.
    let registration = tonic::transport::Server::builder()
        .add_service(glue::Glue(Arc::new(identity::Registration(driver_socket.clone()))))
        .serve_with_incoming_shutdown(listen(&registration_socket)?, stop);
    let done = tokio::try_join!(driver, registration);
    for socket in [&registration_socket, &driver_socket] {
        drop(std::fs::remove_file(socket));
    }
    done.map(drop).map_err(io::Error::other)
}

/// A socket for root alone. One that a former agent left is replaced.
fn listen(path: &Path) -> io::Result<UnixListenerStream> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    if let Some(folder) = path.parent() {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot listen on {}: {e}", path.display())))?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(UnixListenerStream::new(listener))
}

#[cfg(test)]
mod tests;
