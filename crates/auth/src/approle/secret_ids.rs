//! Secret ids: make, look up, list, destroy.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::store::{Batch, Revision, StoreError, get_json};
use dewdrop_core::wire::{Pairs, Strings, Text};
use dewdrop_core::{Fault, Moment};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::json;
use uuid::Uuid;

use super::role::Role;
use super::roles::TRIES;
use super::wire::{AccessorOnly, CustomSecretRequest, SecretIdOnly, SecretRequest};
use super::{AppRole, keys};
use crate::cidr;
use crate::listing::{Page, list};
use crate::names::parse_name;

/// The most pairs of metadata, and the most bytes of them.
const MOST_METADATA: (usize, usize) = (1000, 64 * 1024);

/// What is kept of a secret id; the id itself is not in it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SecretRecord {
    /// The public name.
    pub accessor: String,
    /// Logins left; zero: no limit.
    pub num_uses: i64,
    /// The life that it was made with; zero: for ever.
    pub ttl: Duration,
    /// When it was made.
    pub created: Moment,
    /// When its uses were counted last.
    pub updated: Moment,
    /// When it ends; `None`: never.
    pub expires: Option<Moment>,
    /// Metadata of the tokens.
    pub metadata: BTreeMap<String, String>,
    /// Where a login may come from.
    pub cidrs: Vec<IpNet>,
    /// Where its tokens may be used from; empty: as the role says.
    pub token_cidrs: Vec<IpNet>,
}

/// A secret id that was found: under which HMAC, with which record.
pub struct Found {
    /// The HMAC.
    pub hmac: String,
    /// The record.
    pub record: SecretRecord,
    /// Its revision.
    pub revision: Revision,
}

/// All paths of secret ids.
pub fn routes() -> Routes<AppRole> {
    Routes::new("")
        .at("role/{role_name}/secret-id", "The secret ids of a role.", |route| {
            route
                .write("Makes a secret id.", AppRole::generate)
                .list("Lists the accessors of the secret ids.", AppRole::list_accessors)
        })
        .at("role/{role_name}/custom-secret-id", "A secret id that the caller chooses.", |route| {
            route.write("Registers the secret id.", AppRole::register)
        })
        .at("role/{role_name}/secret-id/lookup", "What is known of a secret id.", |route| {
            route.write("Looks it up.", AppRole::lookup)
        })
        .at("role/{role_name}/secret-id/destroy", "Ends a secret id.", |route| {
            route.write("Destroys it.", AppRole::destroy).delete("Destroys it.", AppRole::destroy)
        })
        .at("role/{role_name}/secret-id-accessor/lookup", "What is known of a secret id, by its accessor.", |route| {
            route.write("Looks it up.", AppRole::lookup_accessor)
        })
        .at("role/{role_name}/secret-id-accessor/destroy", "Ends a secret id, by its accessor.", |route| {
            route.write("Destroys it.", AppRole::destroy_accessor).delete("Destroys it.", AppRole::destroy_accessor)
        })
}

impl AppRole {
    async fn generate(self: Arc<Self>, call: Call, ask: SecretRequest) -> Result<Reply, Fault> {
        self.store_secret(&call, Uuid::new_v4().to_string(), ask).await
    }

    async fn register(self: Arc<Self>, call: Call, ask: CustomSecretRequest) -> Result<Reply, Fault> {
        let secret_id = given(ask.secret_id.as_ref(), "secret_id")?.to_owned();
        self.store_secret(&call, secret_id, ask.rest()).await
    }

