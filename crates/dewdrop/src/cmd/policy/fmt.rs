//! policy fmt: one way to write a policy file. Comments stay; what is no HCL is refused before anything is written.

use std::io::Write as _;

use clap::Args;

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;

/// `dewdrop policy fmt`.
#[derive(Debug, Args)]
pub struct Fmt {
    /// File to format in place
    file: String,
}

impl Fmt {
    pub(super) fn run(self, ctx: &Ctx) -> Result<u8> {
        let text = input::text_of(&self.file)?;
        let formatted = format(&text).map_err(|e| e.doing(&format!("Error formatting {}", self.file)))?;
        if formatted != text {
            replace(&self.file, &formatted).map_err(|e| Failure::usage(format!("Error writing {}: {e}", self.file)))?;
        }
        ctx.out.done(&format!("Success! Formatted policy: {}", self.file))
    }
}

/// Replaces the file in one step, with the mode it had.
fn replace(file: &str, text: &str) -> std::io::Result<()> {
    let mode = std::fs::metadata(file)?.permissions();
    let temporary = format!("{file}.new-{}", std::process::id());
    let mut new = std::fs::File::create_new(&temporary)?;
    let done = new.write_all(text.as_bytes()).and_then(|()| new.set_permissions(mode)).and_then(|()| new.sync_all());
    done.and_then(|()| std::fs::rename(&temporary, file)).inspect_err(|_| {
        // The first error is told.
        let _ = std::fs::remove_file(&temporary);
    })
}

/// The text in its one form.
fn format(text: &str) -> Result<String> {
    let meaning = |text: &str| hcl::from_str::<hcl::Value>(text).map_err(|e| not_hcl(&e));
    let before = meaning(text)?;
    let formatted = align(&lay_out(&tokens(text)));
    // The formatter must never change what a policy says: better no format than another policy.
    if meaning(&formatted).ok().as_ref() != Some(&before) {
        return Err(Failure::usage(
            "the file uses a form of HCL that cannot be formatted without a change of meaning; it was left as it is",
        ));
    }
    Ok(formatted)
}

/// Where it breaks. The parser would show the line, and a log of a pipeline is no place for what may stand there.
fn not_hcl(error: &hcl::Error) -> Failure {
    match error {
        hcl::Error::Parse(error) => {
            let at = error.location();
            Failure::usage(format!("HCL parse error in line {}, column {}", at.line(), at.column()))
        }
        _ => Failure::usage("the file is not HCL as policies use it"),
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Word(String),
    Comment(String),
    Mark(char),
    Line,
}

fn tokens(text: &str) -> Vec<Token> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '\n' => {
                found.push(Token::Line);
                1
            }
            c if c.is_whitespace() => c.len_utf8(),
            '"' => push(&mut found, rest, quoted(rest), Token::Word),
            '#' => push(&mut found, rest, rest.find('\n').unwrap_or(rest.len()), Token::Comment),
            '/' if rest.starts_with("//") => {
                push(&mut found, rest, rest.find('\n').unwrap_or(rest.len()), Token::Comment)
            }
            '/' if rest.starts_with("/*") => {
                push(&mut found, rest, rest.find("*/").map_or(rest.len(), |at| at + 2), Token::Comment)
            }
            '<' if rest.starts_with("<<") => push(&mut found, rest, heredoc(rest), Token::Word),
            '{' | '}' | '[' | ']' | '=' | ',' | ':' => {
                found.push(Token::Mark(first));
                1
            }
            _ => {
                let end = rest.find(|c: char| c.is_whitespace() || "{}[]=,:\"#".contains(c)).unwrap_or(rest.len());
                push(&mut found, rest, end.max(first.len_utf8()), Token::Word)
            }
        };
        rest = &rest[length..];
    }
    found
}

fn push(found: &mut Vec<Token>, rest: &str, length: usize, make: fn(String) -> Token) -> usize {
    found.push(make(rest[..length].trim_end().to_owned()));
    length
}

fn quoted(rest: &str) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return at + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

fn heredoc(rest: &str) -> usize {
    let line = rest.lines().next().unwrap_or(rest);
    let mark = line.trim_start_matches("<<").trim_start_matches('-').trim();
    let mut at = line.len() + 1;
    for body in rest.get(at..).unwrap_or("").split_inclusive('\n') {
        at += body.len();
        if body.trim() == mark {
            return at - (body.len() - body.trim_end_matches('\n').len());
        }
    }
    rest.len()
}

