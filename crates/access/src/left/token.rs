//! How long a token would live, read from what asks for it (`TokenRequest` of `authentication.k8s.io/v1`), as the API server
//! reads it: by the body's type.

use http::{HeaderMap, header};
use prost::Message;
use serde::Deserialize;

/// What stands before every object in protobuf.
const MAGIC: &[u8] = b"k8s\0";
/// When nothing is said.
const USUAL: i64 = 3600;

#[derive(Clone, PartialEq, Message)]
struct Unknown {
    #[prost(bytes = "vec", tag = "2")]
    raw: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Request {
    #[prost(message, optional, tag = "2")]
    spec: Option<Spec>,
}

#[derive(Clone, PartialEq, Message)]
struct Spec {
    #[prost(int64, optional, tag = "4")]
    seconds: Option<i64>,
}

#[derive(Deserialize)]
struct JsonRequest {
    #[serde(default)]
    spec: JsonSpec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct JsonSpec {
    expiration_seconds: Option<i64>,
}

/// The seconds; `None`: it cannot be read, or could be read in two ways.
#[must_use]
pub fn seconds(headers: &HeaderMap, body: &[u8]) -> Option<i64> {
    let mut kinds = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = kinds.next().map_or(Some("application/json"), |value| value.to_str().ok())?;
    if kinds.next().is_some() {
        return None;
    }
    let asked = match kind.split(';').next().unwrap_or_default().trim() {
        "application/vnd.kubernetes.protobuf" => {
            let envelope = Unknown::decode(body.strip_prefix(MAGIC)?).ok()?;
            Request::decode(envelope.raw.as_slice()).ok()?.spec.and_then(|spec| spec.seconds)
        }
        "application/json" => serde_json::from_slice::<JsonRequest>(body).ok()?.spec.expiration_seconds,
        _ => return None,
    };
    Some(asked.unwrap_or(USUAL))
}

/// As a client writes it.
#[cfg(test)]
pub fn written(seconds: Option<i64>) -> Vec<u8> {
    let raw = Request { spec: Some(Spec { seconds }) }.encode_to_vec();
    [MAGIC, &Unknown { raw }.encode_to_vec()].concat()
}
