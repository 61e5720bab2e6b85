//! Everything that an operator can see of the state, to show that nothing has changed it.

use serde_json::Value;

use super::http::Http;

const PATHS: &[&str] = &[
    "sys/mounts",
    "sys/auth",
    "sys/policies/acl?list=true",
    "sys/policies/acl/p",
    "sys/policies/password?list=true",
    "sys/namespaces?list=true",
    "sys/quotas/rate-limit?list=true",
    "sys/leases/lookup/?list=true",
    "sys/key-status",
    "kv/?list=true",
    "kv/app",
    "kv2/data/app",
    "kv2/metadata/?list=true",
    "kv2/metadata/app",
    "kv2/config",
    "auth/userpass/users?list=true",
    "auth/userpass/users/ada",
    "auth/approle/role?list=true",
    "auth/approle/role/app",
    "auth/approle/role/app/secret-id?list=true",
    "auth/cert/config",
    "auth/cert/certs?list=true",
    "auth/cert/crls?list=true",
    "auth/jwt/config",
    "auth/jwt/role?list=true",
    "auth/jwt/role/app",
    "auth/kubernetes/config",
    "auth/kubernetes/role?list=true",
    "auth/kubernetes/role/app",
    "auth/kubernetes/agent/nodes?list=true",
    "auth/token/accessors?list=true",
    "auth/token/roles?list=true",
    "access/notices?list=true",
    "access/notices/ops",
    "access/roles?list=true",
    "access/clusters?list=true",
    "database/config?list=true",
    "database/roles?list=true",
    "kubernetes/config",
    "kubernetes/roles?list=true",
    "identity/entity/id?list=true",
    "identity/group/id?list=true",
    "identity/mfa/method?list=true",
    "identity/mfa/login-enforcement?list=true",
];

/// The data at each of the paths; null where nothing is.
pub fn state(http: Http, root: &str) -> Vec<Value> {
    PATHS.iter().map(|path| http.send("GET", path, root, b"").value()["data"].clone()).collect()
}
