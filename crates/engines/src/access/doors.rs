//! Doors into running pods. An access proxy announces who is about to go through one, under a name that nobody else can
//! know; the webhook at the API server asks whether that is so. Whoever forges the name of a grant (an administrator of the
//! cluster may say anything about himself) has no announcement.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::access::{Attributes, ResourceAsk, Scope};
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::{Flag, Text};
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::Access;

/// An announcement is good for so long: the API server asks within milliseconds.
const GOOD_FOR: Duration = Duration::from_secs(30);
/// Announcements at once, and by one grant: nobody keeps all others out.
const MOST: usize = 10_000;
const MOST_OF_ONE: usize = 200;
/// The shortest name of a session: it must not be guessed.
const SHORTEST: usize = 32;
const LONGEST: usize = 512;

#[derive(Deserialize, JsonSchema)]
struct AnnounceFields {
    /// The session's name: at least 32 random characters.
    session: Option<Text>,
    /// The grant.
    grant: Option<Text>,
    /// The cluster.
    cluster: Option<Text>,
    /// The pod's namespace.
    namespace: Option<Text>,
    /// The pod.
    name: Option<Text>,
    /// `pods/exec`, `pods/attach`, `pods/portforward` or `pods/ephemeralcontainers`.
    target: Option<Text>,
}

#[derive(Deserialize, JsonSchema)]
struct CheckFields {
    #[serde(flatten)]
    door: AnnounceFields,
    /// The person, as the API server knows him.
    user: Option<Text>,
    /// The container; for the record.
    #[expect(dead_code, reason = "its place is the audit log")]
    container: Option<Text>,
    /// The API server's name of its question. Asked again, it gets the same answer.
    question: Option<Text>,
    /// The namespace leaves its doors open: no grant is needed, and this is for the record.
    open: Option<Flag>,
    /// Whether the container's credentials are replaced afterwards; for the record.
    #[expect(dead_code, reason = "its place is the audit log")]
    replaced: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
struct LabelFields {
    /// The cluster.
    cluster: Option<Text>,
    /// The namespace whose labels somebody changes.
    namespace: Option<Text>,
    /// Who does, as the API server knows him.
    user: Option<Text>,
    /// The API server's name of its question.
    question: Option<Text>,
    /// From now on nobody needs a grant there.
    open: Option<Flag>,
    /// Nobody needed one before.
    was_open: Option<Flag>,
    /// From now on credentials are replaced after a session.
    replaced: Option<Flag>,
    /// They were before.
    was_replaced: Option<Flag>,
}

/// A door of a pod, and by which grant it is used.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Door {
    grant: String,
    cluster: String,
    namespace: String,
    name: String,
    target: String,
}

struct Announced {
    door: Door,
    at: Moment,
    /// The question that used it.
    used_by: Option<String>,
}

/// What was announced a moment ago. Lost with this process: whoever is refused for that tries again.
#[derive(Default)]
pub struct Doors(Mutex<HashMap<String, Announced>>);

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("announce", "Who is about to go through a door of a pod.", |route| {
            route.write("Announces it, for access proxies.", announce)
        })
        .at("namespace-doors", "A namespace opens its doors to everybody, or closes them.", |route| {
            route.write("Puts it on the audit log, for the admission webhook of a cluster.", relabelled)
        })
        .at("exec-check", "Whether somebody may go through a door of a pod.", |route| {
            route.write("Answers it, for the admission webhook of a cluster.", check)
        })
}

async fn announce(access: Arc<Access>, call: Call, fields: AnnounceFields) -> Result<Reply, Fault> {
    let session = text(fields.session.clone())?;
    if session.len() < SHORTEST {
        return Err(Fault::bad_request(format!("session: at least {SHORTEST} random characters")));
    }
    access.doors.announce(session, Door::read(fields)?, call.now)?;
    Ok(Reply::nothing())
}

async fn check(access: Arc<Access>, call: Call, fields: CheckFields) -> Result<Reply, Fault> {
    if fields.open.as_ref().is_some_and(|flag| flag.0) {
        return Reply::of(&json!({ "allowed": true }));
    }
    let (session, user, question) = (text(fields.door.session.clone())?, text(fields.user)?, text(fields.question)?);
    let door = Door::read(fields.door)?;
    match access.admits(&call, &door, &session, &user, &question).await? {
        Ok(ends_at) => Reply::of(&json!({ "allowed": true, "seconds": ends_at.since(call.now).as_secs() })),
        Err(why) => Reply::of(&json!({ "allowed": false, "refused": why })),
    }
}

