//! What a run found, in plain words.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::coverage::{self, Operation};
use super::diff::{Answer, Body, Difference, compare};
use super::listed::Listed;
use super::play::Transcript;
use super::script::{Act, Conversation};

/// Lines that one step may print: a different kind of body would otherwise fill the screen.
const LINES_PER_STEP: usize = 8;

/// Collects the results of a run and prints them as they come.
pub struct Report {
    listed: Vec<Listed>,
    needed: BTreeSet<usize>,
    operations: Vec<Operation>,
    succeeded: Vec<Conversation>,
    verbose: bool,
    check_list: bool,
    total: Tally,
    area: Tally,
    areas: Vec<(String, Tally)>,
    panics: Vec<String>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Tally {
    conversations: usize,
    failed: usize,
    steps: usize,
    differences: usize,
    listed: usize,
    wording: usize,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.conversations += other.conversations;
        self.failed += other.failed;
        self.steps += other.steps;
        self.differences += other.differences;
        self.listed += other.listed;
        self.wording += other.wording;
    }
}

impl Report {
    /// `check_list`: whether a listed difference that never occurred is an error (only for a run of everything).
    pub fn new(listed: Vec<Listed>, operations: Vec<Operation>, verbose: bool, check_list: bool) -> Self {
        Self {
            listed,
            needed: BTreeSet::new(),
            operations,
            succeeded: Vec::new(),
            verbose,
            check_list,
            total: Tally::default(),
            area: Tally::default(),
            areas: Vec::new(),
            panics: Vec::new(),
        }
    }

    /// Compares what both said to one conversation and prints what differs.
    pub fn add(&mut self, conversation: &Conversation, theirs: &Transcript, ours: &Transcript) {
        let mut tally = Tally { conversations: 1, steps: conversation.steps.len(), ..Tally::default() };
        for (who, transcript) in [("OpenBao", theirs), ("Dewdrop", ours)] {
            if let Some(failure) = &transcript.failure {
                tally.differences += 1;
                println!("  {}: {who} could not be played: {failure}", conversation.id());
            }
        }
        for ((step, a), b) in conversation.steps.iter().zip(&theirs.answers).zip(&ours.answers) {
            let id = format!("{}#{}", conversation.id(), step.id);
            let found = compare(&a.answer, &b.answer, &step.options);
            self.judge(&id, &a.asked, &found, &mut tally);
        }
        if tally.differences > 0 {
            tally.failed = 1;
        }
        let mut good = conversation.clone();
        let mut answers = theirs.answers.iter();
        good.steps.retain(|_| answers.next().is_some_and(|noted| (200..300).contains(&noted.answer.status)));
        self.succeeded.push(good);
        self.area.add(tally);
    }

    fn judge(&mut self, id: &str, asked: &str, found: &[Difference], tally: &mut Tally) {
        let mut said = false;
        let mut lines = 0;
        for difference in found {
            if difference.only_wording() {
                tally.wording += 1;
            } else if let Some(index) = self.listed.iter().position(|listed| listed.covers(id, &difference.place)) {
                tally.listed += 1;
                self.needed.insert(index);
                continue;
            } else {
                tally.differences += 1;
            }
            if difference.only_wording() && !self.verbose {
                continue;
            }
            if !std::mem::replace(&mut said, true) {
                println!("  {id}  {}", clip(asked));
            }
            lines += 1;
            if lines <= LINES_PER_STEP || self.verbose {
                println!("      {}: OpenBao: {}  Dewdrop: {}", difference.place, difference.theirs, difference.ours);
            }
        }
        if lines > LINES_PER_STEP && !self.verbose {
            println!("      and {} more (--verbose shows them)", lines - LINES_PER_STEP);
        }
    }

    /// Prints the line of an area.
    pub fn area_done(&mut self, name: &str) {
        let area = std::mem::take(&mut self.area);
        let verdict = if area.failed == 0 { "equal".to_owned() } else { format!("{} DIFFER", area.failed) };
        println!("{name:<14} {:>4} conversations, {:>5} steps: {verdict}", area.conversations, area.steps);
        self.total.add(area);
        self.areas.push((name.to_owned(), area));
    }

