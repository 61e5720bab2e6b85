//! One declaration after the other: what must be at the server, what must not, and what its status says.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::Moment;
use serde_json::{Value, json};

use super::kinds::{Grant, SecretAccess, Status};
use super::plan::House;
use super::status::{self, Verdict};
use super::vault::{Fail, Server};
use crate::cluster::{Api, LookUpError};

/// Keeps a declaration until its role is gone.
pub const FINALIZER: &str = "dewdrop.dev/role";
/// After so long everything is written once more: somebody may have changed it at the server.
const AGAIN: Duration = Duration::from_secs(600);
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The declarations in the cluster, as far as they are changed.
#[async_trait]
pub trait Objects: Send + Sync {
    /// Replaces the finalizers, unless the object has changed since it was read.
    async fn set_finalizers(&self, access: &SecretAccess, finalizers: &[String]) -> Result<(), LookUpError>;
    /// Replaces the status.
    async fn set_status(&self, access: &SecretAccess, status: &Status) -> Result<(), LookUpError>;
}

/// What was done for a declaration last.
struct Done {
    /// What it was to be: another one is seen to at once.
    wanted: String,
    /// Until when nothing is to be done for the same.
    until: Moment,
    tries: u32,
}

/// Who does it.
pub struct Desk {
    house: House,
    server: Box<dyn Server>,
    objects: Box<dyn Objects>,
    done: BTreeMap<String, Done>,
    swept: Option<Moment>,
}

impl Desk {
    /// Nothing is done yet.
    pub fn new(house: House, server: Box<dyn Server>, objects: Box<dyn Objects>) -> Self {
        Self { house, server, objects, done: BTreeMap::new(), swept: None }
    }

    /// Another operator may have written since.
    pub fn forget(&mut self) {
        self.done.clear();
        self.swept = None;
    }

    /// Removes what has no declaration any more: whoever may change one may also take its finalizer out.
    pub async fn sweep(&mut self, accesses: &[SecretAccess], now: Moment) {
        if self.swept.is_some_and(|swept| swept <= now && now.since(swept) < AGAIN) {
            return;
        }
        let declared: BTreeSet<String> = accesses.iter().map(|access| self.house.name(access)).collect();
        match self.remove_others(&declared).await {
            Ok(()) => self.swept = Some(now),
            Err(fail) => tracing::warn!(?fail, "what has no declaration any more cannot be removed yet"),
        }
    }

    async fn remove_others(&mut self, declared: &BTreeSet<String>) -> Result<(), Fail> {
        for name in self.server.names().await? {
            if self.house.owns(&name) && !declared.contains(&name) {
                tracing::info!(name, "role and policy without a declaration are removed");
                self.server.remove(&name).await?;
            }
        }
        Ok(())
    }

    /// Forgets those that are no more.
    pub fn keep_only(&mut self, accesses: &[SecretAccess]) {
        let there: BTreeSet<&str> = accesses.iter().map(|access| access.metadata.uid.as_str()).collect();
        self.done.retain(|uid, _| there.contains(uid.as_str()));
    }

    /// Makes the server and the status what they must be.
    pub async fn see_to(&mut self, access: &SecretAccess, grants: &[Grant], now: Moment) {
        let is_leaving = access.metadata.deletion_timestamp.is_some();
        let plan = self.house.plan(access, grants);
        let wanted = if is_leaving { "nothing".to_owned() } else { format!("{plan:?}") };
        let uid = &access.metadata.uid;
        let tries = match self.done.get(uid).filter(|done| done.wanted == wanted) {
            Some(done) if now < done.until => return,
            Some(done) => done.tries,
            None => 0,
        };
        let outcome = match plan {
            _ if is_leaving => self.take_leave(access).await,
            Ok(plan) => self.write(access, &plan).await,
            Err(refusal) => self.refuse(access, refusal.reason(), refusal.to_string()).await,
        };
        let (verdict, again) = match outcome {
            Ok(verdict) => (verdict, None),
            Err(trouble) => (Some(verdict_of(&trouble)), Some(wait(tries))),
        };
        let told = match verdict {
            Some(verdict) => self.tell(access, &verdict, now).await,
            None => true,
        };
        let until = now.plus(again.unwrap_or(if told { AGAIN } else { FIRST_WAIT }));
        let tries = if again.is_some() { tries.saturating_add(1) } else { 0 };
        self.done.insert(uid.clone(), Done { wanted, until, tries });
    }

