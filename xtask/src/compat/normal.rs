//! Takes out of an answer what differs from run to run, and nothing else.
//!
//! Two OpenBao servers never give the same token, UUID or time. Each such thing becomes a mark (`<uuid>`), so that the
//! rest can be compared letter by letter. `--self-check` (OpenBao against OpenBao) proves that this is neither too
//! little; the unit tests below show that it is not too much.

use serde_json::{Map, Number, Value};

/// Times after 2017, in seconds or smaller units: no TTL or counter of a conversation is as large.
const EPOCH_DIGITS: usize = 10;

/// What a number that is a time becomes; different from a text with the same digits.
pub const EPOCH_NUMBER: &str = "<epoch number>";

/// Keys whose text tells the build or the host and not the behaviour.
const ABOUT_THE_BUILD: &[&str] = &[
    "version",
    "build_date",
    "commit_date",
    "cluster_id",
    "cluster_name",
    "sha256",
    "revision",
    "plugin_version",
    "running_plugin_version",
];

/// Normalises a whole JSON answer. `known` are this side's own values (longest first), which become `$NAME`.
pub fn json(value: &Value, known: &[(String, String)]) -> Value {
    match value {
        Value::String(text) => Value::String(string(text, known)),
        Value::Number(number) => normal_number(number),
        Value::Array(items) => Value::Array(items.iter().map(|item| json(item, known)).collect()),
        Value::Object(map) => Value::Object(object(map, known)),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

fn object(map: &Map<String, Value>, known: &[(String, String)]) -> Map<String, Value> {
    let mut out = Map::new();
    for (key, item) in map {
        let build = ABOUT_THE_BUILD.contains(&key.as_str()) && item.as_str().is_some_and(|text| !text.is_empty());
        // A generated password has dashes anywhere, so no rule for words fits it.
        let password = key == "password" && item.as_str().is_some_and(|text| text.len() >= 16 && mixed_case(text));
        let masked = matches!(key.as_str(), "encoded_token" | "encoded_root_token")
            && item.as_str().is_some_and(|text| !text.is_empty());
        let item = match (build, password, masked) {
            (true, ..) => Value::String("<build>".into()),
            (_, true, _) => Value::String("<password>".into()),
            (.., true) => Value::String("<masked token>".into()),
            _ => json(item, known),
        };
        let mut name = string(key, known);
        // Several UUIDs as keys: none may hide another.
        while out.contains_key(&name) {
            name.push('+');
        }
        out.insert(name, item);
    }
    out
}

fn normal_number(number: &Number) -> Value {
    match number.as_u64() {
        Some(n) if n.to_string().len() >= EPOCH_DIGITS && is_epoch(&n.to_string()) => {
            Value::String(EPOCH_NUMBER.into())
        }
        _ => Value::Number(number.clone()),
    }
}

/// Ten digits (seconds) or more (fractions) that start with `1`: from 2001 to 2033.
fn is_epoch(digits: &str) -> bool {
    matches!(digits.len(), 10 | 13 | 16 | 19) && digits.starts_with('1')
}

/// Normalises one string.
pub fn string(text: &str, known: &[(String, String)]) -> String {
    let mut text = text.to_owned();
    for (name, value) in known {
        if text.contains(value.as_str()) {
            text = text.replace(value.as_str(), &format!("${name}"));
        }
    }
    if is_blob(&text) {
        return "<base64>".into();
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        if !first.is_ascii_alphanumeric() {
            out.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        match variable_start(rest) {
            Some((mark, length)) => {
                out.push_str(mark);
                rest = &rest[length..];
            }
            None => {
                let length = word_length(rest);
                out.push_str(&word(&rest[..length], out.ends_with(['_', '-'])));
                rest = &rest[length..];
            }
        }
    }
    // The suffix of a token or lease of a namespace: `<random>.x7Ab2`.
    for mark in ["<random>.", "<token>.", "<uuid>.", "<hashed>.", "<hex>."] {
        if let Some(at) = out.find(mark) {
            let suffix = &out[at + mark.len()..];
            let length = word_length(suffix);
            if (4..=7).contains(&length) {
                out.replace_range(at + mark.len()..at + mark.len() + length, "<ns>");
            }
        }
    }
    out
}

/// A whole string of base64: keys, shares, random bytes.
fn is_blob(text: &str) -> bool {
    text.len() >= 40 && text.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c)) && mixed_case(text)
}

/// Things that are longer than a word: UUIDs, times, tokens.
fn variable_start(text: &str) -> Option<(&'static str, usize)> {
    if let Some(length) = uuid_length(text) {
        return Some(("<uuid>", length));
    }
    if let Some(length) = time_length(text) {
        // The zero time means "never" and is a value like any other.
        return (!text.starts_with("0001-01-01T00:00:00Z")).then_some(("<time>", length));
    }
    let prefixed = ["s.", "b.", "r.", "hvs.", "hvb.", "hvr."].into_iter().find(|prefix| text.starts_with(prefix))?;
    let rest = &text[prefixed.len()..];
    let length = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')).unwrap_or(rest.len());
    (length >= 20).then_some(("<token>", prefixed.len() + length))
}

fn uuid_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes().get(..36)?;
    let good = bytes.iter().enumerate().all(|(at, b)| match at {
        8 | 13 | 18 | 23 => *b == b'-',
        _ => b.is_ascii_hexdigit(),
    });
    good.then_some(36)
}

