//! Access of people to clusters, just in time: a role says what may be asked for and who must approve; a request that was
//! approved becomes a grant of minutes; its owner gets client certificates (or tokens) for it, and the access proxies are told which
//! grants live.

mod around;
mod ask;
mod authority;
mod case;
mod clusters;
mod decide;
mod direct;
mod doors;
mod hours;
mod issuer;
mod keys;
mod left;
mod live;
mod notices;
mod offers;
mod recordings;
mod role;
mod start;
mod tokens;
mod view;
mod watch;
mod who;

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::call::Call;
use dewdrop_core::engine::{Engine, House, Person, Place};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::Routes;
use dewdrop_core::store::{Batch, Revision, SharedStore, decode, get_json, scan_all};
use dewdrop_core::{Clock, Fault, Moment};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::shared::cas::{Queues, commits, gave_up};
use case::{Case, Refusal, Who};
use notices::{Desk, Event};
use role::Role;

const PAGE: usize = 256;
/// Cases that are over are kept this long; the audit log keeps them for ever.
const KEEP: Duration = Duration::from_secs(90 * 24 * 3600);
const TIDY_EVERY: Duration = Duration::from_secs(3600);
/// What ended by time is told after this long at most.
const SWEEP_EVERY: Duration = Duration::from_secs(3);

/// The engine.
pub struct Access {
    store: SharedStore,
    house: Arc<dyn House>,
    clock: Arc<dyn Clock>,
    /// Writers of one record.
    queues: Queues,
    /// Rung when a case or a role changed.
    news: Notify,
    tidied: Mutex<Moment>,
    swept: Mutex<Moment>,
    desk: Arc<Desk>,
    /// Sessions that are about to begin.
    doors: doors::Doors,
    /// Lines of what went around, since there were last too many.
    around: AtomicUsize,
}

#[async_trait]
impl Engine for Access {
    fn routes() -> Routes<Self> {
        Routes::new(
            "Gives people access to Kubernetes clusters for minutes: asked for with a reason, approved by others, \
             revoked at any time.",
        )
        .and(role::routes())
        .and(ask::routes())
        .and(decide::routes())
        .and(authority::routes())
        .and(clusters::routes())
        .and(issuer::routes())
        .and(tokens::routes())
        .and(live::routes())
        .and(offers::routes())
        .and(doors::routes())
        .and(recordings::routes())
        .and(around::routes())
        .and(notices::routes())
        .and(watch::routes())
    }

    async fn tick(&self, mount: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        self.desk.tick().await?;
        if is_due(&self.swept, SWEEP_EVERY, now) {
            self.sweep(mount, now).await?;
        }
        if !is_due(&self.tidied, TIDY_EVERY, now) {
            return Ok(());
        }
        self.tidy(now).await?;
        self.tidy_recordings(now).await?;
        self.tidy_around(now).await
    }

    fn forget_caches(&self) {
        self.desk.look_again();
    }
}

/// Whether something is due that is done every so often; it counts as done then.
fn is_due(last: &Mutex<Moment>, every: Duration, now: Moment) -> bool {
    let mut last = last.lock();
    let is_due = now.since(*last) >= every;
    if is_due {
        *last = now;
    }
    is_due
}

impl Access {
    /// Opens the engine of a mount.
    #[must_use]
    pub fn open(place: Place) -> Arc<Self> {
        let desk = Desk::new(place.store.clone(), place.clock.clone());
        Arc::new(Self {
            store: place.store,
            house: place.house,
            clock: place.clock,
            queues: Queues::default(),
            news: Notify::new(),
            tidied: Mutex::default(),
            swept: Mutex::default(),
            desk,
            doors: doors::Doors::default(),
            around: AtomicUsize::new(0),
        })
    }

    async fn role(&self, name: &str) -> Result<Option<Role>, Fault> {
        Ok(get_json::<Role>(&*self.store, keys::role(name).as_bytes()).await?.map(|(role, _)| role))
    }

    async fn case(&self, id: &str) -> Result<(Case, Revision), Fault> {
        let found = get_json::<Case>(&*self.store, keys::case(id).as_bytes()).await?;
        found.ok_or_else(|| Fault::missing("there is no request of this name"))
    }

