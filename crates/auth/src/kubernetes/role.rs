//! A role: what is kept, the rules, how a read shows it.

use std::collections::BTreeMap;

use dewdrop_core::Fault;
use dewdrop_core::selector::Selector;
use dewdrop_core::wire::{Strings, Text};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::wire::RoleRequest;
use crate::kept_roles::KeptRole;
use crate::token_params::{OldFields, TokenSettings, set};

/// The most entries of one list.
const MOST: usize = 1000;

/// What names the alias.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasSource {
    /// The account's uid.
    #[default]
    ServiceaccountUid,
    /// `namespace/name`.
    ServiceaccountName,
}

/// What is kept of a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Lower-case.
    pub name: String,
    /// Patterns of the accounts' names.
    pub names: Vec<String>,
    /// Patterns of their namespaces.
    pub namespaces: Vec<String>,
    /// Or the labels of these: text of a selector; empty: none.
    pub selector: String,
    /// The audience; empty: any.
    pub audience: String,
    /// What names the alias.
    pub alias: AliasSource,
    /// What containers must be.
    pub containers: Containers,
    /// Its tokens are those of node agents.
    pub agent: bool,
    /// How tokens are made.
    pub token: TokenSettings,
}

/// What a container must be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Containers {
    /// Tokens are only for containers.
    pub only: bool,
    /// Patterns of their names; empty: any.
    pub names: Vec<String>,
    /// Digests of their images; empty: any.
    pub digests: Vec<String>,
    /// Labels of their pods.
    pub labels: BTreeMap<String, String>,
    /// They log in themselves, each with a token for itself alone.
    pub agentless: bool,
}

impl KeptRole for Role {
    type Ask = RoleRequest;
    const MAX_TTL: &'static str = "max_ttl";

    fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    fn apply(&mut self, ask: &RoleRequest) -> Result<(), Fault> {
        let old = OldFields {
            policies: ask.policies.clone(),
            ttl: ask.ttl,
            max_ttl: ask.max_ttl,
            period: ask.period,
            bound_cidrs: ask.bound_cidrs.clone(),
            num_uses: ask.num_uses,
        };
        self.token.apply(ask.token_fields(), old)?;
        set(&mut self.names, list(ask.bound_service_account_names.as_ref()));
        set(&mut self.namespaces, list(ask.bound_service_account_namespaces.as_ref()));
        // As in the API, a write that does not give the selector takes it away.
        self.selector = text(ask.bound_service_account_namespace_selector.as_ref()).unwrap_or_default();
        set(&mut self.audience, text(ask.audience.as_ref()));
        if let Some(source) = text(ask.alias_name_source.as_ref()) {
            self.alias = parse_source(&source)?;
        }
        set(&mut self.containers.names, list(ask.bound_container_names.as_ref()));
        set(&mut self.containers.digests, list(ask.bound_image_digests.as_ref()));
        set(&mut self.containers.labels, ask.bound_pod_labels.clone().map(|pairs| pairs.0));
        set(&mut self.containers.only, ask.container.map(|flag| flag.0));
        set(&mut self.containers.agentless, ask.agentless.map(|flag| flag.0));
        set(&mut self.agent, ask.agent.map(|flag| flag.0));
        self.check()?;
        self.check_containers()
    }

    /// Ours are shown where they are set.
    fn show(&self) -> Map<String, Value> {
        let mut fields = self.token.show();
        let theirs = [
            ("bound_service_account_names", json!(self.names)),
            ("bound_service_account_namespaces", list_or_null(&self.namespaces)),
            ("bound_service_account_namespace_selector", json!(self.selector)),
            ("alias_name_source", json!(self.alias)),
        ];
        fields.extend(theirs.map(|(name, value)| (name.to_owned(), value)));
        let containers = &self.containers;
        let set = [
            ("audience", !self.audience.is_empty(), json!(self.audience)),
            ("bound_container_names", !containers.names.is_empty(), json!(containers.names)),
            ("bound_image_digests", !containers.digests.is_empty(), json!(containers.digests)),
            ("bound_pod_labels", !containers.labels.is_empty(), json!(containers.labels)),
            ("container", containers.only, json!(true)),
            ("agentless", containers.agentless, json!(true)),
            ("agent", self.agent, json!(true)),
        ];
        fields
            .extend(set.into_iter().filter(|(_, is_set, _)| *is_set).map(|(name, _, value)| (name.to_owned(), value)));
        fields
    }

