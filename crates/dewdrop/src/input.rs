//! What people give a command to send: `k=v`, `k=@file`, `k=-`, `@file.json`, `-`.

use std::io::Read;

use serde_json::{Map, Value};

use crate::failure::{Failure, Result};

/// Files and stdin larger than this are not data for one request.
const MAX: u64 = 32 << 20;

/// Reads `K=V` arguments into the fields of a request. The same key twice makes a list.
pub fn fields(args: &[String]) -> Result<Map<String, Value>> {
    let mut stdin = Stdin { used: false };
    let mut map = Map::new();
    for (at, arg) in args.iter().enumerate() {
        if arg == "-" {
            merge(&mut map, &stdin.read()?, "stdin")?;
        } else if let Some(file) = arg.strip_prefix('@').filter(|_| !arg.contains('=')) {
            merge(&mut map, &read_file(file)?, file)?;
        } else {
            let (key, value) = arg.split_once('=').ok_or_else(|| {
                // Not the argument itself: who forgets the name has written the secret alone.
                let number = at + 1;
                Failure::usage(format!(
                    "Failed to parse K=V data: invalid key/value pair (number {number}): format must be key=value"
                ))
            })?;
            let value = match value {
                "-" => stdin.read()?,
                _ => match (value.strip_prefix('@'), value.strip_prefix("\\@")) {
                    (Some(file), _) => read_file(file)?,
                    (_, Some(literal)) => format!("@{literal}"),
                    _ => value.to_owned(),
                },
            };
            add(&mut map, key, Value::String(value));
        }
    }
    Ok(map)
}

/// Reads `K=V` flags (`-metadata=a=b`) into a map.
pub fn pairs(args: &[String], flag: &str) -> Result<Map<String, Value>> {
    let mut map = Map::new();
    for arg in args {
        let (key, value) =
            arg.split_once('=').ok_or_else(|| Failure::usage(format!("{flag} needs the form key=value")))?;
        map.insert(key.trim().to_owned(), Value::String(value.trim().to_owned()));
    }
    Ok(map)
}

/// The text of a file, or of stdin for `-`.
pub fn text_of(file: &str) -> Result<String> {
    if file == "-" { Stdin { used: false }.read() } else { read_file(file) }
}

fn add(map: &mut Map<String, Value>, key: &str, value: Value) {
    match map.get_mut(key) {
        None => {
            map.insert(key.to_owned(), value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(first) => {
            let first = std::mem::take(first);
            map.insert(key.to_owned(), Value::Array(vec![first, value]));
        }
    }
}

fn merge(map: &mut Map<String, Value>, json: &str, from: &str) -> Result<()> {
    // serde's message may quote the text, which is secret: the place is enough.
    let bad = |e: serde_json::Error| {
        Failure::usage(format!("{from} is not a JSON object (line {} column {})", e.line(), e.column()))
            .hint("for plain text, name the field: key=@file or key=-")
    };
    map.extend(serde_json::from_str::<Map<String, Value>>(json).map_err(bad)?);
    Ok(())
}

fn read_file(file: &str) -> Result<String> {
    let failed = |e: std::io::Error| Failure::usage(format!("error reading file: open {file}: {e}"));
    let open = std::fs::File::open(file).map_err(failed)?;
    read_all(open, file)
}

fn read_all(from: impl Read, name: &str) -> Result<String> {
    let mut text = String::new();
    from.take(MAX + 1)
        .read_to_string(&mut text)
        .map_err(|e| Failure::usage(format!("read {name}: {e}")).hint("binary data must be base64-encoded first"))?;
    if text.len() as u64 > MAX {
        return Err(Failure::usage(format!("{name} is larger than {} MiB", MAX >> 20)));
    }
    Ok(text)
}

struct Stdin {
    used: bool,
}

impl Stdin {
    fn read(&mut self) -> Result<String> {
        if std::mem::replace(&mut self.used, true) {
            return Err(Failure::usage("stdin can be read once only; '-' stands in two places"));
        }
        read_all(std::io::stdin().lock(), "stdin")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(args: &[&str]) -> Result<Value> {
        fields(&args.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()).map(Value::Object)
    }

    #[test]
    fn pairs_become_fields() {
        assert_eq!(
            of(&["a=1", "b=x=y", "c=", "d=\\@home", "e=1", "e=2", "e=3"]).unwrap(),
            json!({"a": "1", "b": "x=y", "c": "", "d": "@home", "e": ["1", "2", "3"]})
        );
    }

    #[test]
    fn files_give_values_or_whole_objects() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f.json");
        std::fs::write(&file, r#"{"n": 1, "t": "x"}"#).unwrap();
        let name = file.to_str().unwrap();
        assert_eq!(of(&[&format!("@{name}"), "t=y"]).unwrap(), json!({"n": 1, "t": ["x", "y"]}));
        assert_eq!(of(&[&format!("k=@{name}")]).unwrap(), json!({"k": r#"{"n": 1, "t": "x"}"#}));
    }

    #[test]
    fn mistakes_are_named_and_tell_nothing() {
        assert!(of(&["plain"]).unwrap_err().to_string().contains("key=value"));
        assert!(of(&["@/nowhere/x"]).unwrap_err().to_string().contains("/nowhere/x"));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("f");
        std::fs::write(&file, "hunter2").unwrap();
        let error = of(&[&format!("@{}", file.display())]).unwrap_err().to_string();
        assert!(error.contains("not a JSON object") && !error.contains("hunter2"), "{error}");
    }
}
