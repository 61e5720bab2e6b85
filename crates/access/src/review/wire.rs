//! A "may I" as Kubernetes writes it in protobuf (`k8s.io/api/authorization/v1/generated.proto`, and the envelope of
//! `k8s.io/apimachinery/pkg/runtime/generated.proto`): only what is read here.

use prost::Message;

/// What stands before every object in protobuf.
const MAGIC: &[u8] = b"k8s\0";

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

/// `SelfSubjectAccessReview`
#[derive(Clone, PartialEq, Message)]
pub struct Review {
    /// What is asked.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<Spec>,
}

/// `SelfSubjectAccessReviewSpec`
#[derive(Clone, PartialEq, Message)]
pub struct Spec {
    /// About a resource.
    #[prost(message, optional, tag = "1")]
    pub resource: Option<Resource>,
    /// About another path.
    #[prost(message, optional, tag = "2")]
    pub path: Option<Path>,
}

/// `ResourceAttributes`
#[derive(Clone, PartialEq, Message)]
pub struct Resource {
    /// The namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
    /// The verb.
    #[prost(string, tag = "2")]
    pub verb: String,
    /// The API group.
    #[prost(string, tag = "3")]
    pub group: String,
    /// The resource.
    #[prost(string, tag = "5")]
    pub resource: String,
    /// The part of it.
    #[prost(string, tag = "6")]
    pub subresource: String,
    /// The object.
    #[prost(string, tag = "7")]
    pub name: String,
}

/// `NonResourceAttributes`
#[derive(Clone, PartialEq, Message)]
pub struct Path {
    /// The path.
    #[prost(string, tag = "1")]
    pub path: String,
    /// The verb.
    #[prost(string, tag = "2")]
    pub verb: String,
}

/// `SelfSubjectRulesReview`
#[derive(Clone, PartialEq, Message)]
pub struct RulesReview {
    /// What is asked.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<RulesSpec>,
}

/// `SelfSubjectRulesReviewSpec`
#[derive(Clone, PartialEq, Message)]
pub struct RulesSpec {
    /// The namespace.
    #[prost(string, tag = "1")]
    pub namespace: String,
}

#[cfg(test)]
impl RulesReview {
    /// About a namespace.
    pub fn of(namespace: &str) -> Self {
        Self { spec: Some(RulesSpec { namespace: namespace.into() }) }
    }
}

/// A review in protobuf; `None`: it is none.
#[must_use]
pub fn read(body: &[u8]) -> Option<Review> {
    object(body)
}

/// The same about rules.
#[must_use]
pub fn rules(body: &[u8]) -> Option<RulesReview> {
    object(body)
}

fn object<T: Message + Default>(body: &[u8]) -> Option<T> {
    let envelope = Unknown::decode(body.strip_prefix(MAGIC)?).ok()?;
    T::decode(envelope.raw.as_slice()).ok()
}

/// As a client writes it.
#[cfg(test)]
pub fn written(review: &impl Message) -> Vec<u8> {
    [MAGIC, &Unknown { raw: review.encode_to_vec() }.encode_to_vec()].concat()
}
