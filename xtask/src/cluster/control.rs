//! The control plane: etcd, the API server, the controllers, the scheduler.

use std::time::Duration;

use anyhow::{Context, Result};

use super::daemon::{Daemon, Start, start};
use super::record::Cluster;
use super::{certs, instance};
use crate::parts::listens;

/// The control group of all of them.
const GROUP: &str = "control";

/// How long each may take until it answers. The machine may be busy.
const LIMIT: Duration = Duration::from_secs(90);

/// Starts etcd and waits until it listens.
pub fn etcd(cluster: &mut Cluster) -> Result<()> {
    let port = port(cluster, "etcd")?;
    let [client, peer] = [port, port + 1].map(|port| format!("http://127.0.0.1:{port}"));
    let args = flags(&[
        ("data-dir", &cluster.state.join("etcd").to_string_lossy()),
        ("name", "test"),
        ("listen-client-urls", &client),
        ("advertise-client-urls", &client),
        ("listen-peer-urls", &peer),
        ("initial-advertise-peer-urls", &peer),
        ("initial-cluster", &format!("test={peer}")),
        ("unsafe-no-fsync", "true"),
        ("log-level", "warn"),
    ]);
    run(cluster, "etcd", args)?.wait_until("etcd answers", LIMIT, || listens(port))
}

/// Starts the API server. It answers some time later: see `wait`.
pub fn api(cluster: &mut Cluster, more: &[String]) -> Result<Daemon> {
    let pki = |file: &str| certs::folder(cluster).join(file).to_string_lossy().into_owned();
    let etcd = format!("http://127.0.0.1:{}", port(cluster, "etcd")?);
    let host = instance::host(cluster.instance);
    let server = cluster.server.as_str();
    let mut args = flags(&[
        ("etcd-servers", &etcd),
        ("bind-address", &host),
        ("advertise-address", &host),
        ("secure-port", &port(cluster, "api")?.to_string()),
        ("service-cluster-ip-range", &format!("{}.0.0/16", instance::services(cluster.instance))),
        ("authorization-mode", "Node,RBAC"),
        ("enable-admission-plugins", "NodeRestriction"),
        ("allow-privileged", "true"),
        // Admission webhooks and other API servers are reached at their pods.
        ("enable-aggregator-routing", "true"),
        ("client-ca-file", &pki("ca.pem")),
        ("tls-cert-file", &pki("apiserver.pem")),
        ("tls-private-key-file", &pki("apiserver-key.pem")),
        ("kubelet-certificate-authority", &pki("ca.pem")),
        ("kubelet-client-certificate", &pki("apiserver-kubelet.pem")),
        ("kubelet-client-key", &pki("apiserver-kubelet-key.pem")),
        ("kubelet-preferred-address-types", "InternalIP"),
        ("service-account-issuer", server),
        ("service-account-jwks-uri", &format!("{server}/openid/v1/jwks")),
        ("api-audiences", &format!("{server},https://kubernetes.default.svc.cluster.local")),
        ("service-account-key-file", &pki("service-accounts.pem")),
        ("service-account-signing-key-file", &pki("service-accounts-key.pem")),
        ("requestheader-client-ca-file", &pki("front-ca.pem")),
        ("requestheader-allowed-names", "front-proxy-client"),
        ("requestheader-extra-headers-prefix", "X-Remote-Extra-"),
        ("requestheader-group-headers", "X-Remote-Group"),
        ("requestheader-username-headers", "X-Remote-User"),
        ("proxy-client-cert-file", &pki("front-proxy.pem")),
        ("proxy-client-key-file", &pki("front-proxy-key.pem")),
    ]);
    args.extend_from_slice(more);
    run(cluster, "kube-apiserver", args)
}

/// Waits until the API server says that it is ready.
pub fn wait(cluster: &Cluster, api: &Daemon) -> Result<()> {
    let asks = || cluster.kubectl(&["get", "--raw", "/readyz"]).is_ok_and(|out| out.status.success());
    // Asking costs a program; listening shows when it is worth it.
    let listens = || std::net::TcpStream::connect(cluster.server.trim_start_matches("https://")).is_ok();
    api.wait_until("the API server is ready", LIMIT, || listens() && asks())
}

/// Starts the controllers and the scheduler.
pub fn rest(cluster: &mut Cluster) -> Result<()> {
    let pki = |file: &str| certs::folder(cluster).join(file).to_string_lossy().into_owned();
    let config = |who: &str| cluster.state.join(format!("{who}.kubeconfig")).to_string_lossy().into_owned();
    let controllers = flags(&[
        ("kubeconfig", &config("controller-manager")),
        ("leader-elect", "false"),
        ("secure-port", "0"),
        ("use-service-account-credentials", "true"),
        ("service-account-private-key-file", &pki("service-accounts-key.pem")),
        ("root-ca-file", &pki("ca.pem")),
        ("cluster-signing-cert-file", &pki("ca.pem")),
        ("cluster-signing-key-file", &pki("ca-key.pem")),
        ("flex-volume-plugin-dir", &cluster.state.join("flex").to_string_lossy()),
        // It asks for a token for each of its forty controllers before they start: seconds, at the usual pace.
        ("kube-api-qps", "500"),
        ("kube-api-burst", "1000"),
    ]);
    let scheduler = flags(&[("kubeconfig", &config("scheduler")), ("leader-elect", "false"), ("secure-port", "0")]);
    run(cluster, "kube-controller-manager", controllers)?;
    run(cluster, "kube-scheduler", scheduler).map(drop)
}

fn run(cluster: &mut Cluster, program: &str, args: Vec<String>) -> Result<Daemon> {
    start(cluster, Start { name: program.to_owned(), group: GROUP.to_owned(), netns: None, program, args })
}

fn port(cluster: &Cluster, of: &str) -> Result<u16> {
    cluster.ports.get(of).copied().with_context(|| format!("no port was chosen for {of}"))
}

/// `--name=value`, as all of them take it.
pub fn flags(list: &[(&str, &str)]) -> Vec<String> {
    list.iter().map(|(name, value)| format!("--{name}={value}")).collect()
}
