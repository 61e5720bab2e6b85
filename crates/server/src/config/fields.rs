//! Typed reading of one body. Each setting is asked for by name; what nobody asked for is reported at the end, with the
//! nearest name that is known.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use super::source::{Problem, Source, Span};
use super::tree::{Block, Body, Item, Node, Value};
use super::value;

/// Collects what is wrong while a configuration is read.
pub(super) struct Report<'a> {
    sources: &'a [Source],
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<Problem>>,
    /// The files have syntax errors: what seems to be missing may stand in what could not be read.
    broken: bool,
}

impl<'a> Report<'a> {
    pub fn new(sources: &'a [Source], broken: bool) -> Self {
        Self { sources, problems: RefCell::default(), warnings: RefCell::default(), broken }
    }

    pub fn problem(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.problems.borrow_mut().push(Problem::at(self.sources, span, message, help));
    }

    pub fn warning(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        self.warnings.borrow_mut().push(Problem::at(self.sources, span, message, help));
    }

    /// Something that a block needs is not there.
    pub fn lacking(&self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        if !self.broken {
            self.problem(span, message, help);
        }
    }

    /// A whole block is not there, or two do not fit together.
    pub fn at_large(&self, message: &str, help: &str) {
        if self.broken {
            return;
        }
        let name = self.sources.first().map_or("configuration", |s| s.name.as_str());
        self.problems.borrow_mut().push(Problem::at_large(name, message, help));
    }

    /// Problems, warnings.
    pub fn into_parts(self) -> (Vec<Problem>, Vec<Problem>) {
        (self.problems.into_inner(), self.warnings.into_inner())
    }
}

/// A setting that is known but not built.
pub(super) struct Unbuilt {
    pub key: &'static str,
    pub rule: Rule,
    pub why: &'static str,
}

/// What happens to a setting that is not built.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// It makes no difference: accepted with a warning.
    Harmless,
    /// Going on without it would not be what the operator asked for: refused.
    Refused,
    /// Refused unless it is false, 0 or empty.
    RefusedIfSet,
}

