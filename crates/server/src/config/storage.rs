//! `storage "redb" | "etcd" | "inmem"`.

use std::path::PathBuf;

use dewdrop_core::Secret;

use super::fields::{Fields, Report, Rule, Unbuilt};
use super::tree::Block;

/// Where the state is kept.
#[derive(Debug)]
pub enum Storage {
    /// One file on this machine.
    Redb {
        /// The directory; it is made when it is not there.
        path: PathBuf,
    },
    /// An etcd cluster.
    Etcd(Etcd),
    /// Nowhere: gone with the process.
    Inmem,
}

/// How the etcd cluster is reached.
#[derive(Debug)]
pub struct Etcd {
    /// `https://host:port`, at least one.
    pub endpoints: Vec<String>,
    /// Prefix of all keys, with a slash at the end.
    pub prefix: String,
    /// User, when etcd asks for one.
    pub login: Option<EtcdLogin>,
    /// PEM: authorities of etcd's certificate; the system's when `None`.
    pub ca_file: Option<PathBuf>,
    /// PEM: our certificate and its key, when etcd asks for them.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// A user of etcd.
#[derive(Debug)]
pub struct EtcdLogin {
    /// The name.
    pub user: String,
    /// The password.
    pub password: Secret<String>,
}

const ONE_FILE: &str =
    "use storage \"redb\" { path = \"/var/lib/dewdrop\" } for one machine, or storage \"etcd\" for several";

/// Storages of other servers, and what to use instead.
const OTHERS: [(&str, &str); 13] = [
    ("file", ONE_FILE),
    (
        "raft",
        "use storage \"redb\" { path = ... } for one machine, or storage \"etcd\" { address = ... } for a cluster: there is no Raft of our own",
    ),
    (
        "postgresql",
        "use storage \"redb\" for one machine, or storage \"etcd\" for a cluster; PostgreSQL can still be a target of dynamic credentials",
    ),
    ("mysql", ONE_FILE),
    ("consul", "use storage \"etcd\" { address = ... } for a cluster"),
    ("zookeeper", "use storage \"etcd\" { address = ... } for a cluster"),
    ("s3", ONE_FILE),
    ("gcs", ONE_FILE),
    ("azure", ONE_FILE),
    ("dynamodb", ONE_FILE),
    ("pebbledb", ONE_FILE),
    ("cockroachdb", ONE_FILE),
    ("inmem_ha", "use storage \"inmem\" for tests"),
];

const HARMLESS: &str = "servers share the storage and need no election";

/// Reads one `storage` block.
pub(super) fn read(report: &Report<'_>, block: &Block<'_>) -> Option<Storage> {
    let Some(kind) = block.labels.first() else {
        report.lacking(block.key.span, "this storage has no type", ONE_FILE);
        return None;
    };
    let mut fields = Fields::of(report, block, format!("storage {:?}", kind.name));
    let storage = match kind.name.as_str() {
        "redb" => match fields.filled("path") {
            Some(path) => Some(Storage::Redb { path: path.into() }),
            None => {
                report.lacking(kind.span, "this storage has no path", "write path = \"/var/lib/dewdrop\"");
                None
            }
        },
        "etcd" => etcd(&mut fields).map(Storage::Etcd),
        "inmem" => Some(Storage::Inmem),
        other => {
            let help = OTHERS.iter().find(|(name, _)| *name == other).map_or(ONE_FILE, |(_, help)| help);
            report.problem(kind.span, format!("storage {other:?} is not supported"), help);
            return None;
        }
    };
    fields.unbuilt(&[
        Unbuilt { key: "ha_enabled", rule: Rule::Harmless, why: HARMLESS },
        Unbuilt { key: "disable_clustering", rule: Rule::Harmless, why: HARMLESS },
        Unbuilt { key: "redirect_addr", rule: Rule::Harmless, why: HARMLESS },
        Unbuilt { key: "sync", rule: Rule::Harmless, why: "the cluster is found by the addresses alone" },
        Unbuilt { key: "etcd_api", rule: Rule::Harmless, why: "version 3 is the only one" },
        Unbuilt { key: "max_parallel", rule: Rule::Harmless, why: "writes are grouped by themselves" },
        Unbuilt { key: "discovery_srv", rule: Rule::RefusedIfSet, why: "list the members in address" },
    ]);
    fields.finish();
    storage
}

fn etcd(fields: &mut Fields<'_>) -> Option<Etcd> {
    let mut endpoints = Vec::new();
    for (address, span) in fields.list("address").unwrap_or_default() {
        match address.parse::<http::Uri>() {
            Ok(uri) if matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some() => {
                endpoints.push(address)
            }
            _ => fields.report.problem(
                span,
                "this is no address of etcd",
                "write \"https://etcd-0:2379\"; several with commas",
            ),
        }
    }
    let user = fields.filled("username");
    let password = fields.filled("password").map(Secret::new);
    let ca_file = fields.filled("tls_ca_file").map(PathBuf::from);
    let certificate = fields.filled("tls_cert_file").map(PathBuf::from);
    let key = fields.filled("tls_key_file").map(PathBuf::from);
    let prefix = fields.filled("path").unwrap_or_else(|| "/dewdrop/".into());
    if endpoints.is_empty() {
        fields.report.lacking(fields.span, "this storage has no address", "write address = \"https://etcd-0:2379\"");
    }
    let client = match (certificate, key) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => {
            let message = "\"tls_cert_file\" and \"tls_key_file\" belong together";
            fields.report.problem(fields.span, message, "set both, or none of them");
            None
        }
    };
    let login = match (user, password) {
        (Some(user), Some(password)) => Some(EtcdLogin { user, password }),
        (None, None) => None,
        _ => {
            let message = "\"username\" and \"password\" belong together";
            fields.report.problem(fields.span, message, "set both, or none of them");
            None
        }
    };
    let prefix = format!("{}/", prefix.trim_end_matches('/'));
    Some(Etcd { endpoints, prefix, login, ca_file, client })
}
