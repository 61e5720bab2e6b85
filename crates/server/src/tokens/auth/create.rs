//! Making tokens from tokens. A child has no more rights than its parent, unless the parent may use `sudo` here.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::lease::LifeAsk;
use dewdrop_core::token::{AuthView, TokenKind, TokenParams, TokenRecord};
use dewdrop_core::wire::{Flag, Int, Pairs, Text, TextList, Ttl};
use dewdrop_core::{Fault, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::super::make::{first_life, make_counted, with_default};
use super::{TokenAuth, TokenRole};
use crate::vault::Vault;

/// What a new token is to be.
#[derive(Default, Deserialize, JsonSchema)]
pub struct CreateFields {
    /// Its text; needs `sudo`.
    #[serde(default)]
    id: Text,
    /// Its policies; those of the caller when none are named.
    #[serde(default)]
    policies: Option<TextList>,
    /// Free words.
    #[serde(default)]
    meta: Pairs,
    /// Without parent; needs `sudo`.
    #[serde(default)]
    no_parent: Flag,
    /// Without the policy `default`.
    #[serde(default)]
    no_default_policy: Flag,
    /// Its life.
    #[serde(default)]
    ttl: Ttl,
    /// The old name of `ttl`.
    #[serde(default)]
    lease: Ttl,
    /// A hard end.
    #[serde(default)]
    explicit_max_ttl: Ttl,
    /// Periodic; needs `sudo`.
    #[serde(default)]
    period: Ttl,
    /// For people.
    #[serde(default)]
    display_name: Option<Text>,
    /// Uses; zero: no limit.
    #[serde(default)]
    num_uses: Int,
    /// Whether it can be renewed; true when unset.
    renewable: Option<Flag>,
    /// `service` or `batch`.
    #[serde(default, rename = "type")]
    kind: Text,
    /// An alias of the entity; only with a role.
    #[serde(default)]
    entity_alias: Text,
}

/// A session: what a child of the caller with the caller's own rights is to be.
#[derive(Deserialize, JsonSchema)]
pub struct SessionFields {
    /// Its life; each renewal gives it anew.
    #[serde(default)]
    ttl: Ttl,
    /// For people.
    #[serde(default)]
    display_name: Option<Text>,
}

/// What is known of the caller when a token is made.
struct Parent<'a> {
    record: &'a TokenRecord,
    has_sudo: bool,
}

impl TokenAuth {
    pub(super) async fn create(self: Arc<Self>, call: Call, fields: CreateFields) -> Result<Reply, Fault> {
        let orphan = fields.no_parent.0;
        self.make_child(call, fields, orphan, None).await
    }

    pub(super) async fn create_orphan(self: Arc<Self>, call: Call, fields: CreateFields) -> Result<Reply, Fault> {
        self.make_child(call, fields, true, None).await
    }

    pub(super) async fn create_by_role(self: Arc<Self>, call: Call, fields: CreateFields) -> Result<Reply, Fault> {
        let name = call.capture("role_name").to_owned();
        let role = self.role(&name).await?.ok_or_else(|| Fault::bad_request(format!("unknown role {name}")))?;
        let orphan = role.orphan || fields.no_parent.0;
        self.make_child(call, fields, orphan, Some((name, role))).await
    }

    /// A child with exactly the rights of its parent, so no right beyond the caller's own is needed to make it. What is asked
    /// for with it ends with it.
    pub(super) async fn open_session(self: Arc<Self>, call: Call, fields: SessionFields) -> Result<Reply, Fault> {
        let asked = CreateFields {
            ttl: fields.ttl,
            display_name: fields.display_name,
            no_default_policy: Flag(
                !call.caller.token.as_ref().is_some_and(|t| t.policies.iter().any(|p| p == "default")),
            ),
            ..CreateFields::default()
        };
        self.make_child(call, asked, false, None).await
    }

    async fn make_child(
        &self,
        call: Call,
        fields: CreateFields,
        orphan: bool,
        role: Option<(String, TokenRole)>,
    ) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let caller = call.caller.token.clone().ok_or_else(|| Fault::denied("no token"))?;
        let parent = Parent { record: &caller, has_sudo: call.permit.has_sudo() };
        check(&fields, &parent, orphan, role.as_ref())?;
        let mut warnings = Vec::new();
        let policies = match &role {
            Some((_, role)) if role.names_policies() => {
                role.policies_for(fields.policies.as_ref().map(|p| p.0.as_slice()), fields.no_default_policy.0)?
            }
            Some((_, role)) => {
                let asked = policies_of(&fields, &parent, role.no_default_policy)?;
                role.check_disallowed(asked)?
            }
            None => policies_of(&fields, &parent, false)?,
        };
        let record = draft(&vault, &call, &fields, &parent, policies, orphan, role.as_ref(), &mut warnings).await?;
        warnings.extend(unknown_policies(&vault, &call, &record.policies));
        let text = Some(fields.id.0.clone()).filter(|id| !id.is_empty()).map(Secret::new);
        let made = make_counted(&vault, &call.mount.namespace, record, text, None).await?;
        let auth = AuthView::new(made.text.expose(), &made.record, Vec::new(), call.now);
        let mut reply = Reply::from(Outcome::Token(Box::new(auth)));
        reply.warnings = warnings;
        Ok(reply)
    }
}

