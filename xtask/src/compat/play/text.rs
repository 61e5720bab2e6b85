//! Small conversions: command lines, tables, error texts, masked tokens.

use anyhow::{Result, anyhow};

/// Words of a command line; single quotes keep blanks together.
pub fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let (mut quoted, mut any) = (false, false);
    for c in line.chars() {
        match c {
            '\'' => {
                quoted = !quoted;
                any = true;
            }
            ' ' if !quoted => {
                if any {
                    words.push(std::mem::take(&mut word));
                }
                any = false;
            }
            other => {
                word.push(other);
                any = true;
            }
        }
    }
    if any {
        words.push(word);
    }
    words
}

/// Runs of blanks and dashes become one; a line about the build says nothing about behaviour.
pub fn squeeze(line: &str) -> String {
    if line.starts_with("Version ") || line.starts_with("Commit Date ") {
        return line.split_whitespace().next().unwrap_or_default().to_owned() + " <build>";
    }
    let mut out = String::new();
    for c in line.trim_end().chars() {
        if !(matches!(c, ' ' | '-') && out.ends_with(c)) {
            out.push(c);
        }
    }
    out
}

/// psql's own text names the port and the user; the server's message is what counts.
pub fn first_error_line(text: &str) -> String {
    let at = text.find("FATAL:").or_else(|| text.find("ERROR:"));
    let text = at.map_or(text, |at| &text[at..]);
    text.lines().next().unwrap_or_default().to_owned()
}

/// The token of a generate-root: base64, XORed with the one-time password.
pub fn unmask(encoded: &str, otp: &str) -> Result<String> {
    let bytes = base64(encoded).ok_or_else(|| anyhow!("`{encoded}` is not base64"))?;
    let plain = bytes.iter().zip(otp.bytes()).map(|(a, b)| a ^ b).collect();
    Ok(String::from_utf8(plain)?)
}

/// Base64 with or without padding.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let (mut bits, mut count) = (0_u32, 0);
    for c in text.trim_end_matches('=').bytes() {
        let value = match c {
            b'A'..=b'Z' => c - b'A',
            b'a'..=b'z' => c - b'a' + 26,
            b'0'..=b'9' => c - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        count += 6;
        if count >= 8 {
            count -= 8;
            out.push(u8::try_from((bits >> count) & 0xff).ok()?);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_keep_quoted_blanks_together() {
        assert_eq!(words("kv put -mount=x a 'b=c d' ''"), ["kv", "put", "-mount=x", "a", "b=c d", ""]);
    }

    #[test]
    fn a_generated_root_token_is_unmasked() {
        assert_eq!(base64("aGVsbG8"), Some(b"hello".to_vec()));
        assert_eq!(base64("aGVsbG8="), Some(b"hello".to_vec()));
        assert_eq!(base64("a b"), None);
        assert_eq!(unmask("AAAA", "abc").unwrap(), "abc");
    }

    #[test]
    fn tables_do_not_depend_on_their_width() {
        assert_eq!(squeeze("a      b"), squeeze("a  b   "));
        assert_eq!(squeeze("----   ---"), squeeze("--- -"));
    }
}