/// `2026-11-24T03:22:58.615149526Z`, or with an offset; the number of digits after the point does not matter.
fn time_length(text: &str) -> Option<usize> {
    const SHAPE: &[u8] = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let good = SHAPE.iter().enumerate().all(|(at, want)| {
        bytes.get(at).is_some_and(|b| match want {
            b'd' => b.is_ascii_digit(),
            b'T' => matches!(b, b'T' | b' '),
            other => b == other,
        })
    });
    if !good {
        return None;
    }
    let rest = &text[SHAPE.len()..];
    let length = rest.find(|c: char| !(c.is_ascii_digit() || "+-:.Z".contains(c))).unwrap_or(rest.len());
    Some(SHAPE.len() + length)
}

fn word_length(text: &str) -> usize {
    text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len())
}

/// One run of letters and digits.
fn word(word: &str, after_separator: bool) -> String {
    let digits = word.chars().all(|c| c.is_ascii_digit());
    let hex = word.chars().all(|c| c.is_ascii_digit() || ('a'..='f').contains(&c));
    if digits && is_epoch(word) {
        "<epoch>".into()
    } else if hex && word.len() >= 32 {
        "<hex>".into()
    } else if word.strip_prefix('h').is_some_and(|rest| rest.len() >= 40 && rest.chars().all(|c| c.is_ascii_hexdigit()))
    {
        "<hashed>".into()
    } else if hex && word.len() == 8 && after_separator {
        "<hex8>".into()
    } else if word.len() >= 16 && mixed_case(word) {
        "<random>".into()
    } else {
        word.to_owned()
    }
}

/// Random letters have capitals and small ones; words of the API do not.
fn mixed_case(text: &str) -> bool {
    text.contains(|c: char| c.is_ascii_uppercase()) && text.contains(|c: char| c.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    fn s(text: &str) -> String {
        string(text, &[])
    }

    #[test]
    fn what_changes_from_run_to_run_becomes_a_mark() {
        assert_eq!(s("46aa46a7-d593-9053-ee8b-f67c2c003003"), "<uuid>");
        assert_eq!(s("2026-11-24T03:22:58.615149526Z"), "<time>");
        assert_eq!(s("2026-11-24T03:22:58+01:00"), "<time>");
        assert_eq!(s("s.FsRI3C2597la1XFXucxhJUry"), "<token>");
        assert_eq!(s("s.FsRI3C2597la1XFXucxhJUry.x7Ab2"), "<token>.<ns>");
        assert_eq!(s("b.AAAAAQJ-x_0123456789abcdefAB"), "<token>");
        assert_eq!(s("FsRIxCyxcvlaxXFXucxhJUry"), "<random>");
        assert_eq!(s("database/creds/app/FsRI3C2597la1XFXucxhJUry.x7Ab2"), "database/creds/app/<random>.<ns>");
        assert_eq!(s("auth_approle_db38fdc7"), "auth_approle_<hex8>");
        assert_eq!(s("v-token-app-FsRI3C2597la1XFXucxh-1795490578"), "v-token-app-<random>-<epoch>");
        assert_eq!(s("Gm1hbnkgaGFuZHMgbWFrZSBsaWdodCB3b3JrMDEyMzQ1Njc="), "<base64>");
        // One of a thousand has no digit.
        assert_eq!(s("GmlhbnkgaGFuZHMgbWFrZSBsaWd/s/LGQacqFlVxrMDE"), "<base64>");
        assert_eq!(s("hmac-sha256:0123456789abcdef0123456789abcdef"), "hmac-sha256:<hex>");
    }

    #[test]
    fn what_means_something_stays() {
        for text in [
            "0001-01-01T00:00:00Z",
            "permission denied",
            "a-role_with-long-name/and/path",
            "2026-11-24",
            "1h",
            "X-Vault-Namespace",
            "system endpoints used for control, policy and debugging",
            "default",
            "",
            "SELECT rolname FROM pg_roles",
            "12345678",
        ] {
            assert_eq!(s(text), text);
        }
        assert_eq!(
            json(&value!({"ttl": 3600, "n": null, "b": true}), &[]),
            value!({"ttl": 3600, "n": null, "b": true})
        );
    }

    #[test]
    fn numbers_of_today_are_times_and_small_ones_are_not() {
        assert_eq!(json(&value!(1_795_490_578_u64), &[]), value!(EPOCH_NUMBER));
        assert_eq!(json(&value!(2_764_800), &[]), value!(2_764_800));
        assert_eq!(json(&value!(-1), &[]), value!(-1));
    }

    #[test]
    fn own_values_become_their_names_in_keys_too() {
        let known = vec![("PG".to_owned(), "127.0.0.1:5555".to_owned())];
        assert_eq!(
            json(&value!({"at 127.0.0.1:5555": "postgres://127.0.0.1:5555/x"}), &known),
            value!({"at $PG": "postgres://$PG/x"})
        );
    }

    #[test]
    fn build_texts_are_ignored_but_not_their_absence_or_type() {
        let out = json(&value!({"version": "2.7.2", "plugin_version": "", "data": {"version": 3}}), &[]);
        assert_eq!(out, value!({"version": "<build>", "plugin_version": "", "data": {"version": 3}}));
    }
}
