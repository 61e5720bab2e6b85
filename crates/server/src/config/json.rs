//! JSON with the place of each value, so that a mistake in a setting can be shown on its line.
//! Strict (RFC 8259): a syntax error ends the reading, as what follows cannot be trusted.

use super::scan::{MAX_DEPTH, Scanner};
use super::source::{Problem, Source};
use super::tree::{Body, Item, Key, Node, Value};

/// Reads one source, which must hold one object.
pub(super) fn parse(sources: &[Source], index: usize) -> (Body, Vec<Problem>) {
    let mut reader = Reader { scan: Scanner::new(sources, index, false) };
    let body = reader.document();
    (body.unwrap_or_default(), reader.scan.problems)
}

struct Reader<'a> {
    scan: Scanner<'a>,
}

impl Reader<'_> {
    fn document(&mut self) -> Option<Body> {
        self.scan.skip_blank();
        let node = self.value(0)?;
        self.scan.skip_blank();
        if self.scan.peek().is_some() {
            self.unexpected("the end of the file");
            return None;
        }
        match node.value {
            Value::Body(body) => Some(body),
            _ => {
                self.scan.complain(node.span, "a configuration must be an object", "begin it with {");
                None
            }
        }
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        let start = self.scan.at;
        if depth > MAX_DEPTH {
            let span = self.scan.here();
            self.scan.complain(span, format!("nested deeper than {MAX_DEPTH}"), "no setting needs that");
            return None;
        }
        let value = match self.scan.peek() {
            Some(b'{') => Value::Body(self.object(depth)?),
            Some(b'[') => Value::List(self.list(depth)?),
            Some(b'"') => Value::Text(self.scan.string()?),
            _ => self.plain(start)?,
        };
        Some(Node { value, span: self.scan.span(start) })
    }

    fn plain(&mut self, start: usize) -> Option<Value> {
        self.scan.eat(b'-');
        let word = self.scan.word();
        // A number may hold a plus in its exponent.
        if word.ends_with(['e', 'E']) && self.scan.eat(b'+') {
            self.scan.word();
        }
        let written = &self.scan.text[start..self.scan.at];
        match written {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" => Some(Value::Null),
            _ if serde_json::from_str::<serde_json::Number>(written).is_ok() => Some(Value::Number(written.to_owned())),
            "" => {
                self.unexpected("a value");
                None
            }
            _ => {
                let span = self.scan.span(start);
                self.scan.complain(span, "this is no value", "put it in double quotes");
                None
            }
        }
    }

    fn object(&mut self, depth: usize) -> Option<Body> {
        let start = self.scan.at;
        self.scan.at += 1;
        let mut items = Vec::new();
        self.scan.skip_blank();
        if !self.scan.eat(b'}') {
            loop {
                self.scan.skip_blank();
                let from = self.scan.at;
                if self.scan.peek() != Some(b'"') {
                    self.unexpected("a key in double quotes");
                    return None;
                }
                let key = Key { name: self.scan.string()?, span: self.scan.span(from) };
                self.scan.skip_blank();
                if !self.scan.eat(b':') {
                    self.unexpected("a colon");
                    return None;
                }
                self.scan.skip_blank();
                let node = self.value(depth + 1)?;
                items.push(Item { key, labels: Vec::new(), node });
                if self.ends(b'}', "a comma or }")? {
                    break;
                }
            }
        }
        Some(Body { items, span: self.scan.span(start) })
    }

    fn list(&mut self, depth: usize) -> Option<Vec<Node>> {
        self.scan.at += 1;
        let mut nodes = Vec::new();
        self.scan.skip_blank();
        if self.scan.eat(b']') {
            return Some(nodes);
        }
        loop {
            self.scan.skip_blank();
            nodes.push(self.value(depth + 1)?);
            if self.ends(b']', "a comma or ]")? {
                return Some(nodes);
            }
        }
    }

    /// After an element: `true` at the closing sign, `false` after a comma.
    fn ends(&mut self, close: u8, wanted: &str) -> Option<bool> {
        self.scan.skip_blank();
        if self.scan.eat(close) {
            return Some(true);
        }
        if self.scan.eat(b',') {
            return Some(false);
        }
        self.unexpected(wanted);
        None
    }

    fn unexpected(&mut self, wanted: &str) {
        let found = self.scan.rest().chars().next();
        let message = found.map_or_else(
            || format!("the file ends where {wanted} was expected"),
            |c| format!("{wanted} was expected, not {c:?}"),
        );
        let span = self.scan.here();
        self.scan.complain(span, message, "the file must be one JSON object, or HCL");
    }
}
