//! A played runtime on a real socket, with the same messages on its side.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::net::UnixListener;
use tokio_stream::wrappers::UnixListenerStream;
use tonic::body::Body;
use tonic::codegen::http::Request;

use super::wire::{ContainerStatus, RUNNING};
use super::*;
use crate::csi::glue::{Answer, Glue, GrpcService, unary, unknown};

struct Runtime;
#[derive(Default)]
struct Images(AtomicU32);

impl GrpcService for Runtime {
    const NAME: &'static str = "runtime.v1.RuntimeService";

    fn serve(self: Arc<Self>, method: &str, request: Request<Body>) -> Answer {
        assert_eq!(request.uri().authority().map(|a| a.as_str()), Some("localhost"));
        match method {
            "ContainerStatus" => unary(request, |ask: ContainerStatusRequest| async move {
                if ask.container_id == "gone" {
                    return Err(Status::not_found("no such container"));
                }
                let name = if ask.container_id == "side" { "side" } else { "app" };
                let labels = [(POD, "u-1"), (NAME, name)].map(|(k, v)| (k.to_owned(), v.to_owned())).into();
                let state = if ask.container_id == "ended" { 2 } else { RUNNING };
                let status =
                    ContainerStatus { state, labels, image_ref: "sha256:1".into(), ..ContainerStatus::default() };
                // Our own process, which is in no container.
                let told = if ask.container_id == "silent" {
                    "{}".to_owned()
                } else {
                    format!("{{\"pid\":{}}}", std::process::id())
                };
                let info = if ask.verbose { [("info".to_owned(), told)].into() } else { HashMap::default() };
                Ok(ContainerStatusResponse { status: Some(status), info })
            }),
            _ => unknown(),
        }
    }
}

impl GrpcService for Images {
    const NAME: &'static str = "runtime.v1.ImageService";

    fn serve(self: Arc<Self>, method: &str, request: Request<Body>) -> Answer {
        match method {
            "ImageStatus" => unary(request, move |ask: ImageStatusRequest| async move {
                self.0.fetch_add(1, Ordering::Relaxed);
                let info = match ask.image.unwrap_or_default().image.as_str() {
                    "sha256:1" if ask.verbose => {
                        r#"{"chainID":"x","imageSpec":{"config":{"Entrypoint":["/app"],"Cmd":["serve"],"User":"1"}}}"#
                    }
                    "sha256:2" => r#"{"imageSpec":{"config":{"Entrypoint":null}}}"#,
                    _ => "not json",
                };
                Ok(ImageStatusResponse { info: [("info".to_owned(), info.to_owned())].into() })
            }),
            _ => unknown(),
        }
    }
}

/// A runtime in which `gone` is unknown, `ended` has ended, `side` is another container, and all else runs as `app` of `u-1`.
pub fn runtime(socket: &Path) -> tokio::task::JoinHandle<()> {
    play(socket, Arc::default())
}

fn play(socket: &Path, images: Arc<Images>) -> tokio::task::JoinHandle<()> {
    let incoming = UnixListenerStream::new(UnixListener::bind(socket).unwrap());
    tokio::spawn(async move {
        let server = tonic::transport::Server::builder().add_service(Glue(Arc::new(Runtime))).add_service(Glue(images));
        server.serve_with_incoming(incoming).await.unwrap();
    })
}

#[tokio::test]
async fn containers_and_images() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let cri = Cri::new(socket.clone());
    assert!(cri.container("a").await.is_err(), "no runtime yet");
    let images = Arc::new(Images::default());
    let runtime = play(&socket, images.clone());
    let expected = Runs { pod_uid: "u-1".into(), name: "app".into(), alive: true, image: "sha256:1".into() };
    assert_eq!(cri.container("a").await, Ok(Some(expected)), "it is connected to again");
    assert_eq!(cri.container("gone").await, Ok(None));
    assert!(!cri.container("ended").await.unwrap().unwrap().alive);
    let app = Starts { entrypoint: vec!["/app".into()], cmd: vec!["serve".into()] };
    assert_eq!(cri.starts("sha256:1").await, Ok(app.clone()));
    assert_eq!(cri.starts("sha256:1").await, Ok(app));
    assert_eq!(images.0.load(Ordering::Relaxed), 1, "an image is asked for once");
    assert_eq!(cri.starts("sha256:2").await, Ok(Starts::default()));
    assert!(cri.starts("other").await.is_err());
    runtime.abort();
}

#[tokio::test]
async fn a_number_alone_is_no_process_of_a_container() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let runtime = play(&socket, Arc::default());
    let cri = Cri::new(socket);
    assert!(matches!(cri.process("ended").await, Ok(Found::Ended)));
    assert!(matches!(cri.process("gone").await, Ok(Found::Unknown)), "another runtime may have it");
    assert!(matches!(cri.process("silent").await, Ok(Found::Unknown)));
    assert!(cri.process(&"a".repeat(64)).await.is_err(), "the process is not in that container");
    runtime.abort();
}