    async fn store_secret(&self, call: &Call, secret_id: String, ask: SecretRequest) -> Result<Reply, Fault> {
        let hasher = self.index.get_or_make().await?;
        for _ in 0..TRIES {
            let (role, role_revision) = self.known_role(call).await?;
            if !role.bind_secret_id {
                return Err(Fault::bad_request("bind_secret_id is not set on the role"));
            }
            let record = new_record(&role, call, &ask)?;
            let hmac = hasher.secret_id(&role.uid, &secret_id);
            let place = keys::secret(&role.uid, &hmac);
            if self.place.store.get(&place).await?.is_some() {
                return Err(Fault::bad_request("failed to store secret_id: SecretID is already registered"));
            }
            let mut batch = Batch::new()
                .expect(keys::role(&role.name), role_revision)
                .expect(place.clone(), 0)
                .put_json(place, &record)?
                .put(keys::accessor(&role.uid, &record.accessor), hmac.clone().into_bytes());
            if let Some(end) = record.expires {
                batch = batch.put(keys::end(end, &role.uid, &hmac), Vec::new());
            }
            match self.place.store.commit(batch).await {
                Ok(_) => {
                    let reply = Reply::of(&made(&secret_id, &record))?;
                    return Ok(Reply { accessor: Some(record.accessor), ..reply });
                }
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    async fn list_accessors(self: Arc<Self>, call: Call, page: Page) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("role_name"))?;
        // Not 404: that would say that the role has no secret ids.
        let unknown = || Fault::bad_request(format!("role {name:?} does not exist"));
        let (role, _) = self.role(&name).await?.ok_or_else(unknown)?;
        list(&*self.place.store, &keys::accessors_of(&role.uid), &page).await
    }

    async fn lookup(self: Arc<Self>, call: Call, ask: SecretIdOnly) -> Result<Reply, Fault> {
        let secret_id = given(ask.secret_id.as_ref(), "secret_id")?;
        let (role, _) = self.known_role(&call).await?;
        let found = self.find(&role, secret_id).await?.filter(|found| found.record.is_alive(call.now));
        found.map_or_else(|| Ok(Reply::nothing()), |found| Reply::of(&found.record.show()))
    }

    async fn destroy(self: Arc<Self>, call: Call, ask: SecretIdOnly) -> Result<Reply, Fault> {
        let secret_id = given(ask.secret_id.as_ref(), "secret_id")?;
        let (role, _) = self.known_role(&call).await?;
        if let Some(found) = self.find(&role, secret_id).await? {
            self.place.store.commit(removal(Batch::new(), &role.uid, &found)).await?;
        }
        Ok(Reply::nothing())
    }

    async fn lookup_accessor(self: Arc<Self>, call: Call, ask: AccessorOnly) -> Result<Reply, Fault> {
        let accessor = given(ask.secret_id_accessor.as_ref(), "secret_id_accessor")?;
        let (role, _) = self.known_role(&call).await?;
        let Some(found) = self.find_accessor(&role, accessor).await? else {
            return Err(Fault::not_found().with_data(json!({ "error": UNKNOWN_ACCESSOR })));
        };
        if !found.record.is_alive(call.now) {
            return Ok(Reply::nothing());
        }
        Reply::of(&found.record.show())
    }

    async fn destroy_accessor(self: Arc<Self>, call: Call, ask: AccessorOnly) -> Result<Reply, Fault> {
        let accessor = given(ask.secret_id_accessor.as_ref(), "secret_id_accessor")?;
        let (role, _) = self.known_role(&call).await?;
        let found = self.find_accessor(&role, accessor).await?;
        let found = found.ok_or_else(|| Fault::missing(UNKNOWN_ACCESSOR))?;
        self.place.store.commit(removal(Batch::new(), &role.uid, &found)).await?;
        Ok(Reply::nothing())
    }

    async fn find(&self, role: &Role, secret_id: &str) -> Result<Option<Found>, Fault> {
        let Some(hasher) = self.index.get().await? else { return Ok(None) };
        self.find_hmac(&role.uid, hasher.secret_id(&role.uid, secret_id)).await
    }

    async fn find_accessor(&self, role: &Role, accessor: &str) -> Result<Option<Found>, Fault> {
        let Some(entry) = self.place.store.get(&keys::accessor(&role.uid, accessor)).await? else { return Ok(None) };
        self.find_hmac(&role.uid, String::from_utf8_lossy(&entry.value).into_owned()).await
    }

    /// The record under an HMAC.
    pub(super) async fn find_hmac(&self, uid: &str, hmac: String) -> Result<Option<Found>, Fault> {
        let found = get_json(&*self.place.store, &keys::secret(uid, &hmac)).await?;
        Ok(found.map(|(record, revision)| Found { hmac, record, revision }))
    }
}

// === impl SecretRecord ===

impl SecretRecord {
    /// Whether its time is not up.
    pub fn is_alive(&self, now: Moment) -> bool {
        self.expires.is_none_or(|end| now < end)
    }

    /// Whether it may be used from an address.
    pub fn admits(&self, address: Option<IpAddr>) -> bool {
        cidr::admits(&self.cidrs, address)
    }

