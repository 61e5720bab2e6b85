//! Walks offline between people's grants and what was done by them: from a request, a grant, a recording, a person or a
//! kubectl command to who asked and why, who approved, each command, how it ended, and who read the recordings.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::AuditError;
use super::trace::{Act, act, scan, text};

/// With more names than this, all lines of the engine are read.
const MANY: usize = 16;
const OF_ENGINE: &str = "\"mount_type\":\"access\"";
/// How an API server begins the names of certificates and tokens (`authentication.kubernetes.io/credential-id`), and by which
/// field the engine tells the rest.
const CREDENTIALS: [(&str, &str); 2] = [("X509SHA256=", "fingerprint"), ("JTI=", "jti")];

/// A request for access, and all that came of it.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Grant {
    /// Its name.
    pub id: String,
    /// The mount.
    pub mount: String,
    /// Who asked.
    pub requester: String,
    /// By which role.
    pub role: String,
    /// For which cluster.
    pub cluster: String,
    /// Why.
    pub reason: String,
    /// The ticket.
    pub ticket: String,
    /// What it allows.
    pub summary: Vec<String>,
    /// The grant that it would make longer; empty: none.
    pub extends: String,
    /// How far it was when the engine told it last.
    pub state: String,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// Something that happened.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Event {
    /// The line's number.
    pub seq: u64,
    /// When.
    pub time: String,
    /// `asked`, `approve`, `deny`, `withdraw`, `revoke`, `extend`, `review`, `certificate`, `token`; `request`, `stream` or `end`
    /// of what kubectl did; `read` (a recording).
    pub what: String,
    /// Who.
    pub by: String,
    /// The request's id at the server.
    pub request_id: String,
    /// From where.
    pub from: String,
    /// What was said to it.
    pub comment: String,
    /// The refusal, when it was one.
    pub error: String,
    /// What kubectl did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
}

/// What kubectl did, as the access proxy told it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Command {
    /// kubectl's own command.
    pub line: String,
    /// The verb.
    pub verb: String,
    /// What it was about.
    pub target: String,
    /// The namespace.
    pub namespace: String,
    /// The object.
    pub name: String,
    /// The status; 0: not yet.
    pub code: u64,
    /// Bytes to the client.
    pub bytes: u64,
    /// The session's recording; empty: there is none.
    pub recording: String,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Found {
    /// Grants and requests.
    pub grants: Vec<Grant>,
    /// What somebody tried without a grant.
    pub without_grant: Vec<Event>,
}

/// Finds all that the files say about a request, grant, recording, person, command, or certificate or token (as the API
/// server's audit log names them: `X509SHA256=...`, `JTI=...`).
///
/// # Errors
/// A file cannot be read.
pub fn grants(paths: &[PathBuf], needle: &str) -> Result<Found, AuditError> {
    let bare = CREDENTIALS.iter().find_map(|(begin, _)| needle.strip_prefix(begin)).filter(|name| !name.is_empty());
    let needle = bare.unwrap_or(needle);
    let mut found = Found::default();
    let (mut ids, mut begun) = (BTreeSet::new(), BTreeSet::new());
    scan(paths, &[in_json(needle)], &mut |value| {
        if let Some(line) = Line::of(value) {
            line.names(needle, &mut ids);
            line.attempts(needle, &mut found.without_grant);
        }
    })?;
    // An extension and its grant belong together: once more, as long as there are others.
    while ids != begun {
        begun.clone_from(&ids);
        scan(paths, &words(&begun), &mut |value| {
            if let Some(line) = Line::of(value) {
                line.relatives(&begun, &mut ids);
            }
        })?;
    }
    found.grants = ids.iter().map(|id| Grant { id: id.clone(), ..Grant::default() }).collect();
    scan(paths, &words(&ids), &mut |value| {
        if let Some(line) = Line::of(value) {
            found.grants.iter_mut().for_each(|grant| grant.meet(&line));
        }
    })?;
    readers(paths, &mut found.grants)?;
    for grant in &mut found.grants {
        // Proxies tell what was done a moment after it was.
        grant.events.sort_by(|a, b| (&a.time, a.seq).cmp(&(&b.time, b.seq)));
    }
    found.grants.sort_by(|a, b| a.begin().cmp(b.begin()));
    Ok(found)
}

