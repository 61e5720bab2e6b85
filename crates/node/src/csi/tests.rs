//! The contract of the driver over its real socket: what kubelet may ask, and what each wrong request is answered. The cases
//! for missing and unknown things are those of csi-sanity's Node suite.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use prost::Message;
use tokio::sync::oneshot;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::wire::*;
use super::*;

/// Notes what it is asked.
#[derive(Default)]
struct Fake {
    told: Mutex<Vec<String>>,
    at_once: AtomicU32,
    most_at_once: AtomicU32,
    refuses: Mutex<Option<fn() -> PublishError>>,
    not_ready: AtomicBool,
}

#[async_trait]
impl Publisher for Fake {
    async fn publish(&self, ask: PublishAsk) -> Result<(), PublishError> {
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
        self.at_once.fetch_sub(1, Ordering::SeqCst);
        if let Some(refusal) = *self.refuses.lock() {
            return Err(refusal());
        }
        let PublishAsk { volume_id, pod, spec, token, fs_group, .. } = ask;
        let token = token.expose().len();
        self.told
            .lock()
            .push(format!("{volume_id} {} {} token of {token} group {fs_group:?}", pod.name, spec.container));
        Ok(())
    }

    async fn unpublish(&self, volume_id: &str, _: &Path) -> Result<(), PublishError> {
        self.told.lock().push(format!("gone {volume_id}"));
        Ok(())
    }

    fn is_ready(&self) -> bool {
        !self.not_ready.load(Ordering::SeqCst)
    }
}

/// A driver on real sockets, and kubelet's side of it.
struct Rig {
    fake: Arc<Fake>,
    dir: tempfile::TempDir,
    driver: Channel,
    registration: Channel,
    _stop: oneshot::Sender<()>,
}

async fn channel(socket: PathBuf) -> Channel {
    for _ in 0..500 {
        if socket.exists() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    Endpoint::from_static("http://localhost").connect_with_connector(connect).await.unwrap()
}

async fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let fake = Arc::new(Fake::default());
    let (stop, stopped) = oneshot::channel::<()>();
    let stopped = stopped.map(drop).shared();
    let (root, publisher) = (dir.path().to_owned(), fake.clone());
    tokio::spawn(async move { serve(&root, "n1", publisher, stopped).await.unwrap() });
    let driver = channel(dir.path().join("plugins/csi.dewdrop.dev/csi.sock")).await;
    let registration = channel(dir.path().join("plugins_registry/csi.dewdrop.dev@registration.sock")).await;
    Rig { fake, dir, driver, registration, _stop: stop }
}

async fn call<Q: Message + Default + 'static, A: Message + Default + 'static>(
    channel: &Channel,
    path: &'static str,
    ask: Q,
) -> Result<A, Status> {
    let mut grpc = tonic::client::Grpc::new(channel.clone());
    grpc.ready().await.unwrap();
    let answer = grpc.unary(Request::new(ask), PathAndQuery::from_static(path), ProstCodec::<Q, A>::default()).await?;
    Ok(answer.into_inner())
}

impl Rig {
    fn good(&self) -> NodePublishVolumeRequest {
        let context = [
            ("container", "app"),
            ("role", "app"),
            ("credentials", "db = database/creds/app"),
            ("csi.storage.k8s.io/pod.name", "web"),
            ("csi.storage.k8s.io/pod.namespace", "shop"),
            ("csi.storage.k8s.io/pod.uid", "u"),
            ("csi.storage.k8s.io/ephemeral", "true"),
        ];
        let tokens = r#"{"dewdrop":{"token":"t.t.t","expirationTimestamp":"2026-11-28T00:00:00Z"}}"#;
        NodePublishVolumeRequest {
            volume_id: "csi-1".into(),
            target_path: self.target(),
            volume_capability: Some(VolumeCapability { block: None, mount: Some(MountVolume::default()) }),
            readonly: true,
            secrets: HashMap::from([("csi.storage.k8s.io/serviceAccount.tokens".into(), tokens.into())]),
            volume_context: context.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        }
    }

