//! A mount as the API shows it.

use dewdrop_core::mount::{Mount, MountClass, UserLockout};
use serde_json::{Map, Value, json};

use crate::seal::VERSION;

/// A mount, as in `sys/mounts` and `sys/auth`.
#[must_use]
pub fn show(mount: &Mount) -> Map<String, Value> {
    let mut shown = json!({
        "accessor": mount.accessor,
        "config": Value::Object(config(mount)),
        "description": mount.description,
        "external_entropy_access": mount.external_entropy_access,
        "local": mount.local,
        "options": if mount.options.is_empty() && is_builtin(mount) { Value::Null } else { json!(mount.options) },
        "plugin_version": "",
        "running_plugin_version": format!("v{VERSION}+builtin.dewdrop"),
        "running_sha256": "",
        "seal_wrap": mount.seal_wrap,
        "type": kind(mount),
        "uuid": mount.uuid,
    });
    if let (Some(fields), false) = (shown.as_object_mut(), is_builtin(mount) || mount.kind == "generic") {
        fields.insert("deprecation_status".into(), "supported".into());
    }
    shown.as_object_mut().map(std::mem::take).unwrap_or_default()
}

/// What is tuned, as in `config` of a mount: zero where the server's own limits hold.
fn config(mount: &Mount) -> Map<String, Value> {
    let tune = &mount.tune;
    let mut config = optional(mount);
    config.insert("default_lease_ttl".into(), tune.default_lease_ttl.unwrap_or_default().as_secs().into());
    config.insert("max_lease_ttl".into(), tune.max_lease_ttl.unwrap_or_default().as_secs().into());
    config.insert("force_no_cache".into(), tune.force_no_cache.into());
    if mount.class == MountClass::Auth {
        config.insert("token_type".into(), token_type(mount).into());
    }
    if let Some(lockout) = &tune.user_lockout {
        config.insert("user_lockout_config".into(), show_lockout(lockout).into());
    }
    config
}

/// What is tuned, as `tune` shows it: with the limits that hold.
#[must_use]
pub fn tuned(mount: &Mount) -> Map<String, Value> {
    let mut shown = optional(mount);
    shown.insert("default_lease_ttl".into(), mount.default_lease_ttl().as_secs().into());
    shown.insert("max_lease_ttl".into(), mount.max_lease_ttl().as_secs().into());
    shown.insert("description".into(), mount.description.clone().into());
    shown.insert("force_no_cache".into(), mount.tune.force_no_cache.into());
    if !mount.options.is_empty() {
        shown.insert("options".into(), json!(mount.options));
    }
    if mount.class == MountClass::Auth {
        shown.insert("token_type".into(), token_type(mount).into());
    }
    if let Some(lockout) = &mount.tune.user_lockout {
        shown.extend(show_lockout(lockout));
    }
    shown
}

/// In a namespace the types of the mounts that each one has are shown with `ns_` in front.
fn kind(mount: &Mount) -> String {
    let of_namespace = is_builtin(mount) && !mount.namespace.is_root();
    format!("{}{}", if of_namespace { "ns_" } else { "" }, mount.kind)
}

fn token_type(mount: &Mount) -> &str {
    match mount.tune.token_type.as_str() {
        "" if mount.kind == "token" && !mount.namespace.is_root() => "default",
        "" => "default-service",
        kind => kind,
    }
}

fn optional(mount: &Mount) -> Map<String, Value> {
    let tune = &mount.tune;
    let mut fields = Map::new();
    let lists = [
        ("audit_non_hmac_request_keys", &tune.audit_non_hmac_request_keys),
        ("audit_non_hmac_response_keys", &tune.audit_non_hmac_response_keys),
        ("passthrough_request_headers", &tune.passthrough_request_headers),
        ("allowed_response_headers", &tune.allowed_response_headers),
    ];
    for (name, list) in lists {
        if !list.is_empty() {
            fields.insert(name.into(), json!(list));
        }
    }
    if !tune.listing_visibility.is_empty() {
        fields.insert("listing_visibility".into(), tune.listing_visibility.clone().into());
    }
    fields
}

fn show_lockout(lockout: &UserLockout) -> Map<String, Value> {
    [
        ("user_lockout_threshold", lockout.threshold.into()),
        ("user_lockout_duration", lockout.duration.as_secs().into()),
        ("user_lockout_counter_reset_duration", lockout.counter_reset.as_secs().into()),
        ("user_lockout_disable", lockout.disable.into()),
    ]
    .map(|(name, value): (&str, Value)| (name.to_owned(), value))
    .into_iter()
    .collect()
}

/// A mount that every namespace has and that cannot be taken away.
#[must_use]
pub fn is_builtin(mount: &Mount) -> bool {
    matches!(mount.kind.as_str(), "system" | "identity" | "cubbyhole" | "token")
}