/// Breaks lines after `{` and before `}`, keeps those of the author otherwise (at most one blank line), indents by two.
fn lay_out(tokens: &[Token]) -> Vec<String> {
    let mut page = Page::default();
    for (at, token) in tokens.iter().enumerate() {
        let next = tokens.get(at + 1);
        match token {
            Token::Line => {
                let doubled = at > 0 && tokens[at - 1] == Token::Line;
                let closing = tokens[at..]
                    .iter()
                    .find(|t| **t != Token::Line)
                    .is_none_or(|t| matches!(t, Token::Mark('}' | ']')));
                page.end_line();
                if doubled && !closing {
                    page.blank();
                }
            }
            Token::Comment(text) | Token::Word(text) => page.add(text),
            Token::Mark('{') => {
                page.add("{");
                if next != Some(&Token::Mark('}')) {
                    page.opened += 1;
                    // A comment behind the brace stays there.
                    if !matches!(next, Some(Token::Comment(_))) {
                        page.end_line();
                    }
                }
            }
            Token::Mark('}') => {
                page.close_brace();
                if !matches!(next, Some(Token::Mark(',' | ']') | Token::Comment(_))) {
                    page.end_line();
                }
            }
            Token::Mark('[') => {
                page.add("[");
                page.opened += usize::from(next == Some(&Token::Line));
            }
            Token::Mark(']') => page.close_bracket(),
            Token::Mark(',') => page.line.push(','),
            Token::Mark(mark) => page.add(&mark.to_string()),
        }
    }
    page.end_line();
    page.lines
}

/// Lines, done and in the making.
#[derive(Default)]
struct Page {
    lines: Vec<String>,
    line: String,
    depth: usize,
    /// Brackets opened on this line: the next is indented by so much more.
    opened: usize,
}

impl Page {
    fn add(&mut self, text: &str) {
        if !self.line.is_empty() && !self.line.ends_with('[') {
            self.line.push(' ');
        }
        self.line.push_str(text);
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.lines.push(format!("{}{}", "  ".repeat(self.depth), self.line));
            self.line.clear();
        }
        self.depth += std::mem::take(&mut self.opened);
    }

    fn blank(&mut self) {
        if self.lines.last().is_some_and(|l| !l.is_empty() && !l.ends_with(['{', '['])) {
            self.lines.push(String::new());
        }
    }

    fn close_brace(&mut self) {
        if !self.line.ends_with('{') {
            self.end_line();
            self.depth = self.depth.saturating_sub(1);
        }
        self.line.push('}');
    }

    fn close_bracket(&mut self) {
        if self.line.is_empty() {
            self.depth = self.depth.saturating_sub(1);
        }
        self.line.push(']');
    }
}

/// Puts the `=` of neighbouring lines below each other.
fn align(lines: &[String]) -> String {
    let split = |line: &str| -> Option<(String, String)> {
        let (name, value) = line.split_once(" = ")?;
        let plain = name
            .trim_start()
            .chars()
            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '"' | '*' | '/' | '.' | '+'));
        (plain && !value.ends_with(['[', '{'])).then(|| (name.to_owned(), value.to_owned()))
    };
    let mut out = String::new();
    let mut at = 0;
    while at < lines.len() {
        let group: Vec<_> = lines[at..].iter().map_while(|line| split(line)).collect();
        let width = group.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, value) in &group {
            out.push_str(&format!("{name}{} = {value}\n", " ".repeat(width - name.chars().count())));
        }
        if group.is_empty() {
            out.push_str(&lines[at]);
            out.push('\n');
        }
        at += group.len().max(1);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn policies_get_their_one_form() {
        // As `bao policy fmt` writes the same files.
        let cases = [
            (
                "path \"secret/data/*\" { capabilities = [\"read\",\"list\"] }",
                "path \"secret/data/*\" {\n  capabilities = [\"read\", \"list\"]\n}\n",
            ),
            (
                "# top\npath \"a\" {\ncapabilities=[\"read\"] # why\n   min_wrapping_ttl   = \"1s\"\n}\n\n\n\npath \"b\" {\n}\n",
                "# top\npath \"a\" {\n  capabilities     = [\"read\"] # why\n  min_wrapping_ttl = \"1s\"\n}\n\npath \"b\" {\n}\n",
            ),
            (
                "path \"a\" {\n  allowed_parameters = {\n\"x\" = [\"1\", \"2\"]\n\"yy\" = []\n}\n}\n",
                "path \"a\" {\n  allowed_parameters = {\n    \"x\"  = [\"1\", \"2\"]\n    \"yy\" = []\n  }\n}\n",
            ),
        ];
        for (given, wanted) in cases {
            assert_eq!(format(given).unwrap(), wanted);
            assert_eq!(format(wanted).unwrap(), wanted, "not stable");
        }
    }

    #[test]
    fn what_is_no_hcl_is_refused() {
        assert!(format("path \"a\" {").is_err());
        assert!(format("path = = 1").is_err());
    }
}
