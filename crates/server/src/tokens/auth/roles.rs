//! Token roles: what may be asked of `auth/token/create/ROLE`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::NoFields;
use dewdrop_core::store::{Batch, get_json, scan_all};
use dewdrop_core::token::TokenParams;
use dewdrop_core::wire::{Flag, Int, Strings, Text, Ttl};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::super::make::with_default;
use super::{ListFields, TokenAuth};

/// A token role.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenRole {
    /// Policies that may be asked; empty: those of the caller.
    pub allowed_policies: Vec<String>,
    /// The same, with `*`.
    pub allowed_policies_glob: Vec<String>,
    /// Policies that may not.
    pub disallowed_policies: Vec<String>,
    /// The same, with `*`.
    pub disallowed_policies_glob: Vec<String>,
    /// Aliases that may be asked, with `*`.
    pub allowed_entity_aliases: Vec<String>,
    /// Tokens have no parent.
    pub orphan: bool,
    /// Tokens can be renewed.
    pub renewable: bool,
    /// Put behind the path in lease ids.
    pub path_suffix: String,
    /// Periods, ends and bounds under their names of today.
    pub token: Bounds,
    /// The same under their old names, which are shown as they were written.
    pub old: Bounds,
    /// `service`, `batch`, `default-service` or `default-batch`.
    pub token_type: String,
    /// Tokens do not get the policy `default`.
    pub no_default_policy: bool,
    /// Uses; zero: no limit.
    pub num_uses: i64,
}

/// How long and from where tokens of a role live.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// Tokens are periodic.
    pub period: Duration,
    /// A hard end.
    pub explicit_max_ttl: Duration,
    /// Where tokens may be used from.
    pub cidrs: Vec<IpNet>,
}

impl Default for TokenRole {
    fn default() -> Self {
        Self {
            allowed_policies: Vec::new(),
            allowed_policies_glob: Vec::new(),
            disallowed_policies: Vec::new(),
            disallowed_policies_glob: Vec::new(),
            allowed_entity_aliases: Vec::new(),
            orphan: false,
            renewable: true,
            path_suffix: String::new(),
            token: Bounds::default(),
            old: Bounds::default(),
            token_type: "default-service".into(),
            no_default_policy: false,
            num_uses: 0,
        }
    }
}

/// A role as it is written.
#[derive(Deserialize, JsonSchema)]
pub struct RoleFields {
    allowed_policies: Option<Strings>,
    allowed_policies_glob: Option<Strings>,
    disallowed_policies: Option<Strings>,
    disallowed_policies_glob: Option<Strings>,
    allowed_entity_aliases: Option<Strings>,
    orphan: Option<Flag>,
    renewable: Option<Flag>,
    path_suffix: Option<Text>,
    period: Option<Ttl>,
    token_period: Option<Ttl>,
    explicit_max_ttl: Option<Ttl>,
    token_explicit_max_ttl: Option<Ttl>,
    bound_cidrs: Option<Strings>,
    token_bound_cidrs: Option<Strings>,
    token_type: Option<Text>,
    token_no_default_policy: Option<Flag>,
    token_num_uses: Option<Int>,
}

impl TokenRole {
    /// The period of its tokens; zero: none.
    #[must_use]
    pub fn period(&self) -> Duration {
        if self.token.period.is_zero() { self.old.period } else { self.token.period }
    }

    /// The hard end of its tokens; zero: none.
    #[must_use]
    pub fn explicit_max_ttl(&self) -> Duration {
        if self.token.explicit_max_ttl.is_zero() { self.old.explicit_max_ttl } else { self.token.explicit_max_ttl }
    }

    /// Where its tokens may be used from.
    #[must_use]
    pub fn bound_cidrs(&self) -> &[IpNet] {
        if self.token.cidrs.is_empty() { &self.old.cidrs } else { &self.token.cidrs }
    }