    async fn cases(&self) -> Result<Vec<Case>, Fault> {
        let rows = scan_all(&*self.store, keys::CASES.as_bytes(), PAGE).await?;
        rows.iter().map(|row| Ok(decode(&row.key, &row.entry)?)).collect()
    }

    /// The cases that are not over.
    async fn open_cases(&self, now: Moment) -> Result<Vec<Case>, Fault> {
        let mut open = self.listed_cases(keys::OPEN).await?;
        open.retain(|case| !case.state(now).is_over());
        Ok(open)
    }

    /// The cases of a list: those that are open or ended a moment ago, or those that wait for a review.
    async fn listed_cases(&self, list: &str) -> Result<Vec<Case>, Fault> {
        let mut listed = Vec::new();
        for id in self.names(list).await? {
            let found = get_json::<Case>(&*self.store, keys::case(&id).as_bytes()).await?;
            listed.extend(found.map(|(case, _)| case));
        }
        Ok(listed)
    }

    async fn names(&self, prefix: &str) -> Result<Vec<String>, Fault> {
        let rows = scan_all(&*self.store, prefix.as_bytes(), PAGE).await?;
        let name = |key: &[u8]| String::from_utf8_lossy(key.get(prefix.len()..).unwrap_or_default()).into_owned();
        Ok(rows.iter().map(|row| name(&row.key)).collect())
    }

    /// Changes a case, if nobody else did meanwhile, and tells whoever waits for that. What notices tell of it is on disk
    /// with the change.
    async fn keep(
        &self,
        mount: &Mount,
        case: &Case,
        revision: Revision,
        also: Batch,
        events: &[Event],
    ) -> Result<(), Fault> {
        let (also, told) = self.enclose(also, mount, case, events).await?;
        let key = keys::case(&case.id);
        let batch = also.put_json(key.as_str(), case)?.expect(key, revision);
        let batch = if revision == 0 { batch.put(keys::open(&case.id), Vec::new()) } else { batch };
        let batch = match case.asked.break_glass {
            true if revision == 0 => batch.put(keys::unreviewed(&case.id), Vec::new()),
            true if !case.needs_review() => batch.delete(keys::unreviewed(&case.id)),
            _ => batch,
        };
        if !commits(&*self.store, batch).await? {
            return Err(gave_up());
        }
        self.news.notify_waiters();
        told.iter().for_each(|name| self.desk.ring(name));
        Ok(())
    }

    /// Who calls. A token that belongs to nobody can neither ask nor decide.
    async fn caller(&self, call: &Call) -> Result<Person, Fault> {
        let here = &call.mount.namespace.id;
        let token = call.caller.token.as_deref().filter(|token| token.namespace == *here);
        let found = match token.map(|token| token.entity_id.as_str()) {
            Some(entity) if !entity.is_empty() => self.house.person(here, entity).await?,
            _ => None,
        };
        found.ok_or_else(|| {
            Fault::bad_request(
                "this token belongs to no person of this namespace: sign in by an auth method there, and try again",
            )
        })
    }

    /// Somebody as he is now; `None` when he is gone or disabled.
    async fn person(&self, call: &Call, who: &Who) -> Result<Option<Person>, Fault> {
        self.house.person(&call.mount.namespace.id, &who.entity).await
    }

    async fn tidy(&self, now: Moment) -> Result<(), Fault> {
        for case in self.cases().await? {
            let last = [
                Some(case.asked.at),
                case.running.map(|running| running.until),
                case.end.as_ref().map(|end| end.at),
                case.granted.map(|granted| granted.start_by),
            ];
            let last = last.into_iter().flatten().max().unwrap_or(now);
            if case.state(now).is_over() && !case.needs_review() && now.since(last) >= KEEP {
                let (left, sweep) = (keys::left(&case.id), keys::sweep(&case.id));
                self.store.commit(Batch::new().delete(keys::case(&case.id)).delete(left).delete(sweep)).await?;
            }
        }
        Ok(())
    }
}

fn who(person: &Person) -> Who {
    Who { entity: person.id.clone(), name: person.name.clone() }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Own | Refusal::NotYours => Fault::denied_saying(refusal.to_string()),
            Refusal::State { .. } | Refusal::Twice => Fault::bad_request(refusal.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
