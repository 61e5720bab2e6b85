//! An authenticator: what it would show for an `otpauth` URL. Written apart from the server's own code, which it judges.

use aws_lc_rs::hmac;

/// The code (SHA1, six digits, 30 s) of the step in which a second lies, or of one so many steps beside it.
#[must_use]
pub fn passcode(url: &str, seconds: u64, beside: i64) -> String {
    let (_, secret) = url.split_once("secret=").expect("an otpauth URL");
    let key = base32(secret.split('&').next().unwrap_or_default());
    let step = (seconds / 30).checked_add_signed(beside).expect("a step after 1970");
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, &key), &step.to_be_bytes());
    let at = usize::from(tag.as_ref()[19] & 15);
    let number = u32::from_be_bytes(tag.as_ref()[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

fn base32(text: &str) -> Vec<u8> {
    let value = |letter| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".iter().position(|own| *own == letter).unwrap();
    let bits: Vec<usize> =
        text.bytes().map(value).flat_map(|value| (0..5).rev().map(move |bit| value >> bit & 1)).collect();
    bits.chunks_exact(8).map(|eight| eight.iter().fold(0, |byte, bit| byte << 1 | *bit as u8)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let url = "otpauth://totp/a:b?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&x=y";
        assert_eq!(super::passcode(url, 59, 0), "287082");
        assert_eq!(super::passcode(url, 1_111_111_081, 1), "050471");
    }
}
