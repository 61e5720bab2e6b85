//! The requests.

use dewdrop_core::wire::{Flag, Int, Pairs, Strings, Text, Ttl};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::token_params::token_request;

token_request! {
    /// `POST role/{role_name}`.
    pub struct RoleRequest {
        /// A login needs a secret id. Default: true.
        pub bind_secret_id: Option<Flag>,
        /// Deprecated: use `secret_id_bound_cidrs`.
        pub bound_cidr_list: Option<Strings>,
        /// Kept and shown; can be set only when the role is made.
        pub local_secret_ids: Option<Flag>,
        /// Deprecated: use `token_period`.
        pub period: Option<Ttl>,
        /// Deprecated: use `token_policies`.
        pub policies: Option<Strings>,
        /// The role id. Default: a random UUID.
        pub role_id: Option<Text>,
        /// Blocks of addresses from which a login may come.
        pub secret_id_bound_cidrs: Option<Strings>,
        /// How many logins a new secret id is good for; zero: no limit.
        pub secret_id_num_uses: Option<Int>,
        /// Life of a new secret id; zero: for ever.
        pub secret_id_ttl: Option<Ttl>,
    }
}

/// `POST login`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct LoginRequest {
    /// The role id.
    pub role_id: Option<Text>,
    /// The secret id, unless the role needs none.
    pub secret_id: Option<Text>,
}

/// `POST role/{role_name}/secret-id`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct SecretRequest {
    /// Blocks of addresses from which this secret id may be used.
    pub cidr_list: Option<Strings>,
    /// Metadata of the tokens, in one text: a JSON object of texts, or `name=value` with commas.
    #[serde(default, deserialize_with = "in_one_text")]
    pub metadata: Option<Pairs>,
    /// How many logins it is good for; at most what the role says.
    pub num_uses: Option<Int>,
    /// Blocks of addresses from which its tokens may be used.
    pub token_bound_cidrs: Option<Strings>,
    /// Its life; at most what the role says.
    pub ttl: Option<Ttl>,
}

/// `POST role/{role_name}/custom-secret-id`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct CustomSecretRequest {
    /// The secret id.
    pub secret_id: Option<Text>,
    /// Blocks of addresses from which this secret id may be used.
    pub cidr_list: Option<Strings>,
    /// Metadata of the tokens, in one text: a JSON object of texts, or `name=value` with commas.
    #[serde(default, deserialize_with = "in_one_text")]
    pub metadata: Option<Pairs>,
    /// How many logins it is good for; at most what the role says.
    pub num_uses: Option<Int>,
    /// Blocks of addresses from which its tokens may be used.
    pub token_bound_cidrs: Option<Strings>,
    /// Its life; at most what the role says.
    pub ttl: Option<Ttl>,
}

impl CustomSecretRequest {
    /// All but the secret id.
    pub fn rest(self) -> SecretRequest {
        let Self { cidr_list, metadata, num_uses, token_bound_cidrs, ttl, .. } = self;
        SecretRequest { cidr_list, metadata, num_uses, token_bound_cidrs, ttl }
    }
}

/// A secret id.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct SecretIdOnly {
    /// The secret id.
    pub secret_id: Option<Text>,
}

/// An accessor.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct AccessorOnly {
    /// The accessor of a secret id.
    pub secret_id_accessor: Option<Text>,
}

/// A role id.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct RoleIdOnly {
    /// The role id.
    pub role_id: Option<Text>,
}

/// `POST role/{role_name}/policies`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PoliciesOnly {
    /// Policies of the tokens.
    pub token_policies: Option<Strings>,
    /// Deprecated: use `token_policies`.
    pub policies: Option<Strings>,
}

/// `POST role/{role_name}/period`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct PeriodOnly {
    /// Makes the tokens periodic.
    pub token_period: Option<Ttl>,
    /// Deprecated: use `token_period`.
    pub period: Option<Ttl>,
}

macro_rules! single {
    ($($(#[$about:meta])* $name:ident { $field:ident: $kind:ty })+) => {$(
        $(#[$about])*
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        pub struct $name {
            $(#[$about])*
            pub $field: Option<$kind>,
        }
    )+};
}

single! {
    /// Whether a login needs a secret id.
    BindOnly { bind_secret_id: Flag }
    /// How many logins a new secret id is good for.
    NumUsesOnly { secret_id_num_uses: Int }
    /// Life of a new secret id.
    SecretTtlOnly { secret_id_ttl: Ttl }
    /// Blocks of addresses from which a login may come.
    BoundOnly { secret_id_bound_cidrs: Strings }
    /// Deprecated: use `secret_id_bound_cidrs`.
    OldBoundOnly { bound_cidr_list: Strings }
    /// Addresses or blocks from which tokens may be used.
    TokenBoundOnly { token_bound_cidrs: Strings }
    /// Longest life of the tokens.
    TokenMaxTtlOnly { token_max_ttl: Ttl }
    /// How many times a token may be used.
    TokenNumUsesOnly { token_num_uses: Int }
    /// First life of the tokens.
    TokenTtlOnly { token_ttl: Ttl }
}

/// Pairs that are written as one text, as the API has it for metadata.
fn in_one_text<'de, D: Deserializer<'de>>(input: D) -> Result<Option<Pairs>, D::Error> {
    let Some(Text(text)) = Option::deserialize(input)? else { return Ok(None) };
    serde_json::from_value(text.into()).map(Some).map_err(D::Error::custom)
}
