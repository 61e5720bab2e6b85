//! The record: what was asked, by whom, under which grant, and how it ended. Lines are sent to the server in batches, and it
//! writes them on its audit chain. When it says that it does not write them, or is not heard for too long, nothing more is allowed.

mod courier;

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::{Clock, Moment};
use serde::Serialize;
use tokio::sync::mpsc;

pub use self::courier::BATCH;
use self::courier::{Courier, Trouble};
use crate::carrier::Carrier;
use crate::inside::Inside;
use crate::left::Trace;

/// Lines that wait to be sent, at most.
const QUEUE: usize = 8192;
/// The longest text of a line, in bytes. The server refuses longer ones.
const LONGEST: usize = 1000;
/// The target of a line that the server took without its words alone.
const NOT_TAKEN: &str = "(the server did not take this line as it was)";

/// A line.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Line {
    /// `request`, `stream` (one that has begun), `end` (of such a stream), `left` (what may outlive the grant was made),
    /// `sweep`, or `api` (as the API server itself tells it).
    pub kind: &'static str,
    /// When, RFC 3339.
    pub time: String,
    /// The cluster.
    pub cluster: String,
    /// The grant; empty: none.
    pub grant: String,
    /// The person.
    pub user: String,
    /// What was asked for.
    #[serde(flatten)]
    pub what: What,
    /// Where the request came from.
    pub source: String,
    /// kubectl's own command.
    pub command: String,
    /// The session's recording; empty: there is none.
    pub recording: String,
    /// The API server's side of it.
    #[serde(flatten)]
    pub api: Api,
    /// What may outlive the grant, or what became of it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub left: Option<Trace>,
    /// How it ended.
    #[serde(flatten)]
    pub end: End,
}

/// The API server's side of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Api {
    /// The request's name in the API server's own audit; empty: it never came there.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub audit_id: String,
    /// Of an `api`: as whom somebody acted.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub acting_as: String,
    /// It did not come through an access proxy.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub around: bool,
}

/// What was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct What {
    /// The verb.
    pub verb: String,
    /// What it was about, such as `pods/log.apps`, or a path.
    pub target: String,
    /// The namespace.
    pub namespace: String,
    /// The object.
    pub name: String,
}

/// How a request ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct End {
    /// The status code.
    pub code: u16,
    /// Why it was refused; empty: it was not.
    pub refused: String,
    /// Bytes to the client; of a stream with its framing.
    pub bytes: u64,
    /// Bytes of a stream from the client, with its framing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub received: Option<u64>,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

/// Where lines go. Cheap to clone.
#[derive(Clone)]
pub struct Record {
    lines: mpsc::Sender<Line>,
    clock: Arc<dyn Clock>,
    trouble: Arc<Trouble>,
}

/// A request that is under way. Its line is written when it is dropped.
pub struct Ticket {
    line: Line,
    record: Record,
    began: Duration,
    inside: Option<Inside>,
}

// === impl Record ===

impl Record {
    /// A record, and what takes its lines away until it is dropped.
    pub fn new(clock: Arc<dyn Clock>, carrier: impl Carrier) -> (Self, impl Future<Output = ()> + Send) {
        let (lines, waiting) = mpsc::channel(QUEUE);
        let trouble = Arc::new(Trouble::default());
        let courier = Courier { clock: clock.clone(), trouble: trouble.clone(), carrier };
        (Self { lines, clock, trouble }, courier.work(waiting))
    }

    /// Why no line could be written now, and so nothing may be allowed; `None`: one could.
    #[must_use]
    pub fn closed(&self) -> Option<String> {
        let crowded = || (self.lines.capacity() <= QUEUE / 8).then(|| "too many lines wait".to_owned());
        self.trouble.closes(self.clock.steady()).or_else(crowded)
    }

    /// Begins a request.
    #[must_use]
    pub fn begin(&self, line: Line) -> Ticket {
        Ticket { line, record: self.clone(), began: self.clock.steady(), inside: None }
    }

    fn write(&self, mut line: Line) {
        line.shorten();
        // `closed` keeps room; what is lost all the same is said.
        if self.lines.try_send(line).is_err() {
            tracing::error!("a line of the record was lost: the queue is full");
        }
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }
}

// === impl Line ===

impl Line {
    /// Paths come from people, and reasons quote them.
    fn shorten(&mut self) {
        let What { verb, target, namespace, name } = &mut self.what;
        for text in [verb, target, namespace, name, &mut self.command, &mut self.end.refused] {
            text.truncate(short(text).len());
        }
        if let Some(left) = &mut self.left {
            left.shorten();
        }
    }

    /// What is written of a line that the server does not take: that it was there, whose it is and how it ended, in no words but
    /// its own.
    fn bare(&self) -> Self {
        Self {
            kind: self.kind,
            time: self.time.clone(),
            cluster: self.cluster.clone(),
            grant: self.grant.clone(),
            what: What { target: NOT_TAKEN.to_owned(), ..What::default() },
            api: Api { audit_id: self.api.audit_id.clone(), ..Api::default() },
            left: self.left.clone(),
            end: End { refused: String::new(), ..self.end.clone() },
            ..Self::default()
        }
    }
}

/// As much of a text as a line holds.
#[must_use]
pub fn short(text: &str) -> &str {
    text.get(..text.floor_char_boundary(LONGEST)).unwrap_or(text)
}

// === impl Ticket ===

impl Ticket {
    /// The line as it is so far.
    pub fn line(&mut self) -> &mut Line {
        &mut self.line
    }

    /// It leads into a pod. Whoever is there has left when this ends.
    pub fn enters(&mut self, inside: Option<Inside>) {
        self.inside = inside;
    }

    /// Bytes went to the client.
    pub fn count(&mut self, bytes: usize) {
        self.line.end.bytes += bytes as u64;
    }

    /// A stream began: that is a line of its own, and so is its end, which the returned ticket tells.
    #[must_use]
    pub fn stream(mut self) -> Self {
        let time = self.record.now().rfc3339();
        self.record.write(Line { kind: "stream", time, ..self.line.clone() });
        self.line.kind = "end";
        self
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        line.time = self.record.now().rfc3339();
        line.end.millis = millis(self.record.clock.steady().saturating_sub(self.began));
        if line.kind.is_empty() {
            line.kind = "request";
        }
        self.record.write(line);
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests;
