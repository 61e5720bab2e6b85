//! Sessions of people in containers with credentials: whoever was in one has read what it has, so that is replaced
//! afterwards. The webhook tells of a session before it lets it in, the access proxy tells its end; the end's mark lies in the
//! row of the container's start, where the next beat of its node finds it, and goes with that row: each session is answered
//! by one new start.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::store::{Batch, StoreError, decode, get_json, scan_all};
use dewdrop_core::wire::{Flag, Text, Ttl};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::starts::{self, Start};
use super::{Kubernetes, names};

const SESSIONS: &str = "session/";
const PAGE: usize = 200;
/// How many times a write starts anew because another came first.
const TRIES: usize = 20;
/// The latest end of a session of which nothing is said.
const UNSAID: Duration = Duration::from_secs(3600);
/// The longest that one may say.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// Ends that nobody told are looked for this often.
const LOOK: Duration = Duration::from_secs(10);

#[derive(Deserialize, JsonSchema)]
pub(super) struct EnterRequest {
    /// The session's name: 32 to 64 letters, digits and dashes.
    session: Option<Text>,
    /// The pod's node.
    node: Option<Text>,
    /// The pod's uid.
    pod_uid: Option<Text>,
    /// The container.
    container: Option<Text>,
    /// The session has ended after this time, whoever tells it or not. Default: one hour.
    ttl: Option<Ttl>,
    /// Whether somebody will tell its end.
    told: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
pub(super) struct LeaveRequest {
    /// The session's name.
    session: Option<Text>,
}

/// A session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Session {
    /// The rows of the starts of its container, and which life of the container it is.
    places: Vec<(String, String)>,
    until: Moment,
    /// Somebody will tell its end. When the time is up and nobody did, it may go on all the same: its grant got more time.
    told: bool,
}

/// `sessions` and below.
pub fn routes() -> Routes<Kubernetes> {
    Routes::new("")
        .at("sessions/enter", "Somebody is about to enter a container.", |route| {
            route
                .write("Notes it, for admission webhooks; answers how many credentials it concerns.", Kubernetes::enter)
        })
        .at("sessions/leave", "Somebody has left a container.", |route| {
            route.write("Has the container's credentials replaced, for access proxies.", Kubernetes::leave)
        })
}

fn key(session: &str) -> String {
    format!("{SESSIONS}{session}")
}

fn session_name(text: Option<Text>) -> Result<String, Fault> {
    let text = text.map_or_else(String::new, |text| text.0);
    let fits = (32..=64).contains(&text.len()) && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    fits.then_some(text).ok_or_else(|| Fault::bad_request("session: 32 to 64 letters, digits and dashes"))
}

impl Kubernetes {
    async fn enter(self: Arc<Self>, call: Call, ask: EnterRequest) -> Result<Reply, Fault> {
        let text = |field: Option<Text>| field.map_or_else(String::new, |text| text.0);
        let name = session_name(ask.session)?;
        let (node, pod) = (names::node(&text(ask.node))?, names::uuid("pod_uid", &text(ask.pod_uid))?);
        let container = names::container(&text(ask.container))?;
        let ttl = ask.ttl.map_or(UNSAID, |ttl| ttl.0.min(LONGEST));
        let found = starts::all(&*self.place.store, &starts::prefix(&node, Some((&pod, &container)))).await?;
        let places = found.iter().map(|found| (found.place.key(), found.start.life().to_owned())).collect();
        let told = ask.told.is_some_and(|flag| flag.0);
        let session = Session { places, until: call.now.plus(ttl), told };
        if !found.is_empty() {
            // The same again is the same: the API server may ask its question twice.
            self.place.store.commit(Batch::new().put_json(key(&name), &session)?).await?;
        }
        Reply::of(&json!({ "starts": found.len() }))
    }

    async fn leave(self: Arc<Self>, _: Call, ask: LeaveRequest) -> Result<Reply, Fault> {
        self.end_session(&session_name(ask.session)?, |_| None).await?;
        Ok(Reply::nothing())
    }

    /// Marks the starts that a session has seen, if its container still lives. `next` is what stays of it.
    async fn end_session(&self, name: &str, next: impl Fn(&Session) -> Option<Session>) -> Result<(), Fault> {
        let store = &*self.place.store;
        for _ in 0..TRIES {
            let Some((session, revision)) = get_json::<Session>(store, key(name).as_bytes()).await? else {
                return Ok(());
            };
            let mut batch = Batch::new().expect(key(name), revision);
            for (place, life) in &session.places {
                if let Some((start, revision)) = get_json::<Start>(store, place.as_bytes()).await?
                    && start.life() == life
                    && !start.seen
                {
                    batch = batch.expect(place.clone(), revision);
                    batch = batch.put_json(place.clone(), &Start { seen: true, ..start })?;
                }
            }
            batch = match next(&session) {
                Some(next) => batch.put_json(key(name), &next)?,
                None => batch.delete(key(name)),
            };
            match store.commit(batch).await {
                Ok(_) => return Ok(()),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Ends the sessions whose time is up.
    pub(super) async fn end_sessions(&self, now: Moment) -> Result<(), Fault> {
        {
            let mut looked = self.looked.lock();
            if now.since(*looked) < LOOK {
                return Ok(());
            }
            *looked = now;
        }
        for row in scan_all(&*self.place.store, SESSIONS.as_bytes(), PAGE).await? {
            let session: Session = decode(&row.key, &row.entry)?;
            if session.until > now {
                continue;
            }
            let name = String::from_utf8_lossy(row.key.get(SESSIONS.len()..).unwrap_or_default()).into_owned();
            let longer = |session: &Session| Session { until: now.plus(LONGEST), told: false, ..session.clone() };
            self.end_session(&name, |session| session.told.then(|| longer(session))).await?;
        }
        Ok(())
    }
}
