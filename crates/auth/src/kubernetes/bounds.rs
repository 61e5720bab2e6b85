//! Whether an account, and a container, are within the bounds of a role. The caller hears that they are not; the
//! operator, which bound it was.

use std::collections::BTreeMap;

use dewdrop_core::Fault;
use dewdrop_core::selector::Selector;

use super::account::Account;
use super::role::{Role, is_digest};
use super::verify::Verifier;
use crate::glob::any_matches;

/// A container as a node agent names it.
pub struct Container<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its image; empty: not told.
    pub image: &'a str,
    /// The labels of its pod.
    pub labels: &'a BTreeMap<String, String>,
}

impl Role {
    /// Whether an account may have tokens of this role, by its name and namespace.
    ///
    /// # Errors
    /// 403 with the sentence of the API.
    pub(super) async fn admits(&self, account: &Account, verifier: &Verifier, jwt: &str) -> Result<(), Fault> {
        if !any_matches(&self.names, &account.name) {
            let why = format!("service account {:?} is not among bound_service_account_names", account.name);
            return Err(Fault::denied_saying("service account name not authorized").knowing(self.says(&why)));
        }
        if any_matches(&self.namespaces, &account.namespace) {
            return Ok(());
        }
        let refuse = |why: &str| Fault::denied_saying("namespace not authorized").knowing(self.says(why));
        let Some(selector) = Selector::parse(&self.selector) else {
            let why = format!("namespace {:?} is not among bound_service_account_namespaces", account.namespace);
            return Err(refuse(&why));
        };
        let labels = verifier.api.labels_of(&account.namespace, jwt).await.map_err(|why| refuse(&why))?;
        if selector.matches(&labels) {
            return Ok(());
        }
        let why = format!(
            "namespace {:?} is neither among bound_service_account_namespaces nor as bound_service_account_namespace_selector says",
            account.namespace
        );
        Err(refuse(&why))
    }

    /// Whether a container may have tokens of this role.
    ///
    /// # Errors
    /// 403.
    pub(super) fn admits_container(&self, container: &Container<'_>) -> Result<(), Fault> {
        let refuse = |why: &str| Err(Fault::denied(self.says(why)));
        let bounds = &self.containers;
        if !bounds.names.is_empty() && !any_matches(&bounds.names, container.name) {
            return refuse(&format!("container {:?} is not among bound_container_names", container.name));
        }
        if !bounds.digests.is_empty() {
            let Some(digest) = digest_of(container.image) else {
                return refuse("the container's image has no digest, and bound_image_digests wants one");
            };
            if !bounds.digests.iter().any(|one| one == digest) {
                return refuse(&format!("the image's digest {digest:?} is not among bound_image_digests"));
            }
        }
        match bounds.labels.iter().find(|(key, value)| container.labels.get(*key) != Some(value)) {
            Some((key, _)) => refuse(&format!("the pod's label {key:?} is not as bound_pod_labels says")),
            None => Ok(()),
        }
    }

    /// A sentence for the operator.
    pub(super) fn says(&self, why: &str) -> String {
        format!("role {:?}: {why}", self.name)
    }
}

/// The digest of `name@sha256:...`, or of the digest alone.
fn digest_of(image: &str) -> Option<&str> {
    let digest = image.rsplit_once('@').map_or(image, |(_, digest)| digest);
    let (kind, hash) = digest.split_once(':')?;
    is_digest(kind, hash).then_some(digest)
}
