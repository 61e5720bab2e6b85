//! Response wrapping: the whole answer goes into the cubbyhole of a token that can be used once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Caller, Outcome};
use dewdrop_core::mount::Namespace;
use dewdrop_core::policy::Permit;
use dewdrop_core::token::{TokenKind, TokenRecord, WrapView};
use dewdrop_core::{Fault, Moment, Operation};
use serde_json::{Map, Value, json};

use crate::tokens::make;
use crate::vault::Vault;

/// The policy of wrapping tokens.
pub const WRAPPING_POLICY: &str = "response-wrapping";

/// What is wrapped.
pub struct WrapAsk<'a> {
    /// Where.
    pub namespace: &'a Namespace,
    /// The path whose answer it is.
    pub path: &'a str,
    /// How long the wrapping token lives.
    pub ttl: Duration,
    /// The whole answer as JSON text.
    pub response: String,
    /// The accessor of the token within, or empty.
    pub wrapped_accessor: String,
    /// Now.
    pub now: Moment,
}

/// Wraps an answer.
///
/// # Errors
/// The store's.
pub async fn wrap_response(vault: &Vault, ask: WrapAsk<'_>) -> Result<WrapView, Fault> {
    let record = TokenRecord {
        accessor: String::new(),
        parent: None,
        kind: TokenKind::Service,
        policies: vec![WRAPPING_POLICY.into()],
        path: ask.path.to_owned(),
        display_name: "token".into(),
        meta: BTreeMap::new(),
        num_uses: 1,
        created: ask.now,
        ttl: ask.ttl,
        expires: Some(ask.now.plus(ask.ttl)),
        renewed: None,
        explicit_max_ttl: ask.ttl,
        period: Duration::ZERO,
        renewable: false,
        entity_id: String::new(),
        namespace: ask.namespace.id.clone(),
        bound_cidrs: Vec::new(),
        role: String::new(),
        internal: json!({ "creation_path": ask.path }),
        beside: String::new(),
        mfa: None,
    };
    let made = make(&vault.tokens, ask.namespace, record, None).await?;
    let mut fields = Map::new();
    fields.insert("response".into(), ask.response.into());
    cubbyhole(vault, ask.namespace, &made.record, Operation::Update, "response", fields).await?;
    Ok(WrapView {
        token: made.text.expose().clone(),
        accessor: made.record.accessor.clone(),
        ttl: ask.ttl.as_secs(),
        creation_time: ask.now.rfc3339(),
        creation_path: ask.path.to_owned(),
        wrapped_accessor: ask.wrapped_accessor,
    })
}

/// What a wrapping token holds, as JSON text.
///
/// # Errors
/// 400: it is no wrapping token, or it holds nothing; the store's.
pub async fn unwrap_response(vault: &Vault, namespace: &Namespace, token: &Arc<TokenRecord>) -> Result<String, Fault> {
    let not_wrapping = || Fault::bad_request("wrapping token is not valid or does not exist");
    if !is_wrapping(token) {
        return Err(not_wrapping());
    }
    let data =
        cubbyhole(vault, namespace, token, Operation::Read, "response", Map::new()).await?.ok_or_else(not_wrapping)?;
    data.get("response").and_then(Value::as_str).map(str::to_owned).ok_or_else(not_wrapping)
}

/// Whether a token was made to wrap.
#[must_use]
pub fn is_wrapping(token: &TokenRecord) -> bool {
    token.policies.iter().any(|policy| policy == WRAPPING_POLICY)
}

async fn cubbyhole(
    vault: &Vault,
    namespace: &Namespace,
    token: &Arc<TokenRecord>,
    operation: Operation,
    path: &str,
    fields: Map<String, Value>,
) -> Result<Option<Map<String, Value>>, Fault> {
    let mounted = vault
        .mounts
        .at(&format!("{}cubbyhole/", namespace.path))
        .ok_or_else(|| Fault::internal("a namespace without cubbyhole"))?;
    let spot = mounted.room.find(path, operation).ok_or_else(|| Fault::internal("the cubbyhole has no such path"))?;
    let call = Call {
        permit: Permit::public("the server itself wraps and unwraps"),
        operation,
        path: path.to_owned(),
        captures: spot.captures.clone(),
        fields,
        caller: Arc::new(Caller { token: Some(token.clone()), ..Caller::default() }),
        mount: mounted.mount.clone(),
        now: vault.clock.now(),
        wrap_ttl: None,
        headers: BTreeMap::new(),
        request_id: "".into(),
        raw: None,
    };
    match mounted.room.serve(&spot, call).await?.outcome {
        Outcome::Data(data) => Ok(Some(data)),
        _ => Ok(None),
    }
}
