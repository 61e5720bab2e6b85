//! The requests.

use dewdrop_core::wire::{Strings, Text, Ttl};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::token_params::token_request;

token_request! {
    /// `POST users/{username}`.
    pub struct UserRequest {
        /// The password; needed for a new user unless `password_hash` is given.
        pub password: Option<Text>,
        /// A bcrypt hash of the password.
        pub password_hash: Option<Text>,
        /// Deprecated: use `token_bound_cidrs`.
        pub bound_cidrs: Option<Strings>,
        /// Deprecated: use `token_max_ttl`.
        pub max_ttl: Option<Ttl>,
        /// Deprecated: use `token_policies`.
        pub policies: Option<Strings>,
        /// Deprecated: use `token_ttl`.
        pub ttl: Option<Ttl>,
    }
}

/// `POST users/{username}/password`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PasswordRequest {
    /// The password.
    pub password: Option<Text>,
    /// A bcrypt hash of the password.
    pub password_hash: Option<Text>,
}

/// `POST users/{username}/policies`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PoliciesRequest {
    /// Policies of the tokens.
    pub token_policies: Option<Strings>,
    /// Deprecated: use `token_policies`.
    pub policies: Option<Strings>,
}

/// `POST login/{username}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct LoginRequest {
    /// The password.
    pub password: Option<Text>,
}
