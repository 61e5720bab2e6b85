//! The requests.

use dewdrop_core::wire::{Flag, Int, Pairs, Strings, Text, Ttl};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::token_params::token_request;

/// `POST config`. What is not given goes back to its default.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct ConfigRequest {
    /// URL of the API server.
    pub kubernetes_host: Option<Text>,
    /// PEM of the authorities that the API server's certificate comes from. Default: those of the pod we run in.
    pub kubernetes_ca_cert: Option<Text>,
    /// The token for asking the API server. Default: that of the pod we run in, else the caller's own.
    pub token_reviewer_jwt: Option<Text>,
    /// Public keys or certificates in PEM that sign the tokens.
    pub pem_keys: Option<Strings>,
    /// The issuer that tokens must name.
    pub issuer: Option<Text>,
    /// With `verify=token_review`, leaves the issuer unchecked. Default: true.
    pub disable_iss_validation: Option<Flag>,
    /// Uses neither certificate nor token of the pod we run in.
    pub disable_local_ca_jwt: Option<Flag>,
    /// The cluster's name in the metadata of tokens. Default: the mount's path.
    pub cluster: Option<Text>,
    /// `token_review` (default): the API server is asked at each login. `offline`: by its keys alone.
    pub verify: Option<Text>,
    /// With `verify=offline`, the text of a JWKS with the cluster's keys.
    pub jwks: Option<Text>,
    /// With `verify=offline`, where the JWKS is. Default: `/openid/v1/jwks` of the API server.
    pub jwks_url: Option<Text>,
    /// A node that is silent for longer is lost. Default: 60 seconds.
    pub node_grace: Option<Ttl>,
}

token_request! {
    /// `POST role/{name}`.
    pub struct RoleRequest {
        /// Names of service accounts that may log in; `*` stands for anything.
        pub bound_service_account_names: Option<Strings>,
        /// Their namespaces; `*` stands for anything.
        pub bound_service_account_namespaces: Option<Strings>,
        /// Or labels of their namespaces: a label selector in JSON.
        pub bound_service_account_namespace_selector: Option<Text>,
        /// The audience that tokens must be for.
        pub audience: Option<Text>,
        /// What names the entity's alias: `serviceaccount_uid` (default) or `serviceaccount_name`.
        pub alias_name_source: Option<Text>,
        /// Containers that may have tokens of this role. Makes it a role of containers.
        pub bound_container_names: Option<Strings>,
        /// Digests that a container's image must have one of.
        pub bound_image_digests: Option<Strings>,
        /// Labels that a pod must have.
        pub bound_pod_labels: Option<Pairs>,
        /// Tokens of this role are those of node agents.
        pub agent: Option<Flag>,
        /// Tokens of this role are for containers: node agents ask for them, nobody logs in.
        pub container: Option<Flag>,
        /// Its containers may also log in themselves, each with a token of its pod for `AUDIENCE://NAMESPACE/CONTAINER`.
        pub agentless: Option<Flag>,
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
    /// The role.
    pub role: Option<Text>,
    /// The service account's token.
    pub jwt: Option<Text>,
}

/// `POST agent/start`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct StartRequest {
    /// The role.
    pub role: Option<Text>,
    /// The token of the pod's service account.
    pub jwt: Option<Text>,
    /// The container's name in the pod.
    pub container: Option<Text>,
    /// The agent's random id (a UUID) of this start of the container.
    pub start: Option<Text>,
    /// The first start of the same run of the container, when it has run by another one before.
    pub life: Option<Text>,
    /// The image, with its digest.
    pub image: Option<Text>,
    /// The pod's labels.
    pub labels: Option<Pairs>,
}

/// `POST agent/end`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct EndRequest {
    /// What has ended.
    pub starts: Option<Vec<EndedStart>>,
}

/// Starts of one container.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct EndedStart {
    /// The pod's uid.
    pub pod_uid: String,
    /// The container's name.
    pub container: String,
    /// Only this start.
    pub start: Option<String>,
    /// Only of this role.
    pub role: Option<String>,
}

/// `POST agent/beat`.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct BeatRequest {
    /// All starts that the agent holds tokens for.
    pub starts: Option<Vec<HeldStart>>,
    /// Whether all that is not in `starts` is over: an agent that lost its memory (its node was started anew) says so by
    /// leaving it out. Starts of the last 30 seconds are spared.
    pub complete: Option<Flag>,
}

/// A start that an agent holds a token for.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub struct HeldStart {
    /// The pod's uid.
    pub pod_uid: String,
    /// The container's name.
    pub container: String,
    /// The agent's id of the start.
    pub start: String,
    /// The role.
    pub role: String,
    /// The runtime's id of the container, when it is known.
    pub container_id: Option<String>,
}
