//! From what the server gave to variables of an environment: one rule, whoever sets them (the agent's wrapper, and the
//! wrapper that signs in by itself).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::SecretText;
use crate::credentials::{Credential, cut};
use crate::template;

/// The most variables that are named.
const MOST_NAMED: usize = 256;
/// All of them together: a kernel takes 128 KiB for one, and the answer has to fit.
const MOST: usize = 120 << 10;

/// What is read from the server, by the credential's name.
pub type Fields = BTreeMap<String, Map<String, Value>>;

/// Variables of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Variables {
    /// `NAME_FIELD` for each field of each credential.
    All,
    /// Names with a template for each.
    Named(Vec<(String, String)>),
}

// === impl Variables ===

impl Variables {
    /// Reads lines of `NAME = name.field`; answers the names with their templates, and every mistake.
    #[must_use]
    pub fn read_named(text: &str, credentials: &[Credential]) -> (Vec<(String, String)>, Vec<String>) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (mut found, mut names, mut wrong) = (Vec::new(), BTreeSet::new(), Vec::new());
        for line in lines {
            match named(line, credentials) {
                Ok((name, _)) if !names.insert(name.clone()) => wrong.push(format!("`variables` has {name} twice")),
                Ok(one) => found.push(one),
                Err(why) => wrong.push(why),
            }
        }
        if found.len() > MOST_NAMED {
            wrong.push(format!("`variables` has {} lines; at most {MOST_NAMED}", found.len()));
        }
        (found, wrong)
    }

    /// The variables with their values.
    ///
    /// # Errors
    /// A sentence without any value: a template names what is not there; an environment cannot hold them.
    pub fn fill(&self, fields: &Fields) -> Result<Vec<(String, SecretText)>, String> {
        let made = match self {
            Self::All => of_fields(fields),
            Self::Named(named) => {
                let one = |(name, template): &(String, String)| {
                    Ok((name.clone(), template::fill(template, fields)?.as_str().into()))
                };
                named.iter().map(one).collect::<Result<_, String>>()?
            }
        };
        check(&made)?;
        Ok(made)
    }
}

/// `NAME = name.field`, or `NAME = text with {{name.field}}`.
fn named(line: &str, credentials: &[Credential]) -> Result<(String, String), String> {
    let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
        return Err(format!("`variables` has the line {:?}, which is not `NAME = name.field`", cut(line)));
    };
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins_well || name.len() > 128 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`variables` has the name {:?}: use letters, digits, `_`", cut(name)));
    }
    let template = if value.contains("{{") { value.to_owned() } else { format!("{{{{{value}}}}}") };
    template::check(&template, credentials).map_err(|why| format!("`variables`, {name}: {why}"))?;
    Ok((name.to_owned(), template))
}

/// `NAME_FIELD` for each field of each credential.
fn of_fields(fields: &Fields) -> Vec<(String, SecretText)> {
    let each = fields.iter().flat_map(|(name, data)| data.iter().map(move |(field, value)| (name, field, value)));
    each.map(|(name, field, value)| (variable_name(&format!("{name}.{field}")), text_of(value).as_str().into()))
        .collect()
}

/// Whether an environment can hold these: not two of one name, no NUL, and not too long.
fn check(made: &[(String, SecretText)]) -> Result<(), String> {
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
    use serde_json::json;

    use super::*;

    #[test]
    fn names_that_a_shell_takes() {
        assert_eq!(variable_name("db.user-name"), "DB_USER_NAME");
        assert_eq!(variable_name("2db.x"), "_2DB_X");
    }

    fn filled(variables: &Variables, value: serde_json::Value) -> Result<Vec<String>, String> {
        let made = variables.fill(&serde_json::from_value(value).unwrap())?;
        Ok(made.iter().map(|(name, value)| format!("{name}={}", value.expose())).collect())
    }

    #[test]
    fn all_of_them_and_those_that_are_named() {
        let given = json!({"db": {"username": "u", "password": "a/b", "ttl": 60}});
        assert_eq!(filled(&Variables::All, given.clone()).unwrap(), ["DB_PASSWORD=a/b", "DB_TTL=60", "DB_USERNAME=u"]);
        let (credentials, _) = Credential::read_all("db = x/y");
        let lines = "PGUSER = db.username\nDSN = pg://{{db.username}}:{{db.password | url}}@h";
        let (named, wrong) = Variables::read_named(lines, &credentials);
        assert_eq!(wrong, [""; 0]);
        assert_eq!(filled(&Variables::Named(named), given).unwrap(), ["PGUSER=u", "DSN=pg://u:a%2Fb@h"]);
        assert_eq!(Variables::read_named("A = db.x\nA = db.x\nB = web.x\n1 = db.x\nC", &credentials).1.len(), 4);
    }

    #[test]
    fn what_no_environment_holds_is_said_without_its_value() {
        for bad in [
            json!({"db": {"a-b": "hunter2", "a_b": "hunter2"}}),
            json!({"db": {"x": "hunter2\u{0}"}}),
            json!({"db": {"x": "hunter2".repeat(20_000)}}),
        ] {
            assert!(!filled(&Variables::All, bad).unwrap_err().contains("hunter2"));
        }
    }
}
