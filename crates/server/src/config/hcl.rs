//! HCL as OpenBao reads it (HCL 1): quoted or bare keys, several items on a line with or without commas, lists,
//! here-documents, no expressions. `${` is plain text. hcl-edit reads HCL 2 and stops at the first mistake; an operator
//! wants all of them, so this reader goes on at the next line.

use super::scan::{MAX_DEPTH, Scanner};
use super::source::{Problem, Source};
use super::tree::{Body, Item, Key, Node, Value};

/// Reads one source. What could be read is returned beside the mistakes.
pub(super) fn parse(sources: &[Source], index: usize) -> (Body, Vec<Problem>) {
    let mut reader = Reader { scan: Scanner::new(sources, index, true) };
    let body = reader.body(0, None);
    (body, reader.scan.problems)
}

struct Reader<'a> {
    scan: Scanner<'a>,
}

impl Reader<'_> {
    /// Items up to `}` (when `open`, the place of the opening brace, is given) or the end.
    fn body(&mut self, depth: usize, open: Option<usize>) -> Body {
        let start = self.scan.at;
        let mut items = Vec::new();
        loop {
            self.scan.skip_blank();
            match self.scan.peek() {
                None => {
                    if let Some(open) = open {
                        let mut span = self.scan.span(open);
                        span.end = span.start + 1;
                        self.scan.complain(span, "this brace is not closed", "close the block with }");
                    }
                    break;
                }
                Some(b'}') if open.is_some() => {
                    self.scan.at += 1;
                    break;
                }
                Some(b',' | b';') => self.scan.at += 1,
                Some(_) => items.extend(self.item(depth)),
            }
        }
        Body { items, span: self.scan.span(start) }
    }

    fn item(&mut self, depth: usize) -> Option<Item> {
        let before = self.scan.at;
        let Some(key) = self.key() else {
            if self.scan.at == before {
                let span = self.scan.here();
                self.scan.complain(
                    span,
                    "a key was expected here",
                    "write key = value, or a block: name \"label\" { }",
                );
            }
            self.recover(before);
            return None;
        };
        let mut labels = Vec::new();
        loop {
            self.blanks_in_line();
            match self.scan.peek() {
                Some(b'=' | b':') => {
                    self.scan.at += 1;
                    self.blanks_in_line();
                    let node = self.value(depth)?;
                    return Some(Item { key, labels, node });
                }
                Some(b'{') => {
                    let node = self.braces(depth)?;
                    return Some(Item { key, labels, node });
                }
                _ => {
                    let at = self.scan.at;
                    let Some(label) = self.key() else {
                        if self.scan.at == at {
                            let help = format!("write {} = value, or {} {{ }} for a block", key.name, key.name);
                            self.scan.complain(key.span, format!("{:?} has no value", key.name), help);
                        }
                        self.recover(at);
                        return None;
                    };
                    labels.push(label);
                }
            }
        }
    }

    fn key(&mut self) -> Option<Key> {
        let start = self.scan.at;
        let name = if self.scan.peek() == Some(b'"') { self.scan.string()? } else { self.scan.word().to_owned() };
        (self.scan.at > start).then(|| Key { name, span: self.scan.span(start) })
    }

    fn value(&mut self, depth: usize) -> Option<Node> {
        let start = self.scan.at;
        let value = match self.scan.peek() {
            Some(b'"') => match self.scan.string() {
                Some(text) => Value::Text(text),
                None => return None,
            },
            Some(b'{') => return self.braces(depth),
            Some(b'[') => self.list(depth)?,
            Some(b'<') if self.scan.rest().starts_with("<<") => Value::Text(self.here_document()?),
            _ => self.plain(start)?,
        };
        Some(Node { value, span: self.scan.span(start) })
    }

    fn plain(&mut self, start: usize) -> Option<Value> {
        self.scan.eat(b'-');
        let word = self.scan.word();
        let written = &self.scan.text[start..self.scan.at];
        match word {
            "true" => return Some(Value::Bool(true)),
            "false" => return Some(Value::Bool(false)),
            _ => {}
        }
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            if written.parse::<f64>().is_ok() || written.starts_with("0x") {
                return Some(Value::Number(written.to_owned()));
            }
            let span = self.scan.span(start);
            self.scan.complain(span, "this is no number", "put it in double quotes");
            return None;
        }
        let span = if written.is_empty() { self.scan.here() } else { self.scan.span(start) };
        if written.is_empty() {
            self.scan.complain(
                span,
                "a value was expected here",
                "write a string, a number, true, false, a list or a block",
            );
            self.recover(start);
        } else {
            self.scan.complain(span, "this is no value", "put it in double quotes");
        }
        None
    }

    fn braces(&mut self, depth: usize) -> Option<Node> {
        let start = self.scan.at;
        self.scan.at += 1;
        if depth >= MAX_DEPTH {
            self.too_deep();
            return None;
        }
        let body = self.body(depth + 1, Some(start));
        Some(Node { value: Value::Body(body), span: self.scan.span(start) })
    }

    fn list(&mut self, depth: usize) -> Option<Value> {
        let start = self.scan.at;
        self.scan.at += 1;
        if depth >= MAX_DEPTH {
            self.too_deep();
            return None;
        }
        let mut nodes = Vec::new();
        loop {
            self.scan.skip_blank();
            match self.scan.peek() {
                None => {
                    let mut span = self.scan.span(start);
                    span.end = span.start + 1;
                    self.scan.complain(span, "this list is not closed", "close it with ]");
                    return None;
                }
                Some(b']') => {
                    self.scan.at += 1;
                    return Some(Value::List(nodes));
                }
                Some(b',') => self.scan.at += 1,
                Some(_) => {
                    let before = self.scan.at;
                    nodes.extend(self.value(depth + 1));
                    if self.scan.at == before {
                        self.scan.skip_line();
                    }
                }
            }
        }
    }

    /// `<<EOF` or `<<-EOF` up to a line that holds the word alone.
    fn here_document(&mut self) -> Option<String> {
        let start = self.scan.at;
        self.scan.at += 2;
        let indented = self.scan.eat(b'-');
        let mark = self.scan.word();
        let span = self.scan.span(start);
        self.scan.skip_line();
        let mut lines = Vec::new();
        while !mark.is_empty() && self.scan.at < self.scan.text.len() {
            self.scan.at += 1;
            let from = self.scan.at;
            self.scan.skip_line();
            let line = &self.scan.text[from..self.scan.at];
            if line.trim() == mark {
                let cut = if indented { indent(&lines) } else { 0 };
                return Some(lines.iter().map(|l: &&str| format!("{}\n", l.get(cut..).unwrap_or(""))).collect());
            }
            lines.push(line);
        }
        self.scan.complain(span, "this text has no end", format!("end it with a line that holds {mark:?} alone"));
        None
    }

    fn blanks_in_line(&mut self) {
        while matches!(self.scan.peek(), Some(b' ' | b'\t')) {
            self.scan.at += 1;
        }
    }

    /// After a mistake: go on at the next line, and always go on.
    fn recover(&mut self, before: usize) {
        if self.scan.at == before && self.scan.peek() == Some(b'}') {
            self.scan.at += 1;
            return;
        }
        self.scan.skip_line();
    }

    fn too_deep(&mut self) {
        let span = self.scan.here();
        self.scan.complain(span, format!("nested deeper than {MAX_DEPTH}"), "no setting needs that");
        self.scan.at = self.scan.text.len();
    }
}

fn indent(lines: &[&str]) -> usize {
    lines.iter().filter(|l| !l.trim().is_empty()).map(|l| l.len() - l.trim_start().len()).min().unwrap_or(0)
}
