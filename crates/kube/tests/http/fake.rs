//! A webhook in this process.

use std::sync::Arc;

use dewdrop_core::SystemClock;
use dewdrop_kube::certs::{Keeper, Own, Tls};
use dewdrop_kube::cluster::Cluster;
use dewdrop_kube::judge::{Judge, Manners, Mode};
use dewdrop_kube::mutate::{Agentless, Settings};
use dewdrop_kube::rules::{Ground, SecretFolders};
use dewdrop_kube::serve::Limits;
use serde_json::Value;
use tokio::net::TcpListener;

/// A webhook, and a client that trusts it.
pub struct Webhook {
    base: String,
    ca: String,
    client: reqwest::Client,
    _folder: tempfile::TempDir,
}

impl Webhook {
    /// Starts one over a played API server with these paths.
    pub async fn start(paths: &[(&str, u16, Value)]) -> Self {
        Self::start_with(paths, Limits { room: 16 << 20, ..Limits::default() }).await
    }

    /// The same, with other limits.
    pub async fn start_with(paths: &[(&str, u16, Value)], limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let api = super::played::Played::with(paths).start(folder.path()).await;
        let (base, ca) = serve(judge(Arc::new(api)), limits).await;
        let client = trusting(&ca).build().unwrap();
        Self { base, ca, client, _folder: folder }
    }

    /// The address without a scheme.
    pub fn address(&self) -> &str {
        self.base.strip_prefix("https://localhost:").unwrap()
    }

    /// A client of its own, with HTTP/1.1 alone or with what both sides like best.
    pub fn client_of(&self, only_http_1: bool) -> reqwest::Client {
        let builder = trusting(&self.ca);
        if only_http_1 { builder.http1_only().build().unwrap() } else { builder.build().unwrap() }
    }

    /// A client at another address of this machine.
    pub fn client_at(&self, address: [u8; 4]) -> reqwest::Client {
        trusting(&self.ca).local_address(std::net::IpAddr::from(address)).build().unwrap()
    }

    /// Where a path is.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// A request.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    /// Sends a body as JSON; the status and the text.
    pub async fn post(&self, path: &str, body: impl Into<reqwest::Body>) -> (u16, String) {
        let response =
            self.request("POST", path).header("content-type", "application/json").body(body).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    }

    /// The answer to a question.
    pub async fn ask(&self, path: &str, question: &Value) -> Value {
        let (status, text) = self.post(path, question.to_string()).await;
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

fn trusting(ca: &str) -> reqwest::ClientBuilder {
    let ca = reqwest::Certificate::from_pem(ca.as_bytes()).unwrap();
    reqwest::Client::builder().tls_certs_only([ca])
}

fn judge(cluster: Arc<dyn Cluster>) -> Arc<Judge> {
    let image = "dewdrop-exec:1".to_owned();
    let ground = Ground {
        audience: "dewdrop".into(),
        folders: SecretFolders::new("/var/lib/kubelet"),
        exec_image: Some(image.clone()),
    };
    let manners = Manners { exempt: vec!["kube-system".into()], literals: Mode::Warn, host_paths: Mode::Ignore };
    let address = "https://dewdrop.dewdrop-system.svc:8200".to_owned();
    let agentless = Some(Agentless { image, image_volume: false, address, auth_mount: "kubernetes".into(), ca: None });
    Arc::new(Judge::new(cluster, ground, manners, Settings { audience: "dewdrop".into(), agentless }))
}

/// A certificate for localhost, and who signed it.
pub async fn certificate() -> (Tls, String) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let clock = SystemClock::shared();
    let own = Own::new(vec!["localhost".into()], clock.now()).unwrap();
    let ca = own.ca_pem().to_owned();
    (Keeper::open(Box::new(own), clock).await.unwrap().1, ca)
}

async fn serve(judge: Arc<Judge>, limits: Limits) -> (String, String) {
    let (tls, ca) = certificate().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(dewdrop_kube::serve::serve(listener, tls, judge, limits, std::future::pending()));
    (base, ca)
}

/// A question about a pod.
pub fn question(operation: &str, sub: &str, object: &Value) -> Value {
    serde_json::json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "705ab4f5-6393-11e8-b7cc-42010a800002",
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": sub,
        "name": "p", "namespace": "team", "operation": operation, "object": object,
        "userInfo": {"username": "alice", "groups": ["system:authenticated"]},
    }})
}

/// A pod with a volume of ours.
pub fn pod() -> Value {
    serde_json::json!({"metadata": {"name": "p"}, "spec": {
        "volumes": [{"name": "db", "csi": {"driver": "csi.dewdrop.dev", "readOnly": true,
            "volumeAttributes": {"container": "app", "role": "app", "credentials": "db = database/creds/app", "env": "true"}}}],
        "containers": [{"name": "app", "image": "app:1", "volumeMounts": [{"name": "db", "mountPath": "/db", "readOnly": true}]}],
    }})
}
