//! JSON straight into a buffer: a line is made for every request, so nothing is built that is thrown away.

use super::line::number;

/// An object that is being written.
pub struct Obj<'b> {
    buf: &'b mut Vec<u8>,
    empty: bool,
}

impl<'b> Obj<'b> {
    /// Opens an object.
    pub fn open(buf: &'b mut Vec<u8>) -> Self {
        buf.push(b'{');
        Self { buf, empty: true }
    }

    /// Goes on in an object that is open and whose last byte is a comma, or that is empty.
    pub fn go_on(buf: &'b mut Vec<u8>) -> Self {
        Self { buf, empty: true }
    }

    /// A member; its value is to be written into what is returned.
    pub fn key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.buf.push(b',');
        }
        self.empty = false;
        // Keys of ours need no escapes; those that come from outside go through `outer_key`.
        self.buf.push(b'"');
        self.buf.extend_from_slice(key.as_bytes());
        self.buf.extend_from_slice(b"\":");
        self.buf
    }

    /// A member whose name comes from outside.
    pub fn outer_key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.buf.push(b',');
        }
        self.empty = false;
        text(self.buf, key);
        self.buf.push(b':');
        self.buf
    }

    /// A text.
    pub fn text(&mut self, key: &str, value: &str) {
        text(self.key(key), value);
    }

    /// A text, unless it is empty.
    pub fn text_if(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.text(key, value);
        }
    }

    /// A list of texts, unless it is empty.
    pub fn texts_if<S: AsRef<str>>(&mut self, key: &str, values: &[S]) {
        if values.is_empty() {
            return;
        }
        let buf = self.key(key);
        for (at, value) in values.iter().enumerate() {
            buf.push(if at == 0 { b'[' } else { b',' });
            text(buf, value.as_ref());
        }
        buf.push(b']');
    }

    /// A number.
    pub fn number(&mut self, key: &str, value: u64) {
        number(self.key(key), value);
    }

    /// A number, unless it is zero.
    pub fn number_if(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.number(key, value);
        }
    }

    /// An object.
    pub fn object(&mut self, key: &str, fill: impl FnOnce(&mut Obj<'_>)) {
        let mut inner = Obj::open(self.key(key));
        fill(&mut inner);
        inner.close();
    }

    /// Closes it.
    pub fn close(self) {
        self.buf.push(b'}');
    }
}

/// A JSON string.
pub fn text(buf: &mut Vec<u8>, value: &str) {
    buf.push(b'"');
    let bytes = value.as_bytes();
    let mut from = 0;
    for (at, byte) in bytes.iter().enumerate() {
        if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' && *byte != 0x7f {
            continue;
        }
        buf.extend_from_slice(bytes.get(from..at).unwrap_or_default());
        from = at + 1;
        match byte {
            b'"' | b'\\' => buf.extend_from_slice(&[b'\\', *byte]),
            b'\n' => buf.extend_from_slice(b"\\n"),
            _ => {
                buf.extend_from_slice(b"\\u00");
                super::line::hex(buf, &[*byte]);
            }
        }
    }
    buf.extend_from_slice(bytes.get(from..).unwrap_or_default());
    buf.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn every_text_is_read_back(value in ".*") {
            let mut buf = Vec::new();
            text(&mut buf, &value);
            proptest::prop_assert!(!buf.contains(&b'\n'));
            proptest::prop_assert_eq!(serde_json::from_slice::<String>(&buf).unwrap(), value);
        }
    }
}
