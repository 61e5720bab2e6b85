//! Enrolment: a key for an entity and a method, told once, as an `otpauth` URL and as a QR code.

use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::store::Batch;
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::check::Enrolled;
use super::method::Method;
use super::qr;
use crate::identity::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// Who has a second factor already shows it before he gets another: else a stolen token would be as good as both.
const FRESH: Duration = Duration::from_secs(15 * 60);

#[derive(Deserialize, JsonSchema)]
struct OwnAsk {
    /// The method.
    #[serde(default)]
    method_id: Text,
}

/// What those take who look after others.
#[derive(Deserialize, JsonSchema)]
pub(super) struct AdminAsk {
    /// The method.
    #[serde(default)]
    method_id: Text,
    /// The entity.
    #[serde(default)]
    entity_id: Text,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("mfa/method/totp/generate", "The caller enrols", |route| {
            route.write("Makes a key for the caller, told once", Identities::enroll_self)
        })
        .at("mfa/method/totp/admin-generate", "An entity is enrolled", |route| {
            route.write("Makes a key for an entity, told once", Identities::enroll_other)
        })
        .at("mfa/method/totp/admin-destroy", "The key of an entity", |route| {
            route.write("Takes it away; with the last one, the recovery codes too", Identities::destroy)
        })
}

/// # Errors
/// 403: the caller's token has not passed a second factor within [`FRESH`].
pub(super) fn needs_fresh_factor(call: &Call) -> Result<(), Fault> {
    match call.caller.mfa_age(call.now) {
        Some(age) if age <= FRESH => Ok(()),
        _ => Err(Fault::denied_saying(
            "you have a second factor already: show it first at sys/mfa/step-up (dewdrop mfa step-up), then ask again",
        )),
    }
}

impl Identities {
    async fn enroll_self(self: Arc<Self>, call: Call, ask: OwnAsk) -> Result<Reply, Fault> {
        let method = self.asked_method(&ask.method_id.0).await?;
        let entity = self.own_entity(&call).await?;
        let enrolled = self.mfa_enrolled(&entity).await?;
        if !enrolled.is_empty() && !enrolled.iter().any(|one| one.id == method.id) {
            needs_fresh_factor(&call)?;
        }
        self.enroll(&entity, &method).await
    }

    async fn enroll_other(self: Arc<Self>, _: Call, ask: AdminAsk) -> Result<Reply, Fault> {
        let method = self.asked_method(&ask.method_id.0).await?;
        let entity = self.asked_entity(&ask).await?;
        self.enroll(&entity, &method).await
    }

    async fn enroll(&self, entity: &str, method: &Method) -> Result<Reply, Fault> {
        let mut key = vec![0u8; method.key_size];
        fill(&mut key).map_err(|_| Fault::internal("the machine gives no random bytes"))?;
        let key = Secret::new(key);
        let url = method.shape.url(&method.issuer, entity, key.expose());
        let barcode = match method.qr_size {
            0 => None,
            size => Some(BASE64_STANDARD.encode(qr::png(&url, size)?)),
        };
        if !self.keep_secret(entity, method, &Enrolled::new(&key, method.shape)).await? {
            let name = if method.name.is_empty() { &method.id } else { &method.name };
            return Ok(Reply::nothing().warn(format!("Entity already has a secret for MFA method {name:?}")));
        }
        Reply::of(&match barcode {
            Some(barcode) => json!({ "barcode": barcode, "url": url }),
            None => json!({ "url": url }),
        })
    }

    /// `false`: the entity has one for this method.
    async fn keep_secret(&self, entity: &str, method: &Method, secret: &Enrolled) -> Result<bool, Fault> {
        let at = keys::mfa_secret(entity, &method.id);
        for _ in 0..TRIES {
            if self.revision(&at).await? != 0 {
                return Ok(false);
            }
            let batch = Batch::new().expect(at.clone(), 0).put_json(at.clone(), secret)?;
            if self.commit(self.codes_go_with(batch, entity, &method.id).await?, &[]).await? {
                return Ok(true);
            }
        }
        Err(gave_up())
    }

    async fn destroy(self: Arc<Self>, _: Call, ask: AdminAsk) -> Result<Reply, Fault> {
        let method = self.asked_method(&ask.method_id.0).await?;
        let entity = self.asked_entity(&ask).await?;
        for _ in 0..TRIES {
            let batch = Batch::new().delete(keys::mfa_secret(&entity, &method.id));
            if self.commit(self.codes_go_with(batch, &entity, &method.id).await?, &[]).await? {
                return Ok(Reply::nothing());
            }
        }
        Err(gave_up())
    }

    async fn asked_method(&self, id: &str) -> Result<Method, Fault> {
        if id.is_empty() {
            return Err(Fault::bad_request("missing method ID"));
        }
        // Without what was given: it may be a secret in the wrong field.
        let method = self.method(id).await?;
        let method = method.ok_or_else(|| Fault::bad_request("configuration for this method ID does not exist"))?;
        if method.party.is_some() {
            return Err(Fault::bad_request("this method is of type webauthn: use the paths below mfa/method/webauthn"));
        }
        Ok(method)
    }

    pub(super) async fn asked_entity(&self, ask: &AdminAsk) -> Result<String, Fault> {
        self.entity_asked(&ask.entity_id.0).await
    }

    /// An entity by the id that somebody gave.
    pub(super) async fn entity_asked(&self, id: &str) -> Result<String, Fault> {
        match id {
            "" => Err(Fault::bad_request("missing entityID")),
            id => self.living(id).await,
        }
    }

    /// The entity of the caller.
    pub(super) async fn own_entity(&self, call: &Call) -> Result<String, Fault> {
        match call.caller.entity_id() {
            "" => Err(Fault::bad_request("missing entityID: your token belongs to nobody")),
            id => self.living(id).await,
        }
    }

    async fn living(&self, id: &str) -> Result<String, Fault> {
        let view = self.view(id).await?;
        view.map(|view| view.id.clone()).ok_or_else(|| Fault::bad_request("invalid entity ID"))
    }
}