    /// Notes that our server panicked or died: a failure, whatever it answered.
    pub fn panics(&mut self, panics: Vec<String>) {
        self.panics = panics;
    }

    /// Prints the summary; an error when something differs that is not listed, or a listed line is not needed.
    pub fn finish(self) -> Result<()> {
        println!(
            "\n{:<14} {:>13} {:>6} {:>6} {:>11} {:>7} {:>8}",
            "area", "conversations", "failed", "steps", "differences", "listed", "wording"
        );
        for (name, tally) in self.areas.iter().chain([&("all".to_owned(), self.total)]) {
            println!(
                "{name:<14} {:>13} {:>6} {:>6} {:>11} {:>7} {:>8}",
                tally.conversations, tally.failed, tally.steps, tally.differences, tally.listed, tally.wording
            );
        }
        let unproven = coverage::missing(&self.operations, &self.succeeded);
        if self.check_list || self.verbose {
            println!(
                "\n{} of {} operations succeeded at least once on OpenBao",
                self.operations.len() - unproven.len(),
                self.operations.len()
            );
        }
        if self.verbose {
            unproven.iter().for_each(|operation| println!("  never: {} {}", operation.method, operation.path));
        }
        let mut idle = 0;
        if self.check_list {
            for (index, listed) in self.listed.iter().enumerate().filter(|(index, _)| !self.needed.contains(index)) {
                idle += 1;
                println!(
                    "docs/compat.md line {}: `{}` `{}` (entry {}) matches no difference any more: delete it",
                    listed.line,
                    listed.step,
                    listed.place,
                    index + 1
                );
            }
        }
        self.panics.iter().for_each(|panic| println!("Dewdrop: {panic}"));
        let passed = self.total.conversations - self.total.failed;
        println!("{passed} passed, {} failed", self.total.failed);
        if self.total.failed > 0 {
            bail!("{} conversations differ from OpenBao in ways that docs/compat.md does not list", self.total.failed);
        }
        if !self.panics.is_empty() {
            bail!("Dewdrop panicked or died {} times", self.panics.len());
        }
        if idle > 0 {
            bail!("{idle} lines of docs/compat.md are not needed any more");
        }
        Ok(())
    }
}

/// A conversation with its answers, to read.
pub fn transcript_text(conversation: &Conversation, transcript: &Transcript) -> String {
    let mut text = format!("== {}\n", conversation.id());
    if let Some(failure) = &transcript.failure {
        text.push_str(&format!("could not be played: {failure}\n"));
    }
    for (step, noted) in conversation.steps.iter().zip(&transcript.answers) {
        let how = match (&step.options.token, &step.options.namespace, &step.act) {
            (_, _, Act::Wait(_)) => String::new(),
            (token, namespace, _) => [("as", token), ("ns", namespace)]
                .iter()
                .filter_map(|(word, value)| value.as_ref().map(|value| format!("  | {word} {value}")))
                .collect(),
        };
        text.push_str(&format!("#{} {}{how}\n    {}\n", step.id, noted.asked, answer_text(&noted.answer)));
    }
    text.push('\n');
    text
}

fn answer_text(answer: &Answer) -> String {
    let headers: Vec<String> = answer
        .headers
        .iter()
        .filter(|(name, value)| {
            matches!(name.as_str(), "retry-after" | "location" | "allow")
                || (name == "content-type" && value != "application/json")
                || (name == "cache-control" && value != "no-store")
        })
        .map(|(name, value)| format!("[{name}: {value}] "))
        .collect();
    let body = match &answer.body {
        Body::Empty => String::new(),
        Body::Json(value) => value.to_string(),
        Body::Text(text) => format!("text: {text}"),
        Body::Binary(bytes) => format!("binary, starts with {bytes:02x?}"),
    };
    format!("{} {}{body}", answer.status, headers.concat())
}

fn clip(text: &str) -> String {
    text.chars().take(200).collect()
}