/// What only some may ask, and what nobody may.
fn check(
    fields: &CreateFields,
    parent: &Parent<'_>,
    orphan: bool,
    role: Option<&(String, TokenRole)>,
) -> Result<(), Fault> {
    let needs_sudo = |what: &str| Fault::bad_request(format!("root or sudo privileges required to {what}"));
    if parent.record.kind == TokenKind::Batch {
        return Err(Fault::bad_request("batch tokens cannot create more tokens"));
    }
    if parent.record.num_uses != 0 {
        return Err(Fault::bad_request("restricted use token cannot generate child tokens"));
    }
    if fields.num_uses.0 < 0 {
        return Err(Fault::bad_request("number of uses cannot be negative"));
    }
    if !fields.id.0.is_empty() && !parent.has_sudo {
        return Err(needs_sudo("specify token id"));
    }
    if fields.id.0.starts_with("s.") {
        return Err(Fault::bad_request("custom token ID cannot have the 's.' prefix"));
    }
    if fields.id.0.contains('.') {
        return Err(Fault::bad_request("custom token ID cannot have a '.' in the value"));
    }
    if orphan && role.is_none() && !parent.has_sudo {
        return Err(needs_sudo("create orphan token"));
    }
    if !fields.period.0.is_zero() && role.is_none() && !parent.has_sudo {
        return Err(needs_sudo("create periodic token"));
    }
    if !fields.entity_alias.0.is_empty() && role.is_none() {
        return Err(Fault::bad_request("'entity_alias' is only allowed in combination with token role"));
    }
    Ok(())
}

/// Without a role: what was asked, at most what the parent has unless it may use `sudo`.
fn policies_of(fields: &CreateFields, parent: &Parent<'_>, no_default: bool) -> Result<Vec<String>, Fault> {
    let asked = fields.policies.as_ref().map(|p| p.0.clone()).unwrap_or_default();
    let asked = if asked.is_empty() { parent.record.policies.clone() } else { asked };
    let params = TokenParams {
        policies: asked,
        no_default_policy: no_default || fields.no_default_policy.0,
        ..TokenParams::default()
    };
    let policies = with_default(&params);
    if policies.iter().any(|p| p == "root") && !parent.record.is_root() {
        return Err(Fault::bad_request("root tokens may not be created without parent token being root"));
    }
    if !parent.has_sudo {
        let extra = policies.iter().find(|policy| *policy != "default" && !parent.record.policies.contains(policy));
        if extra.is_some()
            || (policies.iter().any(|p| p == "default") && !parent.record.policies.iter().any(|p| p == "default"))
        {
            return Err(Fault::bad_request("child policies must be subset of parent"));
        }
    }
    if policies.iter().any(|policy| policy == "response-wrapping") {
        return Err(Fault::bad_request("cannot create a token with the policy \"response-wrapping\""));
    }
    Ok(policies)
}

fn kind_of(fields: &CreateFields, role: Option<&(String, TokenRole)>) -> Result<TokenKind, Fault> {
    let asked = match fields.kind.0.as_str() {
        "" => None,
        "service" => Some(TokenKind::Service),
        "batch" => Some(TokenKind::Batch),
        _ => return Err(Fault::bad_request("invalid 'token_type' value")),
    };
    Ok(match role.map(|(_, role)| role.token_type.as_str()) {
        Some("service") => TokenKind::Service,
        Some("batch") => TokenKind::Batch,
        Some("default-batch") => asked.unwrap_or(TokenKind::Batch),
        _ => asked.unwrap_or(TokenKind::Service),
    })
}

