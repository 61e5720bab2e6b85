//! The codes that a request brings, by method: in a body, or in the header of a login.

use std::collections::BTreeMap;

use dewdrop_core::{Fault, Secret};
use dewdrop_engines::identity::MfaMethod;
use http::HeaderMap;
use serde_json::{Map, Value};

const HEADER: &str = "x-vault-mfa";

/// Codes by id or name of a method.
#[derive(Debug)]
pub struct Codes(BTreeMap<String, Secret<String>>);

impl Codes {
    /// `mfa_payload`: for each method a list of one code, or of none, which asks a key. What a key signed is a code as well,
    /// as an object or as its text.
    ///
    /// # Errors
    /// 400: it has another form.
    pub fn of_payload(payload: Option<&Map<String, Value>>) -> Result<Self, Fault> {
        let mut codes = BTreeMap::new();
        for (method, list) in payload.into_iter().flatten() {
            let code = match list.as_array().map(Vec::as_slice) {
                Some([]) => String::new(),
                Some([Value::String(code)]) => code.clone(),
                Some([signed @ Value::Object(_)]) => signed.to_string(),
                _ => return Err(Fault::bad_request("invalid mfa payload")),
            };
            codes.insert(method.clone(), passcode(&code));
        }
        Ok(Self(codes))
    }

    /// `X-Vault-MFA: METHOD[:CODE]`, once or more; `None` without one.
    #[must_use]
    pub fn of_headers(headers: &HeaderMap) -> Option<Self> {
        let mut lines = headers.get_all(HEADER).iter().peekable();
        lines.peek()?;
        let codes = lines.filter_map(|line| line.to_str().ok()).map(|line| {
            let (method, code) = line.split_once(':').unwrap_or((line, ""));
            (method.trim().to_owned(), passcode(code))
        });
        Some(Self(codes.collect()))
    }

    /// The code for a method.
    #[must_use]
    pub fn of(&self, method: &MfaMethod) -> Option<&str> {
        let named = || self.0.get(&method.name).filter(|_| !method.name.is_empty());
        self.0.get(&method.id).or_else(named).map(|code| code.expose().as_str())
    }
}

fn passcode(text: &str) -> Secret<String> {
    let text = text.trim();
    Secret::new(text.strip_prefix("passcode=").unwrap_or(text).to_owned())
}
