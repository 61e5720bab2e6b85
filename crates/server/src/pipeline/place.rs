//! Where a request is meant to go: the namespace, and the path within it.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::mount::Namespace;

use super::Asked;
use crate::vault::Vault;

/// The namespace of a request, by header and path, and the path within it.
pub(super) fn locate(vault: &Vault, asked: &Asked) -> Result<(Arc<Namespace>, String), Fault> {
    if !asked.namespace.is_empty() && vault.namespaces.at(&asked.namespace).is_none() {
        return Err(Fault::missing("namespace not found"));
    }
    let full = format!("{}{}", asked.namespace, asked.path);
    let (namespace, rest) = vault.namespaces.split(&full);
    Ok((namespace, rest.to_owned()))
}

/// Only whoever has a valid token learns that there is no such namespace; a stranger could ask for all names.
pub(super) async fn no_namespace(vault: &Vault, asked: &Asked, failures: u32, fault: Fault) -> Fault {
    let text = asked.token.as_ref().map_or("", |text| text.expose().as_str());
    let found = match text {
        "" => Ok(None),
        text => vault.tokens.find(text, asked.now).await,
    };
    match found {
        Ok(Some(live)) if live.record.may_come_from(asked.address) => return fault,
        Ok(_) => {}
        Err(fault) => return fault,
    }
    let (address, now) = (asked.address, vault.clock.steady());
    if let Err(fault) = vault.quotas.strangers.check(address, failures, now) {
        return fault;
    }
    vault.quotas.strangers.failed(address, failures, now);
    Fault::denied("a namespace that is not there, asked for without a valid token")
}
