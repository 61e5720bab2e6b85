//! The keys that are registered: each person's own, and those of others for whoever looks after them.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::MfaKind;
use super::super::enroll::needs_fresh_factor;
use super::register::key_name;
use super::{Passkey, Passkeys};
use crate::identity::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

#[derive(Deserialize, JsonSchema)]
struct NameAsk {
    /// What its holder calls the key.
    #[serde(default)]
    name: Text,
}

#[derive(Deserialize, JsonSchema)]
struct EntityAsk {
    /// The entity.
    #[serde(default)]
    entity_id: Text,
}

#[derive(Deserialize, JsonSchema)]
struct DestroyAsk {
    /// The method.
    #[serde(default)]
    method_id: Text,
    /// The entity.
    #[serde(default)]
    entity_id: Text,
    /// One key; all of the entity's for this method when unset.
    #[serde(default)]
    credential_id: Text,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("mfa/method/webauthn/credentials", "The caller's keys", |route| {
            route.list("Lists them", Identities::list_own_keys)
        })
        .at("mfa/method/webauthn/credentials/{credential_id}", "One of the caller's keys", |route| {
            route
                .read("Reads it", Identities::read_own_key)
                .write("Names it anew", Identities::rename_own_key)
                .delete("Deletes it", Identities::delete_own_key)
        })
        .at("mfa/method/webauthn/admin-list", "The keys of an entity", |route| {
            route.write("Lists them", Identities::list_keys_of)
        })
        .at("mfa/method/webauthn/admin-destroy", "The keys of an entity", |route| {
            route.write("Takes one or all away", Identities::destroy_keys)
        })
}

impl Identities {
    async fn list_own_keys(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let entity = self.own_entity(&call).await?;
        self.keys_told(&entity).await
    }

    async fn list_keys_of(self: Arc<Self>, _: Call, ask: EntityAsk) -> Result<Reply, Fault> {
        let entity = self.entity_asked(&ask.entity_id.0).await?;
        self.keys_told(&entity).await
    }

    async fn keys_told(&self, entity: &str) -> Result<Reply, Fault> {
        let mut lines = Vec::new();
        for (method, known) in self.all_passkeys(entity).await? {
            lines.extend(known.keys.iter().map(|key| (key.id.clone(), key.view(&method))));
        }
        Reply::listed(lines)
    }

    async fn read_own_key(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let entity = self.own_entity(&call).await?;
        let id = call.capture("credential_id");
        for (method, known) in self.all_passkeys(&entity).await? {
            if let Some(key) = known.keys.iter().find(|key| key.id == id) {
                return Reply::of(&key.view(&method));
            }
        }
        Err(Fault::not_found())
    }

    async fn rename_own_key(self: Arc<Self>, call: Call, ask: NameAsk) -> Result<Reply, Fault> {
        let entity = self.own_entity(&call).await?;
        let (id, name) = (call.capture("credential_id"), key_name(&ask.name.0)?);
        let method = self.method_of_key(&entity, id).await?.ok_or_else(Fault::not_found)?;
        let rename = |known: &mut Passkeys| {
            known.keys.iter_mut().filter(|key| key.id == id).for_each(|key| key.name.clone_from(&name));
        };
        self.change_keys(&entity, &method, rename).await?;
        Ok(Reply::nothing())
    }

    /// A stolen token must not take the last key away and then register another: so the second factor is shown first.
    async fn delete_own_key(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let entity = self.own_entity(&call).await?;
        let id = call.capture("credential_id");
        let Some(method) = self.method_of_key(&entity, id).await? else { return Ok(Reply::nothing()) };
        needs_fresh_factor(&call)?;
        self.change_keys(&entity, &method, |known| known.keys.retain(|key| key.id != id)).await?;
        Ok(Reply::nothing())
    }

    async fn destroy_keys(self: Arc<Self>, _: Call, ask: DestroyAsk) -> Result<Reply, Fault> {
        let (method, _) = self.asked_party(&ask.method_id.0).await?;
        let entity = self.entity_asked(&ask.entity_id.0).await?;
        let one = ask.credential_id.0.as_str();
        self.change_keys(&entity, &method, |known| known.keys.retain(|key| !one.is_empty() && key.id != one)).await?;
        Ok(Reply::nothing())
    }

    async fn method_of_key(&self, entity: &str, id: &str) -> Result<Option<String>, Fault> {
        let all = self.all_passkeys(entity).await?;
        Ok(all.into_iter().find(|(_, known)| known.keys.iter().any(|key| key.id == id)).map(|(method, _)| method))
    }

    /// All keys of an entity, by method.
    async fn all_passkeys(&self, entity: &str) -> Result<Vec<(String, Passkeys)>, Fault> {
        let mut all = Vec::new();
        for method in self.mfa_enrolled(entity).await?.into_iter().filter(|method| method.kind == MfaKind::Webauthn) {
            let known = self.passkeys(entity, &method.id).await?;
            all.extend(known.map(|(known, _)| (method.id, known)));
        }
        Ok(all)
    }

    /// Changes the keys of an entity. Without any, there is no record: whoever has none has no second factor, nor
    /// codes that stand in for it.
    async fn change_keys(&self, entity: &str, method: &str, change: impl Fn(&mut Passkeys)) -> Result<(), Fault> {
        let at = keys::mfa_secret(entity, method);
        let _turn = self.logins.turn(&at).await;
        for _ in 0..TRIES {
            let Some((mut known, revision)) = self.passkeys(entity, method).await? else { return Ok(()) };
            change(&mut known);
            let batch = Batch::new().expect(at.clone(), revision);
            let batch = if known.keys.is_empty() {
                self.codes_go_with(batch.delete(at.clone()), entity, method).await?
            } else {
                batch.put_json(at.clone(), &known)?
            };
            if self.commit(batch, &[]).await? {
                return Ok(());
            }
        }
        Err(gave_up())
    }
}

impl Passkey {
    fn view(&self, method: &str) -> Value {
        let flag = |name: &str| self.credential.get(name).and_then(Value::as_bool).unwrap_or_default();
        json!({
            "credential_id": self.id,
            "name": self.name,
            "method_id": method,
            "creation_time": self.created.rfc3339(),
            "last_used": self.last_used.map(|at| at.rfc3339()),
            "sign_count": self.credential.get("counter"),
            "user_verified": flag("user_verified"),
            "backup_eligible": flag("backup_eligible"),
        })
    }
}
