//! What may outlive a grant: objects of a few kinds by which access could be kept. The answer of the API server names what was
//! made, so it is read before it goes on; nothing else is held.

use bytes::Bytes;
use dewdrop_core::Moment;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt, Limited};
use serde::{Deserialize, Serialize};

use crate::info::Info;
use crate::record::short;
use crate::refuse::Refusal;
use crate::upstream::Answer;

pub mod token;

const RBAC: &str = "rbac.authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const ADMISSION: &str = "admissionregistration.k8s.io";
/// Group, resource and part.
const KINDS: &[(&str, &str, &str)] = &[
    ("", "serviceaccounts", ""),
    ("", "serviceaccounts", "token"),
    ("", "secrets", ""),
    (RBAC, "roles", ""),
    (RBAC, "rolebindings", ""),
    (RBAC, "clusterroles", ""),
    (RBAC, "clusterrolebindings", ""),
    (CERTIFICATES, "certificatesigningrequests", ""),
    (CERTIFICATES, "certificatesigningrequests", "approval"),
    (ADMISSION, "validatingwebhookconfigurations", ""),
    (ADMISSION, "mutatingwebhookconfigurations", ""),
    ("apiregistration.k8s.io", "apiservices", ""),
];
/// Secrets that are somebody's way in.
const KEYS: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];
/// No answer is longer: etcd takes objects of 1.5 MiB at most.
const LONGEST: usize = 4 << 20;

/// What was left, or what became of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// `made`, `changed`, `token`; of a sweep: `swept`, `gone` or `kept`.
    pub act: String,
    /// The object's path at the API server.
    pub path: String,
    /// Which object of that path; empty: not known.
    pub uid: String,
    /// When it ends by itself; empty: never.
    pub until: String,
    /// Why it is not known, or was kept.
    pub why: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Object {
    metadata: Metadata,
    /// Of a Secret.
    r#type: String,
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    uid: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Status {
    expiration_timestamp: String,
}

// === impl Trace ===

impl Trace {
    /// A path that is cut names no object, so none is deleted by it.
    pub fn shorten(&mut self) {
        if short(&self.path).len() < self.path.len() {
            self.uid.clear();
            "its path is too long to be kept".clone_into(&mut self.why);
        }
        for text in [&mut self.path, &mut self.uid, &mut self.until, &mut self.why] {
            text.truncate(short(text).len());
        }
    }
}

/// Whether the answer to a request must be looked at.
#[must_use]
pub fn is_watched(info: &Info) -> bool {
    let Some(of) = &info.resource else { return false };
    let is_kind = is_kind(info);
    let writes = matches!(info.verb.as_str(), "create" | "update" | "patch");
    // A question whether it would work makes nothing; a token is none.
    let is_dry = info.query.as_deref().unwrap_or_default().split('&').any(|pair| pair == "dryRun=All");
    is_kind && writes && (!is_dry || of.subresource == "token")
}

/// Whether something is of these kinds.
#[must_use]
pub fn is_kind(info: &Info) -> bool {
    let of = |of: &crate::info::Resource| {
        KINDS.contains(&(of.group.as_str(), of.resource.as_str(), of.subresource.as_str()))
    };
    info.resource.as_ref().is_some_and(of)
}

/// Whether it is a token that is asked for.
#[must_use]
pub fn is_token(info: &Info) -> bool {
    is_kind(info) && info.resource.as_ref().is_some_and(|of| of.subresource == "token")
}

/// The answer shall come whole and as JSON, which every client of these kinds reads.
///
/// # Errors
/// The client takes none.
pub fn ask_for_json(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let is_good = |value: &HeaderValue| value.to_str().is_ok_and(|text| text.contains("json") || text.contains("*/*"));
    let takes = !headers.contains_key(header::ACCEPT) || headers.get_all(header::ACCEPT).iter().any(is_good);
    if !takes {
        return Err(Refusal::bad_request(
            "what is made of this kind is put on the record, and only answers in JSON are read: accept application/json as well",
        ));
    }
    headers.insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    headers.remove(header::ACCEPT_ENCODING);
    Ok(())
}

/// Reads an answer whole; what it says was left, if anything was.
///
/// # Errors
/// It breaks off, or is longer than any object can be.
pub async fn read(info: &Info, answer: Response<Answer>) -> Result<(Response<Bytes>, Option<Trace>), Refusal> {
    let (mut parts, body) = answer.into_parts();
    let Ok(body) = Limited::new(body, LONGEST).collect().await else {
        return Err(Refusal::bad_gateway("the API server's answer breaks off, or is too long; look what it did"));
    };
    let body = body.to_bytes();
    let trace = parts.status.is_success().then(|| trace(info, parts.status.as_u16(), &body)).flatten();
    parts.headers.remove(header::CONTENT_LENGTH);
    Ok((Response::from_parts(parts, body), trace))
}

/// What is known when there is no answer that could be read.
#[must_use]
pub fn unknown(info: &Info, why: &str) -> Trace {
    Trace { act: "made".into(), path: info.path.clone(), why: why.into(), ..Trace::default() }
}

/// What an answer tells; `None`: nothing that lasts.
pub fn trace(info: &Info, code: u16, body: &[u8]) -> Option<Trace> {
    let of = info.resource.as_ref()?;
    let Ok(object) = serde_json::from_slice::<Object>(body) else {
        return Some(unknown(info, "the answer could not be read"));
    };
    if of.group.is_empty() && of.resource == "secrets" && !KEYS.contains(&object.r#type.as_str()) {
        return None;
    }
    let act = match (of.subresource.as_str(), code) {
        ("token", _) => "token",
        ("", 201) => "made",
        _ => "changed",
    };
    let name = percent_encoding::utf8_percent_encode(&object.metadata.name, crate::info::SEGMENT);
    let path = if of.name.is_empty() { format!("{}/{name}", info.path) } else { info.path.clone() };
    let (uid, until) = (object.metadata.uid, object.status.expiration_timestamp);
    Some(Trace { act: act.into(), path, uid, until, why: String::new() })
}

/// Whether a token may live so long: not beyond the grant.
///
/// # Errors
/// It would.
pub fn within(seconds: i64, now: Moment, end: Moment) -> Result<(), Refusal> {
    let left = end.since(now).as_secs();
    // Kubernetes gives a year when it is asked for just this (`--service-account-extend-token-expiration`).
    let is_year = seconds == 3607;
    if !is_year && u64::try_from(seconds).is_ok_and(|seconds| seconds <= left) {
        return Ok(());
    }
    let way = if left < 600 {
        "Kubernetes makes none that is shorter than 10 minutes, and your grant ends before".to_owned()
    } else {
        format!("ask for one with kubectl create token --duration={}s", if left == 3607 { left - 1 } else { left })
    };
    Err(Refusal::forbidden(format!("this token would outlive your grant; {way}")))
}

#[cfg(test)]
mod tests;
