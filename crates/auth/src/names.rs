//! Names of roles and users: ASCII letters, digits and `_` at both ends, also `-` and `.` between. Case does not matter.

use dewdrop_core::Fault;

/// The longest name in bytes.
const LONGEST: usize = 256;

/// Reads a name of a path and lower-cases it.
///
/// # Errors
/// 404, as the API has it for a path that no name can have.
pub fn parse_name(text: &str) -> Result<String, Fault> {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let fits = text.len() <= LONGEST
        && text.starts_with(is_word)
        && text.ends_with(is_word)
        && text.chars().all(|c| is_word(c) || c == '-' || c == '.');
    if fits { Ok(text.to_ascii_lowercase()) } else { Err(Fault::missing("unsupported path")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (text, name) in [("a", "a"), ("R2", "r2"), ("a.b", "a.b"), ("_x", "_x"), ("a-b_c", "a-b_c")] {
            assert_eq!(parse_name(text).unwrap(), name);
        }
        for text in ["", "a b", ".a", "a-", "ä", "a@b", "-x", "x.", "a:b", "..", "a\0b", &"x".repeat(257)] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
    }
}
