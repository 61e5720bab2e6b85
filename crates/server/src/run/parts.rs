//! From the configuration to the parts of a server.

use std::sync::Arc;

use anyhow::{Context, Result};
use dewdrop_core::SystemClock;
use dewdrop_core::mount::Limits;
use dewdrop_store::{KeySeal, LockedKey, Memory, Redb, RedbOptions, Seal as KeyWrap, SnapshotStore};

use crate::audit::Audit;
use crate::config::{Config, Seal, StaticKey, Storage};
use crate::server::{Parts, Server, Settings};
use crate::telemetry::traces::Traces;

/// Builds a sealed server.
///
/// # Errors
/// The store cannot be opened, or a key cannot be read.
pub async fn server(config: &Config, dev: bool) -> Result<Arc<Server>> {
    let clock = SystemClock::shared();
    let (store, storage_type) = store(&config.storage, &clock).await?;
    let settings = Settings {
        limits: Limits { default_lease_ttl: config.times.default_lease, max_lease_ttl: config.times.max_lease },
        storage_type,
        api_addr: config
            .addresses
            .api
            .as_ref()
            .map(|url| url.to_string().trim_end_matches('/').into())
            .unwrap_or_default(),
        dev,
        listeners: config.listeners.iter().map(|listener| listener.access).collect(),
        metrics: config.metrics.clone(),
        cluster_name: config.addresses.cluster_name.as_ref().map(|name| name.trim().to_owned()),
        cluster_addr: config.addresses.cluster.as_ref().map(ToString::to_string).unwrap_or_default(),
        hostname: if config.switches.hostname_header { crate::sys::hostname().parse().ok() } else { None },
        lockouts: crate::vault::lockouts::configured(&config.lockouts),
    };
    let audit = Audit::open(&config.audit, &clock).context("open the audit log")?;
    let traces = config.traces.as_ref().map(Traces::start).transpose()?;
    Ok(Server::new(Parts { clock, store, auto_seals: seals(&config.seals)?, audit: Arc::new(audit), settings, traces }))
}

async fn store(
    storage: &Storage,
    clock: &Arc<dyn dewdrop_core::Clock>,
) -> Result<(Arc<dyn SnapshotStore>, &'static str)> {
    match storage {
        Storage::Inmem => Ok((Arc::new(Memory::new()), "inmem")),
        Storage::Redb { path } => {
            std::fs::create_dir_all(path).with_context(|| format!("make the folder {}", path.display()))?;
            let file = path.join("dewdrop.redb");
            let opened = tokio::task::spawn_blocking(move || Redb::open(&file, RedbOptions::default())).await?;
            Ok((Arc::new(opened.context("open the storage")?), "redb"))
        }
        Storage::Etcd(etcd) => open_etcd(etcd, clock).await,
    }
}

#[cfg(feature = "etcd")]
async fn open_etcd(
    etcd: &crate::config::Etcd,
    clock: &Arc<dyn dewdrop_core::Clock>,
) -> Result<(Arc<dyn SnapshotStore>, &'static str)> {
    use dewdrop_core::Secret;
    use dewdrop_store::{Etcd, EtcdConfig, EtcdTls};

    let read = |path: &std::path::PathBuf| std::fs::read(path).with_context(|| format!("read {}", path.display()));
    let tls = match (&etcd.ca_file, &etcd.client) {
        (None, None) => None,
        (ca, client) => Some(EtcdTls {
            ca_pem: ca.as_ref().map(read).transpose()?.unwrap_or_default(),
            identity_pem: match client {
                Some((certificate, key)) => Some((read(certificate)?, Secret::new(read(key)?))),
                None => None,
            },
            server_name: None,
        }),
    };
    let user = etcd.login.as_ref().map(|login| (login.user.clone(), Secret::new(login.password.expose().clone())));
    let config = EtcdConfig {
        endpoints: etcd.endpoints.clone(),
        prefix: etcd.prefix.clone(),
        user,
        tls,
        timeout: std::time::Duration::from_secs(5),
    };
    let opened = Etcd::connect(config, clock.clone()).await.context("reach etcd")?;
    Ok((Arc::new(opened), "etcd"))
}

#[cfg(not(feature = "etcd"))]
async fn open_etcd(
    _: &crate::config::Etcd,
    _: &Arc<dyn dewdrop_core::Clock>,
) -> Result<(Arc<dyn SnapshotStore>, &'static str)> {
    anyhow::bail!("this program was built without the feature \"etcd\"; build it with it, or use storage \"redb\"")
}

fn seals(seals: &[Seal]) -> Result<Vec<Arc<dyn KeyWrap>>> {
    let mut opened: Vec<Arc<dyn KeyWrap>> = Vec::new();
    for seal in seals {
        if let Seal::Static(fixed) = seal {
            let current = static_key(&fixed.current)?;
            let previous = fixed.previous.as_ref().map(static_key).transpose()?;
            opened.push(Arc::new(KeySeal::fixed(fixed.current.id.clone(), current, previous)));
        }
    }
    Ok(opened)
}

fn static_key(key: &StaticKey) -> Result<(String, LockedKey)> {
    let bytes = key
        .source
        .load(&|name| std::env::var(name).ok())
        .with_context(|| format!("the static seal key {:?}", key.id))?;
    Ok((key.id.clone(), LockedKey::copy_of(bytes.expose())?))
}
