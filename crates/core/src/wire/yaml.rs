//! YAML, as people write rules and selectors of Kubernetes, read as the values of JSON. One document, no tags, and no anchors
//! or aliases: a few lines of those can stand for more than fits into memory.

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};
use serde_json::{Map, Number, Value};

/// Deeper than this nothing of ours is.
const DEPTH: usize = 32;

/// Reads JSON, or YAML.
///
/// # Errors
/// What is wrong; nothing of the text is in it.
pub fn parse_yaml(text: &str) -> Result<Value, &'static str> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut reader = Reader { parser: Parser::new_from_str(text) };
    reader.expect(&Event::StreamStart)?;
    match reader.next()? {
        Event::DocumentStart(_) => {}
        _ => return Ok(Value::Null),
    }
    let first = reader.next()?;
    let value = reader.value(first, 0)?;
    reader.expect(&Event::DocumentEnd)?;
    reader.expect(&Event::StreamEnd).map_err(|_| "more than one document")?;
    Ok(value)
}

struct Reader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<Event<'a>, &'static str> {
        match self.parser.next() {
            Some(Ok((event, _))) => Ok(event),
            Some(Err(_)) | None => Err("neither JSON nor YAML"),
        }
    }

    fn expect(&mut self, wanted: &Event<'_>) -> Result<(), &'static str> {
        if self.next()? == *wanted { Ok(()) } else { Err("neither JSON nor YAML") }
    }

    fn value(&mut self, first: Event<'a>, depth: usize) -> Result<Value, &'static str> {
        if depth > DEPTH {
            return Err("nested too deep");
        }
        match first {
            Event::Scalar(text, style, 0, None) => Ok(scalar(&text, style)),
            Event::SequenceStart(0, None) => self.list(depth),
            Event::MappingStart(0, None) => self.map(depth),
            Event::Alias(_) | Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                Err("anchors, aliases and tags are not read")
            }
            _ => Err("neither JSON nor YAML"),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, &'static str> {
        let mut items = Vec::new();
        loop {
            match self.next()? {
                Event::SequenceEnd => return Ok(Value::Array(items)),
                first => items.push(self.value(first, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, &'static str> {
        let mut fields = Map::new();
        loop {
            let key = match self.next()? {
                Event::MappingEnd => return Ok(Value::Object(fields)),
                Event::Scalar(text, _, 0, None) => text.into_owned(),
                _ => return Err("a key is no text"),
            };
            let first = self.next()?;
            let value = self.value(first, depth + 1)?;
            if fields.insert(key, value).is_some() {
                return Err("a key stands twice");
            }
        }
    }
}

/// The core schema, as far as JSON has it.
fn scalar(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ => text.parse::<Number>().map_or_else(|_| Value::String(text.to_owned()), Value::Number),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn yaml_is_read_as_json() {
        let text = "# why\nrules:\n- apiGroups: [\"\"]\n  resources: [pods, 'true', 1]\n  verbs:\n  - list\n  no: ~\n";
        let rules = json!([{ "apiGroups": [""], "resources": ["pods", "true", 1], "verbs": ["list"], "no": null }]);
        assert_eq!(parse_yaml(text).unwrap(), json!({ "rules": rules }));
        assert_eq!(parse_yaml("{\"a\": [1, true]}").unwrap(), json!({ "a": [1, true] }));
        assert_eq!(parse_yaml("--- {a: b}\n").unwrap(), json!({ "a": "b" }));
        assert_eq!(parse_yaml("").unwrap(), Value::Null);
    }

    #[test]
    fn what_can_grow_or_mislead_is_refused() {
        for bad in [
            "a: &x [1]\nb: *x\n",
            "a: !!str 1\n",
            "a: 1\na: 2\n",
            "--- 1\n--- 2\n",
            "[",
            "a: [1",
            "[a]: b\n",
            "\t- a: b: c",
        ] {
            assert!(parse_yaml(bad).is_err(), "{bad:?}");
        }
        assert_eq!(parse_yaml(&format!("{}x", "- ".repeat(40))), Err("nested too deep"));
        assert!(parse_yaml(&"[".repeat(100_000)).is_err() && parse_yaml(&"- ".repeat(100_000)).is_err());
    }
}