    /// Whether it says itself which policies its tokens may have.
    #[must_use]
    pub fn names_policies(&self) -> bool {
        !self.allowed_policies.is_empty() || !self.allowed_policies_glob.is_empty()
    }

    /// Policies that a token may have as far as this role is concerned.
    ///
    /// # Errors
    /// 400: one that the role bars.
    pub fn check_disallowed(&self, policies: Vec<String>) -> Result<Vec<String>, Fault> {
        let barred = |policy: &&String| {
            self.disallowed_policies.contains(policy) || matches(&self.disallowed_policies_glob, policy)
        };
        match policies.iter().find(barred) {
            Some(policy) => Err(Fault::bad_request(format!("token policy {policy:?} is disallowed by this role"))),
            None => Ok(policies),
        }
    }

    /// The policies of a token by this role.
    ///
    /// # Errors
    /// 400: some that the role does not allow.
    pub fn policies_for(&self, asked: Option<&[String]>, no_default: bool) -> Result<Vec<String>, Fault> {
        let no_default = no_default || self.no_default_policy;
        let asked = asked.filter(|asked| !asked.is_empty()).unwrap_or(&self.allowed_policies);
        let params = TokenParams { policies: asked.to_vec(), no_default_policy: no_default, ..TokenParams::default() };
        let policies = with_default(&params);
        if policies.iter().any(|policy| policy == "root") && !self.allowed_policies.iter().any(|p| p == "root") {
            return Err(Fault::bad_request(
                "a role makes root tokens only when it names root among its allowed policies",
            ));
        }
        let allowed = |policy: &String| {
            !self.names_policies()
                || (policy == "default" && !no_default)
                || self.allowed_policies.contains(policy)
                || matches(&self.allowed_policies_glob, policy)
        };
        if !policies.iter().all(allowed) {
            return Err(Fault::bad_request(format!(
                "token policies ({}) must be subset of the role's allowed policies ({}) or glob policies ({})",
                quoted(&policies),
                quoted(&with_default(&TokenParams { policies: self.allowed_policies.clone(), ..params })),
                quoted(&self.allowed_policies_glob)
            )));
        }
        self.check_disallowed(policies)
    }

    /// Whether a token may belong to the entity of an alias.
    #[must_use]
    pub fn allows_alias(&self, alias: &str) -> bool {
        matches(&self.allowed_entity_aliases, &alias.to_lowercase())
    }

    fn apply(&mut self, fields: RoleFields) -> Result<(), Fault> {
        let lists = [
            (&mut self.allowed_policies, fields.allowed_policies),
            (&mut self.allowed_policies_glob, fields.allowed_policies_glob),
            (&mut self.disallowed_policies, fields.disallowed_policies),
            (&mut self.disallowed_policies_glob, fields.disallowed_policies_glob),
            (&mut self.allowed_entity_aliases, fields.allowed_entity_aliases),
        ];
        for (list, given) in lists {
            if let Some(Strings(given)) = given {
                *list = given.iter().map(|name| name.to_lowercase()).collect();
                list.sort();
                list.dedup();
            }
        }
        set(&mut self.orphan, fields.orphan.map(|f| f.0));
        set(&mut self.renewable, fields.renewable.map(|f| f.0));
        set(&mut self.path_suffix, fields.path_suffix.map(|t| t.0));
        set(&mut self.old.period, fields.period.map(|t| t.0));
        set(&mut self.token.period, fields.token_period.or(fields.period).map(|t| t.0));
        set(&mut self.old.explicit_max_ttl, fields.explicit_max_ttl.map(|t| t.0));
        set(&mut self.token.explicit_max_ttl, fields.token_explicit_max_ttl.or(fields.explicit_max_ttl).map(|t| t.0));
        set(&mut self.no_default_policy, fields.token_no_default_policy.map(|f| f.0));
        set(&mut self.num_uses, fields.token_num_uses.map(|n| n.0));
        if let Some(Strings(nets)) = &fields.bound_cidrs {
            self.old.cidrs = parse_nets(nets)?;
        }
        if let Some(Strings(nets)) = fields.token_bound_cidrs.as_ref().or(fields.bound_cidrs.as_ref()) {
            self.token.cidrs = parse_nets(nets)?;
        }
        if let Some(Text(kind)) = fields.token_type {
            if !["", "service", "batch", "default-service", "default-batch"].contains(&kind.as_str()) {
                return Err(Fault::bad_request(
                    "invalid 'token_type' value: use service, batch, default-service or default-batch",
                ));
            }
            self.token_type = if kind.is_empty() { "default-service".into() } else { kind };
        }
        self.check()
    }
}

