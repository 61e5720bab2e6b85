//! Lists, flags, numbers, pairs and text in the forms that clients send.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use serde_json::Value;

/// Strings: a list, or one text with commas. Blank ends are cut off and empty ones left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Strings(pub Vec<String>);

/// Texts: a list, or one text as it is (commas and all).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct TextList(pub Vec<String>);

/// True or false: also `"true"`, `"false"`, `"1"`, `"0"`, 1 and 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Flag(pub bool);

/// A whole number: also in text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct Int(pub i64);

/// Names with values: a map of scalars, a list of `name=value`, or one such text with commas.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Pairs(pub BTreeMap<String, String>);

/// Text: also a number or a flag, as it is written.
#[derive(Clone, PartialEq, Eq, Default, Serialize)]
#[serde(transparent)]
pub struct Text(pub String);

impl std::fmt::Debug for Text {
    /// Not printed: it may be a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Text(..)")
    }
}

impl<'de> Deserialize<'de> for Strings {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let parts = match Value::deserialize(input)? {
            Value::Null => Vec::new(),
            Value::Array(items) => items.iter().map(scalar).collect::<Result<Vec<_>, _>>().map_err(D::Error::custom)?,
            other => scalar(&other).map_err(D::Error::custom)?.split(',').map(str::to_owned).collect(),
        };
        Ok(Self(parts.iter().map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()).collect()))
    }
}

impl<'de> Deserialize<'de> for TextList {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let texts = match Value::deserialize(input)? {
            Value::Null => Ok(Vec::new()),
            Value::Array(items) => items.iter().map(scalar).collect(),
            other => scalar(&other).map(|text| vec![text]),
        };
        texts.map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(input)?;
        let flag = match &value {
            Value::Bool(flag) => Some(*flag),
            Value::Number(number) => number.as_i64().and_then(|n| [0, 1].contains(&n).then_some(n == 1)),
            Value::String(text) => match text.as_str() {
                "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" | "" => Some(false),
                _ => None,
            },
            Value::Null => Some(false),
            _ => None,
        };
        flag.map(Self).ok_or_else(|| D::Error::custom("expected true or false"))
    }
}

impl<'de> Deserialize<'de> for Int {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let number = match Value::deserialize(input)? {
            Value::Number(number) => number.as_i64().or_else(|| whole(number.as_f64()?)),
            Value::String(text) if text.is_empty() => Some(0),
            Value::String(text) => text.trim().parse().ok(),
            Value::Bool(flag) => Some(i64::from(flag)),
            Value::Null => Some(0),
            _ => None,
        };
        number.map(Self).ok_or_else(|| D::Error::custom("expected a whole number"))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9e15).then_some(number as i64)
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let pairs = match Value::deserialize(input)? {
            Value::Null => Ok(BTreeMap::new()),
            Value::Object(map) => map.into_iter().map(|(name, value)| Ok((name, scalar(&value)?))).collect(),
            Value::Array(items) => items.iter().map(|item| pair(&scalar(item)?)).collect(),
            Value::String(text) if text.trim_start().starts_with('{') => {
                serde_json::from_str(&text).map_err(|_| "expected a JSON object of texts".to_owned())
            }
            Value::String(text) => text.split(',').filter(|p| !p.trim().is_empty()).map(pair).collect(),
            _ => Err("expected a map, or name=value".to_owned()),
        };
        pairs.map(Self).map_err(D::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        match Value::deserialize(input)? {
            Value::Null => Ok(Self::default()),
            other => scalar(&other).map(Self).map_err(D::Error::custom),
        }
    }
}

fn scalar(value: &Value) -> Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(number) => Ok(number.to_string()),
        Value::Bool(flag) => Ok(if *flag { "1" } else { "0" }.to_owned()),
        _ => Err("expected text".to_owned()),
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected name=value")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

macro_rules! inline_schema {
    ($($kind:ident => $schema:tt),+ $(,)?) => {$(
        impl JsonSchema for $kind {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> Cow<'static, str> {
                stringify!($kind).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!($schema)
            }
        }
    )+};
}

inline_schema! {
    Strings => { "type": "array", "items": { "type": "string" } },
    TextList => { "type": "array", "items": { "type": "string" } },
    Flag => { "type": "boolean" },
    Int => { "type": "integer" },
    Pairs => { "type": "object", "additionalProperties": { "type": "string" } },
    Text => { "type": "string" },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T: for<'a> Deserialize<'a>>(json: &str) -> Option<T> {
        serde_json::from_str(json).ok()
    }

    #[test]
    fn lists() {
        let both = Some(Strings(vec!["a".into(), "b".into()]));
        assert_eq!(read(r#"["a"," b"]"#), both);
        assert_eq!(read(r#""a, b,""#), both);
        assert_eq!(read::<Strings>(r#"[["a"]]"#), None);
        assert_eq!(read::<Strings>(r#"{"a":1}"#), None);
    }

    #[test]
    fn flags_and_numbers() {
        assert_eq!(read(r#""true""#), Some(Flag(true)));
        assert_eq!(read("0"), Some(Flag(false)));
        assert_eq!(read::<Flag>("5"), None);
        assert_eq!(read::<Flag>(r#""maybe""#), None);
        assert_eq!(read(r#""12""#), Some(Int(12)));
        assert_eq!(read("3.0"), Some(Int(3)));
        assert_eq!(read::<Int>("3.5"), None);
        assert_eq!(read::<Int>("1e30"), None);
    }

    #[test]
    fn pairs() {
        let one = Some(Pairs(BTreeMap::from([("version".into(), "2".into())])));
        assert_eq!(read(r#"{"version":2}"#), one);
        assert_eq!(read(r#"["version=2"]"#), one);
        assert_eq!(read(r#""version=2""#), one);
        assert_eq!(read(r#""{\"version\":\"2\"}""#), one);
        assert_eq!(read::<Pairs>(r#"["x"]"#), None);
    }
}