/// Reads one body.
pub(super) struct Fields<'a> {
    pub report: &'a Report<'a>,
    body: &'a Body,
    /// Where the body's head stands.
    pub span: Span,
    /// How the body is called in messages.
    pub place: String,
    used: Vec<bool>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    pub fn new(report: &'a Report<'a>, body: &'a Body, place: impl Into<String>) -> Self {
        let used = vec![false; body.items.len()];
        Self { report, body, span: body.span, place: place.into(), used, known: Vec::new() }
    }

    /// The fields of a block.
    pub fn of(report: &'a Report<'a>, block: &Block<'a>, place: impl Into<String>) -> Self {
        Self { span: block.span(), ..Self::new(report, block.body, place) }
    }

    /// The last item of a name. A second one in the same file is a mistake; a later file overrules.
    fn take(&mut self, key: &'static str) -> Option<&'a Item> {
        self.known.push(key);
        let mut found: Option<&'a Item> = None;
        for (item, used) in self.body.items.iter().zip(&mut self.used) {
            if item.key.name != key {
                continue;
            }
            *used = true;
            if let Some(first) = found.filter(|first| first.key.span.source == item.key.span.source) {
                let line = Problem::at(self.report.sources, first.key.span, "", "").line;
                let message = format!("{key:?} is set twice (first on line {line})");
                self.report.problem(item.key.span, message, "keep one of them");
            }
            found = Some(item);
        }
        found.filter(|item| item.node.value != Value::Null)
    }

    fn wrong(&self, node: &Node, key: &str, message: impl std::fmt::Display, help: &str) {
        self.report.problem(node.span, format!("{key:?} {message}"), help);
    }

    /// A scalar as text, with its place.
    pub fn spanned(&mut self, key: &'static str) -> Option<(String, Span)> {
        let item = self.take(key)?;
        let text = match &item.node.value {
            Value::Text(text) | Value::Number(text) => text.clone(),
            Value::Bool(bool) => bool.to_string(),
            Value::List(_) | Value::Body(_) | Value::Null => {
                self.wrong(&item.node, key, "must be a single value", "write it as a string in double quotes");
                return None;
            }
        };
        if !item.labels.is_empty() {
            self.wrong(&item.node, key, "takes no label", "write key = value");
        }
        Some((text, item.node.span))
    }

    /// A scalar read by a function that says what is wrong.
    pub fn read<T>(&mut self, key: &'static str, read: impl FnOnce(&str) -> Result<T, String>) -> Option<T> {
        let (text, span) = self.spanned(key)?;
        match read(&text) {
            Ok(value) => Some(value),
            Err(help) => {
                self.report.problem(span, format!("{key:?} cannot be read"), help);
                None
            }
        }
    }

    pub fn text(&mut self, key: &'static str) -> Option<String> {
        self.spanned(key).map(|(text, _)| text)
    }

    /// A text that is not empty.
    pub fn filled(&mut self, key: &'static str) -> Option<String> {
        self.text(key).filter(|text| !text.is_empty())
    }

    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.read(key, |text| value::boolean(text).ok_or_else(|| "write true or false".into()))
    }

    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.read(key, value::duration)
    }

    pub fn integer(&mut self, key: &'static str) -> Option<i64> {
        self.read(key, |text| text.trim().parse().map_err(|_| "write a whole number".into()))
    }

    /// A size; negative: no limit (`None` inside).
    pub fn limit(&mut self, key: &'static str) -> Option<Option<u64>> {
        self.read(key, |text| if text.trim().starts_with('-') { Ok(None) } else { value::size(text).map(Some) })
    }

    /// A list of texts; a single text is split at commas.
    pub fn list(&mut self, key: &'static str) -> Option<Vec<(String, Span)>> {
        let item = self.take(key)?;
        let split = |text: &str, span: Span| -> Vec<(String, Span)> {
            text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(|t| (t.to_owned(), span)).collect()
        };
        match &item.node.value {
            Value::Text(text) => Some(split(text, item.node.span)),
            Value::List(nodes) => Some(
                nodes
                    .iter()
                    .filter_map(|node| match &node.value {
                        Value::Text(text) => Some((text.clone(), node.span)),
                        _ => {
                            self.wrong(node, key, "must hold strings only", "write [\"one\", \"two\"]");
                            None
                        }
                    })
                    .collect(),
            ),
            _ => {
                self.wrong(&item.node, key, "must be a list of strings", "write [\"one\", \"two\"]");
                None
            }
        }
    }

    /// `host:port`.
    pub fn socket(&mut self, key: &'static str) -> Option<SocketAddr> {
        self.read(key, |text| {
            let text = text.strip_prefix("localhost").map_or_else(|| text.into(), |port| format!("127.0.0.1{port}"));
            if let Some(port) = text.strip_prefix(':') {
                return port.parse().map(|p: u16| SocketAddr::from(([0, 0, 0, 0], p))).map_err(|_| ADDRESS_HELP.into());
            }
            text.parse().map_err(|_| ADDRESS_HELP.into())
        })
    }

    /// All blocks of a name, with `labels` labels each.
    pub fn blocks(&mut self, key: &'static str, labels: usize) -> Vec<Block<'a>> {
        self.known.push(key);
        let mut found = Vec::new();
        for (item, used) in self.body.items.iter().zip(&mut self.used) {
            if item.key.name == key {
                *used = true;
                let report = self.report;
                found.extend(item.blocks(labels, &mut |node| {
                    report.problem(node.span, format!("{key:?} must be a block"), format!("write {key} {{ }}"));
                }));
            }
        }
        found
    }

    /// The one block of a name.
    pub fn block(&mut self, key: &'static str) -> Option<Fields<'a>> {
        let blocks = self.blocks(key, 0);
        if let [first, .., last] = blocks.as_slice()
            && first.key.span.source == last.key.span.source
        {
            self.report.problem(last.key.span, format!("{key:?} stands here twice"), "put all of it into one block");
        }
        blocks.last().map(|block| Fields::of(self.report, block, key))
    }

    /// A block of texts.
    pub fn map(&mut self, key: &'static str) -> BTreeMap<String, (String, Span)> {
        let mut map = BTreeMap::new();
        for item in self.blocks(key, 0).iter().flat_map(|block| &block.body.items) {
            let text = match &item.node.value {
                Value::Text(text) | Value::Number(text) => text.clone(),
                Value::Bool(bool) => bool.to_string(),
                _ => {
                    self.wrong(&item.node, &item.key.name, "must be a single value", "write it as a string");
                    continue;
                }
            };
            map.insert(item.key.name.clone(), (text, item.node.span));
        }
        map
    }

    /// Settings that are known and not built.
    pub fn unbuilt(&mut self, table: &[Unbuilt]) {
        for Unbuilt { key, rule, why } in table {
            self.known.push(key);
            for (item, used) in self.body.items.iter().zip(&mut self.used) {
                if item.key.name != *key {
                    continue;
                }
                *used = true;
                let unset = match &item.node.value {
                    Value::Text(text) | Value::Number(text) => value::boolean(text) == Some(false),
                    Value::Bool(set) => !set,
                    Value::Null => true,
                    Value::List(nodes) => nodes.is_empty(),
                    Value::Body(_) => false,
                };
                match rule {
                    Rule::Harmless => self.report.warning(item.key.span, format!("{key:?} has no effect"), *why),
                    Rule::RefusedIfSet if unset => {}
                    Rule::Refused | Rule::RefusedIfSet => {
                        self.report.problem(item.key.span, format!("{key:?} is not supported"), *why);
                    }
                }
            }
        }
    }

    /// Reports what nobody asked for.
    pub fn finish(self) {
        for (item, _) in self.body.items.iter().zip(&self.used).filter(|(_, used)| !**used) {
            let name = &item.key.name;
            let help = value::nearest(name, self.known.iter().copied()).map_or_else(
                || "remove it, or see the manual for the settings of this place".to_owned(),
                |near| format!("did you mean {near:?}?"),
            );
            self.report.problem(item.key.span, format!("{name:?} is no setting of {}", self.place), help);
        }
    }
}

/// What an address looks like.
const ADDRESS_HELP: &str = "write an IP address and a port: \"127.0.0.1:8200\", \"0.0.0.0:8200\" or \"[::1]:8200\"";
