//! What we are to the provider.

use dewdrop_core::Fault;
use dewdrop_core::wire::{Strings, Text};
use serde::{Deserialize, Serialize};

/// Part of the configuration.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Client {
    /// Empty: no sign-in by browser.
    pub id: String,
    /// Kept behind the barrier, never shown.
    pub secret: String,
    /// Empty, `query` or `form_post`.
    pub response_mode: String,
    /// Empty or `code`.
    pub response_types: Vec<String>,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({:?}, [secret])", self.id)
    }
}

impl Client {
    /// Reads what a configuration gives.
    ///
    /// # Errors
    /// 400 for what cannot be; 501 for tokens that come through the browser.
    pub fn of(
        id: Option<Text>,
        secret: Option<Text>,
        mode: Option<Text>,
        types: Option<Strings>,
    ) -> Result<Self, Fault> {
        let text = |field: Option<Text>| field.map(|text| text.0).unwrap_or_default();
        let client = Self {
            id: text(id),
            secret: text(secret),
            response_mode: text(mode),
            response_types: types.map(|list| list.0).unwrap_or_default(),
        };
        if client.id.is_empty() != client.secret.is_empty() {
            return Err(Fault::bad_request("both 'oidc_client_id' and 'oidc_client_secret' must be set for OIDC"));
        }
        if !["", "query", "form_post"].contains(&client.response_mode.as_str()) {
            return Err(Fault::bad_request("invalid oidc_response_mode: use query or form_post"));
        }
        client.check_types()?;
        Ok(client)
    }

    fn check_types(&self) -> Result<(), Fault> {
        if self.response_types.iter().any(|one| !["code", "id_token"].contains(&one.as_str())) {
            return Err(Fault::bad_request("invalid oidc_response_types: 'code' and 'id_token' are allowed"));
        }
        if !self.response_types.iter().any(|one| one == "id_token") {
            return Ok(());
        }
        if self.response_mode != "form_post" {
            return Err(Fault::bad_request("query response_mode may not be used with an id_token response_type"));
        }
        Err(Fault::not_built("oidc_response_types=id_token is not built: it knows no PKCE; use code"))
    }

    /// Whether there is sign-in by browser.
    pub fn is_set(&self) -> bool {
        !self.id.is_empty()
    }

    /// Whether the provider answers with a form.
    pub fn takes_forms(&self) -> bool {
        self.response_mode == "form_post"
    }
}
