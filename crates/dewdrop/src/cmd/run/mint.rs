//! What is read for the program, and what its fields are called.

use std::collections::{BTreeMap, BTreeSet};

use dewdrop_api::{Call, SecretText};
use serde_json::Value;

use super::session::Session;
use super::tell;
use crate::duration::human;
use crate::failure::{Failure, Result};
use crate::output::value;

/// One `--creds`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spec {
    /// First part of the variables' names.
    pub name: String,
    /// Path to read.
    pub path: String,
}

/// One `--env-map`.
#[derive(Debug, PartialEq, Eq)]
pub struct Map {
    variable: String,
    path: String,
    field: String,
}

/// What came back for a [`Spec`].
#[derive(Debug)]
pub struct Minted {
    /// What was asked.
    pub spec: Spec,
    /// Its lease; empty for what does not end.
    pub lease_id: String,
    /// Seconds until it ends; 0: it does not.
    pub lease_duration: u64,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// The fields, in order of their names.
    pub fields: Vec<(String, SecretText)>,
}

/// Reads the `--creds` flags, and refuses names that would overwrite each other before anything is made.
pub fn specs(given: &[String], prefix: Option<&str>) -> Result<Vec<Spec>> {
    let mut names = BTreeSet::new();
    let mut specs = Vec::new();
    for text in given {
        let (name, path) = match text.split_once('=') {
            Some((name, path)) if !name.contains('/') => (name.to_owned(), path),
            _ => (prefix.map_or_else(|| last_part(text), str::to_owned), text.as_str()),
        };
        let path = path.trim_matches('/').to_owned();
        if path.is_empty() || name.is_empty() {
            return Err(Failure::usage(format!("-creds {text:?} names no path"))
                .hint("for instance -creds database/creds/app, or -creds DB=database/creds/app"));
        }
        let name = variable_name(&name);
        if !names.insert(name.clone()) {
            return Err(Failure::usage(format!("two -creds would both set {name}_..."))
                .hint("name them apart: -creds ONE=path/a -creds TWO=path/b"));
        }
        specs.push(Spec { name, path });
    }
    Ok(specs)
}

fn last_part(path: &str) -> String {
    path.trim_matches('/').rsplit('/').next().unwrap_or(path).to_owned()
}