/// A text as it stands in a line of JSON.
fn in_json(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

fn words(ids: &BTreeSet<String>) -> Vec<String> {
    if ids.len() > MANY { vec![OF_ENGINE.to_owned()] } else { ids.iter().cloned().collect() }
}

/// Who read the recordings of these grants.
fn readers(paths: &[PathBuf], grants: &mut [Grant]) -> Result<(), AuditError> {
    let told = |grant: &Grant| {
        grant.events.iter().filter_map(|event| event.command.as_ref()).map(|c| c.recording.clone()).collect()
    };
    let all: Vec<BTreeSet<String>> = grants.iter().map(told).collect();
    let mut wanted: BTreeSet<String> = all.iter().flatten().cloned().collect();
    wanted.remove("");
    scan(paths, &words(&wanted), &mut |value| {
        let Some(line) = Line::of(value).filter(|line| line.is_answer && line.act.operation == "read") else { return };
        let Some(id) = line.below.strip_prefix("recordings/") else { return };
        for (grant, recordings) in grants.iter_mut().zip(&all) {
            if !id.is_empty() && recordings.contains(id) {
                let comment = format!("recording {id}");
                grant.events.push(Event { comment, ..line.event("read", &line.act.display_name) });
            }
        }
    })
}

/// A line about the engine.
struct Line<'v> {
    value: &'v Value,
    act: Act,
    /// The path below the mount.
    below: &'v str,
    is_answer: bool,
}

impl<'v> Line<'v> {
    fn of(value: &'v Value) -> Option<Self> {
        if text(value, "/request/mount_type") != "access" {
            return None;
        }
        let below = text(value, "/request/path").strip_prefix(text(value, "/request/mount_point"))?;
        let is_answer = text(value, "/type") == "response";
        Some(Self { value, act: act(value), below, is_answer })
    }

    /// `requests/ID/STEP`.
    fn step(&self) -> Option<(&'v str, &'v str)> {
        self.below.strip_prefix("requests/")?.split_once('/')
    }

    fn succeeded(&self) -> bool {
        self.is_answer && self.act.error.is_empty()
    }

    /// Told by the engine about a request.
    fn told(&self, field: &str) -> &'v str {
        text(self.value, &format!("/response/data/{field}"))
    }

    /// Whether the answer gave the credential of this name.
    fn gave(&self, needle: &str) -> bool {
        CREDENTIALS.iter().any(|(_, field)| self.told(field) == needle)
    }

    /// The credential that the answer gave, as API servers name it; empty: none.
    fn credential(&self) -> String {
        let names = CREDENTIALS.iter().map(|(begin, field)| (begin, self.told(field)));
        let given = names.into_iter().find(|(_, name)| !name.is_empty());
        given.map_or_else(String::new, |(begin, name)| format!("{begin}{name}"))
    }

    /// What proxies told. It stands in the line before the act and in that after it; the first counts.
    fn records(&self) -> impl Iterator<Item = &'v Value> {
        let is_record = self.below == "record" && text(self.value, "/type") == "request";
        let lines = self.value.pointer("/request/data/lines").filter(|_| is_record).and_then(Value::as_array);
        lines.into_iter().flatten()
    }

    fn is_by(&self, person: &str) -> bool {
        let username = self.act.metadata.get("username").and_then(Value::as_str).unwrap_or_default();
        [self.act.display_name.as_str(), self.act.entity_id.as_str(), username].contains(&person)
    }

    /// The grants that the needle means.
    fn names(&self, needle: &str, ids: &mut BTreeSet<String>) {
        let is_asking = self.below == "request" || self.below.ends_with("/extend");
        if is_asking && self.succeeded() {
            let id = self.told("id");
            if id == needle || self.told("requester") == needle || self.is_by(needle) {
                ids.insert(id.to_owned());
            }
        }
        if let Some((id, _)) = self.step()
            && self.is_answer
            && (id == needle || self.gave(needle) || (self.succeeded() && self.is_by(needle)))
        {
            ids.insert(id.to_owned());
        }
        for record in self.records() {
            let field = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
            let is_meant = ["grant", "recording", "user"].iter().any(|name| field(name) == needle);
            if is_meant || is_command(needle, field("command")) {
                ids.insert(field("grant").to_owned());
            }
        }
        if self.below.strip_prefix("recordings/") == Some(needle) {
            ids.insert(text(self.value, "/request/data/about/grant").to_owned());
        }
        ids.remove("");
    }

    /// What a person tried without a grant, or which command was.
    fn attempts(&self, needle: &str, events: &mut Vec<Event>) {
        for record in self.records() {
            let field = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default();
            if field("grant").is_empty() && (field("user") == needle || is_command(needle, field("command"))) {
                events.push(self.record(record));
            }
        }
    }

    /// Extensions of a grant, and the grant of an extension.
    fn relatives(&self, known: &BTreeSet<String>, ids: &mut BTreeSet<String>) {
        let (id, extends) = (self.told("id"), self.told("extends"));
        let is_asking = self.below.ends_with("/extend") && self.succeeded();
        if is_asking && !extends.is_empty() && (known.contains(id) || known.contains(extends)) {
            ids.extend([id.to_owned(), extends.to_owned()]);
        }
    }

    fn event(&self, what: &str, by: &str) -> Event {
        Event {
            seq: self.act.seq,
            time: self.act.time.clone(),
            what: what.to_owned(),
            by: by.to_owned(),
            request_id: self.act.request_id.clone(),
            from: self.act.remote_address.clone(),
            error: self.act.error.trim().to_owned(),
            ..Event::default()
        }
    }

    fn record(&self, record: &Value) -> Event {
        let field = |name: &str| record.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |name: &str| record.get(name).and_then(Value::as_u64).unwrap_or_default();
        let command = Command {
            line: field("command"),
            verb: field("verb"),
            target: field("target"),
            namespace: field("namespace"),
            name: field("name"),
            code: number("code"),
            bytes: number("bytes"),
            recording: field("recording"),
        };
        let (time, from, error) = (field("time"), field("source"), field("refused"));
        Event { time, from, error, command: Some(command), ..self.event(&field("kind"), &field("user")) }
    }
}

