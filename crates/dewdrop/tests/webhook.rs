//! `dewdrop kube webhook`, the program itself, over TLS: with a certificate of its own and with one from files.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::eventually;
use rustix::process::Signal;
use serde_json::{Value, json};

struct Webhook {
    process: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Webhook {
    fn start(more: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        account(folder.path());
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process =
            command(folder.path(), port).args(more).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let webhook = Self { process, port, folder };
        eventually("the webhook answers", || webhook.call("/readyz", None).0 == 200);
        webhook
    }

    /// The status and the text; 0 when there is no answer.
    fn call(&self, path: &str, body: Option<&Value>) -> (u16, String) {
        let Ok(ca) = std::fs::read(self.folder.path().join("ca.pem")) else { return (0, String::new()) };
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let ca = reqwest::Certificate::from_pem(&ca).unwrap();
        let client = reqwest::Client::builder().tls_certs_only([ca]).build().unwrap();
        let url = format!("https://localhost:{}{path}", self.port);
        let request = match body {
            Some(body) => client.post(url).json(body),
            None => client.get(url),
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            match request.send().await {
                Ok(response) => (response.status().as_u16(), response.text().await.unwrap()),
                Err(e) => (0, e.to_string()),
            }
        })
    }

    fn ask(&self, path: &str, question: &Value) -> Value {
        let (status, text) = self.call(path, Some(question));
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn account(folder: &Path) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
    std::fs::write(folder.join("ca.crt"), made.cert.pem()).unwrap();
    std::fs::write(folder.join("token"), "token").unwrap();
}

fn command(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dewdrop"));
    command.args(["kube", "webhook", "--names", "localhost", "--api-server", "https://127.0.0.1:1"]);
    command.arg(format!("--listen=127.0.0.1:{port}")).arg(format!("--api-account={}", folder.display()));
    command
        .arg(format!("--ca-file={}", folder.join("ca.pem").display()))
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null());
    command
}

fn question(operation: &str, sub: &str, env: &str) -> Value {
    let attributes = json!({"container": "app", "role": "app", "credentials": "db = database/creds/app", "env": env});
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u-1", "operation": operation, "namespace": "team", "name": "p", "subResource": sub,
        "resource": {"group": "", "version": "v1", "resource": "pods"}, "userInfo": {"username": "alice"},
        "object": {"metadata": {"name": "p"}, "spec": {
            "volumes": [{"name": "db", "csi": {"driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": attributes}}],
            "containers": [{"name": "app", "volumeMounts": [{"name": "db", "mountPath": "/db", "readOnly": true}]}],
        }},
    }})
}

#[test]
fn it_answers_over_tls_and_ends_when_told() {
    let mut webhook = Webhook::start(&[]);
    let changed = webhook.ask("/mutate", &question("CREATE", "", "true"));
    assert_eq!((&changed["response"]["uid"], &changed["response"]["patchType"]), (&json!("u-1"), &json!("JSONPatch")));
    let refused = webhook.ask("/validate", &question("CREATE", "", "true"));
    assert!(refused["response"]["status"]["message"].as_str().unwrap().contains("[wrapper]"), "{refused}");
    assert_eq!(webhook.ask("/validate", &question("CREATE", "", "false"))["response"]["allowed"], true);
    let (status, told) = webhook.call("/validate", Some(&question("CONNECT", "exec", "false")));
    assert!(status == 503 && told.contains("the API server could not be asked"), "{told}");
    common::send(webhook.process.id(), Signal::TERM);
    assert!(webhook.process.wait().unwrap().success());
}

#[test]
fn without_tls_and_without_a_cluster_it_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let mut alone = Command::new(env!("CARGO_BIN_EXE_dewdrop"));
    let output = alone.args(["kube", "webhook"]).env_clear().env("HOME", folder.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--api-server"), "{output:?}");
    account(folder.path());
    let output = command(folder.path(), 0).args(["--tls-cert=/no/tls.crt", "--tls-key=/no/tls.key"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("/no/tls.crt"), "{output:?}");
}
