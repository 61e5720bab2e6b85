//! The login, and the renewal that asks for the same certificate. Neither reads or writes the store once the mount was read.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Caller, Login, Outcome, Reply};
use dewdrop_core::token::TokenParams;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::Cert;
use super::facts::Facts;
use super::role::Role;
use super::trust::Shown;
use super::wire::LoginRequest;
use crate::cidr;
use crate::token_params::sorted_policies;

impl Cert {
    pub(super) async fn login(self: Arc<Self>, call: Call, ask: LoginRequest) -> Result<Reply, Fault> {
        let shown = Shown::of(&call.caller)?;
        let book = self.book().await?;
        let named = ask.name.map(|text| text.0.to_lowercase()).filter(|name| !name.is_empty());
        let role = book.admit(&shown, named.as_deref(), call.now)?;
        if !cidr::admits(&role.token.params.bound_cidrs, call.caller.address) {
            let known = format!("role {:?}: token_bound_cidrs does not admit the caller's address", role.name);
            return Err(Fault::denied(known));
        }
        if shown.facts.names.common.is_empty() {
            return Err(Fault::bad_credential(
                "the client's certificate has no common name, which would name its holder",
            ));
        }
        let login = answer(role, &shown, book.config.is_alias_told);
        Ok(Outcome::Login(Box::new(login)).into())
    }

    /// What the token may have from now on.
    ///
    /// # Errors
    /// 400: the role is gone or gives other policies, or the certificate is not the one of the login, or no good one any more.
    pub(super) async fn renew(&self, internal: &Value, caller: &Caller) -> Result<TokenParams, Fault> {
        let text = |field: &str| internal.get(field).and_then(Value::as_str).unwrap_or_default();
        let book = self.book().await?;
        let name = text("role");
        let gone = || Fault::bad_request(format!("role {name:?} does not exist during renewal"));
        let role = book.role(name).ok_or_else(gone)?;
        if hex::decode(text("serial")).is_ok_and(|serial| book.revoked.contains(&serial)) {
            return Err(Fault::bad_request("the certificate of the login was revoked: log in with another one"));
        }
        if !book.config.is_unbound {
            let shown = Shown::of(caller)?;
            let is_same: bool = fingerprint(&shown).as_bytes().ct_eq(text("certificate").as_bytes()).into();
            if !is_same {
                return Err(Fault::bad_request(
                    "client identity during renewal not matching client identity used during login",
                ));
            }
            book.admit(&shown, Some(name), self.place.clock.now())?;
        }
        let at_login = internal.get("policies").and_then(Value::as_array).cloned().unwrap_or_default();
        if sorted_policies(&role.token.params.policies) != at_login {
            return Err(Fault::bad_request("policies have changed, not renewing"));
        }
        Ok(role.token.params.clone())
    }
}

fn answer(role: &Role, shown: &Shown<'_>, is_alias_told: bool) -> Login {
    let params = role.token.params.clone();
    let metadata = metadata(role, &shown.facts);
    Login {
        alias: shown.facts.names.common.clone(),
        alias_metadata: if is_alias_told { metadata.clone() } else { BTreeMap::new() },
        metadata,
        display_name: role.display_name.clone(),
        internal: json!({
            "role": role.name,
            "certificate": fingerprint(shown),
            "serial": hex::encode(&shown.facts.serial),
            "policies": sorted_policies(&params.policies),
        }),
        params,
        renewable: true,
        ..Login::default()
    }
}

fn metadata(role: &Role, facts: &Facts) -> BTreeMap<String, String> {
    let mut metadata = BTreeMap::new();
    for oid in role.metadata.iter().flatten() {
        metadata.extend(facts.extension_text(oid).map(|text| (oid.replace('.', "-"), text)));
    }
    metadata.extend([
        ("cert_name".to_owned(), role.name.clone()),
        ("common_name".to_owned(), facts.names.common.clone()),
        ("serial_number".to_owned(), facts.serial_text.clone()),
        ("subject_key_id".to_owned(), with_colons(&facts.subject_key)),
        ("authority_key_id".to_owned(), with_colons(&facts.authority_key)),
    ]);
    metadata
}

fn with_colons(bytes: &[u8]) -> String {
    let pairs: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    pairs.join(":")
}

/// What is kept of a certificate to know it again.
fn fingerprint(shown: &Shown<'_>) -> String {
    hex::encode(digest(&SHA256, &shown.leaf))
}
