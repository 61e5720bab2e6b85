//! The `token_*` fields that the roles and users of every auth method share: how a request gives them, what is kept, and
//! how a read shows them. Field names and rules: the public API documentation of the auth methods ("token parameters"),
//! details as observed.
//!
//! Some methods have older names for a few of them (`policies`, `ttl`...). What was given under its old name is also
//! shown under it.

use std::collections::BTreeSet;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::token::{TokenKind, TokenParams};
use dewdrop_core::wire::{Flag, Int, Strings, Text, Ttl};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cidr;

/// The most policies that one role or user may have.
const MOST_POLICIES: usize = 1000;

/// The fields of a request; `None`: not given, so left as it is.
#[derive(Debug, Clone, Default)]
pub struct TokenFields {
    /// `token_policies`.
    pub policies: Option<Strings>,
    /// `token_ttl`.
    pub ttl: Option<Ttl>,
    /// `token_max_ttl`.
    pub max_ttl: Option<Ttl>,
    /// `token_explicit_max_ttl`.
    pub explicit_max_ttl: Option<Ttl>,
    /// `token_period`.
    pub period: Option<Ttl>,
    /// `token_num_uses`.
    pub num_uses: Option<Int>,
    /// `token_type`.
    pub kind: Option<Text>,
    /// `token_bound_cidrs`.
    pub bound_cidrs: Option<Strings>,
    /// `token_no_default_policy`.
    pub no_default_policy: Option<Flag>,
    /// `token_strictly_bind_ip`.
    pub strictly_bind_ip: Option<Flag>,
}

/// The same under their old names, for the methods that have them.
#[derive(Debug, Clone, Default)]
pub struct OldFields {
    /// `policies`.
    pub policies: Option<Strings>,
    /// `ttl`.
    pub ttl: Option<Ttl>,
    /// `max_ttl`.
    pub max_ttl: Option<Ttl>,
    /// `period`.
    pub period: Option<Ttl>,
    /// `bound_cidrs`.
    pub bound_cidrs: Option<Strings>,
    /// `num_uses`.
    pub num_uses: Option<Int>,
}

/// An old name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OldName {
    /// `policies`.
    Policies,
    /// `ttl`.
    Ttl,
    /// `max_ttl`.
    MaxTtl,
    /// `period`.
    Period,
    /// `bound_cidrs`.
    BoundCidrs,
    /// `num_uses`.
    NumUses,
}

/// What is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenSettings {
    /// How tokens are made.
    pub params: TokenParams,
    /// What was given under its old name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub old_names: BTreeSet<OldName>,
}

/// Declares a request struct with the `token_*` fields added, and how to take these out. A macro and no `flatten`: with
/// that, a field of the wrong type could not be named in the refusal.
macro_rules! token_request {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$about:meta])* pub $field:ident: $kind:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
        pub struct $name {
            $($(#[$about])* pub $field: $kind,)*
            /// Policies of the tokens.
            pub token_policies: Option<dewdrop_core::wire::Strings>,
            /// First life of the tokens; zero: the mount's default.
            pub token_ttl: Option<dewdrop_core::wire::Ttl>,
            /// Longest life of the tokens; zero: the mount's.
            pub token_max_ttl: Option<dewdrop_core::wire::Ttl>,
            /// A hard end that no renewal passes; zero: none.
            pub token_explicit_max_ttl: Option<dewdrop_core::wire::Ttl>,
            /// Makes the tokens periodic: each renewal gives this life anew.
            pub token_period: Option<dewdrop_core::wire::Ttl>,
            /// How many times a token may be used; zero: no limit.
            pub token_num_uses: Option<dewdrop_core::wire::Int>,
            /// `service`, `batch`, or `default` (as the mount says).
            pub token_type: Option<dewdrop_core::wire::Text>,
            /// Addresses or blocks from which the tokens may be used.
            pub token_bound_cidrs: Option<dewdrop_core::wire::Strings>,
            /// Leaves the policy `default` out.
            pub token_no_default_policy: Option<dewdrop_core::wire::Flag>,
            /// The tokens can be used only from the address that logged in.
            pub token_strictly_bind_ip: Option<dewdrop_core::wire::Flag>,
        }

        impl $name {
            /// The `token_*` fields.
            pub fn token_fields(&self) -> $crate::token_params::TokenFields {
                $crate::token_params::TokenFields {
                    policies: self.token_policies.clone(),
                    ttl: self.token_ttl,
                    max_ttl: self.token_max_ttl,
                    explicit_max_ttl: self.token_explicit_max_ttl,
                    period: self.token_period,
                    num_uses: self.token_num_uses,
                    kind: self.token_type.clone(),
                    bound_cidrs: self.token_bound_cidrs.clone(),
                    no_default_policy: self.token_no_default_policy,
                    strictly_bind_ip: self.token_strictly_bind_ip,
                }
            }
        }
    };
}
pub(crate) use token_request;

// === impl TokenSettings ===

