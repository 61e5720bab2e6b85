//! Doors into pods with secrets open by a grant: the Dewdrop server knows which run. It is told of each session in a
//! container with secrets before that begins, so that they are replaced afterwards (docs/decisions/0026-exec-needs-a-grant.md).

mod labels;
mod server;

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};

pub use server::{Server, Settings, SignIn};

use crate::pod::{Owned, Pod};
use crate::review::{Question, Verdict};

/// The label of a namespace that opens doors without a grant.
const ALLOW_EXEC: &str = "dewdrop.dev/allow-exec";
/// The label of a namespace that leaves credentials as they are after a session.
const REPLACE: &str = "dewdrop.dev/replace-after-exec";
/// What the access proxy says of a person.
const GRANT: &str = "dewdrop.dev/grant";
const SESSION: &str = "dewdrop.dev/session";
/// The doors by which a container's files can be read.
const READING: [&str; 2] = ["exec", "attach"];
/// A session may be told as ended somewhat later than its grant.
const LATE: u64 = 60;

/// What the server is asked. An error says why it could not be.
#[async_trait]
pub trait Keeper: Send + Sync {
    /// Whether somebody may go through a door: `Ok(Err(why))`: no; else the seconds that are left of the grant.
    async fn check(&self, door: &Value) -> Result<Result<u64, String>, String>;
    /// A session is about to begin; how many credentials it will see.
    async fn enter(&self, session: &Value) -> Result<u64, String>;
    /// The labels of a namespace open its doors, or close them.
    async fn relabelled(&self, change: &Value) -> Result<(), String>;
}

/// A door with its keeper.
pub struct Gate {
    keeper: Box<dyn Keeper>,
    cluster: String,
}

/// Somebody at a door.
pub struct Visit<'a> {
    /// `exec`, `attach`, `portforward` or `ephemeralcontainers`.
    pub door: &'a str,
    /// What the API server asks.
    pub question: &'a Question<'a>,
    /// The pod; it has secrets of ours.
    pub pod: &'a Pod,
    /// What of it is ours.
    pub owned: &'a [Owned<'a>],
    /// The labels of its namespace.
    pub labels: &'a BTreeMap<String, String>,
}

/// `PodExecOptions` and its like.
#[derive(Debug, Default, Deserialize)]
struct Options {
    #[serde(default)]
    container: Option<String>,
}

// === impl Gate ===

impl Gate {
    /// The gate of a cluster, by its name at the server.
    #[must_use]
    pub fn new(keeper: Box<dyn Keeper>, cluster: String) -> Self {
        Self { keeper, cluster }
    }

    /// What is said to who wants in.
    pub async fn judge(&self, visit: &Visit<'_>) -> Verdict {
        let is_open = is_open(visit.labels);
        let containers = visit.containers();
        let replaces = !containers.is_empty() && replaces(visit.labels);
        let ask = self.ask(visit, is_open, replaces);
        match self.keeper.check(&ask).await {
            Ok(Ok(seconds)) if replaces && !visit.question.dry_run => {
                self.enter(visit, &containers, is_open, seconds).await
            }
            Ok(Ok(_)) => Verdict::allowed(),
            Ok(Err(why)) => self.refused(visit, &why),
            // Whoever opened the namespace did not want to depend on us.
            Err(why) if is_open => {
                warned(visit, &format!("this is not on the record, since the server does not answer: {why}"))
            }
            Err(why) => self
                .refused(visit, &format!("the Dewdrop server does not answer, and nobody gets in without it ({why})")),
        }
    }

    fn ask(&self, visit: &Visit<'_>, is_open: bool, replaces: bool) -> Value {
        let user = &visit.question.user_info;
        let (grant, session) = if is_open { ("", "") } else { (user.extra(GRANT), user.extra(SESSION)) };
        json!({
            "cluster": self.cluster, "namespace": visit.question.namespace, "name": visit.question.name,
            "target": format!("pods/{}", visit.door), "container": visit.named(), "user": user.username,
            "grant": grant, "session": session, "question": visit.question.uid, "open": is_open, "replaced": replaces,
        })
    }

    /// Tells of the session: what it sees is known before it begins, or it does not begin.
    async fn enter(&self, visit: &Visit<'_>, containers: &[&str], is_open: bool, seconds: u64) -> Verdict {
        for container in containers {
            let (name, question) = (visit.question.user_info.extra(SESSION), &visit.question.uid);
            let mut session = json!({
                "node": visit.pod.spec.node_name, "pod_uid": visit.pod.metadata.uid, "container": container,
                "session": if is_open { question } else { name }, "told": !is_open,
            });
            if !is_open {
                session["ttl"] = json!(seconds + LATE);
            }
            let trouble = match self.keeper.enter(&session).await {
                Ok(0) => format!("container {container:?} gets its credentials just now; try again in a moment"),
                Ok(_) => continue,
                Err(why) => format!("the server cannot note the session: {why}"),
            };
            return if is_open {
                warned(visit, &format!("what this session sees is not replaced: {trouble}"))
            } else {
                self.refused(visit, &trouble)
            };
        }
        Verdict::allowed()
    }

    fn refused(&self, visit: &Visit<'_>, why: &str) -> Verdict {
        Verdict::denied(format!(
            "dewdrop: [doors] {} into a pod with secrets needs a grant, and {why}. Ask for one with `dewdrop access request ROLE \
             -reason ...`, and come through the access proxy with the kubeconfig of `dewdrop kube config -cluster {}`",
            visit.door, self.cluster
        ))
    }
}

fn warned(visit: &Visit<'_>, what: &str) -> Verdict {
    tracing::warn!(
        namespace = visit.question.namespace,
        name = visit.question.name,
        user = visit.question.user_info.username,
        door = visit.door,
        what,
        "let in by the namespace's label"
    );
    Verdict { warnings: vec![format!("dewdrop: {what}")], ..Verdict::allowed() }
}

/// Whether a namespace opens its doors to everybody.
#[must_use]
pub fn is_open(labels: &BTreeMap<String, String>) -> bool {
    labels.get(ALLOW_EXEC).is_some_and(|value| value == "true")
}

/// Whether a namespace has credentials replaced after a session.
fn replaces(labels: &BTreeMap<String, String>) -> bool {
    labels.get(REPLACE).is_none_or(|value| value != "false")
}

// === impl Visit ===

impl Visit<'_> {
    /// The container that is named; empty: none is.
    fn named(&self) -> String {
        if !READING.contains(&self.door) {
            return String::new();
        }
        self.question.object::<Options>("PodExecOptions").ok().and_then(|options| options.container).unwrap_or_default()
    }

    /// The containers with an agent's credentials that are entered. Where none is named, it may be any.
    fn containers(&self) -> Vec<&str> {
        if !READING.contains(&self.door) {
            return Vec::new();
        }
        let named = self.named();
        let filled = self.owned.iter().filter(|one| matches!(one, Owned::Csi { .. })).map(Owned::container);
        let mut entered: Vec<&str> = filled.filter(|name| named.is_empty() || *name == named).collect();
        entered.sort_unstable();
        entered.dedup();
        entered
    }
}
