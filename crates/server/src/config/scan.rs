//! The letters of both languages: blanks, comments, strings, numbers. Never fails to move on, never panics.

use super::source::{Problem, Source, Span};

/// How deep bodies and lists may nest.
pub(super) const MAX_DEPTH: usize = 32;
/// More mistakes than this are not worth reading.
pub(super) const MAX_PROBLEMS: usize = 50;

/// A reader over one source.
pub(super) struct Scanner<'a> {
    sources: &'a [Source],
    source: u32,
    pub text: &'a str,
    pub at: usize,
    pub problems: Vec<Problem>,
    /// Whether comments are allowed.
    pub comments: bool,
}

impl<'a> Scanner<'a> {
    pub fn new(sources: &'a [Source], source: usize, comments: bool) -> Self {
        let text = sources.get(source).map_or("", |s| s.text.as_str());
        let at = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
        let source = u32::try_from(source).unwrap_or(u32::MAX);
        Self { sources, source, text, at, problems: Vec::new(), comments }
    }

    pub fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    pub fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    pub fn eat(&mut self, byte: u8) -> bool {
        let hit = self.peek() == Some(byte);
        if hit {
            self.at += 1;
        }
        hit
    }

    pub fn span(&self, start: usize) -> Span {
        let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
        Span { source: self.source, start: place(start), end: place(self.at) }
    }

    /// A span of the one character that is next.
    pub fn here(&self) -> Span {
        let mut span = self.span(self.at);
        span.end += 1;
        span
    }

    pub fn complain(&mut self, span: Span, message: impl Into<String>, help: impl Into<String>) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(Problem::at(self.sources, span, message, help));
        }
    }

    /// Passes blanks and, where allowed, comments (`#`, `//`, `/* */`).
    pub fn skip_blank(&mut self) {
        loop {
            let rest = self.rest();
            let blank = rest.len() - rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.at += blank;
            let rest = self.rest();
            if !self.comments || !(rest.starts_with('#') || rest.starts_with("//") || rest.starts_with("/*")) {
                return;
            }
            if rest.starts_with("/*") {
                let start = self.at;
                match rest.find("*/") {
                    Some(end) => self.at += end + 2,
                    None => {
                        self.at = self.text.len();
                        let span = Span { end: self.span(start).start + 2, ..self.span(start) };
                        self.complain(span, "this comment is not closed", "close it with */");
                    }
                }
            } else {
                self.at += rest.find('\n').unwrap_or(rest.len());
            }
        }
    }

    /// A word of letters, digits, `_`, `-` and `.`.
    pub fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.find(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Passes the rest of the line.
    pub fn skip_line(&mut self) {
        self.at += self.rest().find('\n').unwrap_or(self.rest().len());
    }

    /// A string, the opening quote of which is next. `None` when it is not closed on its line.
    pub fn string(&mut self) -> Option<String> {
        let start = self.at;
        self.at += 1;
        let mut out = String::new();
        while let Some(c) = self.rest().chars().next() {
            match c {
                '"' => {
                    self.at += 1;
                    return Some(out);
                }
                '\n' => break,
                '\\' => self.escape(&mut out),
                c => {
                    self.at += c.len_utf8();
                    out.push(c);
                }
            }
        }
        let span = self.span(start);
        self.complain(span, "this string is not closed", "close it with a double quote on the same line");
        None
    }

    fn escape(&mut self, out: &mut String) {
        let start = self.at;
        self.at += 1;
        let Some(c) = self.rest().chars().next().filter(|c| *c != '\n') else { return };
        self.at += c.len_utf8();
        match c {
            'n' => out.push('\n'),
            't' => out.push('\t'),
            'r' => out.push('\r'),
            'b' => out.push('\u{8}'),
            'f' => out.push('\u{c}'),
            '"' | '\\' | '/' => out.push(c),
            'u' => match self.unicode() {
                Some(c) => out.push(c),
                None => {
                    let span = self.span(start);
                    self.complain(span, "this is no character", "write \\u and four hexadecimal digits");
                }
            },
            _ => {
                let span = self.span(start);
                self.complain(span, "this escape is not known", "to write a backslash itself, double it: \\\\");
            }
        }
    }

    fn unicode(&mut self) -> Option<char> {
        let high = self.four()?;
        if !(0xd800..0xdc00).contains(&high) {
            return char::from_u32(high);
        }
        self.at += self.rest().starts_with("\\u").then_some(2)?;
        let low = self.four().filter(|low| (0xdc00..0xe000).contains(low))?;
        char::from_u32(0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00))
    }

    fn four(&mut self) -> Option<u32> {
        let digits = self.rest().get(..4)?;
        let value = digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())??;
        self.at += 4;
        Some(value)
    }
}
