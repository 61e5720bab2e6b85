//! Reads the two languages: HCL (the subset that a policy can hold, in its first version: attributes need no line of their
//! own) and JSON.

use serde_json::Value;

use super::PolicyError;

/// What the text says.
#[derive(Debug, Default)]
pub(super) struct Raw {
    pub(super) length: Option<i64>,
    pub(super) rules: Vec<RawRule>,
}

#[derive(Debug, Default)]
pub(super) struct RawRule {
    pub(super) charset: String,
    pub(super) min_chars: i64,
}

/// Nobody needs more; a bound on the work that a text can cause.
const MAX_TEXT: usize = 64 * 1024;

pub(super) fn read(text: &str) -> Result<Raw, PolicyError> {
    if text.len() > MAX_TEXT {
        return Err(PolicyError::Syntax { line: 1, what: "the text is longer than 64 KiB".into() });
    }
    if text.trim_start().starts_with('{') {
        let value: Value = serde_json::from_str(text)
            .map_err(|e| PolicyError::Syntax { line: e.line(), what: "this is not JSON".into() })?;
        return from_json(&value);
    }
    let mut parser = Parser { rest: text, line: 1 };
    let body = parser.body(0)?;
    if parser.skip_blank()? && !parser.rest.is_empty() {
        return Err(parser.met("a name"));
    }
    from_items(body)
}

// === HCL ===

enum Item {
    Attribute(String, Literal),
    Block(String, Vec<String>, Vec<Item>),
}

enum Literal {
    Text(String),
    Number(f64),
    Other,
}

struct Parser<'a> {
    rest: &'a str,
    line: usize,
}

impl Parser<'_> {
    fn body(&mut self, depth: usize) -> Result<Vec<Item>, PolicyError> {
        if depth > 8 {
            return Err(self.syntax("blocks are nested too deeply".into()));
        }
        let mut items = Vec::new();
        loop {
            self.skip_blank()?;
            if self.rest.is_empty() || self.rest.starts_with('}') {
                return Ok(items);
            }
            items.push(self.item(depth)?);
            self.skip_blank()?;
            self.take(',');
        }
    }

    fn item(&mut self, depth: usize) -> Result<Item, PolicyError> {
        let name = self.name()?;
        self.skip_blank()?;
        if self.take('=') {
            self.skip_blank()?;
            return Ok(Item::Attribute(name, self.literal(depth)?));
        }
        let mut labels = Vec::new();
        while !self.take('{') {
            labels.push(self.name()?);
            self.skip_blank()?;
        }
        let body = self.body(depth + 1)?;
        if !self.take('}') {
            return Err(self.met("\"}\""));
        }
        Ok(Item::Block(name, labels, body))
    }

    fn name(&mut self) -> Result<String, PolicyError> {
        if self.rest.starts_with('"') {
            return self.text();
        }
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '_' | '-' | '.')));
        match self.advance(end.unwrap_or(self.rest.len())) {
            "" => Err(self.met("a name")),
            name => Ok(name.to_owned()),
        }
    }

    fn literal(&mut self, depth: usize) -> Result<Literal, PolicyError> {
        if depth > 8 {
            return Err(self.syntax("lists are nested too deeply".into()));
        }
        if self.rest.starts_with('"') {
            return self.text().map(Literal::Text);
        }
        if self.take('[') {
            loop {
                self.skip_blank()?;
                if self.take(']') {
                    return Ok(Literal::Other);
                }
                self.literal(depth + 1)?;
                self.skip_blank()?;
                self.take(',');
            }
        }
        let end = self.rest.find(|c: char| !(c.is_alphanumeric() || matches!(c, '.' | '+' | '-')));
        let word = self.advance(end.unwrap_or(self.rest.len())).to_owned();
        match word.as_str() {
            "" => Err(self.met("a value")),
            "true" | "false" => Ok(Literal::Other),
            word => word
                .parse()
                .map(Literal::Number)
                .map_err(|_| self.syntax("this is not a value: put text in double quotes".into())),
        }
    }

    /// A quoted text with the escapes of HCL. It ends on its own line.
    fn text(&mut self) -> Result<String, PolicyError> {
        let mut chars = self.rest.char_indices().skip(1);
        let mut text = String::new();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.advance(at + 1);
                    return Ok(text);
                }
                '\n' => break,
                '\\' => match chars.next() {
                    Some((_, 'n')) => text.push('\n'),
                    Some((_, 'r')) => text.push('\r'),
                    Some((_, 't')) => text.push('\t'),
                    Some((_, c @ ('"' | '\\'))) => text.push(c),
                    Some((_, marker @ ('u' | 'U'))) => {
                        let digits = if marker == 'u' { 4 } else { 8 };
                        let code: String = chars.by_ref().take(digits).map(|(_, c)| c).collect();
                        let decoded = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
                        text.push(decoded.ok_or_else(|| self.syntax("a \\u is followed by no character".into()))?);
                    }
                    _ => return Err(self.syntax("an unknown escape in a text".into())),
                },
                c => text.push(c),
            }
        }
        Err(self.syntax("a text is not closed".into()))
    }

    /// Skips blanks and comments. Always true, for use in conditions.
    fn skip_blank(&mut self) -> Result<bool, PolicyError> {
        loop {
            let blank = self.rest.len() - self.rest.trim_start().len();
            self.advance(blank);
            if self.rest.starts_with('#') || self.rest.starts_with("//") {
                self.advance(self.rest.find('\n').unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let end = self.rest.find("*/").ok_or_else(|| self.syntax("a comment is not closed".into()))?;
                self.advance(end + 2);
            } else {
                return Ok(true);
            }
        }
    }

    fn take(&mut self, c: char) -> bool {
        let there = self.rest.starts_with(c);
        if there {
            self.advance(c.len_utf8());
        }
        there
    }

    fn advance(&mut self, bytes: usize) -> &str {
        let (done, rest) = self.rest.split_at_checked(bytes).unwrap_or((self.rest, ""));
        self.line += done.matches('\n').count();
        self.rest = rest;
        done
    }

    fn met(&self, expected: &str) -> PolicyError {
        let met = self.rest.chars().next().map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"));
        self.syntax(format!("expected {expected}, met {met}"))
    }

    fn syntax(&self, what: String) -> PolicyError {
        PolicyError::Syntax { line: self.line, what }
    }
}

