//! What all parts of the engine share: records, targets, and who is busy with what.

use std::collections::{BTreeMap, HashMap};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::engine::Place;
use dewdrop_core::store::{Batch, get_json, scan_all};
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;

use super::connection::Connection;
use super::role::Role;
use super::rotation::Calendar;
use super::static_role::StaticRole;
use crate::postgres::{Limits, Target, TargetError};
use crate::shared::records::Records;

/// Where the records of deleted connections wait for their last lease.
const RETIRED: &str = "retired/";
/// A deleted connection is kept at least as long: a lease may just be being written.
const RETIRED_AT_LEAST: Duration = Duration::from_secs(600);
/// How often deleted connections are looked through, and idle ones closed.
const TIDY_EVERY: Duration = Duration::from_secs(60);
/// Idle connections to targets are closed after it.
const IDLE: Duration = Duration::from_secs(300);

/// A target, with the record that it was opened by.
type Opened = (Arc<Connection>, Arc<Target>);

/// The engine's parts.
pub(super) struct Shared {
    pub(super) place: Place,
    pub(super) limits: Limits,
    pub(super) connections: Records<Connection>,
    pub(super) roles: Records<Role>,
    pub(super) static_roles: Records<StaticRole>,
    pub(super) calendar: Mutex<Calendar>,
    /// When each connection was reconciled last; of a deleted one, when its leases were looked for last.
    pub(super) reconciled: Mutex<HashMap<String, Moment>>,
    /// By connection id, each with the record that it was opened by.
    targets: Mutex<HashMap<String, Opened>>,
    /// Users whose making is known to be over, however it ended, since when.
    settled: Mutex<BTreeMap<String, Duration>>,
    /// One rotation at a time for each thing.
    busy: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    tidied: Mutex<Moment>,
    /// When it was last asked what is to be reconciled.
    pub(super) looked: Mutex<Moment>,
}

impl Shared {
    pub(super) fn new(place: Place, limits: Limits) -> Self {
        let store = place.store.clone();
        Self {
            limits,
            connections: Records::new(store.clone(), "config/"),
            roles: Records::new(store.clone(), "role/"),
            static_roles: Records::new(store, "static-role/"),
            calendar: Mutex::default(),
            reconciled: Mutex::default(),
            targets: Mutex::default(),
            settled: Mutex::default(),
            busy: Mutex::default(),
            tidied: Mutex::new(place.clock.now()),
            looked: Mutex::default(),
            place,
        }
    }

    pub(super) fn now(&self) -> Moment {
        self.place.clock.now()
    }

    /// The connection of a name, or the API's refusal.
    pub(super) async fn connection(&self, name: &str) -> Result<Arc<Connection>, Fault> {
        let found = self.connections.find(name).await?;
        found.ok_or_else(|| Fault::bad_request(format!("failed to find entry for connection with name: {name:?}")))
    }

    /// The connection that a lease was made through, also when it was deleted since.
    pub(super) async fn connection_of_lease(&self, name: &str, id: &str) -> Result<Arc<Connection>, Fault> {
        if let Some(connection) = self.connections.find(name).await?.filter(|c| c.id == id) {
            return Ok(connection);
        }
        let key = format!("{RETIRED}{id}");
        let retired = get_json::<Connection>(self.place.store.as_ref(), key.as_bytes()).await?;
        retired.map(|(connection, _)| Arc::new(connection)).ok_or_else(|| {
            Fault::target(format!("connection {name:?}, through which this credential was made, is no longer known"))
        })
    }

    /// Deletes a connection for the API.
    pub(super) async fn retire(&self, name: &str) -> Result<(), Fault> {
        let Some(connection) = self.connections.find(name).await? else { return Ok(()) };
        let mut retired = (*connection).clone();
        retired.retired = Some(self.now());
        let batch = Batch::new().put_json(format!("{RETIRED}{}", retired.id), &retired)?;
        self.connections.remove(name, batch).await
    }

    /// The target of a connection; connects when it is first used. A password that waits for its proof is settled first.
    pub(super) async fn target(&self, connection: &Arc<Connection>) -> Result<Arc<Target>, Fault> {
        if let Some(target) = self.known_target(connection) {
            return Ok(target);
        }
        let settled;
        let connection = if connection.pending.is_some() {
            settled = super::root::settle(self, connection).await?;
            &settled
        } else {
            connection
        };
        let target = Arc::new(self.open(connection, &connection.password)?);
        // While it is in doubt which password holds, each use asks anew.
        if connection.pending.is_some() {
            return Ok(target);
        }
        let mut targets = self.targets.lock();
        match targets.get(&connection.id) {
            // Somebody was faster.
            Some((by, known)) if by.reaches_like(connection) => Ok(known.clone()),
            _ => {
                targets.insert(connection.id.clone(), (connection.clone(), target.clone()));
                Ok(target)
            }
        }
    }

