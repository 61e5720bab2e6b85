//! The certificates of a cluster, all from one authority that is made for it and ends with it.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, PKCS_RSA_SHA256,
};

use super::record::{Cluster, Node};

/// Name of the key that ServiceAccounts' tokens are signed with after a rotation.
pub const NEW_ACCOUNTS: &str = "service-accounts-new";

/// A certificate to be made.
struct Wish<'a> {
    /// Name of the two files: `NAME.pem`, `NAME-key.pem`.
    file: &'a str,
    /// The user, for Kubernetes.
    name: &'a str,
    /// The user's group, for Kubernetes; may be empty.
    group: &'a str,
    /// Names and addresses of a server; empty for a client.
    hosts: Vec<String>,
}

/// Makes all of them in the folder `pki`.
pub fn make(cluster: &Cluster) -> Result<()> {
    let folder = folder(cluster);
    std::fs::create_dir_all(&folder)?;
    let authority = authority(&folder, "ca", "dewdrop-test-cluster")?;
    for wish in ours() {
        issue(&folder, &authority, wish)?;
    }
    issue(
        &folder,
        &authority,
        Wish { file: "apiserver", name: "kube-apiserver", group: "", hosts: api_names(cluster) },
    )?;
    for node in &cluster.nodes {
        of_node(&folder, &authority, node)?;
    }
    // Requests that the API server hands on to other API servers come with a certificate of another authority.
    let front = authority_of_the_front(&folder)?;
    issue(&folder, &front, client("front-proxy", "front-proxy-client", ""))?;
    service_accounts(&folder, "service-accounts")
}

/// A second key for the tokens of ServiceAccounts, beside the first: `service-accounts-new`.
pub fn new_service_accounts(cluster: &Cluster) -> Result<()> {
    service_accounts(&folder(cluster), NEW_ACCOUNTS)
}

/// Where they are.
pub fn folder(cluster: &Cluster) -> PathBuf {
    cluster.state.join("pki")
}

/// The parts of the control plane, and the administrator.
fn ours() -> Vec<Wish<'static>> {
    vec![
        client("admin", "kubernetes-admin", "system:masters"),
        // kubelet asks the API server whether the API server may: the group of administrators may.
        client("apiserver-kubelet", "kube-apiserver-kubelet-client", "system:masters"),
        client("controller-manager", "system:kube-controller-manager", ""),
        client("scheduler", "system:kube-scheduler", ""),
        client("proxy", "system:kube-proxy", ""),
    ]
}

fn of_node(folder: &Path, authority: &CertifiedIssuer<'_, KeyPair>, node: &Node) -> Result<()> {
    let user = format!("system:node:{}", node.name);
    issue(folder, authority, client(&format!("{}-client", node.name), &user, "system:nodes"))?;
    let hosts = vec![node.name.clone(), node.address.clone()];
    issue(folder, authority, Wish { file: &node.name, name: &user, group: "system:nodes", hosts })
}

fn api_names(cluster: &Cluster) -> Vec<String> {
    let host = cluster.server.trim_start_matches("https://");
    let host = host.split_once(':').map_or(host, |(host, _)| host);
    // The Service `kubernetes` has the first address of its range.
    let service = format!("{}.0.1", super::instance::services(cluster.instance));
    let names = [host, &service, "127.0.0.1", "localhost", "kubernetes", "kubernetes.default"];
    let mut names: Vec<String> = names.map(str::to_owned).into();
    names.push("kubernetes.default.svc".to_owned());
    names.push("kubernetes.default.svc.cluster.local".to_owned());
    names
}

fn client<'a>(file: &'a str, name: &'a str, group: &'a str) -> Wish<'a> {
    Wish { file, name, group, hosts: Vec::new() }
}

fn authority_of_the_front(folder: &Path) -> Result<CertifiedIssuer<'static, KeyPair>> {
    authority(folder, "front-ca", "dewdrop-test-front-proxy")
}

fn authority(folder: &Path, file: &str, name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    write(folder, &format!("{file}.pem"), &authority.pem())?;
    write(folder, &format!("{file}-key.pem"), &authority.key().serialize_pem())?;
    Ok(authority)
}

fn issue(folder: &Path, authority: &CertifiedIssuer<'_, KeyPair>, wish: Wish<'_>) -> Result<()> {
    let server = !wish.hosts.is_empty();
    let mut params = CertificateParams::new(wish.hosts)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, wish.name);
    if !wish.group.is_empty() {
        params.distinguished_name.push(DnType::OrganizationName, wish.group);
    }
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    let usage = if server { ExtendedKeyUsagePurpose::ServerAuth } else { ExtendedKeyUsagePurpose::ClientAuth };
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    write(folder, &format!("{}.pem", wish.file), &certificate.pem())?;
    write(folder, &format!("{}-key.pem", wish.file), &key.serialize_pem())
}

/// The key that signs the tokens of ServiceAccounts: RSA, as the clusters of this world have it.
fn service_accounts(folder: &Path, name: &str) -> Result<()> {
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    write(folder, &format!("{name}-key.pem"), &key.serialize_pem())?;
    write(folder, &format!("{name}.pem"), &key.public_key_pem())
}

fn write(folder: &Path, name: &str, text: &str) -> Result<()> {
    let file = folder.join(name);
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(&file).and_then(|mut open| open.write_all(text.as_bytes()));
    written.with_context(|| format!("cannot write {}", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::parts::TempDir;

    #[test]
    fn every_certificate_has_its_key_and_nobody_else_reads_them() {
        let dir = TempDir::new("clu").expect("folder");
        let mut cluster = Cluster::plan(0, dir.path(), Path::new("/bin"), 2).expect("plan");
        cluster.server = "https://10.244.0.1:6443".to_owned();
        make(&cluster).expect("make");
        for name in ["ca", "apiserver", "admin", "n1", "n1-client", "n2", "front-proxy", "service-accounts"] {
            for file in [format!("{name}.pem"), format!("{name}-key.pem")] {
                let path = folder(&cluster).join(&file);
                let mode = path.metadata().unwrap_or_else(|error| panic!("{file}: {error}")).permissions().mode();
                assert_eq!(mode & 0o777, 0o600, "{file}");
            }
        }
    }

    #[test]
    fn the_api_server_is_named_by_its_address_without_the_port() {
        let mut cluster = Cluster::plan(0, Path::new("/run/x"), Path::new("/bin"), 1).expect("plan");
        cluster.server = "https://10.244.0.1:6443".to_owned();
        let names = api_names(&cluster);
        assert_eq!(names.first().map(String::as_str), Some("10.244.0.1"));
        assert!(names.iter().any(|name| name == "10.96.0.1"));
    }
}
