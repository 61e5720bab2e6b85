//! One operator at a time: a Lease of the API server says which. Whether a holder still lives is judged by whether its
//! Lease changes while we watch, not by its clock.

use std::time::Duration;

use dewdrop_core::Moment;
use serde::Deserialize;
use serde_json::json;

use crate::cluster::{Api, LookUpError};

/// A Lease that has not changed for so long is free.
const FREE: Duration = Duration::from_secs(15);
/// How often we say that we live.
const EVERY: Duration = Duration::from_secs(5);
/// So long after we said it last we do nothing more; others wait longer.
const SURE: Duration = Duration::from_secs(10);

/// The right to act.
pub struct Leader {
    api: Api,
    namespace: String,
    name: String,
    identity: String,
    /// The state of another's Lease, and since when we have seen it.
    seen: Option<(String, Moment)>,
    /// When we said last that we live.
    held: Option<Moment>,
}

#[derive(Deserialize)]
struct Lease {
    metadata: super::kinds::Metadata,
    #[serde(default)]
    spec: LeaseSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LeaseSpec {
    holder_identity: Option<String>,
}

impl Leader {
    /// Nothing is held yet.
    pub fn new(api: Api, namespace: String, name: String, identity: String) -> Self {
        Self { api, namespace, name, identity, seen: None, held: None }
    }

    /// Whether we may act now.
    pub async fn holds(&mut self, now: Moment) -> bool {
        if self.held.is_some_and(|held| held <= now && now.since(held) < EVERY) {
            return true;
        }
        match self.take(now).await {
            Ok(true) => {
                if self.held.replace(now).is_none() {
                    tracing::info!(identity = self.identity, "this operator leads");
                }
            }
            Ok(false) => self.held = None,
            Err(error) => tracing::warn!(%error, "the lease cannot be taken or kept"),
        }
        self.held.is_some_and(|held| held <= now && now.since(held) < SURE)
    }

    /// Gives it to whoever comes next.
    pub async fn release(&mut self, now: Moment) {
        if self.held.take().is_some()
            && let Ok(Some(lease)) = self.read().await
            && lease.spec.holder_identity.as_deref() == Some(&self.identity)
        {
            let _ = self.write(Some(&lease.metadata.resource_version), "", now).await;
        }
    }

    async fn take(&mut self, now: Moment) -> Result<bool, LookUpError> {
        let Some(lease) = self.read().await? else { return self.write(None, &self.identity, now).await };
        let version = lease.metadata.resource_version;
        let holder = lease.spec.holder_identity.unwrap_or_default();
        if !holder.is_empty() && holder != self.identity {
            match &self.seen {
                Some((seen, since)) if *seen == version => {
                    if now.since(*since) < FREE {
                        return Ok(false);
                    }
                }
                _ => {
                    self.seen = Some((version, now));
                    return Ok(false);
                }
            }
        }
        self.write(Some(&version), &self.identity, now).await
    }

    async fn read(&self) -> Result<Option<Lease>, LookUpError> {
        self.api.get(&format!("{}/{}", self.folder(), self.name), "leases").await
    }

    /// `false`: somebody else was faster.
    async fn write(&self, version: Option<&str>, holder: &str, now: Moment) -> Result<bool, LookUpError> {
        let mut object = json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
            "metadata": { "name": self.name, "namespace": self.namespace },
            "spec": { "holderIdentity": holder, "leaseDurationSeconds": FREE.as_secs(), "renewTime": micro(now) },
        });
        let status = match version {
            None => self.api.send_json("POST", &self.folder(), &object).await?,
            Some(version) => {
                object["metadata"]["resourceVersion"] = json!(version);
                self.api.send_json("PUT", &format!("{}/{}", self.folder(), self.name), &object).await?
            }
        };
        match status {
            200 | 201 => Ok(true),
            409 => Ok(false),
            401 | 403 => Err(LookUpError::Forbidden { what: "leases", status }),
            _ => Err(LookUpError::Away(format!("it answers with status {status} when the lease is to be written"))),
        }
    }

    fn folder(&self) -> String {
        format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", self.namespace)
    }
}

/// The API's MicroTime demands six digits of a second.
fn micro(now: Moment) -> String {
    let text = Moment(now.seconds() * 1000).rfc3339();
    format!("{}.{:03}000Z", text.split(['.', 'Z']).next().unwrap_or_default(), now.0 % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_micro_time_has_six_digits() {
        assert_eq!(micro(Moment(1_700_000_000_042)), "2023-11-14T22:13:20.042000Z");
    }
}
