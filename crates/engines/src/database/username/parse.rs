//! From text to nodes.

use super::{Command, Function, Node, Operand, Pipeline, TemplateError};

const LONGEST_TEMPLATE: usize = 4096;
const DEEPEST: usize = 16;

pub(super) fn template(text: &str) -> Result<Vec<Node>, TemplateError> {
    if text.len() > LONGEST_TEMPLATE {
        return Err(TemplateError(format!("it is longer than {LONGEST_TEMPLATE} bytes")));
    }
    let mut nodes = Vec::new();
    let mut rest = text;
    let mut trim_next = false;
    while let Some((before, action)) = rest.split_once("{{") {
        let (action, trim_before) = action.strip_prefix("- ").map_or((action, false), |inner| (inner, true));
        push_text(&mut nodes, before, trim_next, trim_before);
        let mut parser = Parser { rest: action };
        parser.skip_blank();
        if parser.rest.starts_with("/*") {
            let (_, after) = parser.rest.split_once("*/").ok_or_else(|| bad("a comment is not closed"))?;
            parser.rest = after;
        } else {
            let pipeline = parser.pipeline(0)?;
            nodes.push(Node::Action(pipeline));
        }
        parser.skip_blank();
        trim_next = parser.eat("-}}");
        if !trim_next && !parser.eat("}}") {
            return Err(bad("expected }} after the value"));
        }
        rest = parser.rest;
    }
    push_text(&mut nodes, rest, trim_next, false);
    Ok(nodes)
}

fn push_text(nodes: &mut Vec<Node>, text: &str, trim_start: bool, trim_end: bool) {
    let text = if trim_start { text.trim_start() } else { text };
    let text = if trim_end { text.trim_end() } else { text };
    if !text.is_empty() {
        nodes.push(Node::Text(text.to_owned()));
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl Parser<'_> {
    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, TemplateError> {
        if depth > DEEPEST {
            return Err(bad("parentheses are nested too deeply"));
        }
        let mut pipeline = Vec::new();
        loop {
            pipeline.push(self.command(depth)?);
            self.skip_blank();
            if !self.eat("|") {
                return Ok(pipeline);
            }
        }
    }

    fn command(&mut self, depth: usize) -> Result<Command, TemplateError> {
        let mut command = Vec::new();
        loop {
            self.skip_blank();
            if self.rest.is_empty() || ["|", ")", "}}", "-}}"].iter().any(|end| self.rest.starts_with(end)) {
                break;
            }
            command.push(self.operand(depth)?);
        }
        match command.as_slice() {
            [] => Err(bad("a value is missing")),
            [first, _, ..] if !matches!(first, Operand::Function(_)) => Err(bad("only a function can take arguments")),
            [_, arguments @ ..]
                if arguments.iter().any(|a| matches!(a, Operand::Function(f) if f.takes_arguments())) =>
            {
                Err(bad("a function as an argument needs parentheses: (random 8)"))
            }
            _ => Ok(command),
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Operand, TemplateError> {
        if self.eat("(") {
            let inner = self.pipeline(depth + 1)?;
            self.skip_blank();
            return if self.eat(")") { Ok(Operand::Group(inner)) } else { Err(bad("a parenthesis is not closed")) };
        }
        if self.rest.starts_with('"') {
            return self.quoted().map(Operand::Text);
        }
        if let Some(raw) = self.rest.strip_prefix('`') {
            let (text, after) = raw.split_once('`').ok_or_else(|| bad("a text is not closed"))?;
            self.rest = after;
            return Ok(Operand::Text(text.to_owned()));
        }
        let word = self.word();
        match word {
            ".DisplayName" => return Ok(Operand::DisplayName),
            ".RoleName" => return Ok(Operand::RoleName),
            _ => {}
        }
        if word.starts_with('.') {
            return Err(bad("there is no such field: use .DisplayName or .RoleName"));
        }
        if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '+') {
            return word.parse().map(Operand::Number).map_err(|_| bad("a number must be whole"));
        }
        Function::named(word).map(Operand::Function).ok_or_else(|| match word {
            "" => bad("a sign is not understood here"),
            _ => bad("function not defined"),
        })
    }

    fn word(&mut self) -> &str {
        let signed = usize::from(self.rest.starts_with(['-', '+', '.']));
        let ends = |c: char| !(c.is_alphanumeric() || c == '_');
        let end = self.rest.get(signed..).and_then(|rest| rest.find(ends)).map_or(self.rest.len(), |end| end + signed);
        let (word, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        word
    }

    fn quoted(&mut self) -> Result<String, TemplateError> {
        let mut text = String::new();
        let mut chars = self.rest.char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.rest = self.rest.get(at + 1..).unwrap_or_default();
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match chars.next().map(|(_, c)| c) {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some(c @ ('"' | '\\' | '\'')) => text.push(c),
                    Some('u') => {
                        let code: String = chars.by_ref().take(4).map(|(_, c)| c).collect();
                        let decoded = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        text.push(decoded.ok_or_else(|| bad("a \\u is followed by no character"))?);
                    }
                    _ => return Err(bad("an unknown escape in a text")),
                },
                c => text.push(c),
            }
        }
        Err(bad("a text is not closed"))
    }

    fn skip_blank(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        let after = self.rest.strip_prefix(token);
        self.rest = after.unwrap_or(self.rest);
        after.is_some()
    }
}

impl Function {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "random" => Self::Random,
            "truncate" => Self::Truncate,
            "truncate_sha256" => Self::TruncateSha256,
            "uppercase" => Self::Uppercase,
            "lowercase" => Self::Lowercase,
            "replace" => Self::Replace,
            "sha256" => Self::Sha256,
            "base64" => Self::Base64,
            "unix_time" => Self::UnixTime,
            "unix_time_millis" => Self::UnixTimeMillis,
            "timestamp" => Self::Timestamp,
            "uuid" => Self::Uuid,
            "printf" => Self::Printf,
            "print" => Self::Print,
            _ => return None,
        })
    }

    fn takes_arguments(self) -> bool {
        !matches!(self, Self::UnixTime | Self::UnixTimeMillis | Self::Uuid)
    }
}

fn bad(what: &str) -> TemplateError {
    TemplateError(what.to_owned())
}
