//! The authority that replicas share through the API server.

use std::time::Duration;

use base64::Engine as _;
use dewdrop_core::Moment;
use dewdrop_kube::certs::{Managed, Pair, Places, Source};
use serde_json::{Value, json};

use super::played::Played;

const SECRET: &str = "/api/v1/namespaces/dewdrop-system/secrets/dewdrop-webhook";
const VALIDATING: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/dewdrop";
const NOW: Moment = Moment(1_800_000_000_000);
const DAY: Duration = Duration::from_secs(24 * 3600);

struct Cluster {
    played: Played,
    folder: tempfile::TempDir,
}

impl Cluster {
    fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let played = Played::with(&[(VALIDATING, 200, configuration())]);
        Self { played, folder: tempfile::tempdir().unwrap() }
    }

    async fn replica(&self) -> Managed {
        let places = Places {
            namespace: "dewdrop-system".into(),
            secret: "dewdrop-webhook".into(),
            configuration: "dewdrop".into(),
        };
        Managed::new(self.played.start(self.folder.path()).await, places, vec!["localhost".into()])
    }

    /// The certificates in the configuration.
    fn trusted(&self) -> String {
        let object = self.played.at(VALIDATING);
        let bundles: Vec<&Value> =
            [0, 1].iter().map(|at| &object["webhooks"][at]["clientConfig"]["caBundle"]).collect();
        assert_eq!(bundles[0], bundles[1]);
        let bytes = base64::engine::general_purpose::STANDARD.decode(bundles[0].as_str().unwrap()).unwrap();
        String::from_utf8(bytes).unwrap()
    }
}

fn configuration() -> Value {
    json!({"webhooks": [{"name": "a", "clientConfig": {"service": {"name": "x"}}}, {"name": "b", "clientConfig": {"caBundle": "b2xk"}}]})
}

/// Whether a client that trusts the bundle would take the leaf.
fn fits(bundle: &str, pair: &Pair, now: Moment) -> bool {
    use rustls::client::danger::ServerCertVerifier;
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    let mut roots = rustls::RootCertStore::empty();
    CertificateDer::pem_slice_iter(bundle.as_bytes()).for_each(|ca| roots.add(ca.unwrap()).unwrap());
    let verifier = rustls::client::WebPkiServerVerifier::builder(roots.into()).build().unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let now = UnixTime::since_unix_epoch(Duration::from_secs(now.seconds()));
    verifier.verify_server_cert(&pair.chain[0], &[], &name, &[], now).is_ok()
}

#[tokio::test]
async fn two_replicas_share_one_authority() {
    let cluster = Cluster::new();
    let (mut one, mut two) = (cluster.replica().await, cluster.replica().await);
    let first = one.renewed(NOW).await.unwrap().unwrap();
    let bundle = cluster.trusted();
    let second = two.renewed(NOW).await.unwrap().unwrap();
    assert_eq!(cluster.trusted(), bundle);
    assert!(fits(&bundle, &first, NOW) && fits(&bundle, &second, NOW));
    assert!(one.renewed(NOW.plus(DAY)).await.unwrap().is_none(), "nothing is due");
}

#[tokio::test]
async fn a_configuration_that_was_put_back_is_mended() {
    let cluster = Cluster::new();
    let mut one = cluster.replica().await;
    one.renewed(NOW).await.unwrap();
    let bundle = cluster.trusted();
    cluster.played.put(VALIDATING, 200, configuration());
    assert!(one.renewed(NOW.plus(Duration::from_secs(61))).await.unwrap().is_none());
    assert_eq!(cluster.trusted(), bundle);
}

#[tokio::test]
async fn a_new_authority_leaves_the_former_one_trusted() {
    let cluster = Cluster::new();
    let (mut one, mut two) = (cluster.replica().await, cluster.replica().await);
    one.renewed(NOW).await.unwrap();
    let late = NOW.plus(DAY * 239);
    let old = two.renewed(late).await.unwrap().unwrap();
    let later = NOW.plus(DAY * 241);
    let new = one.renewed(later).await.unwrap().unwrap();
    let bundle = cluster.trusted();
    assert_eq!(bundle.matches("BEGIN CERTIFICATE").count(), 2);
    assert!(fits(&bundle, &old, later) && fits(&bundle, &new, later));
    let caught_up = two.renewed(later).await.unwrap().unwrap();
    assert!(fits(&bundle, &caught_up, later));
    assert_eq!(cluster.trusted(), bundle, "the second replica makes no third authority");
}

#[tokio::test]
async fn what_the_api_server_refuses_is_told_without_the_key() {
    let cluster = Cluster::new();
    cluster.played.put(SECRET, 403, json!({}));
    let told = cluster.replica().await.renewed(NOW).await.err().unwrap().to_string();
    assert!(told.contains("needs the right to get the webhook's secret"), "{told}");
    cluster.played.put(SECRET, 200, json!({"metadata": {}, "data": {"ca.crt": "canary", "ca.key": "canary"}}));
    let told = cluster.replica().await.renewed(NOW).await.err().unwrap().to_string();
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test]
async fn configurations_that_are_not_there_yet_are_waited_for() {
    let cluster = Cluster::new();
    cluster.played.put(VALIDATING, 404, json!({}));
    let mut one = cluster.replica().await;
    assert!(one.renewed(NOW).await.unwrap().is_some());
    cluster.played.put(VALIDATING, 200, configuration());
    one.renewed(NOW.plus(Duration::from_secs(61))).await.unwrap();
    assert!(cluster.trusted().contains("BEGIN CERTIFICATE"));
}
