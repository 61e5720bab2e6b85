//! The login. Three reads; no write when the secret id has no limit of uses.

use std::net::IpAddr;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Login, Outcome, Reply};
use dewdrop_core::store::{Batch, StoreError};
use dewdrop_core::wire::Text;
use serde_json::json;

use super::index::Hasher;
use super::role::Role;
use super::roles::TRIES;
use super::secret_ids::{Found, SecretRecord, removal};
use super::wire::LoginRequest;
use super::{AppRole, keys};
use crate::cidr;

/// The same for an unknown role, a wrong secret id, and one that is used up or past its end.
fn refused() -> Fault {
    Fault::bad_credential("invalid role or secret ID")
}

impl AppRole {
    pub(super) async fn login(self: Arc<Self>, call: Call, ask: LoginRequest) -> Result<Reply, Fault> {
        let role_id = text(ask.role_id.as_ref()).ok_or_else(|| Fault::bad_request("missing role_id"))?;
        let hasher = self.index.get().await?.ok_or_else(refused)?;
        let role = self.role_by_id(&hasher, role_id).await?.ok_or_else(refused)?;
        let secret = if role.bind_secret_id {
            let secret_id = text(ask.secret_id.as_ref()).ok_or_else(|| Fault::bad_request("missing secret_id"))?;
            Some(self.spend(&role, hasher.secret_id(&role.uid, secret_id), &call).await?)
        } else {
            check_role_bounds(&role, call.caller.address)?;
            None
        };
        Ok(Outcome::Login(Box::new(answer(role, secret))).into())
    }

    async fn role_by_id(&self, hasher: &Hasher, role_id: &str) -> Result<Option<Role>, Fault> {
        let Some(entry) = self.place.store.get(&keys::role_id(&hasher.role_id(role_id))).await? else {
            return Ok(None);
        };
        let found = self.role(&String::from_utf8_lossy(&entry.value)).await?;
        // The two reads are not one: the name may by now be another role's.
        Ok(found
            .map(|(role, _)| role)
            .filter(|role| dewdrop_core::secret::same_bytes(role.role_id.as_bytes(), role_id.as_bytes())))
    }

    /// Checks a secret id and counts its use. Of two that spend the last use at once, one wins.
    async fn spend(&self, role: &Role, hmac: String, call: &Call) -> Result<SecretRecord, Fault> {
        for _ in 0..TRIES {
            let found = self.find_hmac(&role.uid, hmac.clone()).await?;
            let found = found.filter(|found| found.record.is_alive(call.now)).ok_or_else(refused)?;
            if !found.record.admits(call.caller.address) {
                return Err(bounds_refuse(call.caller.address, "through CIDR restrictions on the secret ID"));
            }
            check_role_bounds(role, call.caller.address)?;
            if found.record.num_uses == 0 {
                return Ok(found.record);
            }
            match self.place.store.commit(one_use_less(role, &found, call)?).await {
                Ok(_) => return Ok(found.record),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }
}

fn one_use_less(role: &Role, found: &Found, call: &Call) -> Result<Batch, Fault> {
    let place = keys::secret(&role.uid, &found.hmac);
    let batch = Batch::new().expect(place.clone(), found.revision);
    if found.record.num_uses == 1 {
        return Ok(removal(batch, &role.uid, found));
    }
    let left = SecretRecord { num_uses: found.record.num_uses - 1, updated: call.now, ..found.record.clone() };
    batch.put_json(place, &left)
}

fn check_role_bounds(role: &Role, address: Option<IpAddr>) -> Result<(), Fault> {
    if cidr::admits(&role.secret_id_bound_cidrs, address) {
        return Ok(());
    }
    Err(bounds_refuse(address, "by CIDR restrictions on the role"))
}

fn bounds_refuse(address: Option<IpAddr>, by: &str) -> Fault {
    let address = address.map_or_else(|| "unknown".into(), |a| a.to_string());
    Fault::bad_request(format!("source address {address:?} unauthorized {by}"))
}

fn answer(role: Role, secret: Option<SecretRecord>) -> Login {
    let mut params = role.token.params;
    let mut metadata = std::collections::BTreeMap::new();
    if let Some(secret) = secret {
        metadata = secret.metadata;
        if !secret.token_cidrs.is_empty() {
            params.bound_cidrs = secret.token_cidrs;
        }
    }
    metadata.insert("role_name".into(), role.name.clone());
    Login {
        alias: role.role_id,
        alias_metadata: metadata.clone(),
        params,
        metadata,
        internal: json!({ "role_name": role.name }),
        renewable: true,
        ..Login::default()
    }
}

fn text(field: Option<&Text>) -> Option<&str> {
    field.map(|t| t.0.as_str()).filter(|t| !t.is_empty())
}
