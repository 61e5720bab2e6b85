//! Showing, renewing and ending tokens.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Caller, Outcome, Reply};
use dewdrop_core::lease::{LifeAsk, life};
use dewdrop_core::route::NoFields;
use dewdrop_core::token::{AuthView, TokenKind, TokenParams, TokenRecord};
use dewdrop_core::wire::{Text, Ttl, brief_ttl};
use dewdrop_core::{Fault, Moment};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::super::{INITIAL_ROOT, end_token, is_login};
use super::{TokenAuth, find, find_by_accessor, invalid_accessor};
use crate::vault::Vault;

/// A token by its text.
#[derive(Deserialize, JsonSchema)]
pub struct TokenFields {
    /// The text.
    #[serde(default)]
    token: Text,
}

/// A token by its accessor.
#[derive(Deserialize, JsonSchema)]
pub struct AccessorFields {
    /// The accessor.
    #[serde(default)]
    accessor: Text,
}

/// A token to renew.
#[derive(Deserialize, JsonSchema)]
pub struct RenewFields {
    /// Its text.
    #[serde(default)]
    token: Text,
    /// The life that is asked.
    #[serde(default)]
    increment: Ttl,
}

/// A token to renew, by its accessor.
#[derive(Deserialize, JsonSchema)]
pub struct RenewAccessorFields {
    /// The accessor.
    #[serde(default)]
    accessor: Text,
    /// The life that is asked.
    #[serde(default)]
    increment: Ttl,
}

impl TokenAuth {
    pub(super) async fn lookup(self: Arc<Self>, call: Call, fields: TokenFields) -> Result<Reply, Fault> {
        if fields.token.0.is_empty() {
            return self.lookup_self(call, NoFields {}).await;
        }
        let vault = self.vault()?;
        let found = find(&vault, &call.mount.namespace, &fields.token.0).await?;
        let live = found.ok_or_else(|| Fault::denied_saying("bad token"))?;
        Ok(Reply::data(show(&vault, &live.record, &fields.token.0, call.now).await?))
    }

    pub(super) async fn lookup_self(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let record = call.caller.token.clone().ok_or_else(|| Fault::denied("no token"))?;
        Ok(Reply::data(show(&*self.vault()?, &record, call.caller.token_text(), call.now).await?))
    }

    pub(super) async fn lookup_accessor(self: Arc<Self>, call: Call, fields: AccessorFields) -> Result<Reply, Fault> {
        let accessor = needed(&fields.accessor, "missing accessor")?;
        let vault = self.vault()?;
        let live = find_by_accessor(&vault, &call.mount.namespace, accessor).await?.ok_or_else(invalid_accessor)?;
        Ok(Reply::data(show(&vault, &live.record, "", call.now).await?))
    }

    pub(super) async fn renew(self: Arc<Self>, call: Call, fields: RenewFields) -> Result<Reply, Fault> {
        if fields.token.0.is_empty() {
            return Err(Fault::bad_request("missing token ID"));
        }
        let vault = self.vault()?;
        let found = find(&vault, &call.mount.namespace, &fields.token.0).await?;
        let live = found.ok_or_else(|| Fault::bad_request("token not found"))?;
        renewed(&vault, &live.record, &fields.token.0, fields.increment.0, &call).await
    }

    pub(super) async fn renew_self(self: Arc<Self>, call: Call, fields: RenewFields) -> Result<Reply, Fault> {
        let record = call.caller.token.clone().ok_or_else(|| Fault::denied("no token"))?;
        renewed(&*self.vault()?, &record, call.caller.token_text(), fields.increment.0, &call).await
    }

    pub(super) async fn renew_accessor(
        self: Arc<Self>,
        call: Call,
        fields: RenewAccessorFields,
    ) -> Result<Reply, Fault> {
        let accessor = needed(&fields.accessor, "missing accessor")?;
        let vault = self.vault()?;
        let live = find_by_accessor(&vault, &call.mount.namespace, accessor).await?.ok_or_else(invalid_accessor)?;
        renewed(&vault, &live.record, "", fields.increment.0, &call).await
    }