    /// The target that is open, if the record still says the same.
    fn known_target(&self, connection: &Arc<Connection>) -> Option<Arc<Target>> {
        let mut targets = self.targets.lock();
        let (by, target) = targets.get_mut(&connection.id)?;
        if !Arc::ptr_eq(by, connection) {
            if connection.pending.is_some() || !by.reaches_like(connection) {
                return None;
            }
            *by = connection.clone();
        }
        Some(target.clone())
    }

    /// A target of its own for one password.
    pub(super) fn open(&self, connection: &Connection, password: &str) -> Result<Target, Fault> {
        let details = connection.details()?;
        Target::open(&details.settings(connection, password), self.limits)
            .map_err(|told| Fault::bad_request(format!("error creating database object: {told}")))
    }

    /// The next use connects anew.
    pub(super) fn drop_target(&self, id: &str) {
        self.targets.lock().remove(id);
    }

    /// Runs `act` while nobody else does for the same `what`.
    pub(super) async fn alone<T>(&self, what: &str, act: impl Future<Output = T>) -> T {
        let lock = self.busy.lock().entry(what.to_owned()).or_default().clone();
        let done = {
            let _held = lock.lock().await;
            act.await
        };
        drop(lock);
        self.busy.lock().retain(|_, lock| Arc::strong_count(lock) > 1);
        done
    }

    /// The making of a user is over: what is not at the target now will not appear there later.
    pub(super) fn settle(&self, username: &str) {
        let now = self.place.clock.steady();
        let mut settled = self.settled.lock();
        if settled.len() > 10_000 {
            settled.retain(|_, since| now.saturating_sub(*since) < self.limits.total());
        }
        settled.insert(username.to_owned(), now);
    }

    /// Whether the making of a user may still be under way at the target.
    pub(super) fn may_appear(&self, username: &str, issued: Moment) -> bool {
        self.now().since(issued) < self.limits.total() && !self.settled.lock().contains_key(username)
    }

    pub(super) fn forget(&self) {
        self.connections.forget();
        self.roles.forget();
        self.static_roles.forget();
        *self.calendar.lock() = Calendar::default();
    }

    /// Closes what is idle; forgets deleted connections that no lease needs any more.
    pub(super) async fn tidy(self: &Arc<Self>, now: Moment) -> Result<(), Fault> {
        {
            let mut tidied = self.tidied.lock();
            if now.since(*tidied) < TIDY_EVERY {
                return Ok(());
            }
            *tidied = now;
        }
        let clock = self.place.clock.steady();
        self.settled.lock().retain(|_, since| clock.saturating_sub(*since) < self.limits.total());
        for name in self.connections.names().await? {
            let Some(connection) = self.connections.find(&name).await? else { continue };
            let target = self.targets.lock().get(&connection.id).map(|(_, target)| target.clone());
            if let (Some(target), Ok(details)) = (target, connection.details()) {
                target.tidy(details.max_connection_lifetime.0, IDLE, details.max_idle());
            }
        }
        let db = self.clone();
        // A target may take long to answer.
        tokio::spawn(async move {
            if let Err(fault) = super::preflight::sweep(&db, now).await {
                tracing::warn!(why = %fault.told, "users of proofs were not looked through");
            }
        });
        self.forget_retired(now).await
    }

    async fn forget_retired(&self, now: Moment) -> Result<(), Fault> {
        let store = self.place.store.as_ref();
        let mut due = Vec::new();
        for row in scan_all(store, RETIRED.as_bytes(), 100).await? {
            let connection: Connection = dewdrop_core::store::decode(&row.key, &row.entry)?;
            if connection.retired.is_none_or(|since| now.since(since) >= RETIRED_AT_LEAST) {
                due.push((row.key, connection.id));
            }
        }
        {
            // All leases of the mount are read for it, so not each minute.
            let mut looked = self.reconciled.lock();
            due.retain(|(_, id)| looked.get(id).is_none_or(|last| now.since(*last) >= RETIRED_AT_LEAST));
            looked.extend(due.iter().map(|(_, id)| (id.clone(), now)));
        }
        if due.is_empty() {
            return Ok(());
        }
        let leases = self.place.house.leases_of(&self.place.mount_uuid).await?;
        let proofs = super::preflight::users(self).await?;
        due.retain(|(_, id)| {
            !leases.iter().any(|lease| lease.internal["connection"] == **id)
                && !proofs.iter().any(|user| user.connection == *id)
        });
        for (key, id) in due {
            store.commit(Batch::new().delete(key)).await?;
            self.drop_target(&id);
            self.reconciled.lock().remove(&id);
        }
        Ok(())
    }
}

/// What the caller is told of a target's failure; `doing` is the API's phrase for the act.
pub(super) fn target_fault(connection: &str, doing: &str, error: &TargetError) -> Fault {
    Fault::target(format!("connection {connection:?}: {doing}: {error}"))
}