#[expect(
    clippy::too_many_arguments,
    reason = "a draft draws on all that is known; a struct of them would be used once"
)]
async fn draft(
    vault: &Vault,
    call: &Call,
    fields: &CreateFields,
    parent: &Parent<'_>,
    policies: Vec<String>,
    orphan: bool,
    role: Option<&(String, TokenRole)>,
    warnings: &mut Vec<String>,
) -> Result<TokenRecord, Fault> {
    let kind = kind_of(fields, role)?;
    let is_root = policies.iter().any(|policy| policy == "root");
    refuse_batch(kind, is_root, fields)?;
    let params = TokenParams {
        period: role.map(|(_, r)| r.period()).filter(|p| !p.is_zero()).unwrap_or(fields.period.0),
        explicit_max_ttl: lower(fields.explicit_max_ttl.0, role.map_or(Duration::ZERO, |(_, r)| r.explicit_max_ttl())),
        ..TokenParams::default()
    };
    let asked_ttl = if fields.ttl.0.is_zero() { fields.lease.0 } else { fields.ttl.0 };
    let for_ever = is_root && asked_ttl.is_zero() && params.period.is_zero() && params.explicit_max_ttl.is_zero();
    let (ttl, cut) = if for_ever { (Duration::ZERO, Vec::new()) } else { own_life(call, &params, asked_ttl) };
    warnings.extend(cut);
    let renewable = fields.renewable.is_none_or(|flag| flag.0) && role.is_none_or(|(_, role)| role.renewable);
    Ok(TokenRecord {
        accessor: String::new(),
        parent: (!orphan).then(|| parent.record.accessor.clone()),
        kind,
        policies,
        path: match role {
            Some((name, _)) => format!("auth/token/create/{name}{}", suffix(role)),
            None => format!("auth/token/{}", call.path),
        },
        display_name: display_name(fields.display_name.as_ref()),
        meta: fields.meta.0.clone(),
        num_uses: lower_uses(fields.num_uses.0, role.map_or(0, |(_, role)| role.num_uses)),
        created: call.now,
        ttl,
        expires: (!for_ever).then(|| call.now.plus(ttl)),
        renewed: None,
        explicit_max_ttl: params.explicit_max_ttl,
        period: params.period,
        renewable: renewable && kind == TokenKind::Service && !for_ever,
        entity_id: entity(vault, call, fields, parent, orphan, role).await?,
        namespace: call.mount.namespace.id.clone(),
        bound_cidrs: role.map(|(_, role)| role.bound_cidrs().to_vec()).unwrap_or_default(),
        role: role.map(|(name, _)| name.clone()).unwrap_or_default(),
        internal: Value::Null,
        beside: String::new(),
        mfa: None,
    })
}

/// The first life of a token, within what its mount gives; what had to be cut, in sentences.
fn own_life(call: &Call, params: &TokenParams, asked: Duration) -> (Duration, Vec<String>) {
    let ask = LifeAsk {
        issued: call.now,
        now: call.now,
        increment: asked,
        mount_default: call.mount.default_lease_ttl(),
        mount_max: call.mount.max_lease_ttl(),
        ..LifeAsk::default()
    };
    first_life(params, &ask)
}

fn refuse_batch(kind: TokenKind, is_root: bool, fields: &CreateFields) -> Result<(), Fault> {
    let why = match kind {
        TokenKind::Service => return Ok(()),
        TokenKind::Batch if is_root => "batch tokens cannot be root tokens",
        TokenKind::Batch if !fields.period.0.is_zero() => "batch tokens cannot have \"period\" set",
        TokenKind::Batch if fields.num_uses.0 != 0 => "batch tokens cannot have \"num_uses\" set",
        TokenKind::Batch if !fields.explicit_max_ttl.0.is_zero() => "batch tokens cannot have \"explicit_max_ttl\" set",
        TokenKind::Batch if !fields.id.0.is_empty() => "batch tokens cannot have custom IDs",
        TokenKind::Batch => return Ok(()),
    };
    Err(Fault::bad_request(why))
}

fn suffix(role: Option<&(String, TokenRole)>) -> String {
    role.map(|(_, role)| role.path_suffix.as_str())
        .filter(|s| !s.is_empty())
        .map(|s| format!("/{s}"))
        .unwrap_or_default()
}

fn display_name(asked: Option<&Text>) -> String {
    let Some(Text(name)) = asked.filter(|name| !name.0.is_empty()) else { return "token".into() };
    let plain: String = name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' }).collect();
    format!("token-{}", plain.trim_end_matches('-'))
}

/// A child belongs to its parent's entity; with a role it may belong to the entity of an alias that the role allows.
async fn entity(
    vault: &Vault,
    call: &Call,
    fields: &CreateFields,
    parent: &Parent<'_>,
    orphan: bool,
    role: Option<&(String, TokenRole)>,
) -> Result<String, Fault> {
    let alias = &fields.entity_alias.0;
    let (Some((_, role)), false) = (role, alias.is_empty()) else {
        return Ok(if orphan { String::new() } else { parent.record.entity_id.clone() });
    };
    if !role.allows_alias(alias) {
        return Err(Fault::bad_request("invalid 'entity_alias' value: the role does not allow it"));
    }
    let identities = vault.mounts.identities(&call.mount.namespace)?;
    let found = identities
        .on_login(
            &call.mount.accessor,
            &call.mount.path,
            &call.mount.kind,
            alias,
            &std::collections::BTreeMap::new(),
            &[],
        )
        .await?;
    Ok(found.entity_id)
}

fn unknown_policies(vault: &Vault, call: &Call, policies: &[String]) -> Vec<String> {
    let unknown =
        policies.iter().filter(|name| *name != "root" && vault.policies.get(&call.mount.namespace, name).is_none());
    unknown.map(|name| format!("Policy {name:?} does not exist")).collect()
}

fn lower_uses(left: i64, right: i64) -> i64 {
    if left == 0 || right == 0 { left.max(right) } else { left.min(right) }
}

fn lower(left: Duration, right: Duration) -> Duration {
    match (left.is_zero(), right.is_zero()) {
        (true, _) => right,
        (_, true) => left,
        _ => left.min(right),
    }
}