    pub(super) async fn revoke(self: Arc<Self>, call: Call, fields: TokenFields) -> Result<Reply, Fault> {
        let text = needed(&fields.token, "missing token ID")?;
        let vault = self.vault()?;
        match find(&vault, &call.mount.namespace, text).await? {
            Some(live) if live.record.kind == TokenKind::Batch => {
                Err(Fault::bad_request("batch tokens cannot be revoked"))
            }
            Some(live) => end_token(&vault, &live.record.accessor, false).await.map(|()| Reply::nothing()),
            None => Ok(Reply::nothing()),
        }
    }

    pub(super) async fn revoke_self(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let record = call.caller.token.clone().ok_or_else(|| Fault::denied("no token"))?;
        if record.kind == TokenKind::Batch {
            return Err(Fault::bad_request("batch tokens cannot be revoked"));
        }
        end_token(&*self.vault()?, &record.accessor, false).await?;
        Ok(Reply::nothing())
    }

    pub(super) async fn revoke_accessor(self: Arc<Self>, call: Call, fields: AccessorFields) -> Result<Reply, Fault> {
        let accessor = needed(&fields.accessor, "missing accessor")?;
        let vault = self.vault()?;
        match find_by_accessor(&vault, &call.mount.namespace, accessor).await? {
            Some(live) => end_token(&vault, &live.record.accessor, false).await.map(|()| Reply::nothing()),
            None => Ok(Reply::nothing().warn("No token found with this accessor")),
        }
    }

    pub(super) async fn revoke_orphan(self: Arc<Self>, call: Call, fields: TokenFields) -> Result<Reply, Fault> {
        let text = needed(&fields.token, "missing token ID")?;
        let vault = self.vault()?;
        let found = find(&vault, &call.mount.namespace, text).await?;
        let live = found.ok_or_else(|| Fault::bad_request("token to revoke not found"))?;
        if live.record.kind == TokenKind::Batch {
            return Err(Fault::bad_request("batch tokens cannot be revoked"));
        }
        end_token(&vault, &live.record.accessor, true).await?;
        Ok(Reply::nothing())
    }
}

fn needed<'f>(field: &'f Text, missing: &'static str) -> Result<&'f str, Fault> {
    if field.0.is_empty() { Err(Fault::bad_request(missing)) } else { Ok(&field.0) }
}

/// A token as `lookup` shows it.
async fn show(vault: &Vault, record: &TokenRecord, text: &str, now: Moment) -> Result<Map<String, Value>, Fault> {
    let mut shown = json!({
        "accessor": record.accessor,
        "creation_time": record.created.seconds(),
        "creation_ttl": record.ttl.as_secs(),
        "display_name": record.display_name,
        "entity_id": record.entity_id,
        "expire_time": record.expires.map(Moment::rfc3339),
        "explicit_max_ttl": record.explicit_max_ttl.as_secs(),
        "id": text,
        "issue_time": record.created.rfc3339(),
        "meta": Some(&record.meta).filter(|meta| !meta.is_empty()),
        "num_uses": record.num_uses,
        "orphan": record.parent.is_none(),
        "path": record.path,
        "policies": record.policies,
        "renewable": record.renewable,
        "ttl": record.time_left(now).as_secs(),
        "type": record.kind,
    });
    let Some(fields) = shown.as_object_mut() else { return Ok(Map::new()) };
    if record.path == INITIAL_ROOT {
        // It was made without a lease, so the API says nothing of one.
        fields.retain(|name, _| name != "issue_time" && name != "renewable");
    }
    if let Some(renewed) = record.renewed {
        fields.insert("last_renewal".into(), renewed.rfc3339().into());
        fields.insert("last_renewal_time".into(), renewed.seconds().into());
    }
    if !record.period.is_zero() {
        fields.insert("period".into(), record.period.as_secs().into());
    }
    if !record.role.is_empty() {
        fields.insert("role".into(), record.role.clone().into());
    }
    if !record.bound_cidrs.is_empty() {
        // A block of one address is shown as that address.
        let show = |net: &IpNet| {
            if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
        };
        let nets: Vec<String> = record.bound_cidrs.iter().map(show).collect();
        fields.insert("bound_cidrs".into(), nets.into());
    }
    if let Some(home) = vault.namespaces.by_id(&record.namespace).filter(|home| !home.is_root()) {
        fields.insert("namespace_path".into(), home.path.clone().into());
    }
    if !record.entity_id.is_empty() {
        let policies = identity_policies(vault, record).await?;
        if !policies.is_empty() {
            fields.insert("identity_policies".into(), policies.into());
            // Policies that an entity has in other namespaces: here it has none.
            fields.insert("external_namespace_policies".into(), json!({}));
        }
    }
    Ok(std::mem::take(fields))
}

