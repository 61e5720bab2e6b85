//! A real etcd on loopback.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use dewdrop_core::SystemClock;
use dewdrop_testkit::pki::Ca;
use rcgen::{ExtendedKeyUsagePurpose, SanType};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use super::PATIENCE;
use crate::etcd::{Etcd, EtcdConfig, EtcdTls};

/// A server. It ends when this is dropped, and also when the whole test program ends in whatever way.
pub(super) struct Server {
    folder: TempDir,
    client_port: u16,
    peer_port: u16,
    tls: bool,
    process: Option<Child>,
}

/// The server for all tests that leave it alone.
pub(super) async fn shared_server() -> &'static Server {
    static SERVER: OnceCell<Server> = OnceCell::const_new();
    SERVER.get_or_init(Server::start).await
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

// === impl Server ===

impl Server {
    pub(super) async fn start() -> Self {
        Self::start_as(false).await
    }

    /// One that asks for certificates.
    pub(super) async fn start_with_tls() -> Self {
        Self::start_as(true).await
    }

    async fn start_as(tls: bool) -> Self {
        let mut server = Self {
            folder: tempfile::tempdir().unwrap(),
            client_port: free_port(),
            peer_port: free_port(),
            tls,
            process: None,
        };
        if tls {
            server.make_certificates();
        }
        server.again().await;
        server
    }

    /// Starts it on its old data, and waits until it answers.
    pub(super) async fn again(&mut self) {
        let scheme = if self.tls { "https" } else { "http" };
        let (client, peer) =
            (format!("{scheme}://127.0.0.1:{}", self.client_port), format!("http://127.0.0.1:{}", self.peer_port));
        // The shell waits for the end of its input, which comes with the end of this program.
        let script = r#"etcd "$@" & pid=$!; cat >/dev/null; kill -9 $pid"#;
        let mut command = Command::new("sh");
        command.args(["-c", script, "etcd", "--name=t", "--logger=zap", "--log-level=error"]);
        command.arg(format!("--data-dir={}", self.folder.path().join("data").display()));
        command.args([format!("--listen-client-urls={client}"), format!("--advertise-client-urls={client}")]);
        command.args([format!("--listen-peer-urls={peer}"), format!("--initial-advertise-peer-urls={peer}")]);
        command.arg(format!("--initial-cluster=t={peer}"));
        if self.tls {
            let file = |name: &str| self.folder.path().join(name).display().to_string();
            command.arg("--client-cert-auth").arg(format!("--trusted-ca-file={}", file("ca.pem")));
            command.args([format!("--cert-file={}", file("it.pem")), format!("--key-file={}", file("it.key"))]);
        }
        assert!(
            Command::new("etcd").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()),
            "etcd is missing: apt-get install etcd-server"
        );
        self.process = Some(command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let up = async {
            while Etcd::connect(self.config("probe/"), SystemClock::shared()).await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(PATIENCE, up).await.expect("etcd did not start");
    }

    /// `kill -9`.
    pub(super) async fn kill(&mut self) {
        if let Some(mut shell) = self.process.take() {
            drop(shell.stdin.take());
            shell.wait().unwrap();
            // The shell has sent the signal; the port is free when it has arrived.
            while TcpListener::bind(("127.0.0.1", self.client_port)).is_err() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    }

    /// A store below a prefix that nobody else has.
    pub(super) async fn store(&self) -> Etcd {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("test-{}/", NEXT.fetch_add(1, Ordering::Relaxed));
        Etcd::connect(self.config(&prefix), SystemClock::shared()).await.unwrap()
    }

    pub(super) fn config(&self, prefix: &str) -> EtcdConfig {
        let scheme = if self.tls { "https" } else { "http" };
        let read = |name: &str| std::fs::read(self.folder.path().join(name)).unwrap();
        let tls = self.tls.then(|| EtcdTls {
            ca_pem: read("ca.pem"),
            identity_pem: Some((read("it.pem"), read("it.key").into())),
            server_name: Some("localhost".into()),
        });
        EtcdConfig {
            endpoints: vec![format!("{scheme}://127.0.0.1:{}", self.client_port)],
            prefix: prefix.into(),
            user: None,
            tls,
            timeout: Duration::from_secs(if self.process.is_some() { 10 } else { 1 }),
        }
    }

    /// A CA, and one certificate that serves both sides.
    fn make_certificates(&self) {
        let ca = Ca::new("etcd");
        std::fs::write(self.folder.path().join("ca.pem"), ca.pem()).unwrap();
        let it = ca.issue("etcd", |params| {
            let name = SanType::DnsName("localhost".try_into().unwrap());
            params.subject_alt_names = vec![name, SanType::IpAddress([127, 0, 0, 1].into())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        });
        it.write(self.folder.path(), "it");
    }
}
