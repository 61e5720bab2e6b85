//! A small YAML writer: block style, sorted keys, and quotes wherever a reader might take a text for something else.
//! (The well-known YAML crate is archived, and writing JSON values needs no more than this.)

use serde_json::Value;

/// The value as a YAML document that ends with a line feed.
#[must_use]
pub fn emit(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(fields) if !fields.is_empty() => object(&mut out, fields, 0, false),
        Value::Array(items) if !items.is_empty() => array(&mut out, items, 0, false),
        other => {
            out.push_str(&scalar(other, 0));
            out.push('\n');
        }
    }
    out
}

/// `inline`: the first line follows a dash that is already written.
fn object(out: &mut String, fields: &serde_json::Map<String, Value>, depth: usize, inline: bool) {
    let mut sorted: Vec<_> = fields.iter().collect();
    sorted.sort_by_key(|(k, _)| *k);
    for (at, (key, value)) in sorted.into_iter().enumerate() {
        if at > 0 || !inline {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(&text(key));
        out.push(':');
        match value {
            Value::Object(inner) if !inner.is_empty() => {
                out.push('\n');
                object(out, inner, depth + 1, false);
            }
            Value::Array(items) if !items.is_empty() => {
                out.push('\n');
                array(out, items, depth, false);
            }
            other => {
                out.push(' ');
                out.push_str(&scalar(other, depth + 1));
                out.push('\n');
            }
        }
    }
}

fn array(out: &mut String, items: &[Value], depth: usize, inline: bool) {
    for (at, item) in items.iter().enumerate() {
        if at > 0 || !inline {
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str("- ");
        match item {
            Value::Object(inner) if !inner.is_empty() => object(out, inner, depth + 1, true),
            Value::Array(inner) if !inner.is_empty() => array(out, inner, depth + 1, true),
            other => {
                out.push_str(&scalar(other, depth + 1));
                out.push('\n');
            }
        }
    }
}

fn scalar(value: &Value, depth: usize) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(line) if is_block(line) => block(line, depth),
        Value::String(line) => text(line),
        Value::Array(_) => "[]".into(),
        Value::Object(_) => "{}".into(),
    }
}

/// Several lines of plain text read best as a block.
fn is_block(text: &str) -> bool {
    text.contains('\n')
        && text.chars().all(|c| c == '\n' || !c.is_control())
        && !text.starts_with([' ', '\n'])
        && !text.lines().any(|line| line.ends_with(' '))
}

fn block(text: &str, depth: usize) -> String {
    let trailing = text.len() - text.trim_end_matches('\n').len();
    let chomp = match trailing {
        0 => "|-",
        1 => "|",
        _ => "|+",
    };
    let body = text.strip_suffix('\n').unwrap_or(text);
    let lines = body
        .split('\n')
        .map(|line| if line.is_empty() { String::new() } else { format!("{}{line}", "  ".repeat(depth)) });
    format!("{chomp}\n{}", lines.collect::<Vec<_>>().join("\n"))
}

/// A text: bare where nobody can take it for something else, quoted otherwise.
fn text(line: &str) -> String {
    if looks_like_other(line)
        || line.chars().any(|c| c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}'))
    {
        // A JSON string is a YAML double-quoted one.
        return serde_json::to_string(line).unwrap_or_default();
    }
    let first = line.chars().next().unwrap_or(' ');
    let indicator = "!&*{}[]|>@`\"'%#,?-:".contains(first)
        && !(matches!(first, '-' | '?' | ':') && line.chars().nth(1).is_some_and(|c| c != ' '));
    let spaced = line.starts_with(' ') || line.ends_with(' ');
    if indicator
        || spaced
        || line.contains(": ")
        || line.contains(" #")
        || line.ends_with(':')
        || line.starts_with("---")
    {
        return format!("'{}'", line.replace('\'', "''"));
    }
    line.to_owned()
}

/// Texts that a YAML 1.1 or 1.2 reader takes for null, a truth value, a number or a date.
fn looks_like_other(line: &str) -> bool {
    let lower = line.to_ascii_lowercase();
    if matches!(
        lower.as_str(),
        "" | "~" | "null" | "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "<<" | "="
    ) {
        return true;
    }
    let bare = lower.trim_start_matches(['+', '-']).trim_start_matches('.');
    if matches!(bare, "inf" | "nan") {
        return true;
    }
    bare.starts_with(|c: char| c.is_ascii_digit())
        && lower.chars().all(|c| {
            c.is_ascii_hexdigit() || matches!(c, '+' | '-' | '.' | '_' | ':' | 'x' | 'o' | 'e' | 't' | 'z' | ' ')
        })
        && is_number_or_date(&lower)
}

fn is_number_or_date(lower: &str) -> bool {
    let plain: String = lower.chars().filter(|c| *c != '_').collect();
    let digits = plain.trim_start_matches(['+', '-']);
    let based = ["0x", "0o", "0b"]
        .iter()
        .any(|p| digits.strip_prefix(p).is_some_and(|d| !d.is_empty() && d.chars().all(|c| c.is_ascii_hexdigit())));
    let date =
        plain.len() >= 8 && plain.as_bytes().get(4) == Some(&b'-') && plain[..4].chars().all(|c| c.is_ascii_digit());
    let sexagesimal = plain.contains(':')
        && plain.split(':').all(|p| !p.is_empty() && p.chars().all(|c| c.is_ascii_digit() || c == '.'));
    based || date || sexagesimal || plain.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    // As `bao read -format=yaml` prints the same values.
    #[test]
    fn texts_that_look_like_other_things_are_quoted() {
        let cases = [
            ("Yes", "\"Yes\""),
            ("&x", "'&x'"),
            ("1e3", "\"1e3\""),
            ("2026-01-01", "\"2026-01-01\""),
            ("0x1F", "\"0x1F\""),
            ("010", "\"010\""),
            ("1_000", "\"1_000\""),
            ("12:30", "\"12:30\""),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("- a", "'- a'"),
            ("a,b", "a,b"),
            ("?x", "?x"),
            ("%x", "'%x'"),
            ("it's", "it's"),
            ("a\"b", "a\"b"),
            ("a\tb", "\"a\\tb\""),
            (" lead", "' lead'"),
            ("", "\"\""),
            ("~", "\"~\""),
            (".inf", "\".inf\""),
            ("é∞", "é∞"),
            ("12ab", "12ab"),
            ("7412e82a-7512-dde5", "7412e82a-7512-dde5"),
        ];
        for (given, wanted) in cases {
            assert_eq!(text(given), wanted, "{given:?}");
        }
    }

    #[test]
    fn structures_are_blocks() {
        let value =
            json!({"b": [1, [2, 3], {"x": 1, "y": []}], "a": {"m": {}}, "s": "one\ntwo\n", "t": "one\ntwo", "n": null});
        let wanted = "a:\n  m: {}\nb:\n- 1\n- - 2\n  - 3\n- x: 1\n  \"y\": []\n\"n\": null\ns: |\n  one\n  two\nt: |-\n  one\n  two\n";
        assert_eq!(emit(&value), wanted);
    }
}