    fn target(&self) -> String {
        self.dir.path().join("pods/u/volumes/kubernetes.io~csi/s/mount").display().to_string()
    }

    async fn publish(&self, ask: NodePublishVolumeRequest) -> Result<Empty, Status> {
        call(&self.driver, "/csi.v1.Node/NodePublishVolume", ask).await
    }

    async fn unpublish(&self, volume_id: &str, target_path: &str) -> Result<Empty, Status> {
        let ask = NodeUnpublishVolumeRequest { volume_id: volume_id.into(), target_path: target_path.into() };
        call(&self.driver, "/csi.v1.Node/NodeUnpublishVolume", ask).await
    }
}

#[tokio::test]
async fn kubelet_finds_the_driver_and_learns_what_it_can() {
    let rig = rig().await;
    let info: PluginInfo = call(&rig.registration, "/pluginregistration.Registration/GetInfo", Empty {}).await.unwrap();
    assert_eq!((info.kind.as_str(), info.name.as_str()), ("CSIPlugin", DRIVER));
    assert!(Path::new(&info.endpoint).exists(), "{}", info.endpoint);
    let status = RegistrationStatus { plugin_registered: true, error: String::new() };
    let _: Empty =
        call(&rig.registration, "/pluginregistration.Registration/NotifyRegistrationStatus", status).await.unwrap();
    let plugin: GetPluginInfoResponse = call(&rig.driver, "/csi.v1.Identity/GetPluginInfo", Empty {}).await.unwrap();
    assert_eq!(plugin.name, DRIVER);
    let probe: ProbeResponse = call(&rig.driver, "/csi.v1.Identity/Probe", Empty {}).await.unwrap();
    assert!(probe.ready.unwrap().value);
    let node: NodeGetInfoResponse = call(&rig.driver, "/csi.v1.Node/NodeGetInfo", Empty {}).await.unwrap();
    assert_eq!(node.node_id, "n1");
    let can: NodeGetCapabilitiesResponse =
        call(&rig.driver, "/csi.v1.Node/NodeGetCapabilities", Empty {}).await.unwrap();
    assert_eq!(can.capabilities[0].rpc.unwrap().kind, VOLUME_MOUNT_GROUP);
    let unknown: Result<Empty, Status> = call(&rig.driver, "/csi.v1.Node/NodeStageVolume", Empty {}).await;
    assert_eq!(unknown.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn kubelet_may_name_the_socket_as_the_host() {
    let rig = rig().await;
    let socket = rig.dir.path().join("plugins_registry").join(REGISTRATION);
    // As grpc-go writes it.
    let host = socket.display().to_string().replace('/', "%2F");
    let connect = tower::service_fn(move |_| {
        let socket = socket.clone();
        async move { tokio::net::UnixStream::connect(socket).await.map(TokioIo::new) }
    });
    let endpoint = Endpoint::from_shared(format!("http://{host}")).unwrap();
    let channel = endpoint.connect_with_connector(connect).await.unwrap();
    let info: PluginInfo = call(&channel, "/pluginregistration.Registration/GetInfo", Empty {}).await.unwrap();
    assert_eq!(info.name, DRIVER);
}

#[tokio::test]
async fn sockets_are_for_root_alone() {
    use std::os::unix::fs::PermissionsExt;
    let rig = rig().await;
    for socket in ["plugins/csi.dewdrop.dev/csi.sock", "plugins_registry/csi.dewdrop.dev@registration.sock"] {
        let mode = std::fs::metadata(rig.dir.path().join(socket)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{socket}");
    }
}

#[tokio::test]
async fn a_whole_request_reaches_the_agent_and_comes_again() {
    let rig = rig().await;
    let mut ask = rig.good();
    ask.volume_capability =
        Some(VolumeCapability { block: None, mount: Some(MountVolume { volume_mount_group: "2000".into() }) });
    rig.publish(ask.clone()).await.unwrap();
    rig.publish(ask).await.unwrap();
    rig.unpublish("csi-1", &rig.target()).await.unwrap();
    rig.unpublish("csi-1", &rig.target()).await.unwrap();
    let published = "csi-1 web app token of 5 group Some(2000)";
    assert_eq!(*rig.fake.told.lock(), [published, published, "gone csi-1", "gone csi-1"]);
}

#[tokio::test]
async fn every_wrong_request_is_refused_in_words_and_reaches_nobody() {
    let rig = rig().await;
    type Spoil = fn(&mut NodePublishVolumeRequest);
    let wrong: [(&str, Spoil); 14] = [
        ("readOnly: true", |a| a.readonly = false),
        ("volume_id is missing", |a| a.volume_id.clear()),
        ("volume_id is not one", |a| a.volume_id = "../x".into()),
        ("target_path is missing", |a| a.target_path.clear()),
        ("target_path must be", |a| a.target_path = "pods/x".into()),
        ("target_path must be", |a| a.target_path = "/etc".into()),
        ("target_path must be", |a| a.target_path.push_str("/../../../../../../../etc")),
        ("volume_capability is missing", |a| a.volume_capability = None),
        ("block volumes", |a| a.volume_capability = Some(VolumeCapability { block: Some(Empty {}), mount: None })),
        ("neither block nor mount", |a| a.volume_capability = Some(VolumeCapability::default())),
        ("`role` is missing", |a| drop(a.volume_context.remove("role"))),
        ("podInfoOnMount", |a| drop(a.volume_context.remove("csi.storage.k8s.io/pod.uid"))),
        ("inline", |a| drop(a.volume_context.remove("csi.storage.k8s.io/ephemeral"))),
        ("tokenRequests", |a| a.secrets.clear()),
    ];
    for (part, spoil) in wrong {
        let mut ask = rig.good();
        spoil(&mut ask);
        let status = rig.publish(ask).await.expect_err(part);
        assert_eq!(status.code(), Code::InvalidArgument, "{part}");
        assert!(status.message().contains(part), "{part}: {}", status.message());
        assert!(!status.message().contains("t.t.t"), "the token is in {}", status.message());
    }
    for (volume, target) in [("", rig.target()), ("csi-1", String::new()), ("csi-1", "/etc".into())] {
        assert_eq!(rig.unpublish(volume, &target).await.unwrap_err().code(), Code::InvalidArgument);
    }
    assert!(rig.fake.told.lock().is_empty());
}

#[tokio::test]
async fn a_token_for_us_is_taken_among_several_and_old_kubelets_are_understood() {
    let rig = rig().await;
    let mut ask = rig.good();
    let tokens = r#"{"other":{"token":"xx"},"dewdrop":{"token":"tt.tt.tt"}}"#;
    ask.secrets.clear();
    ask.volume_context.insert("csi.storage.k8s.io/serviceAccount.tokens".into(), tokens.into());
    rig.publish(ask.clone()).await.unwrap();
    assert!(rig.fake.told.lock()[0].contains("token of 8"));
    ask.volume_context
        .insert("csi.storage.k8s.io/serviceAccount.tokens".into(), r#"{"a":{"token":"x"},"b":{"token":"y"}}"#.into());
    assert!(rig.publish(ask).await.unwrap_err().message().contains("audience"));
}

#[tokio::test]
async fn one_volume_has_one_call_at_a_time_and_others_go_on() {
    let rig = rig().await;
    let same = (0..4).map(|_| rig.publish(rig.good()));
    futures_util::future::try_join_all(same).await.unwrap();
    assert_eq!(rig.fake.most_at_once.load(Ordering::SeqCst), 1);
    let others = (0..4).map(|n| {
        let mut ask = rig.good();
        ask.volume_id = format!("csi-{n}");
        rig.publish(ask)
    });
    futures_util::future::try_join_all(others).await.unwrap();
    assert!(rig.fake.most_at_once.load(Ordering::SeqCst) > 1);
}

#[tokio::test]
async fn the_agents_refusals_reach_kubelet_as_they_are() {
    let rig = rig().await;
    let refusals: [(Code, fn() -> PublishError); 4] = [
        (Code::InvalidArgument, || PublishError::InvalidArgument("why".into())),
        (Code::PermissionDenied, || PublishError::PermissionDenied("why".into())),
        (Code::Unavailable, || PublishError::Unavailable("why".into())),
        (Code::Internal, || PublishError::Internal("why".into())),
    ];
    for (code, refusal) in refusals {
        *rig.fake.refuses.lock() = Some(refusal);
        let status = rig.publish(rig.good()).await.unwrap_err();
        assert_eq!((status.code(), status.message()), (code, "why"));
    }
}

#[tokio::test]
async fn a_probe_from_the_command_line_is_answered_by_the_agent_that_runs() {
    let nobody = tempfile::tempdir().unwrap();
    assert!(crate::check(nobody.path()).await.unwrap_err().contains("does not answer"));
    let rig = rig().await;
    assert_eq!(crate::check(rig.dir.path()).await, Ok(()));
    rig.fake.not_ready.store(true, Ordering::SeqCst);
    assert!(crate::check(rig.dir.path()).await.unwrap_err().contains("not reached the server"));
}

#[tokio::test]
async fn a_driver_that_is_not_ready_says_so_and_then_that_it_is() {
    let rig = rig().await;
    for ready in [false, true] {
        rig.fake.not_ready.store(!ready, Ordering::SeqCst);
        let probe: ProbeResponse = call(&rig.driver, "/csi.v1.Identity/Probe", Empty {}).await.unwrap();
        assert_eq!(probe.ready.unwrap().value, ready);
    }
}

#[tokio::test]
async fn what_the_driver_does_not_have_is_unimplemented() {
    let rig = rig().await;
    for path in [
        "/csi.v1.Node/NodeStageVolume",
        "/csi.v1.Node/NodeUnstageVolume",
        "/csi.v1.Node/NodeGetVolumeStats",
        "/csi.v1.Node/NodeExpandVolume",
        "/csi.v1.Node/nodepublishvolume",
        "/csi.v1.Controller/CreateVolume",
        "/csi.v1.Controller/ControllerGetCapabilities",
        "/csi.v1.GroupController/GroupControllerGetCapabilities",
        "/csi.v0.Node/NodePublishVolume",
    ] {
        let answer: Result<Empty, Status> = call(&rig.driver, path, rig.good()).await;
        assert_eq!(answer.unwrap_err().code(), Code::Unimplemented, "{path}");
    }
    assert!(rig.fake.told.lock().is_empty());
}

/// A message of another kind: its fields have the numbers of ours and other types.
#[derive(Clone, PartialEq, Message)]
struct Other {
    #[prost(uint64, tag = "1")]
    volume_id: u64,
    #[prost(uint64, tag = "4")]
    target_path: u64,
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_the_driver_lives() {
    let rig = rig().await;
    let other = || Other { volume_id: 1, target_path: 2 };
    for path in ["/csi.v1.Node/NodePublishVolume", "/csi.v1.Node/NodeUnpublishVolume"] {
        let answer: Result<Empty, Status> = call(&rig.driver, path, other()).await;
        answer.expect_err(path);
    }
    let mut huge = rig.good();
    huge.volume_context.insert("template".into(), "x".repeat(5 << 20));
    rig.publish(huge).await.expect_err("more than gRPC takes");
    assert!(rig.fake.told.lock().is_empty());
    rig.publish(rig.good()).await.unwrap();
}