impl TokenRole {
    /// Settings that do not go together.
    fn check(&self) -> Result<(), Fault> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let batch = self.token_type == "batch";
        let wrong = if self.num_uses < 0 {
            "token_num_uses must not be negative"
        } else if !self.path_suffix.chars().all(plain) {
            "given role path suffix contains invalid characters: use letters, digits, '-', '_' and '.'"
        } else if batch && !self.period().is_zero() {
            "'token_type' cannot be 'batch' when role is set to generate periodic tokens"
        } else if batch && self.renewable {
            "'token_type' cannot be 'batch' when role is set to generate renewable tokens; set renewable to false"
        } else if batch && !self.orphan {
            "'token_type' cannot be 'batch' when role is set to generate tokens with a parent; set orphan to true"
        } else {
            return Ok(());
        };
        Err(Fault::bad_request(wrong))
    }
}

impl TokenAuth {
    pub(super) async fn role(&self, name: &str) -> Result<Option<TokenRole>, Fault> {
        Ok(get_json(&*self.roles, &key(name)).await?.map(|(role, _)| role))
    }

    pub(super) async fn role_exists(&self, captures: &BTreeMap<&'static str, String>) -> Result<bool, Fault> {
        let name = captures.get("role_name").map_or("", String::as_str);
        Ok(self.role(name).await?.is_some())
    }

    pub(super) async fn list_roles(self: Arc<Self>, _: Call, fields: ListFields) -> Result<Reply, Fault> {
        let rows = scan_all(&*self.roles, b"role/", 1000).await?;
        let names =
            rows.iter().filter_map(|row| Some(std::str::from_utf8(&row.key).ok()?.strip_prefix("role/")?.to_owned()));
        let limit = fields.limit.and_then(|l| usize::try_from(l.0).ok()).filter(|l| *l > 0).unwrap_or(usize::MAX);
        Reply::keys(names.filter(|name| *name > fields.after).take(limit).collect())
    }

    pub(super) async fn read_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = call.capture("role_name");
        let role = self.role(name).await?.ok_or_else(Fault::not_found)?;
        let aliases = Some(&role.allowed_entity_aliases).filter(|a| !a.is_empty());
        let mut data = json!({
            "name": name,
            "allowed_policies": role.allowed_policies,
            "allowed_policies_glob": role.allowed_policies_glob,
            "disallowed_policies": role.disallowed_policies,
            "disallowed_policies_glob": role.disallowed_policies_glob,
            "allowed_entity_aliases": aliases,
            "orphan": role.orphan,
            "renewable": role.renewable,
            "path_suffix": role.path_suffix,
            "period": role.old.period.as_secs(),
            "token_period": role.token.period.as_secs(),
            "explicit_max_ttl": role.old.explicit_max_ttl.as_secs(),
            "token_explicit_max_ttl": role.token.explicit_max_ttl.as_secs(),
            "token_type": role.token_type,
            "token_no_default_policy": role.no_default_policy,
        });
        for (name, nets) in [("bound_cidrs", &role.old.cidrs), ("token_bound_cidrs", &role.token.cidrs)] {
            if let (Some(data), false) = (data.as_object_mut(), nets.is_empty()) {
                data.insert(name.into(), nets.iter().map(|net| show_net(*net)).collect::<Vec<_>>().into());
            }
        }
        if let (Some(data), false) = (data.as_object_mut(), role.num_uses == 0) {
            data.insert("token_num_uses".into(), role.num_uses.into());
        }
        Reply::of(&data)
    }

    pub(super) async fn write_role(self: Arc<Self>, call: Call, fields: RoleFields) -> Result<Reply, Fault> {
        let name = call.capture("role_name");
        let mut role = self.role(name).await?.unwrap_or_default();
        let twice = fields.said_twice();
        role.apply(fields)?;
        self.roles.commit(Batch::new().put_json(key(name), &role)?).await?;
        Ok(twice.into_iter().fold(Reply::nothing(), Reply::warn))
    }

    pub(super) async fn delete_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.roles.commit(Batch::new().delete(key(call.capture("role_name")))).await?;
        Ok(Reply::nothing())
    }
}

