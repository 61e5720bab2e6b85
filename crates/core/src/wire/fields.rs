//! From fields to a typed request, with errors that name the field and what is expected there, and never what came:
//! a secret in the wrong place must not be read back from an error, by whoever sees it.

use std::fmt::{self, Display};

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde_json::{Map, Value};

use crate::fault::Fault;

/// Reads a typed request.
///
/// # Errors
/// 400, with the name of the field and what is expected there.
pub fn read_fields<T: DeserializeOwned>(fields: Map<String, Value>) -> Result<T, Fault> {
    serde_path_to_error::deserialize(Given(Value::Object(fields))).map_err(|error| {
        let field = error.path().iter().next().and_then(|first| match first {
            serde_path_to_error::Segment::Map { key } => Some(key.clone()),
            _ => None,
        });
        let Mismatch(why) = error.into_inner();
        Fault::bad_request(match field {
            None => format!("Field validation failed: {why}"),
            // Only the outermost name is one of the API's; those within may be the caller's own.
            Some(field) => format!("Field validation failed: error converting input for field {field:?}: {why}"),
        })
    })
}

/// A value that tells nobody what it is.
struct Given(Value);

/// What is expected. Holds nothing of what was given.
#[derive(Debug, PartialEq, Eq)]
struct Mismatch(String);

impl std::error::Error for Mismatch {}

impl Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl de::Error for Mismatch {
    /// The words of our own field types, which hold none of the caller's.
    fn custom<T: Display>(words: T) -> Self {
        Self(words.to_string())
    }
    fn invalid_type(given: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("expected {expected}, not {}", kind(&given)))
    }
    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self(format!("expected {expected}"))
    }
    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("expected one of: {}", expected.join(", ")))
    }
    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self(format!("there is a name that is not known; known are: {}", expected.join(", ")))
    }
}

/// The word for a kind of JSON value.
fn kind(given: &Unexpected<'_>) -> &'static str {
    match given {
        Unexpected::Bool(_) => "true or false",
        Unexpected::Unsigned(_) | Unexpected::Signed(_) | Unexpected::Float(_) => "a number",
        Unexpected::Char(_) | Unexpected::Str(_) | Unexpected::Bytes(_) => "text",
        Unexpected::Unit | Unexpected::Option => "null",
        Unexpected::Seq => "a list",
        Unexpected::Map => "an object",
        _ => "this",
    }
}

impl IntoDeserializer<'_, Mismatch> for Given {
    type Deserializer = Self;
    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Given {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(flag) => visitor.visit_bool(flag),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (_, Some(number)) => visitor.visit_i64(number),
                _ => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => {
                let mut items = SeqDeserializer::new(items.into_iter().map(Given));
                let made = visitor.visit_seq(&mut items)?;
                items.end().map(|()| made)
            }
            Value::Object(fields) => {
                let mut fields = MapDeserializer::new(fields.into_iter().map(|(name, value)| (name, Given(value))));
                let made = visitor.visit_map(&mut fields)?;
                fields.end().map(|()| made)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            _ => Err(Mismatch("expected text".to_owned())),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::wire::{Flag, Int, Pairs, Strings, Text, Ttl};

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(rename_all = "snake_case")]
    enum Choice {
        One,
        Two,
    }

    #[derive(Deserialize, Debug, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        number: u8,
    }

    #[derive(Deserialize, Debug, PartialEq, Default)]
    struct Ask {
        strings: Option<Strings>,
        flag: Option<Flag>,
        int: Option<Int>,
        pairs: Option<Pairs>,
        text: Option<Text>,
        ttl: Option<Ttl>,
        bare: Option<String>,
        choice: Option<Choice>,
        inner: Option<Inner>,
        list: Option<Vec<Inner>>,
        map: Option<BTreeMap<String, u8>>,
        free: Option<Value>,
    }

    fn read(fields: Value) -> Result<Ask, Fault> {
        let Value::Object(fields) = fields else { panic!("an object") };
        read_fields(fields)
    }

    #[test]
    fn what_fits_is_read_as_ever() {
        let fields = json!({ "strings": "a,b", "flag": "true", "int": -3, "ttl": "1h", "text": 5, "bare": "x", "choice": "two",
            "inner": { "number": 7 }, "list": [{ "number": 1 }], "map": { "a": 1 }, "free": { "a": [1, -1, 1.5, null, "x"] },
            "unknown": { "a": 1 }, "pairs": { "a": 1 } });
        let plain: Ask = serde_json::from_value(fields.clone()).unwrap();
        assert_eq!(read(fields).unwrap(), plain);
        assert_eq!(read(json!({})).unwrap(), Ask::default());
    }

    #[test]
    fn no_error_holds_what_was_given() {
        let secret = "s3cret-canary";
        let number = 918_273_645_u64;
        let wrong = [
            json!(secret),
            json!([secret]),
            json!([[secret]]),
            json!({ secret: secret }),
            json!({ "number": secret }),
            json!({ "number": number }),
            json!([{ "number": secret }]),
            json!([{ secret: [secret] }]),
            json!(number),
            json!(-918_273_645_i64),
            json!(9.182_736_45e300),
            json!(0.918_273_645),
            json!(format!("{{\"a\": {secret}")),
            json!(format!("{{\"a\": [\"{secret}\"]}}")),
            json!(format!("-{secret}")),
            json!(format!("{number}{number}")),
        ];
        let fields = ["strings", "flag", "int", "pairs", "text", "ttl", "bare", "choice", "inner"];
        let mut refused = 0;
        for field in fields.iter().chain(&["list", "map"]) {
            for value in &wrong {
                let Err(fault) = read(json!({ *field: value })) else { continue };
                let text = format!("{fault:?}").to_lowercase();
                assert!(!text.contains("canary") && !text.contains("91827") && !text.contains("918,"), "{text}");
                assert!(text.contains(&format!("field \\\"{field}\\\"")), "{field} is not named: {text}");
                refused += 1;
            }
        }
        assert!(refused > 100, "only {refused} were refused");
    }

    #[test]
    fn what_is_expected_is_said() {
        let told = |fields| read(fields).unwrap_err().told.into_owned();
        assert_eq!(
            told(json!({ "bare": [1] })),
            "Field validation failed: error converting input for field \"bare\": expected a string, not a list"
        );
        assert_eq!(
            told(json!({ "choice": "three" })),
            "Field validation failed: error converting input for field \"choice\": expected one of: one, two"
        );
    }
}
