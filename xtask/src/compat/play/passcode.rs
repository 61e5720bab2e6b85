//! What an authenticator would show: both servers take codes by the time of the day.

use anyhow::{Result, anyhow};
use aws_lc_rs::hmac;

const PERIOD: u64 = 30;

/// The code of an `otpauth` URL (SHA1, six digits, 30 s), so many steps from now.
pub fn passcode(url: &str, beside: i64) -> Result<String> {
    let (_, secret) = url.split_once("secret=").ok_or_else(|| anyhow!("`{url}` is no otpauth URL"))?;
    let key = base32(secret.split('&').next().unwrap_or_default()).ok_or_else(|| anyhow!("no base 32 in `{url}`"))?;
    let step = (now() / PERIOD).saturating_add_signed(beside);
    Ok(code(&key, step))
}

#[expect(clippy::disallowed_methods, reason = "the real servers that are compared go by the machine's clock")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn code(key: &[u8], step: u64) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key), &step.to_be_bytes());
    let at = usize::from(tag.as_ref().last().copied().unwrap_or_default() & 15);
    let four = tag.as_ref().get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
    format!("{:06}", (four & 0x7fff_ffff) % 1_000_000)
}

fn base32(text: &str) -> Option<Vec<u8>> {
    let (mut bits, mut count, mut out) = (0_u32, 0, Vec::new());
    for letter in text.bytes() {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'2'..=b'7' => letter - b'2' + 26,
            _ => return None,
        };
        bits = (bits << 5 | u32::from(value)) & 0xffff;
        count += 5;
        if count >= 8 {
            count -= 8;
            out.push((bits >> count & 0xff) as u8);
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_rfc() {
        let key = base32("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ").unwrap();
        assert_eq!(key, b"12345678901234567890");
        assert_eq!(code(&key, 1), "287082");
    }
}
