//! Password policies: how long a generated password is and which characters it holds. The language is that of the
//! public OpenBao documentation ("Password Policies"), in HCL or JSON:
//!
//! ```text
//! length = 20
//! rule "charset" { charset = "abcdefghijklmnopqrstuvwxyz" min-chars = 1 }
//! rule "charset" { charset = "0123456789" min-chars = 1 }
//! ```
//!
//! Pure: random bytes come in as a function. Keys that the language does not know are ignored, as the API does.

mod draw;
mod parse;

use crate::secret::Secret;

/// The shortest password that a policy may ask for.
pub const SHORTEST: usize = 4;
/// The longest password that a policy may ask for.
pub const LONGEST: usize = 100;

/// A password policy that was read and found possible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PasswordPolicy {
    length: usize,
    rules: Vec<Charset>,
}

/// Characters of which a password holds at least `min` (zero: they are merely allowed).
#[derive(Debug, Clone, PartialEq, Eq)]
struct Charset {
    chars: Vec<char>,
    min: usize,
}

/// Why a text is no password policy. Each is a sentence for the operator (400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The text is neither of the two languages.
    #[error("invalid password policy: line {line}: {what}")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// What was met and what was expected.
        what: String,
    },
    /// A known key holds a value of the wrong type.
    #[error("invalid password policy: {0:?} must be {1}")]
    WrongType(&'static str, &'static str),
    /// A rule of another kind than `charset`.
    #[error("invalid password policy: unrecognized rule type: the only one is \"charset\"")]
    UnknownRule,
    /// No length, or one that is not positive.
    #[error("invalid password policy: length must be > 0")]
    NoLength,
    /// Beyond the limits.
    #[error("passwords must be between {SHORTEST} and {LONGEST} characters")]
    LengthOutOfRange,
    /// No rule, or a rule without characters.
    #[error("invalid password policy: no charset specified")]
    NoCharset,
    /// A character that cannot be printed.
    #[error("invalid password policy: non-printable character in charset")]
    NotPrintable,
    /// The rules ask for more characters than there are.
    #[error("invalid password policy: specified rules require at least {need} characters but {length} is specified")]
    TooLittleRoom {
        /// Sum of all `min-chars`.
        need: usize,
        /// The length.
        length: usize,
    },
}

// === impl PasswordPolicy ===

impl Default for PasswordPolicy {
    /// The policy of the empty name: 20 characters with at least one small letter, capital, digit and dash.
    fn default() -> Self {
        let all = [('a', 'z'), ('A', 'Z'), ('0', '9'), ('-', '-')];
        let rules = all.into_iter().map(|(first, last)| Charset { chars: (first..=last).collect(), min: 1 }).collect();
        Self { length: 20, rules }
    }
}

impl PasswordPolicy {
    /// Reads a policy in HCL or JSON.
    ///
    /// # Errors
    /// See [`PolicyError`]; nothing of a policy that cannot be kept is accepted.
    pub fn parse(text: &str) -> Result<Self, PolicyError> {
        let raw = parse::read(text)?;
        let length = raw.length.filter(|length| *length > 0).ok_or(PolicyError::NoLength)?;
        let length = usize::try_from(length).map_err(|_| PolicyError::LengthOutOfRange)?;
        if !(SHORTEST..=LONGEST).contains(&length) {
            return Err(PolicyError::LengthOutOfRange);
        }
        let rules = raw.rules.into_iter().map(charset).collect::<Result<Vec<_>, _>>()?;
        if rules.is_empty() {
            return Err(PolicyError::NoCharset);
        }
        let need = rules.iter().fold(0usize, |sum, rule| sum.saturating_add(rule.min));
        if need > length {
            return Err(PolicyError::TooLittleRoom { need, length });
        }
        Ok(Self { length, rules })
    }

    /// How many characters a password has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Makes a password. `random` fills a buffer with random bytes that nobody can guess.
    ///
    /// Every password that keeps the rules is equally likely, as long as one is found within a bounded number of draws;
    /// rules that chance hardly meets are built instead (the demanded characters, the rest from all, then shuffled).
    pub fn generate(&self, random: &mut dyn FnMut(&mut [u8])) -> Secret<String> {
        draw::password(self.length, &self.rules, random)
    }
}

fn charset(rule: parse::RawRule) -> Result<Charset, PolicyError> {
    let mut chars: Vec<char> = rule.charset.chars().collect();
    if chars.is_empty() {
        return Err(PolicyError::NoCharset);
    }
    if chars.iter().any(|c| c.is_control() || (c.is_whitespace() && *c != ' ')) {
        return Err(PolicyError::NotPrintable);
    }
    chars.sort_unstable();
    chars.dedup();
    Ok(Charset { chars, min: usize::try_from(rule.min_chars).unwrap_or(0) })
}

#[cfg(test)]
mod tests;
