//! Checks of names and of free words that people attach to things.

use std::collections::BTreeMap;

use dewdrop_core::Fault;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

const MOST_WORDS: usize = 64;
const LONGEST_NAME: usize = 128;
const LONGEST_WORD: usize = 512;

/// Refuses what cannot be the name of a secret: a folder, or one with control characters (a NUL parts our keys).
///
/// # Errors
/// 400.
pub fn check_path(path: &str) -> Result<(), Fault> {
    if path.ends_with('/') {
        return Err(Fault::bad_request("cannot write to a path ending in '/'"));
    }
    if path.chars().any(char::is_control) {
        return Err(Fault::bad_request("the path holds a control character; use printable ones"));
    }
    Ok(())
}

/// Custom metadata: at most 64 words, names up to 128 bytes, words up to 512, all printable; the limits and texts of the API.
///
/// # Errors
/// 400.
pub fn check_custom_metadata(words: &BTreeMap<String, String>) -> Result<(), Fault> {
    if words.len() > MOST_WORDS {
        return Err(refuse(&format!("payload must contain at most {MOST_WORDS} keys, provided {}", words.len())));
    }
    for (name, word) in words {
        if name.is_empty() || name.len() > LONGEST_NAME {
            return Err(refuse(&format!(
                "length of key {name:?} is {} but must be 0 < len(key) <= {LONGEST_NAME}",
                name.len()
            )));
        }
        if word.is_empty() || word.len() > LONGEST_WORD {
            return Err(refuse(&format!(
                "length of value for key {name:?} is {} but must be 0 < len(value) <= {LONGEST_WORD}",
                word.len()
            )));
        }
        if name.chars().any(char::is_control) {
            return Err(refuse(&format!("key {name:?} contains unprintable characters")));
        }
        if word.chars().any(char::is_control) {
            return Err(refuse(&format!("value for key {name:?} contains unprintable characters")));
        }
    }
    Ok(())
}

fn refuse(why: &str) -> Fault {
    Fault::bad_request(format!("1 error occurred:\n\t* custom_metadata validation failed: {why}\n\n"))
}

/// Words of a JSON object: text as it is, numbers as written, flags as `1` and `0`.
///
/// # Errors
/// 400 for lists and objects, naming the word.
pub fn words_of(object: &Map<String, Value>) -> Result<BTreeMap<String, String>, Fault> {
    object.iter().map(|(name, value)| Ok((name.clone(), word_of(name, value)?))).collect()
}

/// One word; see [`words_of`].
///
/// # Errors
/// 400 for lists and objects.
pub fn word_of(name: &str, value: &Value) -> Result<String, Fault> {
    match value {
        Value::Null => Ok(String::new()),
        Value::Bool(flag) => Ok(u8::from(*flag).to_string()),
        Value::Number(number) => Ok(number.to_string()),
        Value::String(text) => Ok(text.clone()),
        _ => Err(Fault::bad_request(format!("custom_metadata validation failed: the value of {name:?} must be text"))),
    }
}

/// For fields in which JSON's `null` means something else than their absence.
///
/// # Errors
/// The value's own.
pub fn present<'de, D, T>(input: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(input).map(Some)
}

/// Applies a JSON merge patch (RFC 7396) to an object: `null` removes, objects merge, all else replaces.
pub fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(inner) => {
                let slot = target.entry(name).or_insert(Value::Null);
                if !slot.is_object() {
                    *slot = Value::Object(Map::new());
                }
                if let Value::Object(object) = slot {
                    merge(object, inner);
                }
            }
            other => {
                target.insert(name, other);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patches_follow_the_rfc() {
        // The cases of RFC 7396, appendix A, whose target and patch are objects.
        let cases = [
            (json!({"a":"b"}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":"b"}), json!({"b":"c"}), json!({"a":"b","b":"c"})),
            (json!({"a":"b","b":"c"}), json!({"a":null}), json!({"b":"c"})),
            (json!({"a":["b"]}), json!({"a":"c"}), json!({"a":"c"})),
            (json!({"a":{"b":"c"}}), json!({"a":{"b":"d","c":null}}), json!({"a":{"b":"d"}})),
            (json!({"a":[{"b":"c"}]}), json!({"a":[1]}), json!({"a":[1]})),
            (json!({"e":null}), json!({"a":1}), json!({"e":null,"a":1})),
            (json!({}), json!({"a":{"bb":{"ccc":null}}}), json!({"a":{"bb":{}}})),
        ];
        for (mut target, patch, expected) in cases {
            let (Value::Object(object), Value::Object(patch)) = (&mut target, patch) else { panic!("objects") };
            merge(object, patch);
            assert_eq!(target, expected);
        }
    }

    #[test]
    fn names_of_secrets() {
        assert!(check_path("a b/ü/*").is_ok());
        assert!(check_path("a/").is_err());
        assert!(check_path("a\0b").is_err());
        assert!(check_path("a\nb").is_err());
    }

    #[test]
    fn custom_metadata_has_limits() {
        let one = |name: &str, word: &str| check_custom_metadata(&BTreeMap::from([(name.to_owned(), word.to_owned())]));
        assert!(one(&"k".repeat(128), &"v".repeat(512)).is_ok());
        for (name, word) in [("", "v"), ("k", ""), ("k\u{1}", "v"), ("k", "v\n")] {
            assert!(one(name, word).is_err(), "{name:?} {word:?}");
        }
        let refused = one(&"k".repeat(129), "v").unwrap_err();
        assert!(refused.told.contains("is 129 but must be 0 < len(key) <= 128"), "{refused}");
        let many = (0..65).map(|n| (n.to_string(), "v".to_owned())).collect();
        assert!(check_custom_metadata(&many).unwrap_err().told.contains("at most 64 keys, provided 65"));
    }
}
