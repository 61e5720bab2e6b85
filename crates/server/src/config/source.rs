//! Where something stands in the files, and what is said about it.

use std::fmt;

/// Keys whose value is never shown when their line is quoted.
const SECRET_KEYS: [&str; 5] = ["current_key", "previous_key", "password", "secret", "token"];

/// One file that was read.
#[derive(Debug, Clone)]
pub(super) struct Source {
    /// Its name as the operator gave it.
    pub name: String,
    /// Its text.
    pub text: String,
}

/// A stretch of bytes in one of the sources.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    /// Index of the source.
    pub source: u32,
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

/// One mistake (or warning) in a configuration: where it stands, the line itself, and what to do.
/// Values of keys that hold secrets are left out of the quoted line.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// Name of the file; of the environment variable when the mistake is there.
    pub file: String,
    /// Line, from 1; 0 when the mistake has no line (a block is missing, a file cannot be read).
    pub line: u32,
    /// Column in characters, from 1.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: String,
    /// The line itself, secrets masked; empty without one.
    pub quote: String,
    /// How many characters of the line are meant, at least 1.
    pub width: u32,
}

impl Problem {
    /// A mistake that has no place in a file.
    pub fn at_large(file: impl Into<String>, message: impl Into<String>, help: impl Into<String>) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            message: message.into(),
            help: help.into(),
            quote: String::new(),
            width: 0,
        }
    }

    pub(super) fn at(sources: &[Source], span: Span, message: impl Into<String>, help: impl Into<String>) -> Self {
        let Some(source) = sources.get(span.source as usize) else {
            return Self::at_large("", message, help);
        };
        let (text, start) = (&source.text, floor(&source.text, span.start as usize));
        let begin = text[..start].rfind('\n').map_or(0, |i| i + 1);
        let end = text[start..].find('\n').map_or(text.len(), |i| start + i);
        let line = text[..begin].matches('\n').count() + 1;
        let stop = floor(text, span.end as usize).clamp(start, end);
        Self {
            file: source.name.clone(),
            line: count(line),
            column: count(text[begin..start].chars().count() + 1),
            message: message.into(),
            help: help.into(),
            quote: masked(text, begin, end),
            width: count(text[start..stop].chars().count().max(1)),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(f, "{}:{}:{}: {}", self.file, self.line, self.column, self.message)?;
            let number = self.line.to_string();
            let gutter = " ".repeat(number.len());
            let quote: String = self.quote.chars().take(160).map(|c| if c.is_control() { ' ' } else { c }).collect();
            write!(f, "\n  {number} | {quote}")?;
            let length = u32::try_from(quote.chars().count()).unwrap_or(u32::MAX);
            if self.column <= length + 1 {
                let width = self.width.min(length.saturating_sub(self.column - 1)).max(1);
                let (column, width) = (self.column as usize - 1, width as usize);
                write!(f, "\n  {gutter} | {}{}", " ".repeat(column), "^".repeat(width))?;
            }
        }
        if !self.help.is_empty() {
            write!(f, "\n  {}", self.help)?;
        }
        Ok(())
    }
}

/// The line between two places, without the values of keys that hold secrets. The rest of a line that holds one goes
/// too: where the value ends cannot be trusted in a file that has mistakes.
fn masked(text: &str, begin: usize, end: usize) -> String {
    let line = text[begin..end].trim_end_matches('\r');
    for key in SECRET_KEYS {
        for (at, _) in text[..end].match_indices(key) {
            let after = &text[at + key.len()..];
            let Some(value) = value_at(after) else { continue };
            let from = at + key.len() + value;
            let rest = &text[from..];
            // A here-document runs on; everything else ends with its line.
            let to = if rest.starts_with("<<") { text.len() } else { from + rest.find('\n').unwrap_or(rest.len()) };
            if from < begin && to > begin {
                return "[secret]".to_owned();
            }
            if (begin..end).contains(&from) {
                return format!("{}[secret]", &text[begin..from]);
            }
        }
    }
    line.to_owned()
}

/// Where the value begins, when a key has just ended: after its quote, a sign (if it was not forgotten) and blanks.
fn value_at(after: &str) -> Option<usize> {
    let rest = after.strip_prefix('"').unwrap_or(after);
    if rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
        // Another key that begins alike.
        return None;
    }
    let rest = rest.trim_start_matches([' ', '\t']);
    let rest = rest.strip_prefix(['=', ':']).map_or(rest, str::trim_start);
    Some(after.len() - rest.len())
}

/// The nearest character boundary at or before a byte.
fn floor(text: &str, at: usize) -> usize {
    let mut at = at.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn count(n: usize) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
