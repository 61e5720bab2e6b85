//! The configuration: OpenBao's language (HCL or JSON) read into types, once, at the start.
//!
//! Nothing that is not understood is passed over: a setting that is not known is refused with the nearest one that is; one
//! that is known and not built is refused when going on without it would not be what was asked for, and else named in a
//! warning. Every mistake is reported at once, with its line. The settings follow OpenBao's public manual and what
//! `bao server` 2.7.2 does; `audit_log`, `traces`, `storage "redb"`, `max_connections`, `max_concurrent_streams`, `max_header_size` and
//! `tls_handshake_timeout` are our own.

mod audit;
mod env;
mod fields;
mod general;
mod hcl;
mod headers;
mod json;
mod listener;
mod scan;
mod seal;
mod source;
mod storage;
mod tls;
mod traces;
mod tree;
mod value;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

pub use audit::{Audit, AuditDevice, AuditLog, AuditSink, SocketKind};
pub use general::{Addresses, Lockout, LogFormat, LogLevel, Logging, Metrics, Switches, Times};
pub use headers::ResponseHeaders;
pub use listener::{Access, Bind, Forwarded, JsonLimits, Limits, Listener};
pub use seal::{KeyError, KeySource, Seal, StaticKey, StaticSeal};
pub use source::Problem;
pub use storage::{Etcd, EtcdLogin, Storage};
pub use tls::{ClientCertificates, TlsFiles};
pub use traces::Traces;

use fields::{Fields, Report};
use source::Source;
use tree::Body;

/// Longest configuration that is read, in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// A configuration without mistakes.
#[derive(Debug)]
pub struct Config {
    /// Where the server listens; at least one.
    pub listeners: Vec<Listener>,
    /// Where the state is kept.
    pub storage: Storage,
    /// What wraps the root key; never empty (key shares unless set).
    pub seals: Vec<Seal>,
    /// The audit log and its copies.
    pub audit: Audit,
    /// Metrics.
    pub metrics: Metrics,
    /// Where the spans of requests go, if anywhere.
    pub traces: Option<Traces>,
    /// Where clients find this server.
    pub addresses: Addresses,
    /// The server's own log.
    pub logging: Logging,
    /// Times of leases and requests.
    pub times: Times,
    /// Locks after failed logins, by auth method; `all` for those that are not named.
    pub lockouts: BTreeMap<String, Lockout>,
    /// Switches.
    pub switches: Switches,
    /// What was accepted and has no effect, for the log.
    pub warnings: Vec<Problem>,
}

/// What `dewdrop server -dev` was told.
#[derive(Debug, Clone)]
pub struct DevOptions {
    /// `-dev-listen-address`.
    pub address: SocketAddr,
    /// `-dev-data-dir`: the state is kept here, else in memory.
    pub data_dir: Option<PathBuf>,
    /// `-dev-tls`: certificate, key.
    pub tls: Option<(PathBuf, PathBuf)>,
}

impl Config {
    /// Reads a file, or all `*.hcl` and `*.json` of a directory in the order of their names, under the environment
    /// (`DEWDROP_*`, `BAO_*`, `VAULT_*`, found by `env`).
    ///
    /// # Errors
    /// Every mistake, in the order of the files.
    pub fn from_file(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        Self::from_files(&[path.to_owned()], env)
    }

