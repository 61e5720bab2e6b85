//! Durations.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// A duration in whole or broken seconds. Read from a number of seconds, or from text such as `90`, `1h30m`, `1.5h`,
/// `2d`, `500ms`. Written as whole seconds. Negative and overlong ones (above 100 years) are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ttl(pub Duration);

const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 3600);

/// Reads a duration from text; the empty text is zero.
///
/// # Errors
/// A sentence that says what forms there are; without the text, which may be a secret in the wrong place.
pub fn parse_ttl(text: &str) -> Result<Duration, String> {
    if text.is_empty() {
        return Ok(Duration::ZERO);
    }
    let bad = || "not a duration: use seconds (3600) or a number with ns, us, ms, s, m, h or d (1h30m)".to_owned();
    if text.starts_with('-') {
        return Err("a duration must be zero or more, not negative".to_owned());
    }
    if let Ok(seconds) = text.parse::<u64>() {
        return check(Duration::from_secs(seconds));
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at_checked(digits).ok_or_else(bad)?;
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end).ok_or_else(bad)?;
        total = total.checked_add(part(number, unit).ok_or_else(bad)?).ok_or_else(bad)?;
        rest = after;
    }
    check(total)
}

fn part(number: &str, unit: &str) -> Option<Duration> {
    let nanos: u64 = match unit {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60 * 1_000_000_000,
        "h" => 3600 * 1_000_000_000,
        "d" => 24 * 3600 * 1_000_000_000,
        _ => return None,
    };
    if let Ok(whole) = number.parse::<u64>() {
        let total = u128::from(whole) * u128::from(nanos);
        return Some(Duration::new(
            u64::try_from(total / 1_000_000_000).ok()?,
            u32::try_from(total % 1_000_000_000).ok()?,
        ));
    }
    let number: f64 = number.parse().ok()?;
    Duration::try_from_secs_f64(number * Duration::from_nanos(nanos).as_secs_f64()).ok()
}

fn check(duration: Duration) -> Result<Duration, String> {
    if duration > LONGEST {
        return Err("a duration must not be longer than 100 years".to_owned());
    }
    Ok(duration)
}

/// Writes a duration as the API does: `1h0m0s`, `90s` as `1m30s`, zero as `0s`.
#[must_use]
pub fn format_ttl(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (h, m, s) = (seconds / 3600, seconds % 3600 / 60, seconds % 60);
    match (h, m) {
        (0, 0) => format!("{s}s"),
        (0, _) => format!("{m}m{s}s"),
        _ => format!("{h}h{m}m{s}s"),
    }
}

/// Writes a duration as warnings do: `768h`, `1m30s`, without parts that are zero.
#[must_use]
pub fn brief_ttl(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let parts = [(seconds / 3600, 'h'), (seconds % 3600 / 60, 'm'), (seconds % 60, 's')];
    let text: String = parts.iter().filter(|(n, _)| *n > 0).map(|(n, unit)| format!("{n}{unit}")).collect();
    if text.is_empty() { "0s".into() } else { text }
}

impl<'de> Deserialize<'de> for Ttl {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        input.deserialize_any(TtlVisitor).map(Self)
    }
}

struct TtlVisitor;

impl Visitor<'_> for TtlVisitor {
    type Value = Duration;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a duration: seconds (3600) or text (\"1h\")")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Duration, E> {
        check(Duration::from_secs(seconds)).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Duration, E> {
        parse_ttl(&seconds.to_string()).map_err(E::custom)
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Duration, E> {
        // Clients in JavaScript write 3600.0; parts of a second are not meant.
        if seconds.fract() != 0.0 {
            return Err(E::custom("not a duration: a number must be whole seconds"));
        }
        let duration = Duration::try_from_secs_f64(seconds)
            .map_err(|_| E::custom("not a duration: a number must be whole seconds, zero or more"))?;
        check(duration).map_err(E::custom)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
        parse_ttl(text).map_err(E::custom)
    }

    fn visit_unit<E: de::Error>(self) -> Result<Duration, E> {
        Ok(Duration::ZERO)
    }
}

impl Serialize for Ttl {
    fn serialize<S: Serializer>(&self, output: S) -> Result<S::Ok, S::Error> {
        output.serialize_u64(self.0.as_secs())
    }
}

impl JsonSchema for Ttl {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Ttl".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "format": "seconds" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(text: &str) -> Option<u64> {
        parse_ttl(text).ok().map(|d| d.as_secs())
    }

    #[test]
    fn durations_in_all_forms() {
        assert_eq!(seconds("90"), Some(90));
        assert_eq!(seconds("1h30m"), Some(5400));
        assert_eq!(seconds("1.5h"), Some(5400));
        assert_eq!(seconds("2d"), Some(172_800));
        assert_eq!(seconds("1500ms"), Some(1));
        assert_eq!(seconds(""), Some(0));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in
            ["-1", "-5m", "1y", "h", "1h-5m", "abc", "1..5h", "99999999999999999999", "9999999h", "1 h", " 1h", "😀"]
        {
            assert_eq!(seconds(text), None, "{text}");
        }
        assert!(serde_json::from_str::<Ttl>("-3").is_err());
        assert!(serde_json::from_str::<Ttl>("1e300").is_err());
        assert!(serde_json::from_str::<Ttl>("[1]").is_err());
    }

    #[test]
    fn written_as_the_api_does() {
        assert_eq!(format_ttl(Duration::from_secs(3600)), "1h0m0s");
        assert_eq!(format_ttl(Duration::from_secs(90)), "1m30s");
        assert_eq!(format_ttl(Duration::ZERO), "0s");
        assert_eq!(brief_ttl(Duration::from_secs(768 * 3600)), "768h");
        assert_eq!(brief_ttl(Duration::from_secs(90)), "1m30s");
    }
}
