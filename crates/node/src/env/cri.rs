//! The runtime's own service (CRI), asked for two things only: which container of which pod an id is, and what the
//! container's image starts. Nothing of it leaves the node: no registry is asked.

mod wire;

use std::collections::HashMap;
use std::io::Read;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prost::Message;
use rustix::fd::OwnedFd;
use serde::Deserialize;
use tokio::net::UnixStream;
use tonic::client::Grpc;
use tonic::codegen::http::Uri;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

use super::cgroup;
use super::wire::Starts;
use crate::pidfd;
use wire::{ContainerStatusRequest, ContainerStatusResponse, ImageSpec, ImageStatusRequest, ImageStatusResponse};

const STATUS: &str = "/runtime.v1.RuntimeService/ContainerStatus";
const IMAGE: &str = "/runtime.v1.ImageService/ImageStatus";
/// One call.
const PATIENCE: Duration = Duration::from_secs(5);
/// The most images that are remembered.
const REMEMBERED: usize = 256;
/// Labels that kubelet gives to every container.
const POD: &str = "io.kubernetes.pod.uid";
const NAME: &str = "io.kubernetes.container.name";

/// The runtime behind its socket.
#[derive(Clone)]
pub struct Cri {
    channel: Channel,
    images: Arc<Mutex<HashMap<String, Starts>>>,
}

/// A container, as the runtime tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runs {
    /// The pod's UID.
    pub pod_uid: String,
    /// The container's name in the pod.
    pub name: String,
    /// Whether it is created or runs.
    pub alive: bool,
    /// Its image, as the runtime's store knows it.
    pub image: String,
}

/// The first process of a container.
#[derive(Debug)]
pub enum Found {
    /// It runs.
    Runs(OwnedFd),
    /// The container has ended.
    Ended,
    /// The runtime does not know the container, or its process cannot be seen from here.
    Unknown,
}

/// Of a container: the number of its first process.
#[derive(Deserialize)]
struct Process {
    pid: u32,
}

/// The part of `info` that containerd and CRI-O have in common: the image's own configuration.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Info {
    #[serde(rename = "imageSpec")]
    image_spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    config: Config,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Config {
    entrypoint: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
}

// === impl Cri ===

impl Cri {
    /// The runtime that listens on a socket. It is connected to when it is first asked, and again when it was away.
    #[must_use]
    pub fn new(socket: PathBuf) -> Self {
        // The name is what gRPC's servers expect of a unix socket; nothing is resolved.
        let endpoint = Endpoint::from_static("http://localhost").timeout(PATIENCE).connect_timeout(PATIENCE);
        let connect = move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        };
        Self { channel: endpoint.connect_with_connector_lazy(tower::service_fn(connect)), images: Arc::default() }
    }

    /// What the runtime knows of a container; `None`: nothing.
    ///
    /// # Errors
    /// It cannot be asked; in words.
    pub async fn container(&self, id: &str) -> Result<Option<Runs>, String> {
        let ask = ContainerStatusRequest { container_id: id.to_owned(), verbose: false };
        let answer: ContainerStatusResponse = match self.call(STATUS, ask).await {
            Ok(answer) => answer,
            Err(status) if status.code() == Code::NotFound => return Ok(None),
            Err(status) => return Err(told(&status)),
        };
        Ok(answer.status.map(|mut status| Runs {
            pod_uid: status.labels.remove(POD).unwrap_or_default(),
            name: status.labels.remove(NAME).unwrap_or_default(),
            alive: matches!(status.state, wire::CREATED | wire::RUNNING),
            image: [status.image_id, status.image_ref, status.image.unwrap_or_default().image]
                .into_iter()
                .find(|image| !image.is_empty())
                .unwrap_or_default(),
        }))
    }

    /// The first process of a container. A number alone proves nothing: the process must be in that container's groups, as
    /// long as its handle says that it lives.
    ///
    /// # Errors
    /// The runtime cannot be asked; in words.
    pub async fn process(&self, id: &str) -> Result<Found, String> {
        let ask = ContainerStatusRequest { container_id: id.to_owned(), verbose: true };
        let answer: ContainerStatusResponse = match self.call(STATUS, ask).await {
            Ok(answer) => answer,
            Err(status) if status.code() == Code::NotFound => return Ok(Found::Unknown),
            Err(status) => return Err(told(&status)),
        };
        let state = answer.status.map_or(wire::UNKNOWN, |status| status.state);
        match state {
            wire::EXITED => return Ok(Found::Ended),
            wire::RUNNING => {}
            _ => return Ok(Found::Unknown),
        }
        let pid = answer.info.get("info").and_then(|info| serde_json::from_str::<Process>(info).ok());
        let handle = pid.as_ref().and_then(|Process { pid }| pidfd::open(*pid));
        match (pid, handle) {
            (Some(Process { pid }), Some(handle)) if is_in(pid, id) && pidfd::lives(&handle) => Ok(Found::Runs(handle)),
            // It may just have ended.
            (Some(_), _) => Err("its process is not seen from here".into()),
            (None, _) => Ok(Found::Unknown),
        }
    }

    /// What an image starts.
    ///
    /// # Errors
    /// The runtime cannot be asked, or does not say; in words.
    pub async fn starts(&self, image: &str) -> Result<Starts, String> {
        if let Some(known) = self.images.lock().get(image) {
            return Ok(known.clone());
        }
        let ask = ImageStatusRequest { image: Some(ImageSpec { image: image.to_owned() }), verbose: true };
        let answer: ImageStatusResponse = self.call(IMAGE, ask).await.map_err(|status| told(&status))?;
        let starts = starts_of(&answer)?;
        let mut images = self.images.lock();
        if images.len() >= REMEMBERED {
            images.clear();
        }
        images.insert(image.to_owned(), starts.clone());
        Ok(starts)
    }

    async fn call<Q, A>(&self, path: &'static str, ask: Q) -> Result<A, Status>
    where
        Q: Message + Default + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = Grpc::new(self.channel.clone());
        grpc.ready().await.map_err(|why| Status::unavailable(why.to_string()))?;
        let path = PathAndQuery::from_static(path);
        let answer = grpc.unary(tonic::Request::new(ask), path, ProstCodec::<Q, A>::default()).await?;
        Ok(answer.into_inner())
    }
}

/// Whether a process is in a container.
fn is_in(pid: u32, id: &str) -> bool {
    let mut text = String::new();
    let read = std::fs::File::open(format!("/proc/{pid}/cgroup"));
    let read = read.and_then(|file| file.take(cgroup::MOST).read_to_string(&mut text));
    read.is_ok() && cgroup::whose(&text).is_some_and(|whose| whose.container_id == id)
}

fn starts_of(answer: &ImageStatusResponse) -> Result<Starts, String> {
    let info = answer.info.get("info").ok_or("the runtime does not say what the image starts")?;
    let info: Info = serde_json::from_str(info).map_err(|_| "what the runtime says of the image cannot be read")?;
    let config = info.image_spec.config;
    Ok(Starts { entrypoint: config.entrypoint.unwrap_or_default(), cmd: config.cmd.unwrap_or_default() })
}

/// Reads what the runtime may answer, for the fuzzer.
pub fn read(bytes: &[u8]) {
    let _ = ContainerStatusResponse::decode(bytes);
    let _ = ImageStatusResponse::decode(bytes).map(|answer| starts_of(&answer));
}

fn told(status: &Status) -> String {
    format!("the container runtime cannot be asked: {}", status.message())
}

#[cfg(test)]
pub mod tests;
