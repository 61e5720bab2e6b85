//! `mfa/login-enforcement/{name}`: which logins must pass which methods.

use std::collections::BTreeSet;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::MountBy;
use dewdrop_core::mount::Namespace;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::Strings;
use parking_lot::Mutex;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::method::Method;
use crate::identity::model::{Entity, Group, new_id};
use crate::identity::{Identities, keys};

/// A login enforcement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    pub id: String,
    pub name: String,
    /// Ids of methods; one of them must be passed.
    pub methods: Vec<String>,
    /// Logins at these mounts.
    pub accessors: Vec<String>,
    /// Logins by these types of auth methods.
    pub kinds: Vec<String>,
    /// Logins of members of these groups.
    pub groups: Vec<String>,
    /// Logins of these entities.
    pub entities: Vec<String>,
}

/// The types of methods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MfaKind {
    /// Codes by time.
    Totp,
    /// Passkeys and security keys.
    Webauthn,
}

/// A method, as a login's caller is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfaMethod {
    /// Its type.
    pub kind: MfaKind,
    /// Its id.
    pub id: String,
    /// Its name; may be empty.
    pub name: String,
}

/// One of these methods must be passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MfaDemand {
    /// The enforcement's name.
    pub name: String,
    /// Its methods.
    pub methods: Vec<MfaMethod>,
}

/// What a login must pass before it is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MfaNeed {
    /// Whose second factors count; `None`: nobody has such an alias yet.
    pub entity: Option<String>,
    /// All of these.
    pub demands: Vec<MfaDemand>,
}

/// All rules with their methods, as every login needs them.
#[derive(Default)]
pub struct Rules(Mutex<(u64, Option<Arc<Known>>)>);

/// Rules, and for each its methods.
type Known = Vec<(Rule, Vec<MfaMethod>)>;

/// What a write of an enforcement takes. What is left out stays.
#[derive(Deserialize, JsonSchema)]
struct RuleAsk {
    /// Ids of methods; one of them must be passed.
    mfa_method_ids: Option<Strings>,
    /// Accessors of auth mounts.
    auth_method_accessors: Option<Strings>,
    /// Types of auth methods.
    auth_method_types: Option<Strings>,
    /// Ids of groups.
    identity_group_ids: Option<Strings>,
    /// Ids of entities.
    identity_entity_ids: Option<Strings>,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("mfa/login-enforcement", "Which logins need a second factor", |route| {
            route.list("Lists the enforcements", Identities::list_rules)
        })
        .at("mfa/login-enforcement/{name}", "One enforcement", |route| {
            route
                .read("Reads it", Identities::read_rule)
                .write("Writes it", Identities::write_rule)
                .delete("Deletes it", Identities::delete_rule)
        })
}

impl Rules {
    /// Read anew at the next login.
    pub fn forget(&self) {
        let mut kept = self.0.lock();
        *kept = (kept.0 + 1, None);
    }
}

impl Identities {
    async fn list_rules(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let rules = self.records::<Rule>(&keys::mfa_rule("")).await?;
        Reply::listed(rules.iter().map(|rule| (rule.name.clone(), rule.view(&call.mount.namespace))))
    }

    async fn read_rule(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = self.get::<Rule>(&keys::mfa_rule(call.capture("name"))).await?;
        let (rule, _) = found.ok_or_else(Fault::not_found)?;
        Reply::of(&rule.view(&call.mount.namespace))
    }

    async fn write_rule(self: Arc<Self>, call: Call, ask: RuleAsk) -> Result<Reply, Fault> {
        let name = call.capture("name");
        let key = keys::mfa_rule(name);
        // A method that is deleted looks for rules under the same lock.
        let _turn = self.writer.lock().await;
        let found = self.get::<Rule>(&key).await?;
        let (mut rule, revision) = found.unwrap_or_else(|| (Rule::new(name), 0));
        ask.apply(&mut rule);
        let mut batch = Batch::new().expect(key.clone(), revision).put_json(key, &rule)?;
        for at in self.check_rule(&rule).await? {
            batch.expect.push(at);
        }
        let done = self.commit(batch, &[]).await?;
        self.rules.forget();
        if done { Ok(Reply::nothing()) } else { Err(crate::shared::cas::gave_up()) }
    }

    /// A slip of the pen must not leave logins without the factor that they seem to need. Answers what must still be so
    /// when the rule is written.
    async fn check_rule(&self, rule: &Rule) -> Result<Vec<dewdrop_core::store::Precondition>, Fault> {
        if rule.methods.is_empty() {
            return Err(Fault::bad_request("missing method ids"));
        }
        let mut held = Vec::new();
        for id in &rule.methods {
            let key = keys::mfa_method(id);
            let none = || Fault::bad_request("one of the provided method ids doesn't exist");
            let (_, revision) = self.get::<Method>(&key).await?.ok_or_else(none)?;
            held.push(dewdrop_core::store::Precondition { key: key.into_bytes(), revision });
        }
        if [&rule.accessors, &rule.kinds, &rule.groups, &rule.entities].iter().all(|list| list.is_empty()) {
            return Err(Fault::bad_request(
                "One of auth_method_accessors, auth_method_types, identity_group_ids, identity_entity_ids must be specified",
            ));
        }
        for accessor in &rule.accessors {
            if self.house.mount_by(&self.namespace, MountBy::Accessor(accessor)).await?.is_none() {
                return Err(Fault::bad_request("one of the auth method accessors provided is invalid"));
            }
        }
        for kind in &rule.kinds {
            if self.house.mount_by(&self.namespace, MountBy::AuthKind(kind)).await?.is_none() {
                return Err(Fault::bad_request("one of the auth method types provided is invalid"));
            }
        }
        for id in &rule.groups {
            if self.get::<Group>(&keys::group(id)).await?.is_none() {
                return Err(Fault::bad_request("one of the provided group ids doesn't exist"));
            }
        }
        for id in &rule.entities {
            if self.get::<Entity>(&keys::entity(id)).await?.is_none() {
                return Err(Fault::bad_request("one of the provided entity ids doesn't exist"));
            }
        }
        Ok(held)
    }

