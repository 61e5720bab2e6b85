//! From what the server gave to variables of an environment.

use super::wire::Variable;
use crate::spec::Variables;
use crate::volume::{Fields, VolumeError};

/// The variables of a volume.
///
/// # Errors
/// A template names what is not there; two have one name; a value cannot be a variable's.
pub fn of(spec: &Variables, fields: &Fields) -> Result<Vec<Variable>, VolumeError> {
    let made = spec.fill(fields).map_err(VolumeError::Content)?;
    Ok(made.into_iter().map(|(name, value)| Variable { name, value }).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: serde_json::Value) -> Fields {
        serde_json::from_value(value).unwrap()
    }

    fn pairs(made: &[Variable]) -> Vec<(&str, &str)> {
        made.iter().map(|one| (one.name.as_str(), one.value.expose())).collect()
    }

    #[test]
    fn each_field_by_its_name() {
        let made = of(&Variables::All, &fields(json!({"db": {"user.name": "u", "ttl": 60}}))).unwrap();
        assert_eq!(pairs(&made), [("DB_TTL", "60"), ("DB_USER_NAME", "u")]);
    }

    #[test]
    fn those_that_are_named() {
        let named = vec![
            ("PGUSER".to_owned(), "{{db.username}}".to_owned()),
            ("DSN".to_owned(), "postgres://{{db.username}}:{{db.password | url}}@h".to_owned()),
        ];
        let made = of(&Variables::Named(named), &fields(json!({"db": {"username": "u", "password": "a/b"}}))).unwrap();
        assert_eq!(pairs(&made), [("PGUSER", "u"), ("DSN", "postgres://u:a%2Fb@h")]);
    }

    #[test]
    fn what_cannot_be_a_variable_is_said_without_its_value() {
        for (given, part) in [
            (json!({"db": {"a-b": "hunter2", "a_b": "hunter2"}}), "two fields would be the variable DB_A_B"),
            (json!({"db": {"x": "hunter2\u{0}"}}), "NUL"),
            (json!({"db": {"x": "hunter2".repeat(20_000)}}), "use files"),
        ] {
            let error = of(&Variables::All, &fields(given)).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
        let missing = Variables::Named(vec![("A".into(), "{{db.nothing}}".into())]);
        assert!(of(&missing, &fields(json!({"db": {}}))).unwrap_err().to_string().contains("db.nothing"));
    }
}
