//! What a method of type `webauthn` says of the server, as browsers and keys know it.

use dewdrop_core::engine::BrowserBounds;
use dewdrop_core::wire::{Flag, Strings, Text};
use serde::{Deserialize, Serialize};

const MOST_ORIGINS: usize = 20;

/// The relying party.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Party {
    /// The domain to which keys are bound.
    pub rp_id: String,
    /// For people.
    pub rp_name: String,
    /// Where browsers may be when they ask the key: scheme, host and port.
    pub origins: Vec<String>,
    pub verification: Verification,
    /// The browser must come from the address from which the terminal asked.
    pub same_address: bool,
}

/// Whether the key must have verified who touches it (PIN, finger, face).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verification {
    /// Always.
    #[default]
    Required,
    /// Always with a key that did so when it was registered.
    Preferred,
    /// Never asked for.
    Discouraged,
}

/// What a write gives; what is left out is as in a new one, but for the name.
pub struct Given<'a> {
    pub rp_id: Option<&'a Text>,
    pub rp_name: Option<&'a Text>,
    pub origins: Option<&'a Strings>,
    pub verification: Option<&'a Text>,
    pub same_address: Option<&'a Flag>,
}

impl Verification {
    /// As the API names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Preferred => "preferred",
            Self::Discouraged => "discouraged",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Required, Self::Preferred, Self::Discouraged].into_iter().find(|one| one.name() == name)
    }
}

impl Party {
    /// Where a browser may ask a key.
    #[must_use]
    pub fn bounds(&self) -> BrowserBounds {
        BrowserBounds { origins: self.origins.clone(), same_address: self.same_address }
    }

    /// Reads what was given.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn of(given: &Given<'_>) -> Result<Self, &'static str> {
        let rp_id = given.rp_id.map_or("", |text| text.0.as_str()).to_owned();
        if !is_domain(&rp_id) {
            return Err("rp_id must be a domain in lower case, such as vault.example.com, without scheme and port");
        }
        let rp_name = given.rp_name.map(|text| text.0.clone()).filter(|name| !name.is_empty());
        let rp_name = rp_name.unwrap_or_else(|| rp_id.clone());
        if rp_name.len() > 200 || rp_name.contains(char::is_control) {
            return Err("rp_name must be at most 200 bytes, without control characters");
        }
        let origins = match given.origins {
            Some(origins) if !origins.0.is_empty() => origins.0.clone(),
            _ => vec![format!("https://{rp_id}")],
        };
        if origins.len() > MOST_ORIGINS || !origins.iter().all(|origin| fits(origin, &rp_id)) {
            return Err(
                "origins must be addresses such as https://vault.example.com:8200 (at most 20), each at rp_id or a \
                        domain below it, with https (http at localhost alone), without a path",
            );
        }
        let verification = match given.verification.map(|text| text.0.as_str()) {
            None | Some("") => Verification::default(),
            Some(name) => {
                Verification::named(name).ok_or("user_verification must be required, preferred or discouraged")?
            }
        };
        Ok(Self { rp_id, rp_name, origins, verification, same_address: given.same_address.is_none_or(|flag| flag.0) })
    }
}

fn is_domain(name: &str) -> bool {
    let label = |label: &str| {
        let letters = label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
        (1..=63).contains(&label.len()) && letters && !label.starts_with('-') && !label.ends_with('-')
    };
    let is_address = name.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    name.len() <= 253 && !is_address && name.split('.').all(label)
}

fn fits(origin: &str, rp_id: &str) -> bool {
    let Some((scheme, place)) = origin.split_once("://") else { return false };
    let (host, port) = place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)));
    let port_is_one = port.is_none_or(|port| !port.starts_with('0') && port.parse::<u16>().is_ok());
    let here = host == rp_id || host.strip_suffix(rp_id).is_some_and(|front| front.ends_with('.'));
    let at_home = host == "localhost" || host.ends_with(".localhost");
    is_domain(host) && here && port_is_one && (scheme == "https" || (scheme == "http" && at_home))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_at_the_domain_or_below_it() {
        let rows = [
            ("https://vault.example.com", true),
            ("https://vault.example.com:8200", true),
            ("https://eu.vault.example.com", true),
            ("https://example.com", false),
            ("https://evilvault.example.com", false),
            ("https://vault.example.com.evil.test", false),
            ("http://vault.example.com", false),
            ("https://vault.example.com/", false),
            ("https://vault.example.com:", false),
            ("https://vault.example.com:99999", false),
            ("https://ann@vault.example.com", false),
            ("https://VAULT.example.com", false),
            ("vault.example.com", false),
        ];
        for (origin, good) in rows {
            assert_eq!(fits(origin, "vault.example.com"), good, "{origin}");
        }
        assert!(fits("http://localhost:8200", "localhost"));
        assert!(!fits("http://127.0.0.1:8200", "127.0.0.1"), "an address is no domain");
    }
}