    /// The same for several `-config` flags.
    ///
    /// # Errors
    /// Every mistake, in the order of the files.
    pub fn from_files(paths: &[PathBuf], env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut sources = Vec::new();
        for path in paths.iter().flat_map(|path| expand(path, &mut problems)).collect::<Vec<_>>() {
            match read_text(&path) {
                Ok(text) => sources.push(Source { name: path.display().to_string(), text }),
                Err(problem) => problems.push(problem),
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Self::from_sources(&sources, env)
    }

    /// Reads one text: JSON when it begins with `{`, else HCL. `name` stands in the reports.
    ///
    /// # Errors
    /// Every mistake, in the order of the lines.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        Self::from_sources(&[Source { name: name.into(), text: text.into() }], &|_| None)
    }

    /// The configuration of `-dev`: plain HTTP unless told otherwise, in memory unless told otherwise.
    #[must_use]
    pub fn dev(options: &DevOptions) -> Self {
        let tls = options.tls.as_ref().map(|(certificate, key)| TlsFiles {
            certificate: certificate.clone(),
            key: key.clone(),
            clients: ClientCertificates::Asked,
            client_authorities: None,
            tls12: true,
            tls13: true,
            tls12_suites: Vec::new(),
        });
        let storage = match &options.data_dir {
            Some(path) => Storage::Redb { path: path.clone() },
            None => Storage::Inmem,
        };
        let log = AuditLog { reserve: 0, ..AuditLog::at(options.data_dir.as_ref().map(|path| path.join("audit"))) };
        Self {
            listeners: vec![Listener {
                bind: Bind::Tcp(options.address),
                tls,
                limits: Limits::default(),
                forwarded: None,
                headers: ResponseHeaders::default(),
                access: Access::default(),
            }],
            storage,
            seals: vec![Seal::Shamir],
            audit: Audit { log, devices: Vec::new(), allow_api: false, allow_prefix: false },
            metrics: Metrics::default(),
            traces: None,
            addresses: Addresses::default(),
            logging: Logging::default(),
            times: Times::default(),
            lockouts: BTreeMap::new(),
            switches: Switches::default(),
            warnings: Vec::new(),
        }
    }

    fn from_sources(sources: &[Source], env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Problem>> {
        let mut body = Body::default();
        let mut problems = Vec::new();
        for index in 0..sources.len() {
            let text = sources[index].text.trim_start_matches('\u{feff}').trim_start();
            let (part, found) =
                if text.starts_with('{') { json::parse(sources, index) } else { hcl::parse(sources, index) };
            body.items.extend(part.items);
            problems.extend(found);
        }
        let report = Report::new(sources, !problems.is_empty());
        let mut config = read(&report, &body);
        let (more, warnings) = report.into_parts();
        problems.extend(more);
        if let Some(config) = &mut config {
            env::overlay(config, env, &mut problems);
        }
        problems.sort_by_key(|p| (sources.iter().position(|s| s.name == p.file), p.line, p.column));
        match config {
            Some(config) if problems.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(problems),
        }
    }
}

/// Reads the whole tree. `None` with at least one problem. A file with syntax errors is not blamed for what it lacks.
fn read(report: &Report<'_>, body: &Body) -> Option<Config> {
    let mut top = Fields::new(report, body, "a configuration");
    let addresses = general::addresses(&mut top);
    let logging = general::logging(&mut top);
    let times = general::times(&mut top);
    let metrics = general::metrics(&mut top);
    let traces = traces::read(&mut top);
    let lockouts = general::lockouts(&mut top);
    let switches = general::switches(&mut top);
    let blocks = top.blocks("listener", 1);
    let listeners: Vec<_> = blocks.iter().filter_map(|block| listener::read(report, block, times.request)).collect();
    if blocks.is_empty() {
        report.at_large("there is no listener", "add listener \"tcp\" { address = \"127.0.0.1:8200\" ... }");
    }
    twice(report, &listeners);
    let storage = storages(report, &mut top);
    let beside = match &storage {
        Some(Storage::Redb { path }) => Some(path.join("audit")),
        Some(Storage::Etcd(_)) => Some(PathBuf::from("/var/lib/dewdrop/audit")),
        Some(Storage::Inmem) | None => None,
    };
    let audit = audit::read(&mut top, beside);
    let seals = seals(report, &mut top);
    top.finish();
    let storage = storage?;
    Some(Config {
        listeners,
        storage,
        seals,
        audit,
        metrics,
        traces,
        addresses,
        logging,
        times,
        lockouts,
        switches,
        warnings: Vec::new(),
    })
}

fn storages(report: &Report<'_>, top: &mut Fields<'_>) -> Option<Storage> {
    let mut blocks = top.blocks("storage", 1);
    blocks.extend(top.blocks("backend", 1));
    if let Some(second) = blocks.get(1) {
        let span = second.labels.first().map_or(second.key.span, |l| l.span);
        report.problem(span, "there are two storages", "keep one of them");
    }
    if blocks.is_empty() {
        report.at_large("there is no storage", "add storage \"redb\" { path = \"/var/lib/dewdrop\" }");
    }
    let mut all: Vec<_> = blocks.iter().map(|block| storage::read(report, block)).collect();
    if all.is_empty() { None } else { all.swap_remove(0) }
}

fn seals(report: &Report<'_>, top: &mut Fields<'_>) -> Vec<Seal> {
    let blocks = top.blocks("seal", 1);
    let mut seals: Vec<Seal> = blocks.iter().filter_map(|block| seal::read(report, block)).collect();
    let shares = seals.iter().filter(|seal| matches!(seal, Seal::Shamir)).count();
    if let Some(block) = blocks.last().filter(|_| shares > 1) {
        report.problem(block.key.span, "there are two seals of key shares", "keep one of them");
    }
    if seals.is_empty() {
        seals.push(Seal::Shamir);
    }
    seals
}

/// Two listeners cannot have the same address.
fn twice(report: &Report<'_>, listeners: &[Listener]) {
    for (i, listener) in listeners.iter().enumerate() {
        let port_zero = matches!(listener.bind, Bind::Tcp(address) if address.port() == 0);
        if !port_zero && listeners[..i].iter().any(|other| other.bind == listener.bind) {
            let place = match &listener.bind {
                Bind::Tcp(address) => address.to_string(),
                Bind::Unix { path, .. } => path.display().to_string(),
            };
            report.at_large(&format!("two listeners have the address {place}"), "give each an address of its own");
        }
    }
}

/// A directory stands for its files.
fn expand(path: &Path, problems: &mut Vec<Problem>) -> Vec<PathBuf> {
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let name = path.display().to_string();
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) => {
            problems.push(Problem::at_large(name, format!("cannot be read: {e}"), "check its permissions"));
            return Vec::new();
        }
    };
    let wanted = |p: &PathBuf| p.extension().is_some_and(|e| e == "hcl" || e == "json");
    let mut files: Vec<_> = entries.filter_map(Result::ok).map(|e| e.path()).filter(wanted).collect();
    files.sort();
    if files.is_empty() {
        problems.push(Problem::at_large(name, "holds no configuration", "put files there that end in .hcl or .json"));
    }
    files
}

fn read_text(path: &Path) -> Result<String, Problem> {
    let name = path.display().to_string();
    let large = std::fs::metadata(path).is_ok_and(|m| m.len() > MAX_BYTES);
    if large {
        return Err(Problem::at_large(name, "is larger than 4 MiB", "no configuration needs that"));
    }
    let bytes = std::fs::read(path).map_err(|e| {
        Problem::at_large(name.clone(), format!("cannot be read: {e}"), "check the path and its permissions")
    })?;
    String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        Problem::at_large(name, format!("is no text: byte {at} is not UTF-8"), "save the file as UTF-8")
    })
}

#[cfg(test)]
mod tests;
