//! Characters to tokens.

use super::SyntaxError;

/// A token and its line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) line: u32,
}

/// The kinds of token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    Word(String),
    Text(String),
    Number(String),
    Assign,
    Comma,
    Open,
    Close,
    ListOpen,
    ListClose,
    End,
}

impl Token {
    pub(super) fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, message: message.into() }
    }
}

impl Kind {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Word(_) => "a word",
            Self::Text(_) => "a string",
            Self::Number(_) => "a number",
            Self::Assign => "`=`",
            Self::Comma => "`,`",
            Self::Open => "`{`",
            Self::Close => "`}`",
            Self::ListOpen => "`[`",
            Self::ListClose => "`]`",
            Self::End => "the end of the text",
        }
    }
}

pub(super) struct Lexer<'a> {
    rest: &'a str,
    line: u32,
    pub(super) json: bool,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, json: bool) -> Self {
        Self { rest: text, line: 1, json }
    }

    /// The next token; [`Kind::End`] for ever at the end.
    pub(super) fn next(&mut self) -> Result<Token, SyntaxError> {
        self.skip_blank()?;
        let line = self.line;
        let Some(first) = self.rest.chars().next() else { return Ok(Token { kind: Kind::End, line }) };
        let kind = match first {
            '{' => self.mark(Kind::Open),
            '}' => self.mark(Kind::Close),
            '[' => self.mark(Kind::ListOpen),
            ']' => self.mark(Kind::ListClose),
            ',' => self.mark(Kind::Comma),
            '=' => self.mark(Kind::Assign),
            ':' if self.json => self.mark(Kind::Assign),
            '"' => Kind::Text(self.string()?),
            '<' if self.rest.starts_with("<<") => Kind::Text(self.heredoc()?),
            '-' | '0'..='9' => self.number()?,
            c if c.is_alphabetic() || c == '_' => Kind::Word(self.word()),
            c => return Err(self.error(format!("unexpected character {c:?}"))),
        };
        Ok(Token { kind, line })
    }

    fn error(&self, message: impl Into<String>) -> SyntaxError {
        SyntaxError { line: self.line, message: message.into() }
    }

    fn mark(&mut self, kind: Kind) -> Kind {
        self.take(1);
        kind
    }

    /// Goes on by some bytes, which must end on a character.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        let lines = taken.bytes().filter(|b| *b == b'\n').count();
        self.line = self.line.saturating_add(u32::try_from(lines).unwrap_or(u32::MAX));
        self.rest = rest;
        taken
    }

    fn skip_blank(&mut self) -> Result<(), SyntaxError> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start_matches([' ', '\t', '\r', '\n']).len();
            self.take(blank);
            if self.json {
                return Ok(());
            }
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.take(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest[2..].find("*/") else {
                    return Err(self.error("the comment is not closed: add `*/`"));
                };
                self.take(end + 4);
            } else {
                return Ok(());
            }
        }
    }

    fn word(&mut self) -> String {
        let inner = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
        let end = self.rest.find(|c| !inner(c)).unwrap_or(self.rest.len());
        self.take(end).to_owned()
    }

    fn number(&mut self) -> Result<Kind, SyntaxError> {
        let sign = usize::from(self.rest.starts_with('-'));
        let mut after_exponent = false;
        let hex = self.rest[sign..].starts_with("0x") || self.rest[sign..].starts_with("0X");
        let mut outside = |c: char| {
            let signed = after_exponent && matches!(c, '+' | '-');
            after_exponent = !hex && matches!(c, 'e' | 'E');
            !(c.is_ascii_alphanumeric() || c == '.' || signed)
        };
        let end = self.rest[sign..].find(&mut outside).map_or(self.rest.len(), |end| end + sign);
        let text = &self.rest[..end];
        let digits = &text[sign..];
        let good = match digits.get(2..).filter(|_| hex) {
            Some(hex) => i64::from_str_radix(hex, 16).is_ok(),
            None => digits.starts_with(|c: char| c.is_ascii_digit()) && text.parse::<f64>().is_ok(),
        };
        if !good {
            return Err(self.error("this is not a number: put strings in double quotes"));
        }
        Ok(Kind::Number(self.take(end).to_owned()))
    }

    fn string(&mut self) -> Result<String, SyntaxError> {
        let mut out = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.take(at + 1);
                    return Ok(out);
                }
                '\n' => break,
                '\\' => {
                    let (c, used) = escape(&self.rest[at + 1..], self.json).map_err(|message| self.error(message))?;
                    out.push(c);
                    // Escapes are ASCII: as many characters as bytes.
                    if used > 0 {
                        chars.nth(used - 1);
                    }
                }
                c => out.push(c),
            }
        }
        Err(self.error("the string is not closed on its line: add `\"`"))
    }

    /// `<<EOT`, or `<<-EOT` with its lines' common indentation taken away.
    fn heredoc(&mut self) -> Result<String, SyntaxError> {
        let unclosed = |lexer: &Self| lexer.error("the text after << has no line that ends it");
        let head = self.rest.find('\n').ok_or_else(|| unclosed(self))?;
        let written = self.rest[2..head].trim_end_matches('\r');
        let mark = written.strip_prefix('-').unwrap_or(written);
        if mark.is_empty() || !mark.chars().all(|c| c.is_alphanumeric() || c == '_') {
            return Err(self.error("after `<<` a word such as EOT must end the line"));
        }
        let mut lines = Vec::new();
        let mut at = head + 1;
        for line in self.rest[head + 1..].split_inclusive('\n') {
            if line.trim() == mark {
                // The line break after the mark stays for the next token.
                self.take(at + line.trim_end().len());
                return Ok(if written.starts_with('-') { unindent(&lines) } else { lines.concat() });
            }
            at += line.len();
            lines.push(line);
        }
        Err(unclosed(self))
    }
}

