//! Every text in data becomes `hmac-sha256:...` unless its route or the mount's `audit_non_hmac_*_keys` shows it; keys,
//! numbers and truth values stay.

use aws_lc_rs::hmac;
use dewdrop_core::Secret;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::json::{Obj, text};
use super::line;
use super::shown::{Shown, Trail};

/// The key of this log's HMACs.
pub struct HashKey(hmac::Key);

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
        self.object(buf, data, None, shown);
    }

    fn object(&self, buf: &mut Vec<u8>, map: &Map<String, Value>, above: Option<&Trail<'_>>, shown: &Shown) {
        let mut object = Obj::open(buf);
        for (key, value) in map {
            self.value(object.outer_key(key), value, &Trail::of(key, above), shown);
        }
        object.close();
    }

    fn value(&self, buf: &mut Vec<u8>, value: &Value, at: &Trail<'_>, shown: &Shown) {
        match value {
            Value::String(value) if shown.shows(at, value) => text(buf, value),
            Value::String(value) => self.quoted(buf, value),
            Value::Object(map) => self.object(buf, map, Some(at), shown),
            Value::Array(list) => {
                buf.push(b'[');
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        buf.push(b',');
                    }
                    self.value(buf, value, at, shown);
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
