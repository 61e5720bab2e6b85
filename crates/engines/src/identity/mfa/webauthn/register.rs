//! A person registers a key: the browser is asked to make one, and what it made is taken. A registration waits in memory, as
//! a login does; whoever began it ends it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::{BrowserAct, BrowserAsk, BrowserTicket};
use dewdrop_core::route::Routes;
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Flag, Text};
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::enroll::needs_fresh_factor;
use super::ceremony::{self, Pending, Person};
use super::party::Party;
use super::{MOST_KEYS, Passkey, Passkeys};
use crate::identity::model::new_id;
use crate::identity::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// How long one waits.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Of all.
const MOST: usize = 10_000;
/// Of one entity.
const MOST_OF_ONE: usize = 5;

/// Registrations that were begun.
#[derive(Default)]
pub struct Registrations(Mutex<HashMap<String, Begun>>);

struct Begun {
    entity: String,
    method: String,
    name: String,
    until: Moment,
    pending: Pending,
}

#[derive(Deserialize, JsonSchema)]
struct BeginAsk {
    /// The method.
    #[serde(default)]
    method_id: Text,
    /// What its holder calls the key.
    #[serde(default)]
    name: Text,
    /// A browser of the same person shall do it: the answer holds an address and a code for it.
    #[serde(default)]
    browser: Flag,
}

#[derive(Deserialize, JsonSchema)]
struct FinishAsk {
    /// What `register/begin` answered.
    #[serde(default)]
    registration_id: Text,
    /// What the browser made, as JSON: `id`, `rawId`, `type` and `response`.
    #[serde(default)]
    credential: Value,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("mfa/method/webauthn/register/begin", "The caller registers a key", |route| {
            route.write("Answers what the browser needs to make one", Identities::begin_registration)
        })
        .at("mfa/method/webauthn/register/finish", "The caller's key is taken", |route| {
            route.write("Takes what the browser made", Identities::finish_registration)
        })
}

impl Registrations {
    fn add(&self, begun: Begun, now: Moment) -> String {
        let id = new_id();
        let mut open = self.0.lock();
        open.retain(|_, one| one.until > now);
        let oldest = |open: &HashMap<String, Begun>, of: &dyn Fn(&Begun) -> bool| {
            open.iter().filter(|(_, one)| of(one)).min_by_key(|(_, one)| one.until).map(|(id, _)| id.clone())
        };
        let own = open.values().filter(|one| one.entity == begun.entity).count();
        let gone = match (own >= MOST_OF_ONE, open.len() >= MOST) {
            (true, _) => oldest(&open, &|one| one.entity == begun.entity),
            (_, true) => oldest(&open, &|_| true),
            _ => None,
        };
        if let Some(gone) = gone {
            open.remove(&gone);
        }
        open.insert(id.clone(), begun);
        id
    }

    /// Takes one of an entity out: each serves once.
    fn take(&self, id: &str, entity: &str, now: Moment) -> Option<Begun> {
        let mut open = self.0.lock();
        let is_it = open.get(id).is_some_and(|one| one.entity == entity && one.until > now);
        if is_it { open.remove(id) } else { None }
    }
}

impl Identities {
    async fn begin_registration(self: Arc<Self>, call: Call, ask: BeginAsk) -> Result<Reply, Fault> {
        let name = key_name(&ask.name.0)?;
        let (method, party) = self.asked_party(&ask.method_id.0).await?;
        let entity = self.own_entity(&call).await?;
        self.may_get_another(&call, &entity).await?;
        let known = self.passkeys(&entity, &method).await?;
        let known: Vec<&Value> = known.iter().flat_map(|(known, _)| &known.keys).map(|key| &key.credential).collect();
        if known.len() >= MOST_KEYS {
            return Err(Fault::bad_request(format!("you have {MOST_KEYS} keys already: delete one first")));
        }
        let who = self.view(&entity).await?.map(|view| view.name.clone()).unwrap_or_default();
        let person = Person { id: &entity, name: if who.is_empty() { &entity } else { &who } };
        let (options, pending) = ceremony::begin_registration(&party, &person, &known, LIFE)?;
        let begun = Begun { entity: entity.clone(), method, name, until: call.now.plus(LIFE), pending };
        let id = self.registrations.add(begun, call.now);
        let mut told = json!({ "registration_id": id, "expires_in": LIFE.as_secs() });
        if ask.browser.0 {
            let (address, bounds) = (call.caller.address, party.bounds());
            let who = person.name.to_owned();
            let ask = BrowserAsk { act: BrowserAct::Register, options: options.clone(), who, address, bounds };
            told["browser"] = self.in_browser(ask, call.now)?.view();
        }
        told["options"] = options;
        Reply::of(&told)
    }

