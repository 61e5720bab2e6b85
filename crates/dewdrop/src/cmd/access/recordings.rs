//! Recordings of sessions: which there are, and which of them show a text. Recordings are encrypted where they lie, and there
//! is no index of their words: each one that may be read is read, and searched here.

use clap::Args;
use dewdrop_api::Call;
use dewdrop_core::{Moment, SystemClock};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::replay::{event, part};
use super::{Mount, told};
use crate::ctx::Ctx;
use crate::duration;
use crate::failure::{Failure, Result};
use crate::output::{line, say, table};
use crate::terminal::lines::Lines;

/// So much of a line is shown, around what was found.
const AROUND: usize = 60;
/// So many lines of a recording are told, unless said otherwise.
const MOST: usize = 100;
/// Nothing was found, as grep has it.
const NOTHING: u8 = 1;

/// `dewdrop access recordings`.
#[derive(Debug, Args)]
pub struct Recordings {
    #[command(flatten)]
    mount: Mount,
    /// Only those that show this text; exit code 1 when none does
    #[arg(long, value_name = "TEXT")]
    search: Option<String>,
    /// With -search: capital letters or small ones
    #[arg(short = 'i', long)]
    ignore_case: bool,
    /// With -search: what was typed as well, also where it was not shown
    #[arg(long)]
    typed: bool,
    /// With -search: at most so many lines of each recording
    #[arg(long, default_value_t = MOST, value_name = "COUNT")]
    most: usize,
    /// Only of this person
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Only those that ended after this: 2h, 7d, or 2026-01-31T08:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only in this pod
    #[arg(long, value_name = "NAME")]
    pod: Option<String>,
    /// Only in this namespace of the cluster
    #[arg(long, value_name = "NAME")]
    pod_namespace: Option<String>,
    /// Only of this cluster
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// Only by this grant
    #[arg(long, value_name = "ID")]
    grant: Option<String>,
}

/// A line that has the text.
#[derive(Debug, Serialize, PartialEq)]
struct Hit {
    /// The recording.
    recording: String,
    /// Seconds since its beginning.
    at: f64,
    /// Whether it was typed, and not seen.
    typed: bool,
    /// The line, without anything that moves a terminal.
    line: String,
}

/// What is searched for.
struct Needle {
    text: String,
    ignore_case: bool,
}

