//! From what the server gave to variables of an environment: one rule, whoever sets them (the agent's wrapper, and the
//! wrapper that signs in by itself).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::SecretText;

/// All of them together: a kernel takes 128 KiB for one, and the answer has to fit.
const MOST: usize = 120 << 10;

/// What is read from the server, by the credential's name.
pub type Fields = BTreeMap<String, Map<String, Value>>;

/// `NAME_FIELD` for each field of each credential.
#[must_use]
pub fn of_fields(fields: &Fields) -> Vec<(String, SecretText)> {
    let each = fields.iter().flat_map(|(name, data)| data.iter().map(move |(field, value)| (name, field, value)));
    each.map(|(name, field, value)| (variable_name(&format!("{name}.{field}")), text_of(value).as_str().into()))
        .collect()
}

/// Whether an environment can hold these.
///
/// # Errors
/// A sentence, which holds no value: two have one name; one has a NUL; they are too long.
pub fn check<'a>(made: impl Iterator<Item = (&'a str, &'a SecretText)>) -> Result<(), String> {
    let mut names = BTreeSet::new();
    let mut length = 0;
    for (name, value) in made {
        if !names.insert(name) {
            return Err(format!("two fields would be the variable {name}; name them with `variables`"));
        }
        if value.expose().contains('\0') {
            return Err(format!("the variable {name} would hold a NUL, which no environment can"));
        }
        length += name.len() + value.expose().len() + 2;
    }
    if length > MOST {
        return Err(format!("the variables have {length} bytes; at most {MOST} fit into an environment: use files"));
    }
    Ok(())
}

/// A value as a file or a variable holds it: a text as it is, all else as JSON.
#[must_use]
pub fn text_of(value: &Value) -> Zeroizing<String> {
    Zeroizing::new(match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    })
}

/// `db.username` to `DB_USERNAME`.
#[must_use]
pub fn variable_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = name.chars().map(plain).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_shell_takes() {
        assert_eq!(variable_name("db.user-name"), "DB_USER_NAME");
        assert_eq!(variable_name("2db.x"), "_2DB_X");
    }

    #[test]
    fn what_no_environment_holds_is_said_without_its_value() {
        let told = |pairs: &[(&str, &str)]| {
            let made: Vec<(&str, SecretText)> =
                pairs.iter().map(|(name, value)| (*name, SecretText::from(*value))).collect();
            check(made.iter().map(|(name, value)| (*name, value)))
        };
        assert_eq!(told(&[("A", "1"), ("B", "2")]), Ok(()));
        for bad in
            [&[("A", "hunter2"), ("A", "hunter2")][..], &[("A", "hunter2\0")], &[("A", &"hunter2".repeat(20_000))]]
        {
            assert!(!told(bad).unwrap_err().contains("hunter2"));
        }
    }
}
