//! The record: what was asked, by whom, under which grant, and how it ended. Lines are sent to the server in batches, and it
//! writes them on its audit chain. When they cannot be sent for too long, nothing more is allowed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dewdrop_core::{Clock, Moment};
use serde::Serialize;
use tokio::sync::mpsc;

use crate::inside::{Announcement, Inside};
use crate::left::Trace;
use crate::session::tape::Piece;

/// Lines that wait to be sent, at most.
const QUEUE: usize = 8192;
/// Lines in one request: a server refuses bodies with more than 1,000 strings (`max_request_json_strings`), keys included.
pub const BATCH: usize = 21;
/// The longest text of a line, in bytes. The server refuses longer ones, and what it refuses holds up all that waits behind it.
const LONGEST: usize = 1000;
/// Lines wait for company this long.
const GATHER: Duration = Duration::from_millis(100);
/// The oldest line may wait this long before nothing more is allowed.
const LATEST: Duration = Duration::from_secs(5);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(500);

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
    /// Since when (steady milliseconds) lines wait in vain; zero: they do not.
    stuck: Arc<AtomicU64>,
}

/// A request that is under way. Its line is written when it is dropped.
pub struct Ticket {
    line: Line,
    record: Record,
    began: Duration,
    inside: Option<Inside>,
}

/// Takes lines to the server.
#[async_trait::async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// Sends them.
    async fn carry(&self, lines: &[Line]) -> Result<(), String>;

    /// Sends a piece of a session's recording.
    async fn session(&self, id: &str, piece: &Piece) -> Result<(), String>;

    /// Somebody is about to go into a pod.
    async fn announce(&self, announcement: &Announcement) -> Result<(), String>;

    /// He has left it.
    async fn left(&self, session: &str) -> Result<(), String>;
}

// === impl Record ===

impl Record {
    /// A record, and what takes its lines away until it is dropped.
    pub fn new(clock: Arc<dyn Clock>, carrier: impl Carrier) -> (Self, impl Future<Output = ()> + Send) {
        let (lines, waiting) = mpsc::channel(QUEUE);
        let record = Self { lines, clock: clock.clone(), stuck: Arc::default() };
        let stuck = record.stuck.clone();
        (record, carry(waiting, clock, stuck, carrier))
    }

