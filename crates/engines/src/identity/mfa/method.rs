//! `mfa/method`: the methods by id, of all types; and those of type TOTP, which say how codes are made.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::Namespace;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Int, Text, Ttl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::enforce::{MfaKind, MfaMethod, Rule};
use super::totp::{Algorithm, Shape};
use super::webauthn::Party;
use crate::identity::model::new_id;
use crate::identity::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// A method. What is about codes is of no use in one of type webauthn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Method {
    pub id: String,
    /// Unique, or empty.
    pub name: String,
    /// Who gives the codes, for people.
    pub issuer: String,
    /// Bytes of a new key.
    pub key_size: usize,
    /// Pixels of the QR code; zero: none is made.
    pub qr_size: usize,
    /// So many wrong codes in a row are free.
    pub max_attempts: u32,
    pub shape: Shape,
    /// It is of type webauthn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub party: Option<Party>,
}

/// What a write of a method takes. As in OpenBao, what is left out is as in a new one; only the name stays.
#[derive(Deserialize, JsonSchema)]
struct MethodAsk {
    /// Its name, unique.
    method_name: Option<Text>,
    /// Who gives the codes, for people.
    issuer: Option<Text>,
    /// Seconds that a code holds; 30 when unset.
    period: Option<Ttl>,
    /// Bytes of a new key; 20 when unset.
    key_size: Option<Int>,
    /// Pixels of the QR code; 200 when unset, 0 for none.
    qr_size: Option<Int>,
    /// `SHA1`, `SHA256` or `SHA512`.
    algorithm: Option<Text>,
    /// 6 or 8.
    digits: Option<Int>,
    /// How many periods before and after now are taken as well: 0 or 1.
    skew: Option<Int>,
    /// So many wrong codes in a row lock the secret for a while; 5 when unset.
    max_validation_attempts: Option<Int>,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("mfa/method", "All MFA methods", |route| route.list("Lists them", Identities::list_methods))
        .at("mfa/method/totp", "MFA methods of type TOTP", |route| {
            route.list("Lists them", Identities::list_methods).write("Makes one", Identities::write_method)
        })
        .at("mfa/method/totp/{method_id}", "One method of type TOTP", |route| {
            route
                .read("Reads it", Identities::read_method)
                .write("Changes it; secrets of those who enrolled stay as they are", Identities::write_method)
                .delete("Deletes it with all its secrets", Identities::delete_method)
        })
}

/// Declared after all others: it matches every method's id.
pub(super) fn any_routes() -> Routes<Identities> {
    Routes::new("")
        .at("mfa/method/{method_id}", "One MFA method", |route| route.read("Reads it", Identities::read_method))
}

/// The id of a path; what is no id is no path.
pub(super) fn id_of(call: &Call) -> Result<&str, Fault> {
    let id = call.capture("method_id");
    match Uuid::try_parse(id) {
        Ok(_) => Ok(id),
        Err(_) => Err(Fault::missing("1 error occurred:\n\t* unsupported path\n\n")),
    }
}

/// Whether a method is of the type that the path names; `mfa/method` and `mfa/method/{id}` are for all.
fn is_meant(call: &Call, method: &Method) -> bool {
    let meant = match call.path.split('/').nth(2) {
        Some("totp") => MfaKind::Totp,
        Some("webauthn") => MfaKind::Webauthn,
        _ => return true,
    };
    method.kind() == meant
}

impl Identities {
    pub(super) async fn list_methods(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let mut methods = self.records::<Method>(&keys::mfa_method("")).await?;
        methods.retain(|method| is_meant(&call, method));
        Reply::listed(methods.iter().map(|method| (method.id.clone(), method.view(&call.mount.namespace))))
    }

    pub(super) async fn read_method(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = self.method(id_of(&call)?).await?.filter(|method| is_meant(&call, method));
        let method = found.ok_or_else(Fault::not_found)?;
        Reply::of(&method.view(&call.mount.namespace))
    }

    async fn write_method(self: Arc<Self>, call: Call, ask: MethodAsk) -> Result<Reply, Fault> {
        self.write_method_of(&call, MfaKind::Totp, ask.method_name.as_ref(), |method| ask.apply(method)).await
    }