/// The fields are on the audit log before this is called, or it is not called: that is all that is wanted.
async fn relabelled(_: Arc<Access>, _: Call, fields: LabelFields) -> Result<Reply, Fault> {
    text(fields.question)?;
    let [cluster, namespace, user] = [fields.cluster, fields.namespace, fields.user].map(text);
    if [cluster?, namespace?, user?].iter().any(String::is_empty) {
        return Err(Fault::bad_request("cluster, namespace and user: say whose labels changed, and who changed them"));
    }
    if [fields.open, fields.was_open, fields.replaced, fields.was_replaced].iter().any(Option::is_none) {
        return Err(Fault::bad_request("open, was_open, replaced and was_replaced: say what is so and what was"));
    }
    Ok(Reply::nothing())
}

fn text(field: Option<Text>) -> Result<String, Fault> {
    let text = field.map_or_else(String::new, |text| text.0);
    if text.len() > LONGEST {
        return Err(Fault::bad_request(format!("each text has at most {LONGEST} characters")));
    }
    Ok(text)
}

impl Access {
    /// The end of the grant that opens a door, or why none does.
    async fn admits(
        &self,
        call: &Call,
        door: &Door,
        session: &str,
        user: &str,
        question: &str,
    ) -> Result<Result<Moment, String>, Fault> {
        if door.grant.is_empty() || session.is_empty() || question.is_empty() {
            return Ok(Err("it did not come through the access proxy by a grant".into()));
        }
        if !self.doors.uses(session, door, question, call.now) {
            return Ok(Err("no access proxy has announced it".into()));
        }
        let grants = self.grants(call, &door.cluster, call.now).await?;
        let Some(grant) = grants.into_iter().find(|grant| grant["id"] == *door.grant) else {
            return Ok(Err(format!("the grant {} has ended or was revoked", door.grant)));
        };
        if grant["user"] != *user {
            return Ok(Err(format!("the grant {} is not this person's", door.grant)));
        }
        let scope: Scope = serde_json::from_value(grant["scope"].clone())
            .map_err(|e| Fault::internal(format!("read a grant's scope: {e}")))?;
        if !door.is_in(&scope) {
            return Ok(Err(format!("the grant {} does not allow it", door.grant)));
        }
        let ends_at = grant["ends_at"].as_str().and_then(|text| Moment::parse_rfc3339(text).ok());
        ends_at.map(Ok).ok_or_else(|| Fault::internal("a grant without an end"))
    }
}

impl Door {
    fn read(fields: AnnounceFields) -> Result<Self, Fault> {
        Ok(Self {
            grant: text(fields.grant)?,
            cluster: text(fields.cluster)?,
            namespace: text(fields.namespace)?,
            name: text(fields.name)?,
            target: text(fields.target)?,
        })
    }

    fn is_in(&self, scope: &Scope) -> bool {
        let subresource = self.target.strip_prefix("pods/").unwrap_or_default();
        let verbs: &[&str] = match subresource {
            "exec" | "attach" | "portforward" => &["create"],
            "ephemeralcontainers" => &["patch", "update"],
            _ => &[],
        };
        verbs.iter().any(|verb| {
            let (namespace, name) = (self.namespace.as_str(), self.name.as_str());
            let ask = ResourceAsk { verb, group: "", resource: "pods", subresource, namespace, name };
            scope.allows(&self.cluster, &Attributes::Resource(ask))
        })
    }
}

impl Doors {
    fn announce(&self, session: String, door: Door, now: Moment) -> Result<(), Fault> {
        let mut known = self.0.lock();
        known.retain(|_, one| now.since(one.at) < GOOD_FOR);
        let of_one = known.values().filter(|one| one.door.grant == door.grant).count();
        if known.len() >= MOST || of_one >= MOST_OF_ONE || known.contains_key(&session) {
            return Err(Fault::unavailable("too many sessions begin at once, or this one has begun; try again"));
        }
        known.insert(session, Announced { door, at: now, used_by: None });
        Ok(())
    }

    /// Whether this was announced a moment ago and not used by another question.
    fn uses(&self, session: &str, door: &Door, question: &str, now: Moment) -> bool {
        let mut known = self.0.lock();
        known.retain(|_, one| now.since(one.at) < GOOD_FOR);
        let Some(one) = known.get_mut(session).filter(|one| one.door == *door) else { return false };
        one.used_by.get_or_insert_with(|| question.to_owned()) == question
    }
}
