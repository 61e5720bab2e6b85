//! Reads the first version of HashiCorp's configuration language (HCL 1) and JSON into one tree that keeps the lines.
//!
//! Policies are HCL 1, which no crate reads: several attributes may stand on one line, commas between them are optional,
//! block types and labels may be quoted, keys may hold dots, `${` means nothing. Duplicate keys are kept, because a
//! policy may name the same path twice and the second may be the one that says `deny`.

mod lexer;
#[cfg(test)]
mod tests;

use lexer::{Kind, Lexer, Token};

/// The longest text that is read at all.
pub const MAX_TEXT: usize = 1024 * 1024;
/// How deep objects and lists may nest.
pub const MAX_DEPTH: usize = 32;

/// A text that could not be read: where, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: u32,
    /// What is wrong there.
    pub message: String,
}

/// `key = value`, or `key "label" { ... }`.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The key, then the labels.
    pub keys: Vec<String>,
    /// What is given to it.
    pub value: Node,
    /// The line of the key.
    pub line: u32,
}

/// A value and the line that it starts on.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The line, from 1.
    pub line: u32,
    /// The value.
    pub value: Value,
}

/// The kinds of value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `{ ... }`, in the order of the text, duplicates kept.
    Object(Vec<Item>),
    /// `[ ... ]`.
    List(Vec<Node>),
    /// A string.
    Text(String),
    /// A number, as written.
    Number(String),
    /// `true` or `false`.
    Bool(bool),
    /// `null`; only JSON has it.
    Null,
}

impl Value {
    /// For messages: `a string`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Object(_) => "an object",
            Self::List(_) => "a list",
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Null => "null",
        }
    }
}

/// The items of a text, and whether it was JSON (which is told by its first character, `{`).
///
/// # Errors
/// The text is longer than [`MAX_TEXT`], nests deeper than [`MAX_DEPTH`], or is neither HCL nor JSON.
pub fn parse(text: &str) -> Result<(Vec<Item>, bool), SyntaxError> {
    if text.len() > MAX_TEXT {
        let message = format!("the text has {} bytes; at most {MAX_TEXT} are read", text.len());
        return Err(SyntaxError { line: 1, message });
    }
    let json = text.trim_start().starts_with('{');
    if json {
        // JSON is stricter than the reader below, so it is checked as a whole first.
        serde_json::from_str::<serde::de::IgnoredAny>(text).map_err(|e| SyntaxError {
            line: u32::try_from(e.line()).unwrap_or(u32::MAX),
            message: format!("not JSON (a text that starts with a brace is read as JSON): {e}"),
        })?;
    }
    let mut reader = Reader { lexer: Lexer::new(text, json), ahead: None };
    let items = if json {
        let open = reader.next()?;
        reader.object(1, &open)?
    } else {
        reader.items(0, None)?
    };
    Ok((items, json))
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    ahead: Option<Token>,
}

impl Reader<'_> {
    fn next(&mut self) -> Result<Token, SyntaxError> {
        self.ahead.take().map_or_else(|| self.lexer.next(), Ok)
    }

    fn peek(&mut self) -> Result<&Token, SyntaxError> {
        if self.ahead.is_none() {
            self.ahead = Some(self.lexer.next()?);
        }
        match &self.ahead {
            Some(token) => Ok(token),
            None => Err(SyntaxError { line: 1, message: "the text ends too early".into() }),
        }
    }

    fn skip_comma(&mut self) -> Result<(), SyntaxError> {
        if self.peek()?.kind == Kind::Comma {
            self.next()?;
        }
        Ok(())
    }

    /// Items up to `}` (when `open` is the line of its `{`) or to the end of the text.
    fn items(&mut self, depth: usize, open: Option<u32>) -> Result<Vec<Item>, SyntaxError> {
        let mut items = Vec::new();
        loop {
            let token = self.next()?;
            match (&token.kind, open) {
                (Kind::End, None) | (Kind::Close, Some(_)) => return Ok(items),
                (Kind::End, Some(line)) => {
                    return Err(
                        token.error(format!("the text ends, but the brace of line {line} is not closed: add `}}`"))
                    );
                }
                (Kind::Word(_) | Kind::Text(_), _) => items.push(self.item(depth, token)?),
                (other, _) => {
                    let message = format!("expected a key such as `path` or `capabilities`, found {}", other.name());
                    return Err(token.error(message));
                }
            }
            self.skip_comma()?;
        }
    }

    fn item(&mut self, depth: usize, first: Token) -> Result<Item, SyntaxError> {
        let line = first.line;
        let mut keys = Vec::with_capacity(2);
        let mut token = first;
        loop {
            match token.kind {
                Kind::Word(word) | Kind::Text(word) => keys.push(word),
                Kind::Assign if keys.len() == 1 => {
                    let token = self.next()?;
                    return Ok(Item { keys, value: self.value(depth, token)?, line });
                }
                Kind::Assign => return Err(token.error("a block takes no `=` between its label and `{`: remove it")),
                Kind::Open => {
                    let value = Value::Object(self.object(depth + 1, &token)?);
                    return Ok(Item { keys, value: Node { line: token.line, value }, line });
                }
                ref other => {
                    let message = format!("after a key expected `=` or `{{`, found {}", other.name());
                    return Err(token.error(message));
                }
            }
            token = self.next()?;
        }
    }

    fn object(&mut self, depth: usize, open: &Token) -> Result<Vec<Item>, SyntaxError> {
        deep(depth, open)?;
        self.items(depth, Some(open.line))
    }

    fn value(&mut self, depth: usize, token: Token) -> Result<Node, SyntaxError> {
        let line = token.line;
        let value = match token.kind {
            Kind::Text(text) => Value::Text(text),
            Kind::Number(text) => Value::Number(text),
            Kind::Open => Value::Object(self.object(depth + 1, &token)?),
            Kind::ListOpen => Value::List(self.list(depth + 1, &token)?),
            Kind::Word(ref word) => match word.as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" if self.lexer.json => Value::Null,
                _ => return Err(token.error("a word alone is no value: put strings in double quotes")),
            },
            ref other => return Err(token.error(format!("expected a value, found {}", other.name()))),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: usize, open: &Token) -> Result<Vec<Node>, SyntaxError> {
        deep(depth, open)?;
        let mut values = Vec::new();
        loop {
            let token = self.next()?;
            match token.kind {
                Kind::ListClose => return Ok(values),
                Kind::End => {
                    let message = format!("the text ends, but the list of line {} is not closed: add `]`", open.line);
                    return Err(token.error(message));
                }
                _ => values.push(self.value(depth, token)?),
            }
            let token = self.next()?;
            match token.kind {
                Kind::ListClose => return Ok(values),
                Kind::Comma => {}
                ref other => return Err(token.error(format!("in a list expected `,` or `]`, found {}", other.name()))),
            }
        }
    }
}

fn deep(depth: usize, at: &Token) -> Result<(), SyntaxError> {
    if depth > MAX_DEPTH {
        return Err(at.error(format!("objects and lists may nest {MAX_DEPTH} deep, no deeper")));
    }
    Ok(())
}
