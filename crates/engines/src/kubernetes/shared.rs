//! What all parts of the engine share: records, the clusters in use, and what is known of makings.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::engine::Place;
use dewdrop_core::store::{Batch, decode, get_json, scan_all};
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;

use super::config::Config;
use super::objects::{Known, Objects};
use super::role::Role;
use super::target::Target;
use crate::shared::records::Records;

const CONFIG: &str = "config";
/// Clusters that are no longer configured, until their last lease is gone.
const RETIRED: &str = "retired/";
/// A former cluster is kept at least as long: a lease may just be being written. How often they are looked through, too.
const RETIRED_AT_LEAST: Duration = Duration::from_secs(600);
/// So long after its beginning a making may still have effect at the cluster, when we do not know how it ended: the calls
/// of one making, and what an API server takes for one call.
const MAKING: Duration = Duration::from_secs(110);

/// The engine's parts.
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) roles: Records<Role>,
    /// By the cluster's id.
    targets: Mutex<HashMap<String, Arc<Target>>>,
    /// Held while the configuration is changed.
    changing: tokio::sync::Mutex<()>,
    /// What is known of makings whose leases may not tell it, by their marks, and since when.
    known: Mutex<HashMap<String, (Known, Duration)>>,
    tidied: Mutex<Moment>,
}

impl Shared {
    pub(super) fn new(place: Place) -> Self {
        Self {
            roles: Records::new(place.store.clone(), "role/"),
            targets: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
            known: Mutex::default(),
            tidied: Mutex::new(place.clock.now()),
            place,
        }
    }

    /// The configuration; `None`: there is none.
    pub(super) async fn config(&self) -> Result<Option<Config>, Fault> {
        let found = get_json::<Config>(self.place.store.as_ref(), CONFIG.as_bytes()).await?;
        Ok(found.map(|(config, _)| config))
    }

    /// Changes the configuration by what `change` makes of it.
    pub(super) async fn change_config(
        &self,
        change: impl FnOnce(Option<Config>) -> Result<Option<Config>, Fault> + Send,
    ) -> Result<(), Fault> {
        let _changing = self.changing.lock().await;
        let old = self.config().await?;
        let new = change(old.clone())?;
        let mut batch = match &new {
            Some(config) => {
                // What cannot be used is refused now.
                Target::open(config)?;
                Batch::new().put_json(CONFIG, config)?
            }
            None => Batch::new().delete(CONFIG),
        };
        if let Some(mut old) = old.filter(|old| new.as_ref().is_none_or(|new| new.id != old.id)) {
            old.retired = Some(self.place.clock.now());
            batch = batch.put_json(format!("{RETIRED}{}", old.id), &old)?;
        }
        self.place.store.commit(batch).await?;
        self.targets.lock().clear();
        Ok(())
    }

    /// The configured cluster.
    pub(super) async fn target(&self) -> Result<Arc<Target>, Fault> {
        let none = "there is no cluster yet: write the config of this mount (it may be empty in a pod)";
        let config = self.config().await?.ok_or_else(|| Fault::target(none))?;
        self.opened(&config)
    }

    /// The cluster that a lease was made in, also when it is no longer the configured one.
    pub(super) async fn target_of_lease(&self, id: &str) -> Result<Arc<Target>, Fault> {
        if let Some(config) = self.config().await?.filter(|config| config.id == id) {
            return self.opened(&config);
        }
        let key = format!("{RETIRED}{id}");
        let retired = get_json::<Config>(self.place.store.as_ref(), key.as_bytes()).await?;
        let (config, _) =
            retired.ok_or_else(|| Fault::target("the cluster in which this credential was made is no longer known"))?;
        self.opened(&config)
    }

    fn opened(&self, config: &Config) -> Result<Arc<Target>, Fault> {
        let mut targets = self.targets.lock();
        if let Some(target) = targets.get(&config.id).filter(|target| target.is_of(config)) {
            return Ok(target.clone());
        }
        let target = Arc::new(Target::open(config)?);
        targets.insert(config.id.clone(), target.clone());
        Ok(target)
    }

    /// Keeps what a making came to: a lease whose making failed does not hold it.
    pub(super) fn learn(&self, mark: &str, known: Known) {
        let now = self.place.clock.steady();
        self.known.lock().insert(mark.to_owned(), (known, now));
    }

    /// What is known of the objects of a lease.
    pub(super) fn known(&self, objects: &Objects) -> Known {
        if !objects.uids.is_empty() {
            return Known { uids: objects.uids.clone(), is_over: true };
        }
        self.known.lock().get(&objects.mark).map(|(known, _)| known.clone()).unwrap_or_default()
    }

    /// Whether what a making of that moment asked for may still appear in the cluster.
    pub(super) fn is_recent(&self, issued: Moment) -> bool {
        self.place.clock.now().since(issued) < MAKING
    }

    pub(super) fn forget(&self) {
        self.roles.forget();
        self.targets.lock().clear();
    }

    /// Forgets makings that are long over, and clusters that no lease needs any more.
    pub(super) async fn tidy(&self, now: Moment) -> Result<(), Fault> {
        {
            let mut tidied = self.tidied.lock();
            if now.since(*tidied) < RETIRED_AT_LEAST {
                return Ok(());
            }
            *tidied = now;
        }
        let clock = self.place.clock.steady();
        self.known.lock().retain(|_, (_, since)| clock.saturating_sub(*since) < MAKING);
        let store = self.place.store.as_ref();
        let mut due = Vec::new();
        for row in scan_all(store, RETIRED.as_bytes(), 100).await? {
            let config: Config = decode(&row.key, &row.entry)?;
            if config.retired.is_none_or(|since| now.since(since) >= RETIRED_AT_LEAST) {
                due.push((row.key, config.id));
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        let leases = self.place.house.leases_of(&self.place.mount_uuid).await?;
        due.retain(|(_, id)| !leases.iter().any(|lease| lease.internal["cluster"] == **id));
        for (key, _) in due {
            store.commit(Batch::new().delete(key)).await?;
        }
        Ok(())
    }
}