    /// The finalizer stands before the role does: else a deletion in between would leave the role.
    async fn write(&mut self, access: &SecretAccess, plan: &super::plan::Plan) -> Result<Option<Verdict>, Trouble> {
        if !is_held(access) {
            let mut finalizers = access.metadata.finalizers.clone();
            finalizers.push(FINALIZER.to_owned());
            self.objects.set_finalizers(access, &finalizers).await?;
        }
        let name = self.house.name(access);
        self.server.write(&name, plan).await?;
        let message = format!("role and policy {name} are at the server");
        Ok(Some(Verdict { ready: true, reason: "Written", message }))
    }

    /// What was granted once and is no more ends now. The finalizer does not say whether there is a role: whoever may change
    /// the declaration may have taken it out.
    async fn refuse(
        &mut self,
        access: &SecretAccess,
        reason: &'static str,
        message: String,
    ) -> Result<Option<Verdict>, Trouble> {
        self.server.remove(&self.house.name(access)).await?;
        Ok(Some(Verdict { ready: false, reason, message }))
    }

    /// Another's finalizer may keep the declaration for long: the role goes now.
    async fn take_leave(&mut self, access: &SecretAccess) -> Result<Option<Verdict>, Trouble> {
        self.server.remove(&self.house.name(access)).await?;
        if is_held(access) {
            let others = access.metadata.finalizers.iter().filter(|one| *one != FINALIZER).cloned();
            self.objects.set_finalizers(access, &others.collect::<Vec<_>>()).await?;
        }
        Ok(None)
    }

    /// Whether it could be told.
    async fn tell(&self, access: &SecretAccess, verdict: &Verdict, now: Moment) -> bool {
        let Some(status) = status::next(access, &self.house.name(access), verdict, now) else { return true };
        let (namespace, name) = (&access.metadata.namespace, &access.metadata.name);
        tracing::info!(
            namespace,
            name,
            reason = verdict.reason,
            message = verdict.message,
            "a declaration was seen to"
        );
        let told = self.objects.set_status(access, &status).await;
        told.inspect_err(|error| tracing::warn!(namespace, name, %error, "its status cannot be written")).is_ok()
    }
}

/// Why it was not done, on either side.
enum Trouble {
    Server(Fail),
    Cluster(LookUpError),
}

impl From<Fail> for Trouble {
    fn from(fail: Fail) -> Self {
        Self::Server(fail)
    }
}

impl From<LookUpError> for Trouble {
    fn from(error: LookUpError) -> Self {
        Self::Cluster(error)
    }
}

fn verdict_of(trouble: &Trouble) -> Verdict {
    let (reason, message) = match trouble {
        Trouble::Server(Fail::Refused(why)) => (
            "ServerRefused",
            format!("the server refuses: {why}; see the policy of the operator's role (docs/guides/secret-access.md)"),
        ),
        Trouble::Server(Fail::Away(why)) => ("ServerUnreachable", format!("{why}; it is tried again by itself")),
        Trouble::Cluster(error) => ("ClusterRefused", error.to_string()),
    };
    Verdict { ready: false, reason, message }
}

fn is_held(access: &SecretAccess) -> bool {
    access.metadata.finalizers.iter().any(|one| one == FINALIZER)
}

fn wait(tries: u32) -> Duration {
    FIRST_WAIT.saturating_mul(1 << tries.min(6)).min(LONGEST_WAIT)
}

#[async_trait]
impl Objects for Api {
    async fn set_finalizers(&self, access: &SecretAccess, finalizers: &[String]) -> Result<(), LookUpError> {
        let version = &access.metadata.resource_version;
        let steps = json!([
            { "op": "test", "path": "/metadata/resourceVersion", "value": version },
            { "op": "add", "path": "/metadata/finalizers", "value": finalizers },
        ]);
        change(self, access, "", &steps).await
    }

    async fn set_status(&self, access: &SecretAccess, status: &Status) -> Result<(), LookUpError> {
        let steps = json!([
            { "op": "test", "path": "/metadata/uid", "value": access.metadata.uid },
            { "op": "add", "path": "/status", "value": status },
        ]);
        change(self, access, "/status", &steps).await
    }
}

async fn change(api: &Api, access: &SecretAccess, part: &str, steps: &Value) -> Result<(), LookUpError> {
    let (namespace, name) = (&access.metadata.namespace, &access.metadata.name);
    let path = format!("/apis/dewdrop.dev/v1alpha1/namespaces/{namespace}/secretaccesses/{name}{part}");
    match api.send_json("PATCH", &path, steps).await? {
        200 | 404 => Ok(()), // 404: it is gone, and so is what was to be changed.
        status @ (401 | 403) => Err(LookUpError::Forbidden { what: "secretaccesses", status }),
        status => {
            Err(LookUpError::Away(format!("it answers with status {status} when a SecretAccess is to be changed")))
        }
    }
}

#[cfg(test)]
mod tests;