impl Recordings {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let since = self.since.as_deref().map(|text| moment(text, SystemClock::shared().now())).transpose()?;
        let call = Call::list(&self.mount.path("recordings")?)?;
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error listing recordings"))?;
        let data = envelope.and_then(|envelope| envelope.data).map(|data| data.expose().clone()).unwrap_or_default();
        let chosen = self.chosen(&data, since);
        match &self.search {
            Some(text) => self.found(ctx, text, &chosen).await,
            None => list(ctx, &chosen),
        }
    }

    fn chosen(&self, data: &Map<String, Value>, since: Option<Moment>) -> Vec<(String, Map<String, Value>)> {
        let wanted = [
            ("user", &self.person),
            ("name", &self.pod),
            ("namespace", &self.pod_namespace),
            ("cluster", &self.cluster),
            ("grant", &self.grant),
        ];
        let is_wanted = |about: &Map<String, Value>| {
            wanted.iter().all(|(field, only)| {
                only.as_ref().is_none_or(|only| about.get(*field).and_then(Value::as_str) == Some(only))
            }) && since.is_none_or(|since| is_after(about, since))
        };
        let chosen = told::entries(data).filter(|(_, about)| is_wanted(about));
        chosen.map(|(id, about)| (id.to_owned(), about.clone())).collect()
    }

    async fn found(&self, ctx: &Ctx, text: &str, chosen: &[(String, Map<String, Value>)]) -> Result<u8> {
        let needle = Needle::new(text, self.ignore_case)?;
        let (mut hits, mut unread, mut more) = (Vec::new(), Vec::new(), Vec::new());
        for (id, about) in chosen {
            let mut found = match self.search_in(ctx, id, &needle).await {
                // Whoever may read some of them is told what those show, and which others there are.
                Err(e) if e.status() == Some(403) => {
                    unread.push(id.clone());
                    continue;
                }
                found => found?,
            };
            let is_more = found.len() > self.most;
            found.truncate(self.most);
            if ctx.out.is_table() && !found.is_empty() {
                say(&words(id, about, &found));
                if is_more {
                    say("             and more; -most COUNT shows them\n");
                }
            }
            if is_more {
                more.push(id.clone());
            }
            hits.push((id, about, found));
        }
        hits.retain(|(_, _, found)| !found.is_empty());
        let code = if hits.is_empty() { NOTHING } else { 0 };
        if !ctx.out.is_table() {
            let lines: Vec<&Hit> = hits.iter().flat_map(|(_, _, found)| found).collect();
            let about: Map<String, Value> = hits.iter().map(|(id, about, _)| ((*id).clone(), json!(about))).collect();
            let told = json!({ "hits": lines, "recordings": about, "searched": chosen.len() - unread.len(), "not_readable": unread, "more_in": more });
            ctx.out.structured(&told)?;
            return Ok(code);
        }
        if !unread.is_empty() {
            line(&format!("{} of {} recordings may not be read by you.", unread.len(), chosen.len()));
        }
        if hits.is_empty() {
            line(&format!("None of the {} recording(s) that were searched has it.", chosen.len() - unread.len()));
        }
        Ok(code)
    }

    /// Reads a recording some pieces at a time; no more of it is held than a line.
    async fn search_in(&self, ctx: &Ctx, id: &str, needle: &Needle) -> Result<Vec<Hit>> {
        let (mut seen, mut typed, mut hits) = (Lines::default(), Lines::default(), Vec::new());
        // One more than is told: it says that there are more.
        let most = self.most.saturating_add(1);
        let mut from = Some(0);
        let mut tell = |is_typed: bool, at: f64, line: &str| {
            if let (Some(line), true) = (needle.around(line), hits.len() < most) {
                hits.push(Hit { recording: id.to_owned(), at, typed: is_typed, line });
            }
        };
        while let Some(number) = from {
            let part = part(ctx, &self.mount, id, number).await?;
            let cast = part.get("cast").and_then(Value::as_str).unwrap_or_default();
            for event in cast.lines().filter_map(event) {
                match event.typed {
                    true if self.typed => typed.read(event.at, &event.bytes, &mut |at, line| tell(true, at, line)),
                    true => {}
                    false => seen.read(event.at, &event.bytes, &mut |at, line| tell(false, at, line)),
                }
            }
            from = part.get("next").and_then(Value::as_u64);
        }
        seen.end(&mut |at, line| tell(false, at, line));
        typed.end(&mut |at, line| tell(true, at, line));
        Ok(hits)
    }
}

impl Needle {
    fn new(text: &str, ignore_case: bool) -> Result<Self> {
        if text.is_empty() {
            return Err(Failure::usage("-search needs a text"));
        }
        let text = if ignore_case { text.to_lowercase() } else { text.to_owned() };
        Ok(Self { text, ignore_case })
    }

    /// The line around the text; `None`: it does not have it.
    fn around(&self, line: &str) -> Option<String> {
        let folded = if self.ignore_case { line.to_lowercase() } else { line.to_owned() };
        let at = folded.find(&self.text)?;
        let before = folded.get(..at)?.chars().count();
        let after = before + self.text.chars().count() + AROUND;
        let from = before.saturating_sub(AROUND);
        let mut shown: String = line.chars().skip(from).take(after - from).collect();
        if from > 0 {
            shown.insert(0, '…');
        }
        if line.chars().nth(after).is_some() {
            shown.push('…');
        }
        Some(shown)
    }
}

