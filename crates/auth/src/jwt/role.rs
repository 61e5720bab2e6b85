//! A role: what is kept, the rules, how a read shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::wire::{Text, parse_ttl};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::oidc::Browser;
use super::wire::RoleRequest;
use crate::kept_roles::KeptRole;
use crate::token_params::{OldFields, TokenSettings, set};

/// The most bounds and mappings.
const MOST: usize = 500;

/// What is kept of a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Lower-case.
    pub name: String,
    /// What tokens must be.
    pub bounds: Bounds,
    /// The claim that names the alias.
    pub user_claim: String,
    /// It is a JSON pointer.
    pub user_is_pointer: bool,
    /// The claim that names groups; empty: none.
    pub groups_claim: String,
    /// Claims to names of metadata.
    pub mappings: BTreeMap<String, String>,
    /// In seconds, as given.
    pub leeways: Leeways,
    /// For sign-in by browser.
    pub browser: Browser,
    /// How tokens are made.
    pub token: TokenSettings,
}

/// What tokens must be.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// One of these must be among the audiences.
    pub audiences: Vec<String>,
    /// The subject; empty: any.
    pub subject: String,
    /// Claims with their values.
    pub claims: Map<String, Value>,
    /// `*` in values stands for any text.
    pub with_globs: bool,
}

/// Seconds; zero: the default; less: none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Leeways {
    /// How much clocks may differ.
    pub skew: i64,
    /// Life of tokens that say no end.
    pub end: i64,
    /// How long before its end a token begins that says no beginning.
    pub begin: i64,
}

impl KeptRole for Role {
    type Ask = RoleRequest;
    const MAX_TTL: &'static str = "token max ttl";

    fn new(name: String) -> Self {
        Self { name, ..Self::default() }
    }

    fn apply(&mut self, ask: &RoleRequest) -> Result<(), Fault> {
        self.browser.apply(ask)?;
        refuse_unbuilt(ask)?;
        let old = OldFields {
            policies: ask.policies.clone(),
            ttl: ask.ttl,
            max_ttl: ask.max_ttl,
            period: ask.period,
            bound_cidrs: ask.bound_cidrs.clone(),
            num_uses: ask.num_uses,
        };
        self.token.apply(ask.token_fields(), old)?;
        self.apply_bounds(ask)?;
        set(&mut self.leeways.skew, leeway(ask.clock_skew_leeway.as_ref(), "clock_skew_leeway")?);
        set(&mut self.leeways.end, leeway(ask.expiration_leeway.as_ref(), "expiration_leeway")?);
        set(&mut self.leeways.begin, leeway(ask.not_before_leeway.as_ref(), "not_before_leeway")?);
        if let Some(mappings) = &ask.claim_mappings {
            self.mappings = check_mappings(&mappings.0)?;
        }
        set(&mut self.user_claim, ask.user_claim.clone().map(|text| text.0));
        set(&mut self.user_is_pointer, ask.user_claim_json_pointer.map(|flag| flag.0));
        set(&mut self.groups_claim, ask.groups_claim.clone().map(|text| text.0));
        self.check()
    }

    fn show(&self) -> Map<String, Value> {
        let mut fields = self.token.show();
        let bounds = &self.bounds;
        let shown = [
            ("bound_audiences", or_null(bounds.audiences.is_empty(), json!(bounds.audiences))),
            ("bound_claims", or_null(bounds.claims.is_empty(), json!(bounds.claims))),
            ("bound_claims_type", json!(if bounds.with_globs { "glob" } else { "string" })),
            ("bound_subject", json!(bounds.subject)),
            ("claim_mappings", or_null(self.mappings.is_empty(), json!(self.mappings))),
            ("clock_skew_leeway", json!(self.leeways.skew)),
            ("expiration_leeway", json!(self.leeways.end)),
            ("groups_claim", json!(self.groups_claim)),
            ("not_before_leeway", json!(self.leeways.begin)),
            ("oauth2_metadata", Value::Null),
            ("token_policies_template_claims", json!(false)),
            ("user_claim", json!(self.user_claim)),
            ("user_claim_json_pointer", json!(self.user_is_pointer)),
            ("verbose_oidc_logging", json!(false)),
        ];
        fields.extend(shown.map(|(name, value)| (name.to_owned(), value)));
        fields.extend(self.browser.show());
        fields
    }

