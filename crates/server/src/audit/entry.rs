//! One act as JSON, in the shape of OpenBao's audit entries where the thing is the same.

use dewdrop_core::mount::MountClass;
use dewdrop_core::token::{AuthView, TokenKind, TokenRecord};

use super::json::Obj;
use super::redact::{HashKey, Leaves};
use super::settings::HeaderRules;
use super::shown::Shown;
use super::{Act, End};

/// `"auth":{...},"request":{...}`: the same in the line before an act and in the one after it.
pub fn request(buf: &mut Vec<u8>, act: &Act<'_>, key: &HashKey, headers: &HeaderRules) {
    let mut line = Obj::go_on(buf);
    let token = act.caller.token_text();
    let hashed = if token.is_empty() { String::new() } else { key.hash(token) };
    line.object("auth", |auth| match act.caller.token.as_deref() {
        Some(record) => caller(auth, &hashed, record),
        None => {
            auth.text_if("client_token", &hashed);
            auth.text("token_type", "default");
        }
    });
    line.object("request", |request| {
        request.text("id", act.request_id);
        request.text("operation", act.operation.name());
        mount(request, act);
        request.text_if("client_token", &hashed);
        request.text_if("client_token_accessor", act.caller.accessor());
        request.object("namespace", |namespace| {
            namespace.text("id", &act.namespace.id);
            namespace.text_if("path", &act.namespace.path);
        });
        request.text("path", act.path);
        if !act.fields.is_empty() {
            key.data(request.key("data"), act.fields, &Shown::asked(act.mount, act.path));
        }
        if let Some(address) = act.caller.address {
            request.text("remote_address", &address.to_string());
        }
        request.number_if("wrap_ttl", act.wrap_ttl.map_or(0, |ttl| ttl.as_secs()));
        shown_headers(request, act.headers, key, headers);
    });
}

/// `"mount_point":...` and its like.
pub fn mount(object: &mut Obj<'_>, act: &Act<'_>) {
    let Some(mount) = act.mount else { return };
    object.text("mount_point", &mount.path);
    object.text("mount_type", &mount.kind);
    object.text("mount_accessor", &mount.accessor);
    object.text("mount_class", if mount.class == MountClass::Auth { "auth" } else { "secret" });
}

/// `,"response":{...}` and what went wrong.
pub fn response(buf: &mut Vec<u8>, end: &End<'_>, mount: &[u8], shown: &Shown, key: &HashKey, leaves: &Leaves) {
    buf.extend_from_slice(b",\"response\":{\"status\":");
    super::line::number(buf, u64::from(end.status));
    buf.push(b',');
    let mut response = if mount.is_empty() {
        Obj::go_on(buf)
    } else {
        buf.extend_from_slice(mount);
        buf.push(b',');
        Obj::go_on(buf)
    };
    let mut any = false;
    if let Some(auth) = end.auth {
        any = true;
        response.object("auth", |object| made(object, auth, key));
    }
    if let Some((lease, ttl)) = end.lease {
        any = true;
        response.object("secret", |secret| {
            secret.text("lease_id", lease);
            secret.number("lease_duration", ttl.as_secs());
        });
    }
    if let Some(data) = end.data {
        any = true;
        key.data(response.key("data"), data, shown);
    }
    if let Some(accessor) = end.wrapped_in {
        any = true;
        response.object("wrap_info", |wrap| wrap.text("accessor", accessor));
    }
    if !end.warnings.is_empty() {
        any = true;
        let clean: Vec<String> = end.warnings.iter().map(|warning| key.sentence(warning, leaves)).collect();
        response.texts_if("warnings", &clean);
    }
    if !any {
        buf.pop(); // the comma
    }
    buf.push(b'}');
    if let Some(fault) = end.fault {
        buf.push(b',');
        let mut line = Obj::go_on(buf);
        line.text("error", &key.sentence(if fault.told.is_empty() { "not found" } else { &fault.told }, leaves));
        line.text_if("reason", &key.sentence(&fault.known, leaves));
    }
}

fn caller(auth: &mut Obj<'_>, hashed: &str, record: &TokenRecord) {
    auth.text_if("client_token", hashed);
    auth.text_if("accessor", &record.accessor);
    auth.text_if("display_name", &record.display_name);
    auth.texts_if("policies", &record.policies);
    auth.texts_if("token_policies", &record.policies);
    metadata(auth, Some(&record.meta).filter(|meta| !meta.is_empty()));
    auth.text_if("entity_id", &record.entity_id);
    auth.number_if("remaining_uses", u64::try_from(record.num_uses).unwrap_or(0));
    auth.text("token_type", kind(record.kind));
    auth.number_if("token_ttl", record.ttl.as_secs());
    auth.text("token_issue_time", &record.created.rfc3339());
}

fn made(object: &mut Obj<'_>, auth: &AuthView, key: &HashKey) {
    if !auth.client_token.is_empty() {
        key.quoted(object.key("client_token"), &auth.client_token);
    }
    object.text_if("accessor", &auth.accessor);
    object.texts_if("policies", &auth.policies);
    object.texts_if("token_policies", &auth.token_policies);
    object.texts_if("identity_policies", &auth.identity_policies);
    metadata(object, auth.metadata.as_ref());
    object.text_if("entity_id", &auth.entity_id);
    object.text("token_type", kind(auth.token_type));
    object.number_if("token_ttl", auth.lease_duration);
}

fn metadata(object: &mut Obj<'_>, metadata: Option<&std::collections::BTreeMap<String, String>>) {
    if let Some(metadata) = metadata {
        object.object("metadata", |object| {
            metadata.iter().for_each(|(name, value)| super::json::text(object.outer_key(name), value));
        });
    }
}

fn kind(kind: TokenKind) -> &'static str {
    match kind {
        TokenKind::Service => "service",
        TokenKind::Batch => "batch",
    }
}

fn shown_headers(request: &mut Obj<'_>, headers: &http::HeaderMap, key: &HashKey, rules: &HeaderRules) {
    let found: Vec<_> = rules.iter().filter(|(name, _)| headers.contains_key(name.as_str())).collect();
    if found.is_empty() {
        return;
    }
    request.object("headers", |object| {
        for (name, hidden) in found {
            let values: Vec<String> = headers
                .get_all(name.as_str())
                .iter()
                .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
                .map(|value| if *hidden { key.hash(&value) } else { value })
                .collect();
            let buf = object.outer_key(name);
            buf.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    buf.push(b',');
                }
                super::json::text(buf, value);
            }
            buf.push(b']');
        }
    });
}
