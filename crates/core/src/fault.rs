//! What went wrong, with two faces: what may be said to the caller, and what only the operator's log may know.
//! No HTTP here: `server/http` alone turns a [`Kind`] into a status.

use std::borrow::Cow;
use std::time::Duration;

/// The class of a fault; the one table of status codes is in the server's `http` room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// The request is malformed or asks for what cannot be: 400.
    BadRequest,
    /// A login with a credential that is not right: 400. The server counts these for the lock-out of users.
    BadCredential,
    /// The content type is not the one that is needed: 415.
    MediaType,
    /// No right, or no valid token: 403.
    Denied,
    /// Nothing is there: 404.
    NotFound,
    /// The verb is not known on this path: 405.
    Unsupported,
    /// A precondition of the request did not hold (check-and-set): 400, as the API has it.
    Conflict,
    /// The state that the caller demands by `X-Vault-Index` is not here yet: 412.
    Precondition,
    /// The body is larger than is allowed: 413.
    TooLarge,
    /// A quota is used up: 429.
    TooMany,
    /// The feature is not built: 501.
    NotBuilt,
    /// Sealed, or a part that is needed does not answer: 503.
    Unavailable,
    /// A target of dynamic credentials refused or failed: 500 in the API that clients know.
    Target,
    /// A defect or a broken disk: 500. Says nothing to the caller.
    Internal,
}

/// A refusal or failure. `told` may leave the process; `known` may only reach the operator's log.
/// Neither ever holds a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{told}")]
pub struct Fault {
    /// Its class.
    pub kind: Kind,
    /// What the caller reads. Empty: a reply without error texts (a missing secret is `{"errors":[]}`).
    pub told: Cow<'static, str>,
    /// What the operator reads beside it; empty when there is nothing to add.
    pub known: Cow<'static, str>,
    /// When to come back, for [`Kind::TooMany`] and [`Kind::Unavailable`].
    pub retry_after: Option<Duration>,
    /// A body of `data` that goes with the refusal (the API does so for deleted versions).
    pub data: Option<Box<serde_json::Value>>,
}

impl Fault {
    /// A fault of a class with the text for the caller.
    pub fn new(kind: Kind, told: impl Into<Cow<'static, str>>) -> Self {
        Self { kind, told: told.into(), known: Cow::Borrowed(""), retry_after: None, data: None }
    }

    /// 400: the text says what is wrong and what to do.
    pub fn bad_request(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadRequest, told)
    }

    /// 400: a login that failed by what the caller gave.
    pub fn bad_credential(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::BadCredential, told)
    }

    /// 403: the caller hears "permission denied", the operator hears why.
    pub fn denied(known: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Denied, "permission denied").knowing(known)
    }

    /// 403 with a sentence of its own.
    pub fn denied_saying(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Denied, told)
    }

    /// 404 with an empty list of errors.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(Kind::NotFound, "")
    }

    /// 404 with a sentence.
    pub fn missing(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotFound, told)
    }

    /// 405: the path is known, the verb is not.
    #[must_use]
    pub fn unsupported() -> Self {
        Self::new(Kind::Unsupported, "unsupported operation")
    }

    /// 501: what is not built says so.
    pub fn not_built(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::NotBuilt, told)
    }

    /// 503: the caller may try again.
    pub fn unavailable(told: impl Into<Cow<'static, str>>) -> Self {
        let mut fault = Self::new(Kind::Unavailable, told);
        fault.retry_after = Some(Duration::from_secs(1));
        fault
    }

    /// 503: there is no vault while it is sealed.
    #[must_use]
    pub fn sealed() -> Self {
        Self::unavailable("Vault is sealed")
    }

    /// 500: the caller hears "internal error", the operator hears why.
    pub fn internal(known: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Internal, "internal error").knowing(known)
    }

    /// 500 with a sentence for the caller: a target of dynamic credentials failed.
    pub fn target(told: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Kind::Target, told)
    }

    /// Adds what only the operator may read.
    #[must_use]
    pub fn knowing(mut self, known: impl Into<Cow<'static, str>>) -> Self {
        self.known = known.into();
        self
    }

    /// Adds `data` to the refusal's body.
    #[must_use]
    pub fn with_data(mut self, data: serde_json::Value) -> Self {
        self.data = Some(Box::new(data));
        self
    }
}

/// An error and its causes in one line, each said once: many an error repeats its cause, and the text of many a driver says
/// nothing but for its cause.
#[must_use]
pub fn with_causes(error: &dyn std::error::Error) -> String {
    let mut said = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()) {
        let text = cause.to_string();
        if !said.contains(&text) {
            said = format!("{said}: {text}");
        }
    }
    said
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{text}")]
    struct Step {
        text: &'static str,
        #[source]
        cause: Option<Box<Step>>,
    }

    #[test]
    fn each_cause_is_said_once() {
        let step = |text, cause: Option<Step>| Step { text, cause: cause.map(Box::new) };
        let deep = step("connection refused", Some(step("os error 111", None)));
        assert_eq!(with_causes(&step("cannot ask", Some(deep))), "cannot ask: connection refused: os error 111");
        let twice = step("cannot read: no such file", Some(step("no such file", None)));
        assert_eq!(with_causes(&twice), "cannot read: no such file");
    }
}
