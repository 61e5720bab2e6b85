//! What a role wants to stand in a certificate. Each list that is not empty must be met.

use dewdrop_core::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::facts::Facts;
use super::wire::RoleRequest;
use crate::glob::{any_matches, matches};

/// The most entries of a list.
const MOST: usize = 500;

/// The lists; `None`: never given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Bounds {
    /// `allowed_names`.
    pub names: Option<Vec<String>>,
    /// `allowed_common_names`.
    pub common: Option<Vec<String>>,
    /// `allowed_dns_sans`.
    pub dns: Option<Vec<String>>,
    /// `allowed_email_sans`.
    pub emails: Option<Vec<String>>,
    /// `allowed_uri_sans`.
    pub uris: Option<Vec<String>>,
    /// `allowed_organizational_units`.
    pub units: Option<Vec<String>>,
    /// `required_extensions`.
    pub extensions: Option<Vec<String>>,
}

/// One of `required_extensions`.
struct Required<'a> {
    oid: &'a str,
    pattern: &'a str,
    /// The value is compared in hex.
    is_hex: bool,
}

impl<'a> Required<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (text, is_hex) = text.strip_prefix("hex:").map_or((text, false), |rest| (rest, true));
        let (oid, pattern) = text.split_once(':')?;
        is_oid(oid).then_some(Self { oid, pattern, is_hex })
    }

    fn admits(&self, facts: &Facts) -> bool {
        if self.is_hex {
            let value = facts.extension(self.oid).map(hex::encode);
            return value.is_some_and(|value| matches(&self.pattern.to_ascii_lowercase(), &value));
        }
        facts.extension_text(self.oid).is_some_and(|text| matches(self.pattern, &text))
    }
}

impl Bounds {
    /// Takes over what a request gives.
    ///
    /// # Errors
    /// 400: an entry that no certificate could meet, or too many.
    pub fn apply(&mut self, ask: &RoleRequest) -> Result<(), Fault> {
        let given = [
            (&mut self.names, &ask.allowed_names),
            (&mut self.common, &ask.allowed_common_names),
            (&mut self.dns, &ask.allowed_dns_sans),
            (&mut self.emails, &ask.allowed_email_sans),
            (&mut self.uris, &ask.allowed_uri_sans),
            (&mut self.units, &ask.allowed_organizational_units),
            (&mut self.extensions, &ask.required_extensions),
        ];
        for (kept, new) in given {
            let Some(list) = new else { continue };
            if list.0.len() > MOST {
                return Err(Fault::bad_request("a list of allowed names or extensions has at most 500 entries"));
            }
            *kept = Some(list.0.clone());
        }
        let odd = self.extensions.iter().flatten().any(|text| Required::read(text).is_none());
        if odd {
            return Err(Fault::bad_request(
                "each of required_extensions is OID:TEXT or hex:OID:HEX, such as 1.2.3.4:blue*",
            ));
        }
        Ok(())
    }

    /// Whether a certificate is within the bounds.
    ///
    /// # Errors
    /// The first list that it does not meet, by the name of its field.
    pub fn admit(&self, facts: &Facts) -> Result<(), &'static str> {
        let names = &facts.names;
        let common = std::slice::from_ref(&names.common);
        let all = [common, names.dns.as_slice(), names.emails.as_slice()].concat();
        let checks = [
            (&self.names, all.as_slice(), "allowed_names"),
            (&self.common, common, "allowed_common_names"),
            (&self.dns, &names.dns, "allowed_dns_sans"),
            (&self.emails, &names.emails, "allowed_email_sans"),
            (&self.uris, &names.uris, "allowed_uri_sans"),
            (&self.units, &names.units, "allowed_organizational_units"),
        ];
        for (wanted, given, field) in checks {
            let wanted = wanted.as_deref().unwrap_or_default();
            if !wanted.is_empty() && !given.iter().any(|name| any_matches(wanted, name)) {
                return Err(field);
            }
        }
        let is_met = |text: &String| Required::read(text).is_some_and(|required| required.admits(facts));
        if self.extensions.iter().flatten().all(is_met) { Ok(()) } else { Err("required_extensions") }
    }

    /// The fields of a read.
    pub fn show(&self) -> [(&'static str, Value); 7] {
        [
            ("allowed_names", json!(self.names)),
            ("allowed_common_names", json!(self.common)),
            ("allowed_dns_sans", json!(self.dns)),
            ("allowed_email_sans", json!(self.emails)),
            ("allowed_uri_sans", json!(self.uris)),
            ("allowed_organizational_units", json!(self.units)),
            ("required_extensions", json!(self.extensions)),
        ]
    }
}

/// Numbers with dots between.
pub fn is_oid(text: &str) -> bool {
    text.contains('.') && text.split('.').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()))
}