fn from_items(items: Vec<Item>) -> Result<Raw, PolicyError> {
    let mut raw = Raw::default();
    for item in items {
        match item {
            Item::Attribute(name, value) if name == "length" => raw.length = Some(whole("length", &value)?),
            Item::Block(name, labels, body) if name == "rule" => raw.rules.push(rule_of_block(labels, body)?),
            _ => {}
        }
    }
    Ok(raw)
}

fn rule_of_block(labels: Vec<String>, body: Vec<Item>) -> Result<RawRule, PolicyError> {
    let kind = labels.into_iter().next().unwrap_or_default();
    if kind != "charset" {
        return Err(PolicyError::UnknownRule);
    }
    let mut rule = RawRule::default();
    for item in body {
        let Item::Attribute(name, value) = item else { continue };
        match (name.as_str(), value) {
            ("charset", Literal::Text(text)) => rule.charset = text,
            ("charset", _) => return Err(PolicyError::WrongType("charset", "a text")),
            ("min-chars", value) => rule.min_chars = whole("min-chars", &value)?,
            _ => {}
        }
    }
    Ok(rule)
}

#[expect(clippy::cast_possible_truncation, reason = "cut to whole numbers within ±1e9, as the API does with 10.5")]
fn whole(name: &'static str, value: &Literal) -> Result<i64, PolicyError> {
    match value {
        Literal::Number(number) if number.is_finite() => Ok(number.clamp(-1e9, 1e9) as i64),
        _ => Err(PolicyError::WrongType(name, "a number")),
    }
}

// === JSON ===

fn from_json(value: &Value) -> Result<Raw, PolicyError> {
    let mut raw = Raw::default();
    if let Some(length) = value.get("length") {
        raw.length = Some(json_whole("length", length)?);
    }
    let rules: Vec<&Value> = match value.get("rule") {
        Some(Value::Array(rules)) => rules.iter().collect(),
        Some(rule) => vec![rule],
        None => Vec::new(),
    };
    for rule in rules {
        let kinds = rule.as_object().ok_or(PolicyError::WrongType("rule", "an object"))?;
        for (kind, body) in kinds {
            if kind != "charset" {
                return Err(PolicyError::UnknownRule);
            }
            let charset = body.get("charset").and_then(Value::as_str).ok_or(PolicyError::NoCharset)?.to_owned();
            let min_chars = body.get("min-chars").map_or(Ok(0), |min| json_whole("min-chars", min))?;
            raw.rules.push(RawRule { charset, min_chars });
        }
    }
    Ok(raw)
}

fn json_whole(name: &'static str, value: &Value) -> Result<i64, PolicyError> {
    whole(name, &value.as_f64().map_or(Literal::Other, Literal::Number))
}