/// An age, or a time.
fn moment(text: &str, now: Moment) -> Result<Moment> {
    match Moment::parse_rfc3339(text) {
        Ok(moment) => Ok(moment),
        Err(_) => Ok(now.minus(std::time::Duration::from_secs(
            duration::seconds(text)
                .map_err(|e| e.doing("-since").hint("write it as 2h, 7d, or 2026-01-31T08:00:00Z"))?,
        ))),
    }
}

/// One that goes on still has no end.
fn is_after(about: &Map<String, Value>, since: Moment) -> bool {
    let ended = about.get("ended_at").and_then(Value::as_str).unwrap_or_default();
    Moment::parse_rfc3339(ended).map_or(true, |ended| ended >= since)
}

fn words(id: &str, about: &Map<String, Value>, hits: &[Hit]) -> String {
    let text = |name: &str| told::text(about, name);
    let place = format!("{}/{} of {}", text("namespace"), text("name"), text("cluster"));
    let mut said = format!("{id}  {} in {place}, {}, grant {}\n", text("user"), text("began_at"), text("grant"));
    for hit in hits {
        let typed = if hit.typed { " typed:" } else { "" };
        said.push_str(&format!("  {:>9}{typed}  {}\n", clock(hit.at), hit.line.trim_end()));
    }
    said
}

/// `1:02:03.4`, from the beginning.
fn clock(at: f64) -> String {
    let at = at.clamp(0.0, 1e9);
    let (hours, minutes, seconds) = ((at / 3600.0).floor(), (at / 60.0).floor() % 60.0, at % 60.0);
    if hours > 0.0 { format!("{hours}:{minutes:02}:{seconds:04.1}") } else { format!("{minutes}:{seconds:04.1}") }
}

fn list(ctx: &Ctx, chosen: &[(String, Map<String, Value>)]) -> Result<u8> {
    if chosen.is_empty() {
        return told::nothing(ctx, "There are no recordings.");
    }
    if !ctx.out.is_table() {
        let keys: Vec<&String> = chosen.iter().map(|(id, _)| id).collect();
        let info: Map<String, Value> = chosen.iter().map(|(id, about)| (id.clone(), json!(about))).collect();
        return ctx.out.structured(&json!({ "keys": keys, "key_info": info }));
    }
    let row = |(id, about): &(String, Map<String, Value>)| {
        let cells = ["began_at", "ended_at", "user", "grant", "target", "namespace", "name"];
        std::iter::once(id.clone()).chain(cells.map(|name| told::text(about, name))).collect()
    };
    let rows: Vec<Vec<String>> = chosen.iter().map(row).collect();
    let heads = ["Recording", "Began", "Ended", "Who", "Grant", "What", "Namespace", "Pod"];
    say(&table::columns(Some(&heads), &rows));
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_around_it() {
        let needle = |text, ignore| Needle::new(text, ignore).unwrap();
        assert_eq!(needle("Drop", false).around("a drop"), None);
        assert_eq!(needle("Drop", true).around("a DROP b").unwrap(), "a DROP b");
        let long = format!("{}é needle é{}", "x".repeat(200), "y".repeat(200));
        let shown = needle("needle", false).around(&long).unwrap();
        assert!(shown.starts_with('…') && shown.ends_with('…') && shown.contains("é needle é"), "{shown}");
        assert!(shown.chars().count() < 140);
        assert!(Needle::new("", false).is_err());
    }

    #[test]
    fn times() {
        let now = Moment::parse_rfc3339("2026-01-01T02:00:00Z").unwrap();
        let hour = Moment::parse_rfc3339("2026-01-01T01:00:00Z").unwrap();
        assert_eq!(moment("1h", now).unwrap(), hour);
        assert_eq!(moment("2026-01-01T01:00:00Z", now).unwrap(), hour);
        assert!(moment("yesterday", now).is_err());
        assert_eq!((clock(3.25), clock(75.0), clock(3723.0)), ("0:03.2".into(), "1:15.0".into(), "1:02:03.0".into()));
    }
}
