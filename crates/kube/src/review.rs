//! `AdmissionReview` of admission.k8s.io/v1: what the API server asks, and what it is told.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::patch::Op;

const VERSION: &str = "admission.k8s.io/v1";
const KIND: &str = "AdmissionReview";

/// Why a body is no question that we can answer. Nothing of the body is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// No JSON, or not of this form.
    #[error("the body is no AdmissionReview: {0}")]
    Malformed(String),
    /// Another version.
    #[error("the body must be an AdmissionReview of {VERSION}")]
    Version,
    /// An answer came instead of a question.
    #[error("the AdmissionReview has no request")]
    NoRequest,
    /// The request is for something that needs an object, and there is none that can be read.
    #[error("the object of the request is no {what}: {why}")]
    Object {
        /// What it should be.
        what: &'static str,
        /// Why it is not.
        why: String,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(borrow)]
    request: Option<Question<'a>>,
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Question<'a> {
    /// Names the question; the answer repeats it.
    pub uid: String,
    /// What kind of thing is to be changed.
    #[serde(default)]
    pub resource: Resource,
    /// `ephemeralcontainers`, `exec`, ...
    #[serde(default)]
    pub sub_resource: String,
    /// Empty when the API server makes the name.
    #[serde(default)]
    pub name: String,
    /// Its namespace.
    #[serde(default)]
    pub namespace: String,
    /// CREATE, UPDATE, DELETE or CONNECT.
    #[serde(default)]
    pub operation: String,
    /// Who asks.
    #[serde(default)]
    pub user_info: User,
    /// Nothing will come of it.
    #[serde(default)]
    pub dry_run: bool,
    /// What it is to be; not read before it is known to matter.
    #[serde(borrow)]
    object: Option<&'a RawValue>,
    /// What it is before an update.
    #[serde(borrow, default)]
    old_object: Option<&'a RawValue>,
}

/// A kind of thing, as the API names it.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Resource {
    /// Empty for pods.
    #[serde(default)]
    pub group: String,
    /// `pods`.
    #[serde(default)]
    pub resource: String,
}

/// Who asks.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct User {
    /// The name.
    #[serde(default)]
    pub username: String,
    #[serde(default)]
    groups: Option<Vec<String>>,
    #[serde(default)]
    extra: Option<BTreeMap<String, Vec<String>>>,
}

/// What is answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Why not; `None`: allowed.
    pub denied: Option<String>,
    /// Told to the user, whether it is allowed or not.
    pub warnings: Vec<String>,
    /// What is to be changed.
    pub patch: Vec<Op>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answered<'a> {
    api_version: &'a str,
    kind: &'a str,
    response: Answer<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status<'a>>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    patch_type: Option<&'a str>,
}

#[derive(Serialize)]
struct Status<'a> {
    code: u16,
    reason: &'a str,
    message: &'a str,
}

// === impl Question ===

impl<'a> Question<'a> {
    /// Reads a body.
    ///
    /// # Errors
    /// It is no question of this version.
    pub fn read(body: &'a [u8]) -> Result<Self, ReviewError> {
        let envelope: Envelope<'a> = serde_json::from_slice(body).map_err(|e| ReviewError::Malformed(place(&e)))?;
        if envelope.api_version != VERSION || envelope.kind != KIND {
            return Err(ReviewError::Version);
        }
        envelope.request.ok_or(ReviewError::NoRequest)
    }

    /// Reads the object.
    ///
    /// # Errors
    /// There is none, or it has another form.
    pub fn object<T: Deserialize<'a>>(&self, what: &'static str) -> Result<T, ReviewError> {
        read(self.object, what)
    }

    /// Reads the object as it was before an update.
    ///
    /// # Errors
    /// There is none, or it has another form.
    pub fn old_object<T: Deserialize<'a>>(&self, what: &'static str) -> Result<T, ReviewError> {
        read(self.old_object, what)
    }

    /// Whether it is about this resource of the core group.
    #[must_use]
    pub fn is_core(&self, resource: &str, sub_resource: &str) -> bool {
        self.resource.group.is_empty() && self.resource.resource == resource && self.sub_resource == sub_resource
    }
}

// === impl User ===

impl User {
    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = &str> {
        self.groups.iter().flatten().map(String::as_str)
    }

    /// What else is said of him by a name, if it is said once; empty: it is not.
    #[must_use]
    pub fn extra(&self, name: &str) -> &str {
        match self.extra.as_ref().and_then(|extra| extra.get(name)).map(Vec::as_slice) {
            Some([one]) => one,
            _ => "",
        }
    }
}