async fn identity_policies(vault: &Vault, record: &TokenRecord) -> Result<Vec<String>, Fault> {
    if record.entity_id.is_empty() {
        return Ok(Vec::new());
    }
    let Some(home) = vault.namespaces.by_id(&record.namespace) else { return Ok(Vec::new()) };
    let view = vault.mounts.identities(&home)?.view(&record.entity_id).await?;
    Ok(view.map(|view| view.policies.clone()).unwrap_or_default())
}

/// Extends a token and shows it.
async fn renewed(
    vault: &Vault,
    record: &TokenRecord,
    text: &str,
    increment: Duration,
    call: &Call,
) -> Result<Reply, Fault> {
    let now = call.now;
    if record.kind == TokenKind::Batch {
        return Err(Fault::bad_request("batch tokens cannot be renewed"));
    }
    if !record.renewable {
        return Err(Fault::bad_request("lease is not renewable"));
    }
    let params = params_now(vault, record, &call.caller).await?;
    let mount = vault.mounts.find(&mount_path(vault, record)).map(|(mounted, _)| mounted.mount);
    let limits = mount.map_or((vault.limits.default_lease_ttl, vault.limits.max_lease_ttl), |m| {
        (m.default_lease_ttl(), m.max_lease_ttl())
    });
    let asked = LifeAsk {
        issued: record.created,
        now,
        increment,
        role_ttl: if is_login(record) { params.ttl } else { last_life(record) },
        role_max: params.max_ttl,
        mount_default: limits.0,
        mount_max: limits.1,
    };
    let (ttl, warnings) = next_life(record, &params, &asked, now);
    let live = vault
        .tokens
        .change(&record.accessor, |fresh| {
            fresh.expires = Some(now.plus(ttl));
            fresh.renewed = Some(now);
            Ok(true)
        })
        .await?
        .ok_or_else(|| Fault::bad_request("token not found"))?;
    let auth = AuthView::new(text, &live.record, identity_policies(vault, &live.record).await?, now);
    let mut reply = Reply::from(Outcome::Token(Box::new(auth)));
    reply.warnings = warnings;
    Ok(reply)
}

/// What the token was given last, when it was made or renewed.
fn last_life(record: &TokenRecord) -> Duration {
    let from = record.renewed.unwrap_or(record.created);
    record.expires.map_or(Duration::ZERO, |end| end.since(from))
}

/// A periodic token gets its period anew; others what [`life`] says; none goes beyond its explicit end.
fn next_life(record: &TokenRecord, params: &TokenParams, asked: &LifeAsk, now: Moment) -> (Duration, Vec<String>) {
    let (mut ttl, mut warnings) = if params.period.is_zero() {
        let given = life(asked);
        (given.ttl, given.warnings)
    } else {
        (params.period, Vec::new())
    };
    let explicit = if params.explicit_max_ttl.is_zero() { record.explicit_max_ttl } else { params.explicit_max_ttl };
    if !explicit.is_zero() {
        let left = record.created.plus(explicit).since(now);
        if ttl > left && asked.increment > left {
            warnings.push(format!(
                "TTL of {:?} exceeded the effective max_ttl of {:?}; TTL value is capped accordingly",
                brief_ttl(asked.increment),
                brief_ttl(left)
            ));
        }
        ttl = ttl.min(left);
    }
    (ttl, warnings)
}

/// What the auth method says of the token's life now: its role may have changed.
async fn params_now(vault: &Vault, record: &TokenRecord, caller: &Caller) -> Result<TokenParams, Fault> {
    if is_login(record) {
        let path = mount_path(vault, record);
        let (mounted, _) =
            vault.mounts.find(&path).ok_or_else(|| Fault::bad_request("the auth method of this token is gone"))?;
        return mounted.room.renew_login(&record.internal, caller).await;
    }
    Ok(TokenParams { period: record.period, explicit_max_ttl: record.explicit_max_ttl, ..TokenParams::default() })
}

fn mount_path(vault: &Vault, record: &TokenRecord) -> String {
    let home = vault.namespaces.by_id(&record.namespace).map(|home| home.path.clone()).unwrap_or_default();
    format!("{home}{}", record.path)
}