    fn token(&self) -> &TokenSettings {
        &self.token
    }
}

impl Role {
    /// Whether its tokens are for starts of containers alone.
    pub fn is_of_containers(&self) -> bool {
        self.containers.only || !self.containers.names.is_empty()
    }

    fn check(&self) -> Result<(), Fault> {
        let refuse = |why: &'static str| Err(Fault::bad_request(why));
        let is_mixed = |list: &[String]| list.len() > 1 && list.iter().any(|one| one == "*");
        if self.names.is_empty() {
            return refuse("\"bound_service_account_names\" can not be empty");
        }
        if is_mixed(&self.names) || is_mixed(&self.namespaces) {
            return refuse("can not mix \"*\" with values");
        }
        if self.namespaces.is_empty() && self.selector.is_empty() {
            return refuse(
                "\"bound_service_account_namespaces\" can not be empty if \"bound_service_account_namespace_selector\" is not set",
            );
        }
        if !self.selector.is_empty() && Selector::parse(&self.selector).is_none() {
            return refuse("invalid \"bound_service_account_namespace_selector\" configured");
        }
        let all = [&self.names, &self.namespaces, &self.containers.names, &self.containers.digests];
        if all.iter().any(|list| list.len() > MOST) || self.containers.labels.len() > MOST {
            return refuse("a list of bounds has at most 1000 entries");
        }
        Ok(())
    }

    fn check_containers(&self) -> Result<(), Fault> {
        let refuse = |why: &'static str| Err(Fault::bad_request(why));
        if self.agent && self.is_of_containers() {
            return refuse("a role is for node agents or for containers, not for both");
        }
        let is_bound = !self.containers.digests.is_empty() || !self.containers.labels.is_empty();
        if is_bound && !self.is_of_containers() {
            return refuse(
                "bound_image_digests and bound_pod_labels need container=true or bound_container_names: \
                 a login without a node agent proves neither",
            );
        }
        if self.containers.agentless && !self.is_of_containers() {
            return refuse("agentless needs container=true or bound_container_names");
        }
        if self.containers.agentless && self.audience.is_empty() {
            return refuse("agentless needs audience: a container's token is for AUDIENCE://NAMESPACE/CONTAINER");
        }
        if self.containers.agentless && is_bound {
            return refuse(
                "agentless goes with neither bound_image_digests nor bound_pod_labels: \
                 a login without a node agent proves neither",
            );
        }
        let is_digest = |text: &String| text.split_once(':').is_some_and(|(kind, hash)| is_digest(kind, hash));
        if !self.containers.digests.iter().all(is_digest) {
            return refuse("bound_image_digests are of the form sha256:64 hexadecimal digits");
        }
        Ok(())
    }
}

/// Whether this is a digest as registries write it.
pub fn is_digest(kind: &str, hash: &str) -> bool {
    let length = match kind {
        "sha256" => 64,
        "sha512" => 128,
        _ => return false,
    };
    hash.len() == length && hash.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c))
}

fn parse_source(text: &str) -> Result<AliasSource, Fault> {
    match text {
        "" | "serviceaccount_uid" => Ok(AliasSource::ServiceaccountUid),
        "serviceaccount_name" => Ok(AliasSource::ServiceaccountName),
        _ => Err(Fault::bad_request(
            "invalid alias_name_source, must be one of: serviceaccount_uid, serviceaccount_name",
        )),
    }
}

fn list(field: Option<&Strings>) -> Option<Vec<String>> {
    field.map(|list| list.0.clone())
}

fn text(field: Option<&Text>) -> Option<String> {
    field.map(|text| text.0.clone())
}

fn list_or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}
