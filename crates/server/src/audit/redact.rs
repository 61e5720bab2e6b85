//! What may stand in the log in clear. Every text in data becomes `hmac-sha256:...` unless it is named here or by the
//! mount's `audit_non_hmac_*_keys`; keys, numbers and truth values stay.

use aws_lc_rs::hmac;
use dewdrop_core::Secret;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::json::{Obj, text};
use super::line;

/// The key of this log's HMACs.
pub struct HashKey(hmac::Key);

/// Keys whose texts are shown.
#[derive(Clone, Default)]
pub struct Shown {
    /// By the kind of mount: names.
    fixed: &'static [&'static str],
    /// By the kind of mount: words of people that are for the record.
    words: &'static [&'static str],
    /// By the mount's tuning.
    tuned: Vec<String>,
}

impl HashKey {
    /// From 32 bytes.
    #[must_use]
    pub fn new(bytes: &Secret<Vec<u8>>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes.expose()))
    }

    /// `hmac-sha256:` and the HMAC in hex.
    #[must_use]
    pub fn hash(&self, value: &str) -> String {
        let mut buf = Vec::with_capacity(76);
        self.write(&mut buf, value);
        String::from_utf8(buf).unwrap_or_default()
    }

    /// The same, without quotes, into a buffer.
    pub fn write(&self, buf: &mut Vec<u8>, value: &str) {
        buf.extend_from_slice(b"hmac-sha256:");
        line::hex(buf, hmac::sign(&self.0, value.as_bytes()).as_ref());
    }

    /// The same as a JSON string.
    pub fn quoted(&self, buf: &mut Vec<u8>, value: &str) {
        buf.push(b'"');
        self.write(buf, value);
        buf.push(b'"');
    }

    /// The data of a request or reply.
    pub fn data(&self, buf: &mut Vec<u8>, data: &Map<String, Value>, shown: &Shown) {
        let mut object = Obj::open(buf);
        for (key, value) in data {
            self.value(object.outer_key(key), value, shown.shows(key, value), shown);
        }
        object.close();
    }

    fn value(&self, buf: &mut Vec<u8>, value: &Value, in_clear: bool, shown: &Shown) {
        match value {
            Value::String(value) if in_clear => text(buf, value),
            Value::String(value) => self.quoted(buf, value),
            Value::Object(map) => self.data(buf, map, shown),
            Value::Array(list) => {
                buf.push(b'[');
                for (at, value) in list.iter().enumerate() {
                    if at > 0 {
                        buf.push(b',');
                    }
                    self.value(buf, value, in_clear, shown);
                }
                buf.push(b']');
            }
            Value::Number(number) => buf.extend_from_slice(number.to_string().as_bytes()),
            Value::Bool(true) => buf.extend_from_slice(b"true"),
            Value::Bool(false) => buf.extend_from_slice(b"false"),
            Value::Null => buf.extend_from_slice(b"null"),
        }
    }

    /// A sentence of ours without the secrets that it may quote.
    #[must_use]
    pub fn sentence(&self, sentence: &str, leaves: &Leaves) -> String {
        let mut clean = sentence.to_owned();
        for leaf in leaves.iter() {
            let quoted = format!("{leaf:?}");
            let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
            for form in [leaf, inner] {
                if clean.contains(form) {
                    clean = clean.replace(form, &self.hash(leaf));
                }
            }
        }
        clean
    }
}

impl Shown {
    /// What a mount's kind and tuning show.
    #[must_use]
    pub fn of(kind: &str, tuned: &[String]) -> Self {
        // Names, no secrets: with them `dewdrop audit trace` walks from a credential to its request.
        let fixed: &'static [&'static str] = match kind {
            "access" => &[
                "id",
                "role",
                "cluster",
                "ticket",
                "kind",
                "time",
                "grant",
                "user",
                "verb",
                "target",
                "namespace",
                "name",
                "source",
                "recording",
                "act",
                "path",
                "uid",
                "until",
                "audit_id",
                "acting_as",
                "state",
                "requester",
                "by",
                "how",
                "extends",
                "at",
                "granted_at",
                "ends_at",
                "container",
                "fingerprint",
            ],
            "database" => &["username"],
            "system" => &["lease_id", "prefix", "path"],
            "token" => &["accessor"],
            _ => &[],
        };
        let words: &'static [&'static str] = match kind {
            "access" => &["reason", "comment", "command", "refused", "summary", "why"],
            _ => &[],
        };
        Self { fixed, words, tuned: tuned.to_vec() }
    }

    /// What is shown by kind must look like a name: whoever puts a secret into the wrong field does not find it here.
    fn shows(&self, key: &str, value: &Value) -> bool {
        let tuned = self.tuned.iter().any(|tuned| tuned == key);
        tuned || self.words.contains(&key) || (self.fixed.contains(&key) && value.as_str().is_some_and(is_name))
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 512 && text.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.:@".contains(c))
}

/// The texts of a request, kept until its end is known: an error may quote one of them.
#[derive(Default)]
pub struct Leaves {
    text: Zeroizing<String>,
    ends: Vec<usize>,
}

/// Shorter ones are in every sentence.
const SHORTEST: usize = 4;

impl Leaves {
    /// Of fields and the token's text.
    #[must_use]
    pub fn of(fields: &Map<String, Value>, token: &str) -> Self {
        let mut size = 0;
        each(fields.values(), &mut |leaf| size += leaf.len());
        // In one piece from the start: growing would leave copies behind.
        let mut leaves = Self { text: Zeroizing::new(String::with_capacity(size + token.len())), ends: Vec::new() };
        leaves.push(token);
        each(fields.values(), &mut |leaf| leaves.push(leaf));
        leaves
    }

    fn push(&mut self, leaf: &str) {
        if leaf.len() >= SHORTEST {
            self.text.push_str(leaf);
            self.ends.push(self.text.len());
        }
    }

    fn iter(&self) -> impl Iterator<Item = &str> {
        let mut from = 0;
        self.ends.iter().filter_map(move |end| self.text.get(std::mem::replace(&mut from, *end)..*end))
    }
}

fn each<'v>(values: impl Iterator<Item = &'v Value>, visit: &mut dyn FnMut(&str)) {
    for value in values {
        match value {
            Value::String(text) => visit(text),
            Value::Array(list) => each(list.iter(), visit),
            Value::Object(map) => each(map.values(), visit),
            _ => {}
        }
    }
}
