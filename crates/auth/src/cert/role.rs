//! A role: what is kept, the rules, how a read shows it.

use dewdrop_core::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::bounds::{Bounds, is_oid};
use super::trust::Trust;
use super::wire::RoleRequest;
use crate::kept_roles::KeptRole;
use crate::token_params::{OldFields, TokenSettings, set};

/// The most extensions that become metadata.
const MOST_METADATA: usize = 50;

/// What is kept of a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Role {
    /// Lower-case.
    pub name: String,
    /// PEM, as it was given.
    pub certificate: String,
    /// Name for people.
    pub display_name: String,
    /// What must stand in certificates.
    pub bounds: Bounds,
    /// OIDs of extensions that become metadata; `None`: never given.
    pub metadata: Option<Vec<String>>,
    /// How tokens are made.
    pub token: TokenSettings,
}

impl KeptRole for Role {
    type Ask = RoleRequest;
    const MAX_TTL: &'static str = "token max ttl";

    fn new(name: String) -> Self {
        Self { display_name: name.clone(), name, ..Self::default() }
    }

    fn apply(&mut self, ask: &RoleRequest) -> Result<(), Fault> {
        refuse_ocsp(ask)?;
        set(&mut self.certificate, ask.certificate.clone().map(|text| text.0));
        Trust::read(&self.certificate)?;
        self.bounds.apply(ask)?;
        if let Some(list) = &ask.allowed_metadata_extensions {
            if list.0.len() > MOST_METADATA || !list.0.iter().all(|oid| is_oid(oid)) {
                return Err(Fault::bad_request(
                    "allowed_metadata_extensions is a list of at most 50 OIDs, such as 1.2.3.4",
                ));
            }
            self.metadata = Some(list.0.clone());
        }
        let named = ask.display_name.clone().map(|text| text.0).filter(|name| !name.is_empty());
        set(&mut self.display_name, named);
        let old = OldFields {
            policies: ask.policies.clone(),
            ttl: ask.ttl.or(ask.lease),
            max_ttl: ask.max_ttl,
            period: ask.period,
            bound_cidrs: ask.bound_cidrs.clone(),
            num_uses: None,
        };
        self.token.apply(ask.token_fields(), old)
    }

    fn show(&self) -> Map<String, Value> {
        let mut fields = self.token.show();
        let shown = [
            ("certificate", json!(self.certificate)),
            ("display_name", json!(self.display_name)),
            ("allowed_metadata_extensions", json!(self.metadata)),
            ("ocsp_enabled", json!(false)),
            ("ocsp_ca_certificates", json!("")),
            ("ocsp_servers_override", Value::Null),
            ("ocsp_fail_open", json!(false)),
            ("ocsp_query_all_servers", json!(false)),
        ];
        fields.extend(shown.into_iter().chain(self.bounds.show()).map(|(name, value)| (name.to_owned(), value)));
        fields
    }

    fn token(&self) -> &TokenSettings {
        &self.token
    }
}

/// Nothing may look as if certificates were asked about where they are not.
fn refuse_ocsp(ask: &RoleRequest) -> Result<(), Fault> {
    let flags = [&ask.ocsp_enabled, &ask.ocsp_fail_open, &ask.ocsp_query_all_servers];
    let is_set = flags.iter().any(|flag| flag.as_ref().is_some_and(|flag| flag.0))
        || ask.ocsp_ca_certificates.as_ref().is_some_and(|text| !text.0.is_empty())
        || ask.ocsp_servers_override.as_ref().is_some_and(|list| !list.0.is_empty());
    if is_set { Err(ocsp_not_built()) } else { Ok(()) }
}

/// 501.
pub fn ocsp_not_built() -> Fault {
    Fault::not_built("OCSP is not built; give lists of revoked certificates to crls/NAME")
}
