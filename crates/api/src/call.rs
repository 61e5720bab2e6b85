//! One request to the API, before it is sent.

use http::Method;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{Error, SecretText};

/// What stands for itself in the path of an address is left alone; the rest is percent-encoded.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}')
    .add(b'\\');
/// The same for a query's names and values.
const QUERY: &AsciiSet = &PATH.add(b'&').add(b'=').add(b'+').add(b'\'');

/// A request: a verb, a path below `/v1/`, and what goes with it.
#[derive(Debug)]
pub struct Call {
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) body: Option<Body>,
    pub(crate) wrap_ttl: Option<String>,
    pub(crate) token: Option<SecretText>,
    pub(crate) anonymous: bool,
    pub(crate) patience: Option<std::time::Duration>,
}

/// A body, wiped when it has been sent.
pub(crate) struct Body {
    pub(crate) bytes: Zeroizing<Vec<u8>>,
    pub(crate) content_type: &'static str,
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{} bytes of {}]", self.bytes.len(), self.content_type)
    }
}

impl Call {
    /// A call without a body. The path is below `/v1/`; a leading slash does not matter.
    ///
    /// # Errors
    /// The path is empty, or holds `.` or `..` parts (which an address would swallow) or control characters.
    pub fn new(method: Method, path: &str) -> Result<Self, Error> {
        let path = clean(path)?;
        Ok(Self {
            method,
            path,
            query: Vec::new(),
            body: None,
            wrap_ttl: None,
            token: None,
            anonymous: false,
            patience: None,
        })
    }

    /// `GET path`.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub fn read(path: &str) -> Result<Self, Error> {
        Self::new(Method::GET, path)
    }

    /// `GET path?list=true`, which is what `LIST` means for clients that know no other verbs.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub fn list(path: &str) -> Result<Self, Error> {
        Ok(Self::new(Method::GET, path)?.with_query("list", "true"))
    }

    /// `PUT path` with a JSON body.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub fn write(path: &str, body: &impl Serialize) -> Result<Self, Error> {
        Self::new(Method::PUT, path)?.with_json(body, "application/json")
    }

    /// `POST path` with a JSON body.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub fn post(path: &str, body: &impl Serialize) -> Result<Self, Error> {
        Self::new(Method::POST, path)?.with_json(body, "application/json")
    }

    /// `PATCH path` with a JSON merge patch.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub fn patch(path: &str, body: &impl Serialize) -> Result<Self, Error> {
        Self::new(Method::PATCH, path)?.with_json(body, "application/merge-patch+json")
    }

    /// `DELETE path`.
    ///
    /// # Errors
    /// As [`Call::new`].
    pub fn delete(path: &str) -> Result<Self, Error> {
        Self::new(Method::DELETE, path)
    }

    /// A body of plain bytes, as snapshots are.
    #[must_use]
    pub fn with_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.body = Some(Body { bytes: Zeroizing::new(bytes), content_type: "application/octet-stream" });
        self
    }

    /// One more query parameter.
    #[must_use]
    pub fn with_query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Asks for the reply to be wrapped for so long (`60s`, `5m`).
    #[must_use]
    pub fn wrapped(mut self, ttl: Option<&str>) -> Self {
        self.wrap_ttl = ttl.map(str::to_owned);
        self
    }

    /// Sends this token in place of the client's own.
    #[must_use]
    pub fn with_token(mut self, token: &SecretText) -> Self {
        self.token = Some(token.clone());
        self
    }

    /// Sends no token at all.
    #[must_use]
    pub fn anonymous(mut self) -> Self {
        self.anonymous = true;
        self
    }

    /// Waits so long for the reply, in place of the client's own limit.
    #[must_use]
    pub fn patient(mut self, time: std::time::Duration) -> Self {
        self.patience = Some(time);
        self
    }

    /// The verb.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The path below `/v1/`, as given.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The query parameters.
    #[must_use]
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// The body as text, for those who show it to its owner (`-output-curl-string`).
    #[must_use]
    pub fn expose_body(&self) -> Option<&str> {
        self.body.as_ref().and_then(|body| std::str::from_utf8(&body.bytes).ok())
    }

    /// The path and the query of the request, percent-encoded, beginning with `/v1/`.
    #[must_use]
    pub fn target(&self) -> String {
        let mut target = format!("/v1/{}", utf8_percent_encode(&self.path, PATH));
        for (at, (name, value)) in self.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            target.push_str(&format!("{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY)));
        }
        target
    }

    fn with_json(mut self, body: &impl Serialize, content_type: &'static str) -> Result<Self, Error> {
        let bytes =
            serde_json::to_vec(body).map_err(|_| Error::BadCall("the body cannot be written as JSON".into()))?;
        self.body = Some(Body { bytes: Zeroizing::new(bytes), content_type });
        Ok(self)
    }
}

fn clean(path: &str) -> Result<String, Error> {
    let path = path.trim().trim_start_matches('/');
    if path.is_empty() {
        return Err(Error::BadCall("the path is empty; give one such as secret/data/app".into()));
    }
    if path.split('/').any(|part| part == "." || part == "..") {
        return Err(Error::BadCall(format!("the path {path:?} holds '.' or '..' parts; write it out in full")));
    }
    if path.chars().any(char::is_control) {
        return Err(Error::BadCall(format!("the path {path:?} holds control characters")));
    }
    Ok(path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_encoded() {
        let call = Call::list("/secret/meta data/é?").unwrap().with_query("after", "a&b=c");
        assert_eq!(call.target(), "/v1/secret/meta%20data/%C3%A9%3F?list=true&after=a%26b%3Dc");
    }

    #[test]
    fn paths_that_an_address_would_change_are_refused() {
        for bad in ["", "/", "secret/../sys/seal", "./x", "a\nb"] {
            assert!(matches!(Call::read(bad), Err(Error::BadCall(_))), "{bad:?} was taken");
        }
        assert!(Call::read("secret/..x/.hidden").is_ok());
    }

    #[test]
    fn debug_tells_no_body() {
        let call = Call::write("x", &serde_json::json!({"password": "hunter2"})).unwrap();
        assert!(!format!("{call:?}").contains("hunter2"));
    }
}