fn unindent(lines: &[&str]) -> String {
    let indent = |line: &&str| line.len() - line.trim_start_matches([' ', '\t']).len();
    let least = lines.iter().filter(|line| !line.trim().is_empty()).map(indent).min().unwrap_or(0);
    lines.iter().map(|line| line.get(least..).unwrap_or("\n")).collect()
}

/// The character that an escape means, and how many bytes it takes after the backslash.
fn escape(rest: &str, json: bool) -> Result<(char, usize), String> {
    let bad = || "this escape is not known: in strings use \\\" \\\\ \\n \\t or \\uXXXX".to_owned();
    let number = |from: usize, digits: usize, radix: u32| {
        let text =
            rest.get(from..from + digits).filter(|text| text.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(bad)?;
        u32::from_str_radix(text, radix).map_err(|_| bad())
    };
    let char = |code: u32| char::from_u32(code).ok_or_else(bad);
    let plain = match rest.chars().next().ok_or_else(bad)? {
        'u' if json => return json_unicode(rest, number(1, 4, 16)?).ok_or_else(bad),
        'u' => return Ok((char(number(1, 4, 16)?)?, 5)),
        'U' if !json => return Ok((char(number(1, 8, 16)?)?, 9)),
        'x' if !json => return number(1, 2, 16).and_then(ascii).map(|c| (c, 3)),
        '0'..='7' if !json => return number(0, 3, 8).and_then(ascii).map(|c| (c, 3)),
        '/' if json => '/',
        'a' if !json => '\u{7}',
        'v' if !json => '\u{b}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        '\\' => '\\',
        '"' => '"',
        _ => return Err(bad()),
    };
    Ok((plain, 1))
}

fn ascii(code: u32) -> Result<char, String> {
    char::from_u32(code)
        .filter(char::is_ascii)
        .ok_or_else(|| "write characters beyond ASCII as they are or as \\uXXXX".into())
}

/// JSON writes characters beyond the first plane as two escapes.
fn json_unicode(rest: &str, first: u32) -> Option<(char, usize)> {
    if let Some(c) = char::from_u32(first) {
        return Some((c, 5));
    }
    let low = rest.get(5..11)?.strip_prefix("\\u")?;
    let low = u16::from_str_radix(low, 16).ok()?;
    let pair = [u16::try_from(first).ok()?, low];
    char::decode_utf16(pair).next()?.ok().map(|c| (c, 11))
}
