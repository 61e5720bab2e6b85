//! The requests.

use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;

/// `POST oidc/auth_url`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct BeginRequest {
    /// The role. Default: `default_role` of the configuration.
    pub role: Option<Text>,
    /// Where the provider shall send the browser back to: one of the role's `allowed_redirect_uris`.
    pub redirect_uri: Option<Text>,
    /// A random text that only this client knows; it must come again at the end. Needed with `direct` and `device`.
    pub client_nonce: Option<Text>,
}

/// `oidc/callback`, as query or as form.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct CallbackRequest {
    /// Names the sign-in.
    pub state: Option<Text>,
    /// The provider's code.
    pub code: Option<Text>,
    /// Not taken: see `oidc_response_types`.
    #[expect(dead_code, reason = "known, so that no warning tells of it")]
    pub id_token: Option<Text>,
    /// The text of `oidc/auth_url`.
    pub client_nonce: Option<Text>,
    /// Why the provider refuses.
    pub error: Option<Text>,
    /// The same in words.
    #[expect(dead_code, reason = "known, so that no warning tells of it")]
    pub error_description: Option<Text>,
    /// Set by the page that asks whether the person began this sign-in.
    pub confirm: Option<Text>,
    /// Said by some providers.
    pub iss: Option<Text>,
    /// Said by some providers.
    #[expect(dead_code, reason = "known, so that no warning tells of it")]
    pub scope: Option<Text>,
    /// Said by some providers.
    #[expect(dead_code, reason = "known, so that no warning tells of it")]
    pub session_state: Option<Text>,
}

/// `POST oidc/poll`.
#[derive(Clone, Deserialize, JsonSchema)]
pub struct PollRequest {
    /// Names the sign-in.
    pub state: Option<Text>,
    /// The text of `oidc/auth_url`.
    pub client_nonce: Option<Text>,
}

/// The text of a field; empty when it was not given.
pub fn text(field: Option<Text>) -> String {
    field.map(|text| text.0).unwrap_or_default()
}
