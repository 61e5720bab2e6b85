//! Asks the agent that runs whether it is well: the CSI driver's own question (`Probe`), on its socket.

use std::path::Path;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::Endpoint;
use tonic_prost::ProstCodec;

use crate::csi::{Empty, ProbeResponse, driver_socket};

const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the agent runs and has reached the server.
///
/// # Errors
/// It does not, or has not; in words.
pub async fn check(kubelet_dir: &Path) -> Result<(), String> {
    let socket = driver_socket(kubelet_dir);
    let away = |why: String| format!("the agent does not answer on {}: {why}", socket.display());
    let endpoint = Endpoint::from_static("http://localhost").timeout(PATIENCE).connect_timeout(PATIENCE);
    let path = socket.clone();
    let connect = move |_: Uri| {
        let path = path.clone();
        async move { UnixStream::connect(path).await.map(TokioIo::new) }
    };
    let channel = endpoint.connect_with_connector(tower::service_fn(connect)).await.map_err(|e| away(e.to_string()))?;
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|e| away(e.to_string()))?;
    let path = PathAndQuery::from_static("/csi.v1.Identity/Probe");
    let codec = ProstCodec::<Empty, ProbeResponse>::default();
    let answer = grpc.unary(tonic::Request::new(Empty {}), path, codec).await;
    let answer = answer.map_err(|status| away(status.message().to_owned()))?.into_inner();
    match answer.ready {
        Some(ready) if !ready.value => Err("the agent runs and has not reached the server yet".into()),
        _ => Ok(()),
    }
}