    fn show(&self) -> serde_json::Value {
        json!({
            "cidr_list": cidr::show_blocks(&self.cidrs),
            "creation_time": self.created.rfc3339(),
            "expiration_time": self.expires.map_or_else(|| "0001-01-01T00:00:00Z".into(), Moment::rfc3339),
            "last_updated_time": self.updated.rfc3339(),
            "metadata": self.metadata,
            "secret_id_accessor": self.accessor,
            "secret_id_num_uses": self.num_uses,
            "secret_id_ttl": self.ttl.as_secs(),
            "token_bound_cidrs": cidr::show_blocks(&self.token_cidrs),
        })
    }
}

/// Adds the removal of a secret id and of all that points at it.
pub fn removal(batch: Batch, uid: &str, found: &Found) -> Batch {
    let place = keys::secret(uid, &found.hmac);
    let batch = batch.delete(place).delete(keys::accessor(uid, &found.record.accessor));
    found.record.expires.into_iter().fold(batch, |batch, end| batch.delete(keys::end(end, uid, &found.hmac)))
}

/// What the rules of the role make of a request.
fn new_record(role: &Role, call: &Call, ask: &SecretRequest) -> Result<SecretRecord, Fault> {
    let refuse = |why: &'static str| Err(Fault::bad_request(why));
    let num_uses = ask.num_uses.map_or(role.secret_id_num_uses, |n| n.0);
    if num_uses < 0 {
        return refuse("num_uses cannot be negative");
    }
    if role.secret_id_num_uses > 0 && (num_uses == 0 || num_uses > role.secret_id_num_uses) {
        return refuse("num_uses cannot be higher than the role's secret_id_num_uses");
    }
    let ttl = ask.ttl.map_or(role.secret_id_ttl, |t| t.0);
    if !role.secret_id_ttl.is_zero() && (ttl.is_zero() || ttl > role.secret_id_ttl) {
        return refuse("ttl cannot be longer than the role's secret_id_ttl");
    }
    let ttl = ttl.min(call.mount.max_lease_ttl());
    let cidrs = blocks_within(ask.cidr_list.as_ref(), &role.secret_id_bound_cidrs)?;
    let token_cidrs = blocks_within(ask.token_bound_cidrs.as_ref(), &role.token.params.bound_cidrs)?;
    Ok(SecretRecord {
        accessor: Uuid::new_v4().to_string(),
        num_uses,
        ttl,
        created: call.now,
        updated: call.now,
        expires: (!ttl.is_zero()).then(|| call.now.plus(ttl)),
        metadata: metadata(ask.metadata.as_ref())?,
        cidrs,
        token_cidrs,
    })
}

fn blocks_within(ask: Option<&Strings>, outer: &[IpNet]) -> Result<Vec<IpNet>, Fault> {
    let blocks = ask.map_or_else(|| Ok(Vec::new()), |ask| cidr::parse_blocks(&ask.0))?;
    if cidr::are_within(&blocks, outer) {
        return Ok(blocks);
    }
    Err(Fault::bad_request(format!(
        "failed to verify subset relationship between CIDR blocks on the role {:?} and CIDR blocks on the secret ID {:?}",
        cidr::show_blocks(outer),
        cidr::show_blocks(&blocks)
    )))
}

fn metadata(ask: Option<&Pairs>) -> Result<BTreeMap<String, String>, Fault> {
    let metadata = ask.map(|pairs| pairs.0.clone()).unwrap_or_default();
    let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
    let (most, most_bytes) = MOST_METADATA;
    if metadata.len() > most || bytes > most_bytes {
        return Err(Fault::bad_request(format!("metadata is too large: at most {most} pairs and {most_bytes} bytes")));
    }
    Ok(metadata)
}

/// What a caller reads of a new secret id: the one time that it is shown.
fn made(secret_id: &str, record: &SecretRecord) -> serde_json::Value {
    json!({
        "secret_id": secret_id,
        "secret_id_accessor": record.accessor,
        "secret_id_num_uses": record.num_uses,
        "secret_id_ttl": record.ttl.as_secs(),
    })
}

fn given<'a>(text: Option<&'a Text>, field: &str) -> Result<&'a str, Fault> {
    text.map(|t| t.0.as_str()).filter(|t| !t.is_empty()).ok_or_else(|| Fault::bad_request(format!("missing {field}")))
}

const UNKNOWN_ACCESSOR: &str = "failed to find accessor entry for secret_id_accessor";
