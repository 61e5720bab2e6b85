//! The list of exceptions: `RULE NAME REASON...`, one to a line; `#` begins a comment.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::Finding;

const FILE: &str = "xtask/rooms.txt";
const RULES: &[&str] = &["lines", "function", "trait", "struct", "word", "host"];

/// What is allowed by name.
#[derive(Debug, Default)]
pub struct Exceptions {
    /// By rule and name: the line in the file, and whether it was needed.
    listed: BTreeMap<(String, String), (usize, bool)>,
}

impl Exceptions {
    /// Reads the file; none is no exception.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        Self::parse(&std::fs::read_to_string(path).with_context(|| format!("cannot read {FILE}"))?)
    }

    /// Reads the text.
    pub fn parse(text: &str) -> Result<Self> {
        let mut listed = BTreeMap::new();
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let mut words = line.split_whitespace();
            let (Some(rule), Some(name), Some(_reason)) = (words.next(), words.next(), words.next()) else {
                bail!("{FILE}:{}: write RULE NAME REASON, and the reason in words", at + 1);
            };
            if !RULES.contains(&rule) {
                bail!("{FILE}:{}: there is no rule {rule:?}; there are {}", at + 1, RULES.join(", "));
            }
            listed.insert((rule.to_owned(), name.to_owned()), (at + 1, false));
        }
        Ok(Self { listed })
    }

    /// Whether `name` is excepted from `rule`. To ask is to need.
    pub fn allow(&mut self, rule: &str, name: &str) -> bool {
        let found = self.listed.get_mut(&(rule.to_owned(), name.to_owned()));
        found.map(|(_, needed)| *needed = true).is_some()
    }

    /// Those that nobody needed.
    pub fn unused(&self) -> Vec<Finding> {
        let unused = self.listed.iter().filter(|(_, (_, needed))| !needed);
        let told = |(rule, name): &(String, String), line: usize| {
            Finding::stop(
                format!("{FILE}:{line}"),
                format!("nothing needs this exception: {rule} {name}"),
                "remove the line",
            )
        };
        unused.map(|(key, (line, _))| told(key, *line)).collect()
    }
}
