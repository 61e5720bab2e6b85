//! Making tokens: from a login, or from another token.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Beside, Caller, Login};
use dewdrop_core::lease::{LifeAsk, life};
use dewdrop_core::mount::{Mount, Namespace};
use dewdrop_core::token::{MfaPassed, TokenKind, TokenParams, TokenRecord};
use dewdrop_core::wire::brief_ttl;
use dewdrop_core::{Fault, Moment, Secret};
use ipnet::IpNet;

use super::{Tokens, new_text, token_lease_id};
use crate::mounts::slice_key;
use crate::vault::Vault;
use crate::vault::quotas::where_of_token;

/// A token that was made: the only place where its text is.
pub struct Made {
    /// The text for the caller.
    pub text: Secret<String>,
    /// What is kept of it (of a batch token, only the text holds it).
    pub record: Arc<TokenRecord>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Writes a token down. `text` names a service token that the caller chose.
///
/// # Errors
/// 400 when the text is taken; the store's.
pub async fn make(
    tokens: &Tokens,
    namespace: &Namespace,
    record: TokenRecord,
    text: Option<Secret<String>>,
) -> Result<Made, Fault> {
    make_beside(tokens, namespace, record, text, None).await
}

/// [`make`], with a row beside the token. Its key is the record's, whole.
async fn make_beside(
    tokens: &Tokens,
    namespace: &Namespace,
    mut record: TokenRecord,
    text: Option<Secret<String>>,
    beside: Option<Beside>,
) -> Result<Made, Fault> {
    if record.kind == TokenKind::Batch {
        record.accessor.clear();
        let text = Secret::new(tokens.seal_batch(&record, namespace)?);
        return Ok(Made { text, record: Arc::new(record), warnings: Vec::new() });
    }
    let text = match text {
        Some(text) => text,
        None => new_text(namespace)?,
    };
    record.accessor = tokens.accessor_of(text.expose());
    let live = tokens.write_new(record, beside).await?;
    Ok(Made { text, record: live.record.clone(), warnings: Vec::new() })
}

/// [`make`] for tokens that count: where a quota of leases holds and is used up, none is made.
///
/// # Errors
/// 429: the quota is used up; as [`make`].
pub async fn make_counted(
    vault: &Vault,
    namespace: &Namespace,
    mut record: TokenRecord,
    text: Option<Secret<String>>,
    beside: Option<Beside>,
) -> Result<Made, Fault> {
    let Some(at) = where_of_token(vault, &record) else {
        return make_beside(&vault.tokens, namespace, record, text, beside).await;
    };
    if record.kind == TokenKind::Batch {
        vault.leases.counts.room(vault, &at).await?;
        return make(&vault.tokens, namespace, record, text).await;
    }
    let text = match text {
        Some(text) => text,
        None => new_text(namespace)?,
    };
    record.accessor = vault.tokens.accessor_of(text.expose());
    let admission = vault.leases.counts.admit(vault, at, &token_lease_id(&record)).await?;
    let made = make_beside(&vault.tokens, namespace, record, Some(text), beside).await?;
    admission.keep();
    Ok(made)
}

/// Makes the token of a login, which has passed the second factor that it needs.
///
/// # Errors
/// 400: the method asks for the policy `root`; 403: the entity is disabled; the store's.
pub async fn from_login(
    vault: &Vault,
    mount: &Mount,
    path: &str,
    login: Login,
    caller: &Caller,
    now: Moment,
    passed: Option<MfaPassed>,
) -> Result<Made, Fault> {
    if login.params.policies.iter().any(|policy| policy == "root") {
        return Err(Fault::bad_request("auth methods cannot create root tokens"));
    }
    let entity_id = entity_of(vault, mount, &login).await?;
    let asked = LifeAsk {
        issued: now,
        now,
        // What the role asks for counts as asked: who gets less is told.
        increment: login.params.ttl,
        role_ttl: login.params.ttl,
        role_max: login.params.max_ttl,
        mount_default: mount.default_lease_ttl(),
        mount_max: mount.max_lease_ttl(),
    };
    let (ttl, warnings) = first_life(&login.params, &asked);
    let kind = if login.beside.is_some() { TokenKind::Service } else { kind_of(&login.params, mount) };
    let record = TokenRecord {
        accessor: String::new(),
        parent: None,
        kind,
        policies: with_default(&login.params),
        path: format!("{}{path}", mount.path),
        display_name: display_name(mount, &login.display_name),
        meta: login.metadata,
        num_uses: login.params.num_uses,
        created: now,
        ttl,
        expires: Some(now.plus(ttl)),
        renewed: None,
        explicit_max_ttl: login.params.explicit_max_ttl,
        period: login.params.period,
        renewable: login.renewable && kind == TokenKind::Service,
        entity_id,
        namespace: mount.namespace.id.clone(),
        bound_cidrs: bounds(&login.params, caller)?,
        role: String::new(),
        internal: login.internal,
        beside: login.beside.as_ref().map(|row| slice_key(mount, &row.key)).unwrap_or_default(),
        mfa: passed,
    };
    let mut made = make_counted(vault, &mount.namespace, record, None, login.beside).await?;
    made.warnings = warnings;
    Ok(made)
}

/// The life of a new token: its period, or what [`life`] says, cut at the explicit end.
#[must_use]
pub fn first_life(params: &TokenParams, asked: &LifeAsk) -> (Duration, Vec<String>) {
    let (mut ttl, mut warnings) = if params.period.is_zero() {
        let given = life(asked);
        (given.ttl, given.warnings)
    } else {
        let longest = if params.period > asked.mount_max { asked.mount_max } else { params.period };
        (longest, Vec::new())
    };
    let end = params.explicit_max_ttl;
    if !end.is_zero() && ttl > end {
        warnings.push(format!(
            "TTL of {:?} exceeded the effective max_ttl of {:?}; TTL value is capped accordingly",
            brief_ttl(ttl),
            brief_ttl(end)
        ));
        ttl = end;
    }
    (ttl, warnings)
}

/// The policies of a token: those of the parameters with `default`, lower-cased, sorted, once each.
#[must_use]
pub fn with_default(params: &TokenParams) -> Vec<String> {
    let mut policies: Vec<String> =
        params.policies.iter().map(|p| p.trim().to_lowercase()).filter(|p| !p.is_empty()).collect();
    if !params.no_default_policy && !policies.iter().any(|p| p == "root") {
        policies.push("default".into());
    }
    policies.sort();
    policies.dedup();
    // What root may do cannot be widened, so other names beside it would only mislead.
    if policies.iter().any(|policy| policy == "root") { vec!["root".into()] } else { policies }
}

async fn entity_of(vault: &Vault, mount: &Mount, login: &Login) -> Result<String, Fault> {
    if login.alias.is_empty() {
        return Ok(String::new());
    }
    let identities = vault.mounts.identities(&mount.namespace)?;
    let found = identities
        .on_login(&mount.accessor, &mount.path, &mount.kind, &login.alias, &login.alias_metadata, &login.group_aliases)
        .await?;
    if found.changed {
        vault.policies.invalidate();
    }
    if found.disabled {
        return Err(Fault::denied(format!("entity {} is disabled", found.entity_id)));
    }
    Ok(found.entity_id)
}

fn kind_of(params: &TokenParams, mount: &Mount) -> TokenKind {
    match (mount.tune.token_type.as_str(), params.kind) {
        ("service", _) => TokenKind::Service,
        ("batch", _) => TokenKind::Batch,
        (_, Some(kind)) => kind,
        ("default-batch", None) => TokenKind::Batch,
        (_, None) => TokenKind::Service,
    }
}

fn display_name(mount: &Mount, name: &str) -> String {
    let full = mount.full_path();
    let path = if mount.namespace.is_root() { full.strip_prefix("auth/").unwrap_or(&full) } else { &full };
    let short = path.trim_end_matches('/').replace('/', "-");
    if name.is_empty() { short } else { format!("{short}-{name}") }
}

fn bounds(params: &TokenParams, caller: &Caller) -> Result<Vec<IpNet>, Fault> {
    if !params.strictly_bind_ip {
        return Ok(params.bound_cidrs.clone());
    }
    let address = caller
        .address
        .ok_or_else(|| Fault::bad_request("the token must be bound to an address, and yours is not known"))?;
    Ok(vec![IpNet::from(address)])
}

/// The path of root tokens that nobody's token made.
pub const INITIAL_ROOT: &str = "auth/token/root";

/// The first root token of a server, or one made by the holders of the unseal keys.
///
/// # Errors
/// The store's.
pub async fn make_root(vault: &Vault, text: Option<&str>) -> Result<Secret<String>, Fault> {
    let namespace = Namespace::root();
    // A development server's root token looks as if it had been made by another one.
    let (path, name) = if text.is_some() { ("auth/token/create", "token") } else { (INITIAL_ROOT, "root") };
    let record = TokenRecord {
        accessor: String::new(),
        parent: None,
        kind: TokenKind::Service,
        policies: vec!["root".into()],
        path: path.into(),
        display_name: name.into(),
        meta: std::collections::BTreeMap::new(),
        num_uses: 0,
        created: vault.clock.now(),
        ttl: Duration::ZERO,
        expires: None,
        renewed: None,
        explicit_max_ttl: Duration::ZERO,
        period: Duration::ZERO,
        renewable: false,
        entity_id: String::new(),
        namespace: namespace.id.clone(),
        bound_cidrs: Vec::new(),
        role: String::new(),
        internal: serde_json::Value::Null,
        beside: String::new(),
        mfa: None,
    };
    let text = text.map(|text| Secret::new(text.to_owned()));
    Ok(make(&vault.tokens, &namespace, record, text).await?.text)
}