/// A text as the name of a variable: capitals, digits and underscores, not beginning with a digit.
fn variable_name(text: &str) -> String {
    let name: String =
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    if name.starts_with(|c: char| c.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Reads the `--env-map` flags.
pub fn maps(given: &[String], specs: &[Spec]) -> Result<Vec<Map>> {
    given
        .iter()
        .map(|text| {
            let bad = || {
                Failure::usage(format!("-env-map {text:?} is not of the form VAR=PATH.FIELD"))
                    .hint("for instance -env-map PGPASSWORD=database/creds/app.password")
            };
            let (variable, source) = text.split_once('=').ok_or_else(bad)?;
            let (path, field) = source.rsplit_once('.').ok_or_else(bad)?;
            if variable.is_empty() || variable.contains('\0') || field.is_empty() {
                return Err(bad());
            }
            let path = path.trim_matches('/');
            let spec = specs.iter().find(|s| s.path == path || s.name == path);
            let spec =
                spec.ok_or_else(|| Failure::usage(format!("-env-map {text:?} names {path}, which no -creds reads")))?;
            Ok(Map { variable: variable.to_owned(), path: spec.path.clone(), field: field.to_owned() })
        })
        .collect()
}

/// Reads all of them, one after the other. On a failure, what was made so far comes with it, to be taken back.
pub async fn all(session: &Session, specs: &[Spec]) -> std::result::Result<Vec<Minted>, (Vec<Minted>, Failure)> {
    let mut made = Vec::new();
    for spec in specs {
        match one(session, spec).await {
            Ok(minted) => made.push(minted),
            Err(failure) => return Err((made, failure)),
        }
    }
    Ok(made)
}

async fn one(session: &Session, spec: &Spec) -> Result<Minted> {
    let doing = format!("Error reading {} for the program", spec.path);
    let envelope = session.client().call(Call::read(&spec.path)?).await.map_err(|e| Failure::from(e).doing(&doing))?;
    let envelope = envelope.ok_or_else(|| Failure::server(format!("No value found at {}", spec.path)))?;
    let warnings = envelope.warnings.clone().unwrap_or_default();
    let Some(data) = envelope.data.filter(|d| !d.expose().is_empty()) else {
        let hint = warnings.first().cloned().unwrap_or_else(|| "for KV v2 the path is MOUNT/data/KEY".into());
        return Err(Failure::server(format!("There are no fields at {}", spec.path)).hint(hint));
    };
    // KV v2 puts the fields one level down, beside what it knows about them.
    let outer = data.expose();
    let fields = match (outer.get("data"), outer.get("metadata")) {
        (Some(Value::Object(inner)), Some(Value::Object(_))) => inner,
        _ => outer,
    };
    let mut fields: Vec<(String, SecretText)> =
        fields.iter().map(|(name, found)| (name.clone(), as_text(found))).collect();
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    if !envelope.lease_id.is_empty() && !envelope.renewable {
        let end = human(i64::try_from(envelope.lease_duration).unwrap_or(i64::MAX));
        tell(&format!("{} ends after {end} and cannot be renewed", spec.path));
    }
    Ok(Minted {
        spec: spec.clone(),
        lease_id: envelope.lease_id,
        lease_duration: envelope.lease_duration,
        renewable: envelope.renewable,
        fields,
    })
}

fn as_text(found: &Value) -> SecretText {
    SecretText::new(match found {
        Value::Object(_) | Value::Array(_) => found.to_string(),
        Value::Null => String::new(),
        simple => value::plain(simple),
    })
}

impl Minted {
    /// The name of a field's variable.
    #[must_use]
    pub fn variable(&self, field: &str) -> String {
        format!("{}_{}", self.spec.name, variable_name(field))
    }
}

/// The variables for the program's environment.
pub fn variables(minted: &[Minted], maps: &[Map]) -> Result<BTreeMap<String, SecretText>> {
    let mut all = BTreeMap::new();
    for map in maps {
        let source = minted.iter().find(|m| m.spec.path == map.path);
        let found = source.and_then(|m| m.fields.iter().find(|(name, _)| *name == map.field));
        let Some((_, text)) = found else {
            let known: Vec<&str> = source.iter().flat_map(|m| m.fields.iter().map(|(name, _)| name.as_str())).collect();
            return Err(Failure::usage(format!("{} has no field {:?}", map.path, map.field))
                .hint(format!("its fields are: {}", known.join(", "))));
        };
        set(&mut all, map.variable.clone(), text)?;
    }
    for one in minted.iter().filter(|m| maps.iter().all(|map| map.path != m.spec.path)) {
        for (field, text) in &one.fields {
            set(&mut all, one.variable(field), text)?;
        }
    }
    Ok(all)
}

fn set(all: &mut BTreeMap<String, SecretText>, variable: String, text: &SecretText) -> Result<()> {
    if text.expose().contains('\0') {
        return Err(
            Failure::usage(format!("the value for {variable} holds a NUL, which no variable can")).hint("use -file")
        );
    }
    if all.contains_key(&variable) {
        return Err(Failure::usage(format!("two fields would both set {variable}"))
            .hint("name the credentials apart: -creds NAME=PATH"));
    }
    all.insert(variable, text.clone());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(items: &[&str]) -> Vec<String> {
        items.iter().map(|i| (*i).to_owned()).collect()
    }

    fn minted(name: &str, path: &str, fields: &[(&str, &str)]) -> Minted {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), SecretText::from(*v))).collect();
        Minted {
            spec: Spec { name: name.into(), path: path.into() },
            lease_id: String::new(),
            lease_duration: 0,
            renewable: false,
            fields,
        }
    }

    #[test]
    fn names_come_from_the_path_unless_given() {
        let found = specs(&strings(&["database/creds/app-ro/", "DB=database/creds/x", "kv/2fast"]), None).unwrap();
        let names: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.path.as_str())).collect();
        assert_eq!(names, [("APP_RO", "database/creds/app-ro"), ("DB", "database/creds/x"), ("_2FAST", "kv/2fast")]);
        assert_eq!(specs(&strings(&["database/creds/app"]), Some("db")).unwrap()[0].name, "DB");
    }

    #[test]
    fn names_that_collide_are_refused() {
        assert!(specs(&strings(&["a/creds/app", "b/creds/app"]), None).is_err());
        assert!(specs(&strings(&["a/x", "b/y"]), Some("DB")).is_err());
        assert!(specs(&strings(&["/"]), None).is_err());
    }

    #[test]
    fn fields_become_variables_and_maps_replace_them() {
        let made = [
            minted("APP", "db/creds/app", &[("username", "u"), ("password", "p")]),
            minted("KV", "kv/a", &[("api-key", "k")]),
        ];
        let plain = variables(&made, &[]).unwrap();
        assert_eq!(
            plain.keys().map(String::as_str).collect::<Vec<_>>(),
            ["APP_PASSWORD", "APP_USERNAME", "KV_API_KEY"]
        );
        let specs: Vec<Spec> = made.iter().map(|m| m.spec.clone()).collect();
        let map = maps(&strings(&["PGPASSWORD=db/creds/app.password"]), &specs).unwrap();
        let mapped = variables(&made, &map).unwrap();
        assert_eq!(mapped.keys().map(String::as_str).collect::<Vec<_>>(), ["KV_API_KEY", "PGPASSWORD"]);
        assert_eq!(mapped["PGPASSWORD"].expose(), "p");
    }

    #[test]
    fn maps_that_cannot_work_are_refused() {
        let specs = [Spec { name: "APP".into(), path: "db/creds/app".into() }];
        for bad in ["X", "X=db/creds/app", "X=other/path.password", "=db/creds/app.password"] {
            assert!(maps(&strings(&[bad]), &specs).is_err(), "{bad} was taken");
        }
        let map = maps(&strings(&["X=APP.nope"]), &specs).unwrap();
        let error =
            variables(&[minted("APP", "db/creds/app", &[("password", "hunter2")])], &map).unwrap_err().to_string();
        assert!(error.contains("password") && !error.contains("hunter2"), "{error}");
    }

    #[test]
    fn a_nul_is_refused() {
        assert!(variables(&[minted("A", "a", &[("x", "a\0b")])], &[]).is_err());
    }
}