    /// Writes a method of a type: what was asked of it is applied to a new one that keeps the name of the former.
    pub(super) async fn write_method_of(
        &self,
        call: &Call,
        kind: MfaKind,
        name: Option<&Text>,
        apply: impl Fn(&mut Method) -> Result<(), &'static str>,
    ) -> Result<Reply, Fault> {
        let id = if call.capture("method_id").is_empty() { None } else { Some(id_of(call)?.to_owned()) };

        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            if let Some(reply) = self.try_write_method(id.as_deref(), kind, name, &apply).await? {
                return Ok(reply);
            }
        }
        Err(gave_up())
    }

    async fn try_write_method(
        &self,
        id: Option<&str>,
        kind: MfaKind,
        given: Option<&Text>,
        apply: &impl Fn(&mut Method) -> Result<(), &'static str>,
    ) -> Result<Option<Reply>, Fault> {
        let name = given.map_or("", |name| name.0.as_str());
        // Without an id, a name that is taken names the method that is meant.
        let named = if name.is_empty() { None } else { self.pointed(&keys::mfa_name(name)).await? };
        let wanted = id.map(str::to_owned).or_else(|| named.clone());
        let found = match &wanted {
            Some(id) => self.get::<Method>(&keys::mfa_method(id)).await?,
            None => None,
        };
        if id.is_some() && found.is_none() {
            return Err(Fault::missing("there is no MFA method of this id; leave the id out to make one"));
        }
        if named.is_some() && named != wanted {
            return Err(Fault::bad_request("another MFA method has this name"));
        }
        if found.as_ref().is_some_and(|(method, _)| method.kind() != kind) {
            return Err(Fault::bad_request("this MFA method is of another type: a method's type stays as it is"));
        }
        let fresh = Method::new();
        let (mut method, revision) = match found {
            Some((Method { id, name, party, .. }, revision)) => (Method { id, name, party, ..fresh }, revision),
            None => (fresh, 0),
        };
        let before = method.name.clone();
        if given.is_some() {
            name.clone_into(&mut method.name);
        }
        apply(&mut method).map_err(Fault::bad_request)?;
        let key = keys::mfa_method(&method.id);
        let mut batch = Batch::new().expect(key.clone(), revision).put_json(key, &method)?;
        if before != method.name {
            if !before.is_empty() {
                batch = batch.delete(keys::mfa_name(&before));
            }
            if !method.name.is_empty() {
                let name = keys::mfa_name(&method.name);
                batch = batch.expect(name.clone(), 0).put(name, method.id.clone());
            }
        }
        if !self.commit(batch, &[]).await? {
            return Ok(None);
        }
        self.rules.forget();
        Ok(Some(if id.is_some() { Reply::nothing() } else { Reply::of(&json!({ "method_id": method.id }))? }))
    }

    pub(super) async fn delete_method(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let id = id_of(&call)?;
        let _turn = self.writer.lock().await;
        for rule in self.records::<Rule>(&keys::mfa_rule("")).await? {
            if rule.methods.iter().any(|method| method == id) {
                return Err(Fault::bad_request(format!(
                    "methodID is still used by an enforcement configuration with ID: {}; delete {:?} first",
                    rule.id, rule.name
                )));
            }
        }
        let found = self.get::<Method>(&keys::mfa_method(id)).await?;
        let Some((method, revision)) = found.filter(|(method, _)| is_meant(&call, method)) else {
            return Ok(Reply::nothing());
        };
        let mut batch = Batch::new().expect(keys::mfa_method(id), revision).delete(keys::mfa_method(id));
        if !method.name.is_empty() {
            batch = batch.delete(keys::mfa_name(&method.name));
        }
        if !self.commit(batch, &[]).await? {
            return Err(gave_up());
        }
        self.rules.forget();
        self.forget_secrets_of(id).await?;
        Ok(Reply::nothing())
    }

    /// No secret outlives its method, and no recovery codes outlive the last secret.
    async fn forget_secrets_of(&self, method: &str) -> Result<(), Fault> {
        let end = format!("/{method}");
        let mut entities = self.ends_below(keys::MFA_SECRETS).await?;
        entities.retain(|below| below.ends_with(&end));
        entities.iter_mut().for_each(|below| below.truncate(below.len() - end.len()));
        for some in entities.chunks(32) {
            self.forget_secrets(some, method).await?;
        }
        Ok(())
    }

    async fn forget_secrets(&self, entities: &[String], method: &str) -> Result<(), Fault> {
        for _ in 0..TRIES {
            let mut batch = Batch::new();
            for entity in entities {
                batch = batch.delete(keys::mfa_secret(entity, method));
                batch = self.codes_go_with(batch, entity, method).await?;
            }
            if self.commit(batch, &[]).await? {
                return Ok(());
            }
        }
        Err(gave_up())
    }

    /// A method by its id.
    pub(super) async fn method(&self, id: &str) -> Result<Option<Method>, Fault> {
        Ok(self.get::<Method>(&keys::mfa_method(id)).await?.map(|(method, _)| method))
    }
}