    /// Whether a line could be written now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        let stuck = self.stuck.load(Ordering::Relaxed);
        let now = millis(self.clock.steady());
        let too_long = stuck != 0 && Duration::from_millis(now.saturating_sub(stuck)) >= LATEST;
        !too_long && self.lines.capacity() > QUEUE / 8
    }

    /// Begins a request.
    #[must_use]
    pub fn begin(&self, line: Line) -> Ticket {
        Ticket { line, record: self.clone(), began: self.clock.steady(), inside: None }
    }

    fn write(&self, mut line: Line) {
        line.shorten();
        // `is_open` keeps room; what is lost all the same is said.
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

async fn carry(mut waiting: mpsc::Receiver<Line>, clock: Arc<dyn Clock>, stuck: Arc<AtomicU64>, carrier: impl Carrier) {
    let mut batch = Vec::with_capacity(BATCH);
    while waiting.recv_many(&mut batch, BATCH).await > 0 {
        if batch.len() < BATCH {
            tokio::time::sleep(GATHER).await;
            while batch.len() < BATCH
                && let Ok(line) = waiting.try_recv()
            {
                batch.push(line);
            }
        }
        while let Err(why) = carrier.carry(&batch).await {
            if stuck.load(Ordering::Relaxed) == 0 {
                stuck.store(millis(clock.steady()), Ordering::Relaxed);
                tracing::warn!(%why, lines = batch.len(), "the record cannot be written; tried again");
            }
            tokio::time::sleep(AGAIN).await;
        }
        stuck.store(0, Ordering::Relaxed);
        batch.clear();
    }
}

#[cfg(test)]
mod tests {
    use dewdrop_core::FakeClock;
    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Held {
        lines: Arc<Mutex<Vec<Line>>>,
        broken: Arc<Mutex<bool>>,
    }

    #[async_trait::async_trait]
    impl Carrier for Held {
        async fn carry(&self, lines: &[Line]) -> Result<(), String> {
            if *self.broken.lock() {
                return Err("away".into());
            }
            self.lines.lock().extend_from_slice(lines);
            Ok(())
        }

        async fn session(&self, _: &str, _: &Piece) -> Result<(), String> {
            Ok(())
        }

        async fn announce(&self, _: &Announcement) -> Result<(), String> {
            Ok(())
        }

        async fn left(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    async fn until(is_so: impl Fn() -> bool) {
        for _ in 0..500 {
            if is_so() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("waited in vain");
    }

    #[tokio::test]
    async fn a_request_is_one_line_and_a_stream_two() {
        let clock = FakeClock::at(Moment(1_767_225_600_000));
        let held = Held::default();
        let (record, work) = Record::new(clock.clone(), held.clone());
        tokio::spawn(work);
        let mut ticket = record.begin(Line::default());
        ticket.line().end.code = 200;
        ticket.count(7);
        clock.advance(Duration::from_millis(30));
        drop(ticket);
        let ticket = record.begin(Line::default());
        drop(ticket.stream());
        until(|| held.lines.lock().len() == 3).await;
        let lines = held.lines.lock();
        let told: Vec<_> =
            lines.iter().map(|line| (line.kind, line.end.code, line.end.bytes, line.end.millis)).collect();
        assert_eq!(told, [("request", 200, 7, 30), ("stream", 0, 0, 0), ("end", 0, 0, 1)]);
    }

    #[test]
    fn a_full_batch_is_no_more_than_a_server_takes() {
        let text = || "x".to_owned();
        let what = What { verb: text(), target: text(), namespace: text(), name: text() };
        let end = End { refused: text(), received: Some(1), ..End::default() };
        let api = Api { audit_id: text(), acting_as: text(), around: true };
        let left = Some(Trace::default());
        let line = Line { command: text(), recording: text(), what, end, api, left, ..Line::default() };
        let body = serde_json::json!({ "lines": vec![line; BATCH] }).to_string();
        let strings = body.matches('"').count() / 2;
        assert!(strings <= 1000, "{strings} strings");
    }

    #[tokio::test]
    async fn no_path_of_anybody_is_too_long_for_the_record() {
        let held = Held::default();
        let (record, work) = Record::new(FakeClock::at(Moment(1_767_225_600_000)), held.clone());
        tokio::spawn(work);
        let long = || "é".repeat(40_000);
        let what = What { verb: long(), target: long(), namespace: long(), name: long() };
        let left = Trace { path: long(), uid: "u1".into(), why: long(), ..Trace::default() };
        let mut ticket = record.begin(Line { what, command: long(), left: Some(left), ..Line::default() });
        ticket.line().end.refused = long();
        drop(ticket);
        until(|| held.lines.lock().len() == 1).await;
        let line = held.lines.lock().first().cloned().unwrap();
        let mut texts = serde_json::to_value(&line).unwrap();
        let left = texts["left"].take();
        let all = texts.as_object().unwrap().values().chain(left.as_object().unwrap().values());
        assert!(all.filter_map(serde_json::Value::as_str).all(|text| text.len() <= LONGEST), "{line:?}");
        assert_eq!(left["uid"], "", "what names no object is not deleted");
    }

    #[tokio::test]
    async fn what_cannot_be_written_closes_the_door_and_is_not_lost() {
        let clock = FakeClock::at(Moment(1_767_225_600_000));
        clock.advance(Duration::from_secs(1));
        let held = Held::default();
        *held.broken.lock() = true;
        let (record, work) = Record::new(clock.clone(), held.clone());
        tokio::spawn(work);
        drop(record.begin(Line::default()));
        until(|| record.stuck.load(Ordering::Relaxed) != 0).await;
        assert!(record.is_open(), "a moment is forgiven");
        clock.advance(LATEST);
        assert!(!record.is_open());
        *held.broken.lock() = false;
        until(|| record.is_open()).await;
        assert_eq!(held.lines.lock().len(), 1);
    }
}