/// A command has a blank in it, and a name has none.
fn is_command(needle: &str, command: &str) -> bool {
    needle.contains(' ') && command.contains(needle)
}

impl Grant {
    fn begin(&self) -> &str {
        self.events.first().map_or("", |event| event.time.as_str())
    }

    fn meet(&mut self, line: &Line<'_>) {
        let is_asked = matches!(line.below, "request") || line.below.ends_with("/extend");
        if is_asked && line.succeeded() && line.told("id") == self.id {
            self.asked(line);
        } else if let Some((id, step)) = line.step()
            && id == self.id
            && line.is_answer
        {
            self.step(line, step);
        }
        for record in line.records() {
            if record.get("grant").and_then(Value::as_str) == Some(&self.id) {
                self.events.push(line.record(record));
            }
        }
    }

    fn asked(&mut self, line: &Line<'_>) {
        self.mount = text(line.value, "/request/mount_point").to_owned();
        for (own, field) in [
            (&mut self.requester, "requester"),
            (&mut self.role, "role"),
            (&mut self.cluster, "cluster"),
            (&mut self.reason, "reason"),
            (&mut self.ticket, "ticket"),
            (&mut self.extends, "extends"),
            (&mut self.state, "state"),
        ] {
            line.told(field).clone_into(own);
        }
        let summary = line.value.pointer("/response/data/summary").and_then(Value::as_array);
        self.summary = summary.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let is_break_glass = line.value.pointer("/response/data/break_glass") == Some(&Value::Bool(true));
        let what = if is_break_glass { "break-glass" } else { "asked" };
        let by = self.requester.clone();
        self.events.push(Event { comment: self.reason.clone(), ..line.event(what, &by) });
    }

    fn step(&mut self, line: &Line<'_>, step: &str) {
        let said = ["comment", "reason"].map(|field| text(line.value, &format!("/request/data/{field}")));
        let said = said.into_iter().find(|said| !said.is_empty());
        let comment = said.map_or_else(|| line.credential(), str::to_owned);
        let state = line.told("state");
        // The answer to an extension is about that, and not about this grant.
        if line.succeeded() && line.told("id") == self.id && !state.is_empty() {
            state.clone_into(&mut self.state);
        }
        self.events.push(Event { comment, ..line.event(step, &self.who(line, step)) });
    }

    /// The person, by the name that the engine tells; else that of his token.
    fn who(&self, line: &Line<'_>, step: &str) -> String {
        let last = line.value.pointer("/response/data/decisions").and_then(Value::as_array).and_then(|all| all.last());
        let told = match step {
            "approve" | "deny" => last.map_or("", |last| text(last, "/by")),
            "withdraw" | "revoke" => line.told("ended/by"),
            "review" => line.told("review/by"),
            _ if line.succeeded() => self.requester.as_str(),
            _ => "",
        };
        if told.is_empty() { line.act.display_name.clone() } else { told.to_owned() }
    }
}
