//! The form of the chain, shared by the writer and the offline tools.
//!
//! One line is one JSON object that begins with `{"seq":N,"prev":"HEX",`, written just so. `N` counts from 1 without gaps;
//! `HEX` is the SHA-256 of the whole line before (with its newline), or zeros for line 1. So each value covers the
//! previous value and the exact bytes of its line, and `sed -n 5p FILE | sha256sum` shows what line 6 must say.
//! A line of type `checkpoint` ends with an Ed25519 signature over all of itself that stands before the signature.

use aws_lc_rs::digest::{Context, SHA256};

/// A value of the chain.
pub type Hash = [u8; 32];

/// What line 1 names as its predecessor.
pub const GENESIS: Hash = [0; 32];

/// Between the signed part of a checkpoint and its signature in base64, after which only `"}` and the newline follow.
pub const SIGNATURE: &[u8] = b",\"signature\":\"";

/// All types of line. Another one is no line of this log: without this rule, a changed letter would turn the last
/// checkpoint into a line that nobody signs.
pub const TYPES: [&str; 9] =
    ["request", "response", "checkpoint", "open", "stop", "unseal", "seal", "revoked", "space"];

/// Keeps a signature on a checkpoint from meaning anything elsewhere.
const DOMAIN: &[u8] = b"dewdrop audit checkpoint v1\n";

/// The beginning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// Its number.
    pub seq: u64,
    /// The value of the line before.
    pub prev: Hash,
}

impl Head {
    /// The bytes of this head; the rest of the line follows at once.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"seq\":");
        number(out, self.seq);
        out.extend_from_slice(b",\"prev\":\"");
        hex(out, &self.prev);
        out.extend_from_slice(b"\",");
    }

    /// Reads the head of a line; `None` when the line does not begin exactly so.
    #[must_use]
    pub fn parse(line: &[u8]) -> Option<Self> {
        let rest = line.strip_prefix(b"{\"seq\":")?;
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let text = std::str::from_utf8(rest.get(..digits)?).ok()?;
        let seq: u64 = text.parse().ok().filter(|seq: &u64| *seq > 0 && !text.starts_with('0'))?;
        let rest = rest.get(digits..)?.strip_prefix(b",\"prev\":\"")?;
        let mut prev = GENESIS;
        let digits = rest.get(..64).filter(|digits| digits.iter().all(|d| !d.is_ascii_uppercase()))?;
        hex::decode_to_slice(digits, &mut prev).ok()?;
        rest.get(64..)?.starts_with(b"\",").then_some(Self { seq, prev })
    }
}

/// The value of a line that is given in two parts.
#[must_use]
pub fn hash(head: &[u8], body: &[u8]) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(head);
    context.update(body);
    let mut hash = GENESIS;
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// What is signed of a checkpoint line.
#[must_use]
pub fn signed(before_signature: &[u8]) -> Vec<u8> {
    [DOMAIN, before_signature].concat()
}

/// Whether the line is of a type, by its bytes: types are written by this program in one form only.
#[must_use]
pub fn is_type(line: &[u8], kind: &str) -> bool {
    // After the head and the time, which has no quote in it.
    let Some(start) = find(line, b"\",\"time\":\"") else { return false };
    let Some(rest) = line.get(start + 10..) else { return false };
    let end = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
    rest.get(end..).is_some_and(|rest| {
        rest.strip_prefix(b"\",\"type\":\"")
            .and_then(|rest| rest.strip_prefix(kind.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&b'"'))
    })
}

/// The first place of a needle.
#[must_use]
pub fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    let first = *needle.first()?;
    let mut from = 0;
    while let Some(at) = bytes.get(from..)?.iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(needle) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// A number in decimal.
pub fn number(out: &mut Vec<u8>, mut value: u64) {
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or(0);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Bytes in lower-case hex.
pub fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        out.push(DIGITS[usize::from(byte >> 4)]);
        out.push(DIGITS[usize::from(byte & 15)]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_its_own_writing_and_nothing_else() {
        let head = Head { seq: 12, prev: hash(b"a", b"b") };
        let mut line = Vec::new();
        head.write(&mut line);
        assert_eq!(Head::parse(&line), Some(head));
        let text = String::from_utf8(line).unwrap();
        for bad in [
            text.replace("12", "012"),
            text.replace("seq\":", "seq\": "),
            text.to_uppercase(),
            text.replace("12", "-1"),
            text[..70].to_owned(),
        ] {
            assert_eq!(Head::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn types() {
        let line = b"{\"seq\":1,\"prev\":\"00\",\"time\":\"2026\",\"type\":\"checkpoint\",\"x\":1}";
        assert!(is_type(line, "checkpoint"));
        assert!(!is_type(line, "check"));
        assert!(!is_type(
            b"{\"seq\":1,\"prev\":\"00\",\"time\":\"2026\",\"type\":\"request\",\"type\":\"checkpoint\"}",
            "checkpoint"
        ));
    }
}