    async fn finish_registration(self: Arc<Self>, call: Call, ask: FinishAsk) -> Result<Reply, Fault> {
        let entity = self.own_entity(&call).await?;
        let begun = self.registrations.take(&ask.registration_id.0, &entity, call.now);
        let begun = begun.ok_or_else(|| {
            Fault::bad_request("there is no such registration of yours, or it waited too long: begin anew")
        })?;
        let (method, party) = self.asked_party(&begun.method).await?;
        self.may_get_another(&call, &entity).await?;
        let made = ceremony::finish_registration(&party, &begun.pending, &ask.credential)?;
        let id = ceremony::id_of(&made)?;
        let key = Passkey { id: id.clone(), name: begun.name, created: call.now, last_used: None, credential: made };
        let told = json!({ "credential_id": id, "name": key.name, "method_id": method });
        self.keep_new_key(&entity, &method, key).await?;
        Reply::of(&told)
    }

    async fn keep_new_key(&self, entity: &str, method: &str, key: Passkey) -> Result<(), Fault> {
        let at = keys::mfa_secret(entity, method);
        let _turn = self.logins.turn(&at).await;
        for _ in 0..TRIES {
            let (mut known, revision) =
                self.passkeys(entity, method).await?.unwrap_or((Passkeys { keys: Vec::new() }, 0));
            if known.keys.len() >= MOST_KEYS || known.keys.iter().any(|one| one.id == key.id) {
                return Err(Fault::bad_request("this key is registered already, or you have too many"));
            }
            known.keys.push(Passkey {
                name: key.name.clone(),
                id: key.id.clone(),
                credential: key.credential.clone(),
                ..key
            });
            // A method that is deleted meanwhile takes no key.
            let (_, of_method) = self.live_method(method).await?;
            let batch = Batch::new().expect(keys::mfa_method(method), of_method).expect(at.clone(), revision);
            let mut batch = batch.put_json(at.clone(), &known)?;
            if revision == 0 {
                batch = self.codes_go_with(batch, entity, method).await?;
            }
            if self.commit(batch, &[]).await? {
                return Ok(());
            }
        }
        Err(gave_up())
    }

    fn in_browser(&self, ask: BrowserAsk, now: Moment) -> Result<BrowserTicket, Fault> {
        let none = || Fault::internal("this server has no page for browsers");
        self.browsers.as_ref().ok_or_else(none)?.show(ask, now)
    }

    /// Who has a second factor already shows it first.
    async fn may_get_another(&self, call: &Call, entity: &str) -> Result<(), Fault> {
        if self.mfa_enrolled(entity).await?.is_empty() { Ok(()) } else { needs_fresh_factor(call) }
    }

    /// A method of this type, by its id.
    pub(super) async fn asked_party(&self, method: &str) -> Result<(String, Party), Fault> {
        let none = || Fault::bad_request("method_id must be the id of a method of type webauthn");
        let method = self.method(method).await?.ok_or_else(none)?;
        Ok((method.id, method.party.ok_or_else(none)?))
    }

    async fn live_method(&self, id: &str) -> Result<(super::Method, u64), Fault> {
        let found = self.get::<super::Method>(&keys::mfa_method(id)).await?;
        found.ok_or_else(|| Fault::bad_request("the method was deleted meanwhile"))
    }

    /// The keys of an entity for a method, with the revision of their record.
    pub(super) async fn passkeys(&self, entity: &str, method: &str) -> Result<Option<(Passkeys, u64)>, Fault> {
        self.get::<Passkeys>(&keys::mfa_secret(entity, method)).await
    }
}

/// A name that can be shown.
pub(super) fn key_name(given: &str) -> Result<String, Fault> {
    match given.trim() {
        "" => Ok("passkey".to_owned()),
        name if name.len() > 100 || name.contains(char::is_control) => {
            Err(Fault::bad_request("name must be at most 100 bytes, without control characters"))
        }
        name => Ok(name.to_owned()),
    }
}