impl RoleFields {
    /// A warning for each setting that came under both of its names.
    fn said_twice(&self) -> Vec<String> {
        let pairs = [
            ("period", self.period.is_some() && self.token_period.is_some()),
            ("explicit_max_ttl", self.explicit_max_ttl.is_some() && self.token_explicit_max_ttl.is_some()),
            ("bound_cidrs", self.bound_cidrs.is_some() && self.token_bound_cidrs.is_some()),
        ];
        let both = pairs.iter().filter(|(_, both)| *both);
        both.map(|(name, _)| {
            format!("Both 'token_{name}' and deprecated '{name}' value supplied, ignoring the deprecated value")
        })
        .collect()
    }
}

fn parse_nets(nets: &[String]) -> Result<Vec<IpNet>, Fault> {
    nets.iter().map(|net| parse_net(net)).collect()
}

fn key(name: &str) -> Vec<u8> {
    format!("role/{name}").into_bytes()
}

fn set<T>(place: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *place = given;
    }
}

fn quoted(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
    format!("[{}]", quoted.join(" "))
}

/// `*` matches any run of characters.
fn matches(globs: &[String], name: &str) -> bool {
    globs.iter().any(|glob| glob_matches(glob, name))
}

fn glob_matches(glob: &str, name: &str) -> bool {
    match glob.split_once('*') {
        None => glob == name,
        Some((head, tail)) => {
            let Some(rest) = name.strip_prefix(head) else { return false };
            tail.is_empty() || (0..=rest.len()).any(|at| rest.get(at..).is_some_and(|rest| glob_matches(tail, rest)))
        }
    }
}

/// A network, or a single address.
///
/// # Errors
/// 400: it is neither.
pub fn parse_net(text: &str) -> Result<IpNet, Fault> {
    let parsed = text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from));
    parsed.ok_or_else(|| Fault::bad_request("a bound CIDR is no address or network (10.0.0.0/8)"))
}

/// A network as it was written: single addresses without their length.
fn show_net(net: IpNet) -> String {
    if net.prefix_len() == net.max_prefix_len() { net.addr().to_string() } else { net.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        assert!(glob_matches("dev-*", "dev-a"));
        assert!(glob_matches("*-ro", "team-ro"));
        assert!(glob_matches("a*b*c", "aXbYbZc"));
        assert!(!glob_matches("a*b", "ac"));
        assert!(!glob_matches("dev", "dev-a"));
    }

    #[test]
    fn a_role_bars_what_it_does_not_allow() {
        let role = TokenRole { allowed_policies: vec!["a".into(), "b".into()], ..TokenRole::default() };
        assert_eq!(role.policies_for(None, false).unwrap(), ["a", "b", "default"]);
        assert_eq!(role.policies_for(Some(&["a".into()]), true).unwrap(), ["a"]);
        assert!(role.policies_for(Some(&["zz".into()]), false).is_err());
        let role = TokenRole { disallowed_policies_glob: vec!["adm*".into()], ..TokenRole::default() };
        assert!(role.policies_for(Some(&["admin".into()]), false).is_err());
        assert!(role.policies_for(Some(&["root".into()]), false).is_err());
    }
}