// === impl Verdict ===

impl Verdict {
    /// Allowed, with nothing to say.
    #[must_use]
    pub fn allowed() -> Self {
        Self::default()
    }

    /// Not allowed.
    #[must_use]
    pub fn denied(why: impl Into<String>) -> Self {
        Self { denied: Some(why.into()), ..Self::default() }
    }

    /// The body of the answer.
    ///
    /// # Errors
    /// Never in practice: everything in it has a JSON form.
    pub fn body(&self, uid: &str) -> Result<Vec<u8>, serde_json::Error> {
        use base64::Engine as _;
        let patch = match self.patch.as_slice() {
            [] => None,
            ops => Some(base64::engine::general_purpose::STANDARD.encode(serde_json::to_vec(ops)?)),
        };
        let status = self.denied.as_ref().map(|message| Status { code: 403, reason: "Forbidden", message });
        serde_json::to_vec(&Answered {
            api_version: VERSION,
            kind: KIND,
            response: Answer {
                uid,
                allowed: self.denied.is_none(),
                status,
                warnings: &self.warnings,
                patch_type: patch.as_ref().map(|_| "JSONPatch"),
                patch,
            },
        })
    }
}

fn read<'a, T: Deserialize<'a>>(raw: Option<&'a RawValue>, what: &'static str) -> Result<T, ReviewError> {
    let raw = raw.ok_or(ReviewError::Object { what, why: "there is none".into() })?;
    serde_json::from_str(raw.get()).map_err(|e| ReviewError::Object { what, why: place(&e) })
}

/// Where it went wrong; serde's own words may repeat what stood there.
fn place(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Data => "a field has another type than it should, or is missing",
        serde_json::error::Category::Eof => "it ends in the middle",
        _ => "it is no JSON",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_question_is_read_without_its_object() {
        let body = br#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","x":1,
            "request":{"uid":"u","operation":"CREATE","object":{"spec":7},"oldObject":null,"userInfo":{"username":"a","groups":null}}}"#;
        let question = Question::read(body).unwrap();
        assert_eq!((question.uid.as_str(), question.operation.as_str()), ("u", "CREATE"));
        assert!(matches!(question.object::<crate::pod::Pod>("Pod"), Err(ReviewError::Object { what: "Pod", .. })));
    }

    #[test]
    fn what_is_no_question() {
        let read = |body: &str| Question::read(body.as_bytes()).unwrap_err();
        assert!(matches!(read(""), ReviewError::Malformed(_)));
        assert!(matches!(read("[]"), ReviewError::Malformed(_)));
        assert!(matches!(read("{\"request\": 7}"), ReviewError::Malformed(_)));
        assert_eq!(read("{}"), ReviewError::Version);
        assert_eq!(
            read(r#"{"apiVersion":"admission.k8s.io/v1beta1","kind":"AdmissionReview","request":{"uid":"u"}}"#),
            ReviewError::Version
        );
        assert_eq!(read(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview"}"#), ReviewError::NoRequest);
        assert!(matches!(
            read(r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{}}"#),
            ReviewError::Malformed(_)
        ));
    }

    #[test]
    fn an_error_does_not_repeat_the_body() {
        let told = Question::read(br#"{"apiVersion":"v","kind":{"canary-hunter2":1}}"#).unwrap_err().to_string();
        assert!(!told.contains("hunter2") && told.contains("line 1"), "{told}");
    }

    #[test]
    fn an_answer_has_only_what_it_needs() {
        let text = |verdict: Verdict| String::from_utf8(verdict.body("u").unwrap()).unwrap();
        let head = r#"{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"u","#;
        assert_eq!(text(Verdict::allowed()), format!("{head}\"allowed\":true}}}}"));
        assert_eq!(
            text(Verdict::denied("no")),
            format!(
                "{head}\"allowed\":false,\"status\":{{\"code\":403,\"reason\":\"Forbidden\",\"message\":\"no\"}}}}}}"
            )
        );
        let patched = Verdict { patch: vec![Op::add("/a", "b".into())], ..Verdict::default() };
        assert!(
            text(patched).ends_with(
                r#""patch":"W3sib3AiOiJhZGQiLCJwYXRoIjoiL2EiLCJ2YWx1ZSI6ImIifV0=","patchType":"JSONPatch"}}"#
            )
        );
    }
}