impl Method {
    fn new() -> Self {
        Self {
            id: new_id(),
            name: String::new(),
            issuer: String::new(),
            key_size: 20,
            qr_size: 200,
            max_attempts: 5,
            shape: Shape::default(),
            party: None,
        }
    }

    pub(super) fn kind(&self) -> MfaKind {
        if self.party.is_some() { MfaKind::Webauthn } else { MfaKind::Totp }
    }

    /// As the caller of a login is told of it.
    pub(super) fn told(self) -> MfaMethod {
        MfaMethod { kind: self.kind(), id: self.id, name: self.name }
    }

    fn view(&self, namespace: &Namespace) -> Value {
        if let Some(party) = &self.party {
            return json!({
                "id": self.id,
                "name": self.name,
                "namespace_id": namespace.id,
                "namespace_path": namespace.path,
                "origins": party.origins,
                "rp_id": party.rp_id,
                "rp_name": party.rp_name,
                "same_address": party.same_address,
                "type": "webauthn",
                "user_verification": party.verification.name(),
            });
        }
        json!({
            "algorithm": self.shape.algorithm.name(),
            "digits": self.shape.digits,
            "id": self.id,
            "issuer": self.issuer,
            "key_size": self.key_size,
            "max_validation_attempts": self.max_attempts,
            "name": self.name,
            "namespace_id": namespace.id,
            "namespace_path": namespace.path,
            "period": self.shape.period,
            "qr_size": self.qr_size,
            "skew": self.shape.skew,
            "type": "totp",
        })
    }
}

impl MethodAsk {
    fn apply(&self, method: &mut Method) -> Result<(), &'static str> {
        if let Some(issuer) = &self.issuer {
            method.issuer.clone_from(&issuer.0);
        }
        if method.issuer.is_empty() {
            return Err("issuer must be set");
        }
        if method.issuer.len() > 200 || method.issuer.contains(':') {
            return Err("issuer must be at most 200 bytes, without a colon");
        }
        if let Some(algorithm) = &self.algorithm {
            method.shape.algorithm = Algorithm::named(&algorithm.0).ok_or("unrecognized algorithm")?;
        }
        if let Some(period) = self.period {
            method.shape.period = period.0.as_secs();
        }
        if !(1..=3600).contains(&method.shape.period) {
            return Err("period must be greater than zero, and at most an hour");
        }
        number(self.digits, &mut method.shape.digits, |digits| matches!(digits, 6 | 8), "digits can only be 6 or 8")?;
        number(self.skew, &mut method.shape.skew, |skew| *skew <= 1, "skew must be 0 or 1")?;
        let told = "key_size must be greater than zero (at least 16 bytes, at most 128)";
        number(self.key_size, &mut method.key_size, |size| (16..=128).contains(size), told)?;
        let told = "qr_size must be between 0 and 2000";
        number(self.qr_size, &mut method.qr_size, |size| *size <= 2000, told)?;
        let told = "max_validation_attempts must be greater than zero, and at most 100";
        number(self.max_validation_attempts, &mut method.max_attempts, |most| (1..=100).contains(most), told)
    }
}

fn number<N: TryFrom<i64>>(
    given: Option<Int>,
    own: &mut N,
    fits: impl Fn(&N) -> bool,
    told: &'static str,
) -> Result<(), &'static str> {
    if let Some(given) = given {
        *own = N::try_from(given.0).ok().filter(fits).ok_or(told)?;
    }
    Ok(())
}
