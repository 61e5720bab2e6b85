//! The requests.

use dewdrop_core::wire::{Flag, Int, Strings, Text, Ttl};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::token_params::token_request;

/// `POST config`. What is not given stays as it is.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ConfigRequest {
    /// A renewal does not ask for the certificate of the login again.
    pub disable_binding: Option<Flag>,
    /// The metadata of tokens is also that of the alias.
    pub enable_identity_alias_metadata: Option<Flag>,
    /// Not built: OCSP.
    pub ocsp_cache_size: Option<Int>,
}

token_request! {
    /// `POST certs/{name}`.
    pub struct RoleRequest {
        /// PEM: an authority (or several), or one certificate that is trusted by itself.
        pub certificate: Option<Text>,
        /// Names, one of which must be the common name, a DNS name or an e-mail address. `*` stands for any text.
        pub allowed_names: Option<Strings>,
        /// Names, one of which must be the common name. `*` stands for any text.
        pub allowed_common_names: Option<Strings>,
        /// Names, one of which must be among the DNS names. `*` stands for any text.
        pub allowed_dns_sans: Option<Strings>,
        /// Addresses, one of which must be among the e-mail addresses. `*` stands for any text.
        pub allowed_email_sans: Option<Strings>,
        /// URIs, one of which must be among the certificate's. `*` stands for any text.
        pub allowed_uri_sans: Option<Strings>,
        /// Names, one of which must be among the organizational units. `*` stands for any text.
        pub allowed_organizational_units: Option<Strings>,
        /// Extensions that must be there, all of them: `OID:text`, or `hex:OID:bytes`. `*` stands for any text.
        pub required_extensions: Option<Strings>,
        /// OIDs of extensions whose texts become metadata, named by the OID with `-` for each `.`.
        pub allowed_metadata_extensions: Option<Strings>,
        /// Name for people. Default: the role's.
        pub display_name: Option<Text>,
        /// Not built: OCSP.
        pub ocsp_enabled: Option<Flag>,
        /// Not built: OCSP.
        pub ocsp_ca_certificates: Option<Text>,
        /// Not built: OCSP.
        pub ocsp_servers_override: Option<Strings>,
        /// Not built: OCSP.
        pub ocsp_fail_open: Option<Flag>,
        /// Not built: OCSP.
        pub ocsp_query_all_servers: Option<Flag>,
        /// Deprecated: use `token_policies`.
        pub policies: Option<Strings>,
        /// Deprecated: use `token_ttl`.
        pub ttl: Option<Ttl>,
        /// Deprecated: use `token_ttl`, in seconds.
        pub lease: Option<Ttl>,
        /// Deprecated: use `token_max_ttl`.
        pub max_ttl: Option<Ttl>,
        /// Deprecated: use `token_period`.
        pub period: Option<Ttl>,
        /// Deprecated: use `token_bound_cidrs`.
        pub bound_cidrs: Option<Strings>,
    }
}

/// `POST crls/{name}`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct CrlRequest {
    /// The list, in PEM.
    pub crl: Option<Text>,
    /// Not built: where the list is fetched from.
    pub url: Option<Text>,
}

/// `POST login`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct LoginRequest {
    /// The only role that shall be tried. Default: all.
    pub name: Option<Text>,
}
