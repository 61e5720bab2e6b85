//! How people enter a cluster without a proxy: what they show to its API server.

use dewdrop_core::wire::Text;
use serde::{Deserialize, Serialize};

const LONGEST_AUDIENCE: usize = 253;

/// How people enter a cluster without a proxy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    /// The API server trusts an authority that is the cluster's alone.
    #[default]
    Certificate,
    /// The API server trusts the mount as an issuer, for tokens to this audience. No other cluster has it.
    Token {
        /// The claim `aud`.
        audience: String,
    },
}

/// What a person shows to an API server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Credential {
    /// With the key that belongs to it.
    #[default]
    Certificate,
    /// Whoever has it can show it.
    Token,
}

// === impl Entry ===

impl Entry {
    /// With the fields that were given, for a cluster of this name.
    ///
    /// # Errors
    /// A sentence that says what to change.
    pub fn changed(self, name: &str, credential: Option<Text>, audience: Option<Text>) -> Result<Self, String> {
        let is_token = match credential.as_ref().map(|text| text.0.as_str()) {
            None => self.credential() == Credential::Token,
            Some("certificate") => false,
            Some("token") => true,
            Some(_) => return Err("credential must be certificate or token".into()),
        };
        if !is_token {
            let fits = audience.is_none();
            return if fits { Ok(Self::Certificate) } else { Err("audience goes with credential=token".into()) };
        }
        let audience = match (audience, self) {
            (Some(text), _) => text.0,
            (None, Self::Token { audience }) => audience,
            (None, Self::Certificate) => format!("dewdrop-{name}"),
        };
        let is_plain = audience.chars().all(|c| c.is_ascii_graphic());
        if audience.is_empty() || audience.len() > LONGEST_AUDIENCE || !is_plain {
            return Err(format!("audience: from 1 to {LONGEST_AUDIENCE} letters, digits and signs, without blanks"));
        }
        Ok(Self::Token { audience })
    }

    /// What is shown to the API server.
    pub fn credential(&self) -> Credential {
        match self {
            Self::Certificate => Credential::Certificate,
            Self::Token { .. } => Credential::Token,
        }
    }

    /// The claim `aud`; `None`: there are no tokens.
    pub fn audience(&self) -> Option<&str> {
        match self {
            Self::Certificate => None,
            Self::Token { audience } => Some(audience),
        }
    }
}

// === impl Credential ===

impl Credential {
    /// In words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
        }
    }

    /// Whether it is a certificate.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
    pub fn is_certificate(&self) -> bool {
        *self == Self::Certificate
    }
}