    fn token(&self) -> &TokenSettings {
        &self.token
    }
}

impl Role {
    fn apply_bounds(&mut self, ask: &RoleRequest) -> Result<(), Fault> {
        set(&mut self.bounds.audiences, ask.bound_audiences.clone().map(|list| list.0));
        set(&mut self.bounds.subject, ask.bound_subject.clone().map(|text| text.0));
        self.bounds.with_globs = match ask.bound_claims_type.as_ref().map_or("string", |text| text.0.as_str()) {
            "string" => false,
            "glob" => true,
            _ => return Err(Fault::bad_request("invalid 'bound_claims_type': use string or glob")),
        };
        set(&mut self.bounds.claims, ask.bound_claims.clone());
        let is_text = |value: &Value| match value {
            Value::Array(all) => all.iter().all(Value::is_string),
            one => one.is_string(),
        };
        if self.bounds.with_globs && !self.bounds.claims.values().all(is_text) {
            return Err(Fault::bad_request(
                "with bound_claims_type=glob each of bound_claims is a text or a list of texts",
            ));
        }
        Ok(())
    }

    fn check(&self) -> Result<(), Fault> {
        let refuse = |why: &'static str| Err(Fault::bad_request(why));
        if self.user_claim.is_empty() {
            return refuse("a user claim must be defined on the role");
        }
        let bounds = &self.bounds;
        let is_bound = !bounds.audiences.is_empty() || !bounds.subject.is_empty() || !bounds.claims.is_empty();
        if !self.browser.is_on && !is_bound && self.token.params.bound_cidrs.is_empty() {
            return refuse("must have at least one bound constraint when creating/updating a role");
        }
        if [bounds.audiences.len(), bounds.claims.len(), self.mappings.len()].iter().any(|count| *count > MOST) {
            return refuse("a list of bounds or mappings has at most 500 entries");
        }
        Ok(())
    }
}

impl Leeways {
    /// How much clocks may differ.
    pub fn skew(self) -> Duration {
        seconds(self.skew, 60)
    }

    /// Life of tokens that say no end.
    pub fn end(self) -> Duration {
        seconds(self.end, 150)
    }

    /// How long before its end a token begins that says no beginning.
    pub fn begin(self) -> Duration {
        seconds(self.begin, 150)
    }
}

fn seconds(given: i64, default: u64) -> Duration {
    Duration::from_secs(if given == 0 { default } else { u64::try_from(given).unwrap_or(0) })
}

fn refuse_unbuilt(ask: &RoleRequest) -> Result<(), Fault> {
    if ask.token_policies_template_claims.is_some_and(|flag| flag.0) {
        return Err(Fault::not_built(
            "token_policies_template_claims is not built yet; policies see claims as metadata",
        ));
    }
    Ok(())
}

fn check_mappings(mappings: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Fault> {
    let mut targets = BTreeSet::new();
    for target in mappings.values() {
        if target == "role" {
            return Err(Fault::bad_request("metadata key \"role\" is reserved and may not be a mapping destination"));
        }
        if !targets.insert(target) {
            return Err(Fault::bad_request("multiple keys are mapped to the same metadata key"));
        }
    }
    Ok(mappings.clone())
}

/// Seconds with or without a sign, or a duration.
fn leeway(field: Option<&Text>, name: &str) -> Result<Option<i64>, Fault> {
    let Some(text) = field else { return Ok(None) };
    let (sign, size) = text.0.strip_prefix('-').map_or((1, text.0.as_str()), |size| (-1, size));
    let refuse = || Fault::bad_request(format!("{name} is no duration"));
    let length = if size.is_empty() { Duration::ZERO } else { parse_ttl(size).map_err(|_| refuse())? };
    i64::try_from(length.as_secs()).map(|seconds| Some(sign * seconds)).map_err(|_| refuse())
}

pub fn or_null(is_empty: bool, value: Value) -> Value {
    if is_empty { Value::Null } else { value }
}