impl TokenSettings {
    /// Takes over what a request gives; the new name of a field wins over the old one.
    ///
    /// # Errors
    /// 400 for values that cannot be, alone or together. `self` may be half changed then: throw it away.
    pub fn apply(&mut self, new: TokenFields, old: OldFields) -> Result<(), Fault> {
        if let Some(policies) = self.pick(OldName::Policies, new.policies, old.policies) {
            self.set_policies(policies)?;
        }
        if let Some(ttl) = self.pick(OldName::Ttl, new.ttl, old.ttl) {
            self.params.ttl = ttl.0;
        }
        if let Some(ttl) = self.pick(OldName::MaxTtl, new.max_ttl, old.max_ttl) {
            self.params.max_ttl = ttl.0;
        }
        if let Some(period) = self.pick(OldName::Period, new.period, old.period) {
            self.params.period = period.0;
        }
        if let Some(bounds) = self.pick(OldName::BoundCidrs, new.bound_cidrs, old.bound_cidrs) {
            self.params.bound_cidrs = cidr::parse_bounds(&bounds.0)?;
        }
        set(&mut self.params.explicit_max_ttl, new.explicit_max_ttl.map(|t| t.0));
        if let Some(uses) = self.pick(OldName::NumUses, new.num_uses, old.num_uses) {
            self.params.num_uses = uses.0;
        }
        set(&mut self.params.no_default_policy, new.no_default_policy.map(|f| f.0));
        set(&mut self.params.strictly_bind_ip, new.strictly_bind_ip.map(|f| f.0));
        if let Some(kind) = new.kind {
            self.params.kind = parse_kind(&kind.0)?;
        }
        self.check()
    }

    /// Sets one value that has an old name too. `None`: neither is given.
    fn pick<T>(&mut self, name: OldName, new: Option<T>, old: Option<T>) -> Option<T> {
        if old.is_some() {
            self.old_names.insert(name);
        } else if new.is_some() {
            self.old_names.remove(&name);
        }
        new.or(old)
    }

    fn set_policies(&mut self, policies: Strings) -> Result<(), Fault> {
        if policies.0.len() > MOST_POLICIES {
            let count = policies.0.len();
            return Err(Fault::bad_request(format!("{count} policies are too many: at most {MOST_POLICIES}")));
        }
        self.params.policies = policies.0;
        Ok(())
    }

    /// The rules that concern more than one field.
    fn check(&self) -> Result<(), Fault> {
        let params = &self.params;
        let refuse = |why: &'static str| Err(Fault::bad_request(why));
        if params.num_uses < 0 {
            return refuse("'token_num_uses' cannot be negative");
        }
        if params.max_ttl > Duration::ZERO && params.ttl > params.max_ttl {
            return refuse("'token_ttl' cannot be greater than 'token_max_ttl'");
        }
        if params.kind == Some(TokenKind::Batch) && params.period > Duration::ZERO {
            return refuse("'token_type' cannot be 'batch' or 'default_batch' when set to generate periodic tokens");
        }
        if params.kind == Some(TokenKind::Batch) && params.num_uses != 0 {
            return refuse(
                "'token_type' cannot be 'batch' or 'default_batch' when set to generate tokens with limited use count",
            );
        }
        Ok(())
    }

    /// The fields of a read.
    #[must_use]
    pub fn show(&self) -> Map<String, Value> {
        let params = &self.params;
        let fields = json!({
            "token_bound_cidrs": cidr::show_bounds(&params.bound_cidrs),
            "token_explicit_max_ttl": params.explicit_max_ttl.as_secs(),
            "token_max_ttl": params.max_ttl.as_secs(),
            "token_no_default_policy": params.no_default_policy,
            "token_num_uses": params.num_uses,
            "token_period": params.period.as_secs(),
            "token_policies": params.policies,
            "token_strictly_bind_ip": params.strictly_bind_ip,
            "token_ttl": params.ttl.as_secs(),
            "token_type": show_kind(params.kind),
        });
        let Value::Object(mut fields) = fields else { return Map::new() };
        for name in &self.old_names {
            let (old, new) = name.both();
            let value = fields.get(new).cloned().filter(|v| *v != json!(0) && *v != json!([]));
            fields.extend(value.map(|v| (old.to_owned(), v)));
        }
        fields
    }
}

impl OldName {
    /// The old name and the new one.
    fn both(self) -> (&'static str, &'static str) {
        match self {
            Self::Policies => ("policies", "token_policies"),
            Self::Ttl => ("ttl", "token_ttl"),
            Self::MaxTtl => ("max_ttl", "token_max_ttl"),
            Self::Period => ("period", "token_period"),
            Self::BoundCidrs => ("bound_cidrs", "token_bound_cidrs"),
            Self::NumUses => ("num_uses", "token_num_uses"),
        }
    }
}

/// Sets what is given.
pub fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Policies as a renewal compares them: neither order nor repetition nor case matters.
pub fn sorted_policies(policies: &[String]) -> Vec<Value> {
    let names: std::collections::BTreeSet<String> = policies.iter().map(|name| name.to_lowercase()).collect();
    names.into_iter().map(Value::from).collect()
}

fn parse_kind(text: &str) -> Result<Option<TokenKind>, Fault> {
    match text {
        "" | "default" => Ok(None),
        "service" => Ok(Some(TokenKind::Service)),
        "batch" => Ok(Some(TokenKind::Batch)),
        _ => Err(Fault::bad_request("invalid 'token_type' value: use service, batch or default")),
    }
}

fn show_kind(kind: Option<TokenKind>) -> &'static str {
    match kind {
        None => "default",
        Some(TokenKind::Service) => "service",
        Some(TokenKind::Batch) => "batch",
    }
}

#[cfg(test)]
mod tests;