    async fn delete_rule(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let done = self.commit(Batch::new().delete(keys::mfa_rule(call.capture("name"))), &[]).await;
        self.rules.forget();
        done?;
        Ok(Reply::nothing())
    }

    /// What a login must pass. Nothing is written: an alias that nobody has yet is not made here.
    ///
    /// # Errors
    /// The store's.
    pub async fn mfa_needed(
        &self,
        mount_accessor: &str,
        mount_type: &str,
        alias: &str,
        group_aliases: &[String],
    ) -> Result<MfaNeed, Fault> {
        let known = self.known_rules().await?;
        if known.is_empty() {
            return Ok(MfaNeed::default());
        }
        let id = match alias {
            "" => None,
            alias => self.pointed(&keys::factor(mount_accessor, alias)).await?,
        };
        let view = match &id {
            Some(id) => self.view(id).await?,
            None => None,
        };
        let entity = view.as_ref().map(|view| view.id.clone());
        let mut groups: BTreeSet<String> =
            view.iter().flat_map(|view| view.groups.iter().map(|group| group.id.clone())).collect();
        self.add_groups_to_come(mount_accessor, group_aliases, &mut groups).await?;
        let has = |list: &[String], one: &str| list.iter().any(|own| own == one);
        let holds = |rule: &Rule| {
            has(&rule.accessors, mount_accessor)
                || has(&rule.kinds, mount_type)
                || entity.as_ref().is_some_and(|entity| has(&rule.entities, entity))
                || rule.groups.iter().any(|group| groups.contains(group))
        };
        let demands = known
            .iter()
            .filter(|(rule, _)| holds(rule))
            .map(|(rule, methods)| MfaDemand { name: rule.name.clone(), methods: methods.clone() });
        Ok(MfaNeed { demands: demands.collect(), entity })
    }

    /// The external groups that the login will bring, with those above them.
    async fn add_groups_to_come(
        &self,
        accessor: &str,
        aliases: &[String],
        groups: &mut BTreeSet<String>,
    ) -> Result<(), Fault> {
        let mut open = Vec::new();
        for alias in aliases {
            open.extend(self.pointed(&keys::group_factor(accessor, alias)).await?);
        }
        while let Some(id) = open.pop() {
            if groups.insert(id.clone()) {
                open.extend(self.ends_below(&keys::parent_of(&id, "")).await?);
            }
        }
        Ok(())
    }

    async fn known_rules(&self) -> Result<Arc<Known>, Fault> {
        let generation = {
            let kept = self.rules.0.lock();
            if let Some(known) = &kept.1 {
                return Ok(known.clone());
            }
            kept.0
        };
        let mut known = Known::new();
        for rule in self.records::<Rule>(&keys::mfa_rule("")).await? {
            let mut methods = Vec::new();
            for id in &rule.methods {
                let method = self.method(id).await?;
                methods.extend(method.map(Method::told));
            }
            known.push((rule, methods));
        }
        let known = Arc::new(known);
        let mut kept = self.rules.0.lock();
        if kept.0 == generation {
            kept.1 = Some(known.clone());
        }
        Ok(known)
    }
}

impl RuleAsk {
    fn apply(self, rule: &mut Rule) {
        for (own, given) in [
            (&mut rule.methods, self.mfa_method_ids),
            (&mut rule.accessors, self.auth_method_accessors),
            (&mut rule.kinds, self.auth_method_types),
            (&mut rule.groups, self.identity_group_ids),
            (&mut rule.entities, self.identity_entity_ids),
        ] {
            if let Some(given) = given {
                *own = given.0;
            }
        }
    }
}

impl Rule {
    fn new(name: &str) -> Self {
        let empty = Vec::new;
        Self {
            id: new_id(),
            name: name.to_owned(),
            methods: empty(),
            accessors: empty(),
            kinds: empty(),
            groups: empty(),
            entities: empty(),
        }
    }

    fn view(&self, namespace: &Namespace) -> Value {
        json!({
            "auth_method_accessors": self.accessors,
            "auth_method_types": self.kinds,
            "id": self.id,
            "identity_entity_ids": self.entities,
            "identity_group_ids": self.groups,
            "mfa_method_ids": self.methods,
            "name": self.name,
            "namespace_id": namespace.id,
            "namespace_path": namespace.path,
        })
    }
}
