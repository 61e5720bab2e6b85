//! A role: what is kept, the rules, how a read shows it.

use std::time::Duration;

use dewdrop_core::Fault;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::wire::RoleRequest;
use crate::cidr;
use crate::token_params::{OldFields, TokenSettings, set};

/// The longest role id in bytes.
const LONGEST_ROLE_ID: usize = 8192;

/// What is kept of a role.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Role {
    /// Lower-case.
    pub name: String,
    /// Random; names its secret ids. Another one when the role is made anew.
    pub uid: String,
    /// What a login names.
    pub role_id: String,
    /// Whether a login needs a secret id.
    pub bind_secret_id: bool,
    /// Kept and shown; of meaning only to replication.
    pub local_secret_ids: bool,
    /// Where a login may come from.
    pub secret_id_bound_cidrs: Vec<IpNet>,
    /// Uses of a new secret id; zero: no limit.
    pub secret_id_num_uses: i64,
    /// Life of a new secret id; zero: for ever.
    pub secret_id_ttl: Duration,
    /// How tokens are made.
    pub token: TokenSettings,
}

impl Role {
    /// A new role with a random role id.
    pub fn new(name: String) -> Self {
        Self {
            name,
            uid: Uuid::new_v4().simple().to_string(),
            role_id: Uuid::new_v4().to_string(),
            bind_secret_id: true,
            local_secret_ids: false,
            secret_id_bound_cidrs: Vec::new(),
            secret_id_num_uses: 0,
            secret_id_ttl: Duration::ZERO,
            token: TokenSettings::default(),
        }
    }

    /// Takes over what a request gives.
    ///
    /// # Errors
    /// 400 for what cannot be.
    pub fn apply(&mut self, ask: &RoleRequest, is_new: bool) -> Result<(), Fault> {
        if ask.local_secret_ids.is_some_and(|flag| !is_new && flag.0 != self.local_secret_ids) {
            return Err(Fault::bad_request("local_secret_ids can only be modified during role creation"));
        }
        set(&mut self.local_secret_ids, ask.local_secret_ids.map(|f| f.0));
        if let Some(role_id) = &ask.role_id {
            self.role_id = parse_role_id(&role_id.0, "invalid role_id supplied, or failed to generate a role_id")?;
        }
        set(&mut self.bind_secret_id, ask.bind_secret_id.map(|f| f.0));
        if let Some(blocks) = ask.secret_id_bound_cidrs.as_ref().or(ask.bound_cidr_list.as_ref()) {
            self.secret_id_bound_cidrs = cidr::parse_blocks(&blocks.0)?;
        }
        set(&mut self.secret_id_num_uses, ask.secret_id_num_uses.map(|n| n.0));
        set(&mut self.secret_id_ttl, ask.secret_id_ttl.map(|t| t.0));
        let old_policies = ask.policies.clone().filter(|_| ask.token_policies.is_none());
        let old = OldFields { policies: old_policies, period: ask.period, ..OldFields::default() };
        self.token.apply(ask.token_fields(), old)?;
        self.check()
    }

    /// The rules that concern more than one field.
    ///
    /// # Errors
    /// 400 that says which rule.
    pub fn check(&self) -> Result<(), Fault> {
        if self.secret_id_num_uses < 0 {
            return Err(Fault::bad_request("secret_id_num_uses cannot be negative"));
        }
        let is_bound = !self.secret_id_bound_cidrs.is_empty() || !self.token.params.bound_cidrs.is_empty();
        if !self.bind_secret_id && !is_bound {
            return Err(Fault::bad_request("at least one constraint should be enabled on the role"));
        }
        Ok(())
    }

    /// The fields of a read.
    pub fn show(&self) -> Map<String, Value> {
        let mut fields = self.token.show();
        let more = [
            ("bind_secret_id", json!(self.bind_secret_id)),
            ("local_secret_ids", json!(self.local_secret_ids)),
            ("secret_id_bound_cidrs", list_or_null(cidr::show_blocks(&self.secret_id_bound_cidrs))),
            ("secret_id_num_uses", json!(self.secret_id_num_uses)),
            ("secret_id_ttl", json!(self.secret_id_ttl.as_secs())),
        ];
        fields.extend(more.map(|(name, value)| (name.to_owned(), value)));
        fields
    }
}

/// Checks a role id that a caller chose.
///
/// # Errors
/// 400 with `told` when it is empty, or when it is too long.
pub fn parse_role_id(text: &str, told: &'static str) -> Result<String, Fault> {
    if text.is_empty() {
        return Err(Fault::bad_request(told));
    }
    if text.len() > LONGEST_ROLE_ID {
        return Err(Fault::bad_request(format!("role_id is too long: at most {LONGEST_ROLE_ID} bytes")));
    }
    Ok(text.to_owned())
}

/// The API shows some empty lists as null.
pub fn list_or_null(list: Vec<String>) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}
