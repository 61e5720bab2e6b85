//! Questions of a person about himself: who am I, may I, what may I (`kubectl auth whoami`, `kubectl auth can-i`). The API
//! server knows of no grants, so a "may I" is asked of the grant first, and of the API server only when the grant says yes.

pub mod rules;
mod wire;

use bytes::Bytes;
use dewdrop_core::access::{Attributes, ResourceAsk};
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde_json::json;

use crate::grants::Grant;
use crate::info::Info;
use crate::refuse::Refusal;

/// No question is longer.
const LONGEST: usize = 64 << 10;

/// The kinds of question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Who the API server takes the person for. Tells nothing that he may not know.
    WhoAmI,
    /// Whether he may do something.
    MayI,
    /// What he may do in a namespace.
    WhatMayI,
}

#[derive(Deserialize)]
struct Review {
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    resource_attributes: Option<Asked>,
    non_resource_attributes: Option<AskedPath>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Asked {
    namespace: String,
    verb: String,
    group: String,
    resource: String,
    subresource: String,
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AskedPath {
    path: String,
    verb: String,
}

/// Whether a request is such a question.
#[must_use]
pub fn question(info: &Info) -> Option<Question> {
    let of = info.resource.as_ref().filter(|of| {
        info.verb == "create" && of.subresource.is_empty() && of.name.is_empty() && of.namespace.is_empty()
    })?;
    match (of.group.as_str(), of.resource.as_str()) {
        ("authentication.k8s.io", "selfsubjectreviews") => Some(Question::WhoAmI),
        ("authorization.k8s.io", "selfsubjectaccessreviews") => Some(Question::MayI),
        ("authorization.k8s.io", "selfsubjectrulesreviews") => Some(Question::WhatMayI),
        _ => None,
    }
}

/// The body of a question, whole.
///
/// # Errors
/// It is too long, or breaks off.
pub async fn body(incoming: Incoming) -> Result<Bytes, Refusal> {
    let read = Limited::new(incoming, LONGEST).collect().await;
    read.map(http_body_util::Collected::to_bytes)
        .map_err(|_| Refusal::bad_request("the review is too long, or breaks off"))
}

/// What a grant says to a "may I": `None` when it says yes, otherwise the whole answer.
///
/// # Errors
/// The question is not readable.
pub fn grants_no(grant: &Grant, cluster: &str, body: &Bytes) -> Result<Option<Bytes>, Refusal> {
    let unreadable = || {
        Refusal::bad_request("the review must be JSON or protobuf, with resourceAttributes or nonResourceAttributes")
    };
    let review = read(body).ok_or_else(unreadable)?;
    let asked = match (&review.spec.resource_attributes, &review.spec.non_resource_attributes) {
        (Some(of), None) => Attributes::Resource(ResourceAsk {
            verb: &of.verb,
            group: &of.group,
            resource: &of.resource,
            subresource: &of.subresource,
            namespace: &of.namespace,
            name: &of.name,
        }),
        (None, Some(of)) => Attributes::Path { verb: &of.verb, path: &of.path },
        _ => return Err(unreadable()),
    };
    if grant.scope.allows(cluster, &asked) {
        return Ok(None);
    }
    let reason = format!("dewdrop: your grant {} does not allow to {asked}", grant.id);
    let answer = json!({
        "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": { "allowed": false, "denied": true, "reason": reason },
    });
    Ok(Some(answer.to_string().into()))
}

/// kubectl writes protobuf, others JSON.
fn read(body: &Bytes) -> Option<Review> {
    let Some(review) = wire::read(body) else { return serde_json::from_slice(body).ok() };
    let spec = review.spec?;
    let resource_attributes = spec.resource.map(|of| Asked {
        namespace: of.namespace,
        verb: of.verb,
        group: of.group,
        resource: of.resource,
        subresource: of.subresource,
        name: of.name,
    });
    let non_resource_attributes = spec.path.map(|of| AskedPath { path: of.path, verb: of.verb });
    Some(Review { spec: Spec { resource_attributes, non_resource_attributes } })
}

/// An answer of the grant alone.
#[must_use]
pub fn response(body: Bytes) -> Response<Bytes> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::CREATED;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

#[cfg(test)]
mod tests {
    use http::Method;
    use serde_json::Value;

    use super::*;

    fn grant() -> Grant {
        serde_json::from_value(json!({
            "id": "g1", "user": "ann", "role": "look", "ends_at": "2026-01-01T00:00:00Z",
            "scope": { "clusters": ["prod"], "namespaces": ["shop"], "rules": [
                { "api_groups": [""], "resources": ["pods", "pods/exec"], "verbs": ["get", "create"] },
            ] },
        }))
        .unwrap()
    }

    fn asks(spec: Value) -> Result<Option<Value>, Refusal> {
        let body = json!({ "kind": "SelfSubjectAccessReview", "spec": spec }).to_string().into();
        let answer = grants_no(&grant(), "prod", &body)?;
        Ok(answer.map(|bytes| serde_json::from_slice(&bytes).unwrap()))
    }

    #[test]
    fn the_grant_is_asked_first() {
        let yes = json!({ "resourceAttributes": { "namespace": "shop", "verb": "get", "resource": "pods" } });
        assert_eq!(asks(yes).unwrap(), None);
        let no = json!({ "resourceAttributes": { "namespace": "bank", "verb": "get", "resource": "pods" } });
        let answer = asks(no).unwrap().unwrap();
        assert_eq!(answer["status"]["allowed"], false);
        assert_eq!(answer["status"]["reason"], "dewdrop: your grant g1 does not allow to get pods in namespace bank");
        assert_eq!(answer["kind"], "SelfSubjectAccessReview");
        let part = json!({ "resourceAttributes": { "namespace": "shop", "verb": "create", "resource": "pods", "subresource": "attach" } });
        assert!(asks(part).unwrap().is_some());
        let path = |path: &str| json!({ "nonResourceAttributes": { "verb": "get", "path": path } });
        assert_eq!(asks(path("/version")).unwrap(), None);
        assert!(asks(path("/metrics")).unwrap().is_some());
    }

    #[test]
    fn kubectls_protobuf_is_read_as_well() {
        let of = |namespace: &str| {
            let resource = wire::Resource {
                namespace: namespace.into(),
                verb: "get".into(),
                resource: "pods".into(),
                ..wire::Resource::default()
            };
            let spec = wire::Spec { resource: Some(resource), path: None };
            grants_no(&grant(), "prod", &wire::written(&wire::Review { spec: Some(spec) }).into()).unwrap()
        };
        assert!(of("shop").is_none() && of("bank").is_some());
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let both = json!({ "resourceAttributes": {}, "nonResourceAttributes": {} });
        assert!(asks(json!({})).is_err() && asks(both).is_err());
        assert!(grants_no(&grant(), "prod", &Bytes::from_static(b"k8s\0protobuf")).is_err());
    }

    #[test]
    fn only_questions_about_oneself() {
        let of = |method: Method, path: &str| question(&Info::read(&method, path, None).unwrap());
        let may = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        assert_eq!(of(Method::POST, may), Some(Question::MayI));
        assert_eq!(of(Method::POST, "/apis/authentication.k8s.io/v1/selfsubjectreviews"), Some(Question::WhoAmI));
        assert_eq!(of(Method::GET, may), None);
        assert_eq!(of(Method::POST, "/apis/authorization.k8s.io/v1/subjectaccessreviews"), None);
        assert_eq!(of(Method::POST, "/apis/authentication.k8s.io/v1/tokenreviews"), None);
        let what = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
        assert_eq!((of(Method::POST, what), of(Method::GET, what)), (Some(Question::WhatMayI), None));
    }
}
