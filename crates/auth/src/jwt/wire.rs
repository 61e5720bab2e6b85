//! The requests.

use dewdrop_core::wire::{Flag, Int, Pairs, Strings, Text, Ttl};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::token_params::token_request;

/// `POST config`. What is not given goes back to its default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ConfigRequest {
    /// Issuer whose `.well-known/openid-configuration` says where the keys are.
    pub oidc_discovery_url: Option<Text>,
    /// PEM of the authorities that its certificate comes from. Default: those of the system.
    pub oidc_discovery_ca_pem: Option<Text>,
    /// Who we are to the provider: makes sign-in by browser possible.
    pub oidc_client_id: Option<Text>,
    /// Our secret at the provider. A read does not show it.
    pub oidc_client_secret: Option<Text>,
    /// `query` (the default) or `form_post`: how the provider sends the browser back.
    pub oidc_response_mode: Option<Text>,
    /// `code`; `id_token`, which hands tokens through the browser, is not built.
    pub oidc_response_types: Option<Strings>,
    /// Where the keys are.
    pub jwks_url: Option<Text>,
    /// PEM of the authorities that its certificate comes from. Default: those of the system.
    pub jwks_ca_pem: Option<Text>,
    /// Several such places: a list of `{"jwks_url": ..., "jwks_ca_pem": ...}`.
    pub jwks_pairs: Option<Vec<Pair>>,
    /// The role of a login that names none.
    pub default_role: Option<Text>,
    /// The keys, in PEM.
    pub jwt_validation_pubkeys: Option<Strings>,
    /// Algorithms that tokens may be signed with. Default: all of public keys.
    pub jwt_supported_algs: Option<Strings>,
    /// The issuer that tokens must name.
    pub bound_issuer: Option<Text>,
    /// Not built: providers with an API of their own.
    pub provider_config: Option<Map<String, Value>>,
    /// Not built.
    pub override_allowed_server_names: Option<Strings>,
    /// Kept and shown; of meaning only to sign-in by browser.
    pub namespace_in_state: Option<Flag>,
    /// Takes the configuration even when the keys cannot be read now.
    pub skip_jwks_validation: Option<Flag>,
}

/// One place of keys.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct Pair {
    /// Where the keys are.
    pub jwks_url: Option<Text>,
    /// PEM of the authorities that its certificate comes from.
    pub jwks_ca_pem: Option<Text>,
}

token_request! {
    /// `POST role/{name}`.
    pub struct RoleRequest {
        /// `jwt`: takes signed tokens; `oidc` (the default): sign-in by browser.
        pub role_type: Option<Text>,
        /// Audiences, one of which a token must have.
        pub bound_audiences: Option<Strings>,
        /// The subject that a token must have.
        pub bound_subject: Option<Text>,
        /// Claims that a token must have, each with a value or a list of those that will do.
        pub bound_claims: Option<Map<String, Value>>,
        /// `string`, or `glob`: `*` in values of bound claims stands for any text.
        pub bound_claims_type: Option<Text>,
        /// The claim that names the entity's alias.
        pub user_claim: Option<Text>,
        /// `user_claim` is a JSON pointer.
        pub user_claim_json_pointer: Option<Flag>,
        /// The claim that names groups.
        pub groups_claim: Option<Text>,
        /// Claims that become metadata: `{"claim": "name"}`.
        pub claim_mappings: Option<Pairs>,
        /// How much clocks may differ, in seconds. 0: 60; -1: not at all.
        pub clock_skew_leeway: Option<Text>,
        /// Life of tokens that say no end, in seconds. 0: 150; -1: none.
        pub expiration_leeway: Option<Text>,
        /// How long before their end tokens begin that say no beginning, in seconds. 0: 150; -1: not at all.
        pub not_before_leeway: Option<Text>,
        /// Where the provider may send the browser back to. Of a loopback address any port will do.
        pub allowed_redirect_uris: Option<Strings>,
        /// Scopes to ask for beside `openid`.
        pub oidc_scopes: Option<Strings>,
        /// Not built: the provider's own tokens as metadata.
        pub oauth2_metadata: Option<Strings>,
        /// `client` (the default), `direct` or `device`: who hears from the provider.
        pub callback_mode: Option<Text>,
        /// Seconds between two asks of a client that waits.
        pub poll_interval: Option<Int>,
        /// Not built: claims are not logged.
        pub verbose_oidc_logging: Option<Flag>,
        /// How old the person's sign-in at the provider may be. Zero: any.
        pub max_age: Option<Ttl>,
        /// With `direct`: the page does not ask whether the person began this sign-in.
        pub oidc_disable_confirmation: Option<Flag>,
        /// Not built: policies that are templates of claims.
        pub token_policies_template_claims: Option<Flag>,
        /// Deprecated: use `token_policies`.
        pub policies: Option<Strings>,
        /// Deprecated: use `token_num_uses`.
        pub num_uses: Option<Int>,
        /// Deprecated: use `token_ttl`.
        pub ttl: Option<Ttl>,
        /// Deprecated: use `token_max_ttl`.
        pub max_ttl: Option<Ttl>,
        /// Deprecated: use `token_period`.
        pub period: Option<Ttl>,
        /// Deprecated: use `token_bound_cidrs`.
        pub bound_cidrs: Option<Strings>,
    }
}

/// `POST login`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct LoginRequest {
    /// The role. Default: `default_role` of the configuration.
    pub role: Option<Text>,
    /// The token.
    pub jwt: Option<Text>,
}
