//! The attributes of the wrapper: `env`, `variables`, `gate`.

use std::collections::BTreeSet;

use dewdrop_api::credentials::cut;

use super::parse::Reader;
use super::{Credential, Variables, Wrap};

/// The most variables that one volume names.
const MOST: usize = 256;
/// What says how files look.
const OF_FILES: &[&str] = &["file", "format", "template"];

impl Reader<'_> {
    /// What the wrapper has to do.
    pub(super) fn wrap(&mut self, credentials: &[Credential]) -> Wrap {
        let (env, gate) = (self.yes_or_no("env"), self.yes_or_no("gate"));
        let named = self.variables(credentials);
        if named.is_none() && !env {
            return if gate { Wrap::Gate } else { Wrap::No };
        }
        for name in OF_FILES.iter().filter(|name| self.attributes.contains_key(**name)) {
            self.wrong.push(format!("`{name}` is for files, and with `env` or `variables` there are none"));
        }
        Wrap::Env(named.map_or(Variables::All, Variables::Named))
    }

    fn yes_or_no(&mut self, name: &str) -> bool {
        match self.text(name) {
            "true" => true,
            "" | "false" => false,
            _ => {
                self.wrong.push(format!("`{name}` must be \"true\" or \"false\""));
                false
            }
        }
    }

    fn variables(&mut self, credentials: &[Credential]) -> Option<Vec<(String, String)>> {
        let text = self.attributes.get("variables")?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (mut found, mut names, mut wrong) = (Vec::new(), BTreeSet::new(), Vec::new());
        for line in lines {
            match variable(line, credentials) {
                Ok((name, _)) if !names.insert(name.clone()) => wrong.push(format!("`variables` has {name} twice")),
                Ok(one) => found.push(one),
                Err(why) => wrong.push(why),
            }
        }
        if found.len() > MOST {
            wrong.push(format!("`variables` has {} lines; at most {MOST}", found.len()));
        }
        if found.is_empty() && wrong.is_empty() {
            wrong.push(
                "`variables` is empty: write lines of `NAME = name.field`, or leave it out and say `env: \"true\"`"
                    .into(),
            );
        }
        self.wrong.extend(wrong);
        Some(found)
    }
}

/// `NAME = name.field`, or `NAME = text with {{name.field}}`.
fn variable(line: &str, credentials: &[Credential]) -> Result<(String, String), String> {
    let Some((name, value)) = line.split_once('=').map(|(name, value)| (name.trim(), value.trim())) else {
        return Err(format!("`variables` has the line {:?}, which is not `NAME = name.field`", cut(line)));
    };
    let begins_well = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !begins_well || name.len() > 128 || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Err(format!("`variables` has the name {:?}: use letters, digits, `_`", cut(name)));
    }
    let template = if value.contains("{{") { value.to_owned() } else { format!("{{{{{value}}}}}") };
    crate::volume::check_template(&template, credentials).map_err(|why| format!("`variables`, {name}: {why}"))?;
    Ok((name.to_owned(), template))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{SpecError, VolumeSpec};
    use super::*;

    fn parse(more: &[(&str, &str)]) -> Result<VolumeSpec, SpecError> {
        let least = [("container", "app"), ("role", "app"), ("credentials", "db = database/creds/app")];
        let pairs: BTreeMap<String, String> =
            least.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        VolumeSpec::parse(&pairs)
    }

    fn wrap(more: &[(&str, &str)]) -> Wrap {
        parse(more).unwrap().wrap
    }

    #[test]
    fn none_a_gate_or_variables() {
        assert_eq!(wrap(&[]), Wrap::No);
        assert_eq!(wrap(&[("env", "false"), ("gate", "false")]), Wrap::No);
        assert_eq!(wrap(&[("gate", "true"), ("format", "env")]), Wrap::Gate);
        assert_eq!(wrap(&[("env", "true"), ("gate", "true")]), Wrap::Env(Variables::All));
    }

    #[test]
    fn variables_by_name_or_by_template() {
        let text = "# two\nPGUSER = db.username\n\nDSN = postgres://{{db.username}}:{{db.password | url}}@db/app?a=b";
        let named =
            [("PGUSER", "{{db.username}}"), ("DSN", "postgres://{{db.username}}:{{db.password | url}}@db/app?a=b")];
        let named = named.map(|(name, template)| (name.to_owned(), template.to_owned())).to_vec();
        assert_eq!(wrap(&[("variables", text)]), Wrap::Env(Variables::Named(named)));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let text = "PGUSER\n1A = db.x\nA B = db.x\nA = web.x\nB = db\nC = db.x\nC = db.y";
        let SpecError(wrong) =
            parse(&[("env", "yes"), ("gate", "1"), ("variables", text), ("format", "json"), ("file", "x")])
                .unwrap_err();
        let all = wrong.join("\n");
        for part in [
            "`env` must be",
            "`gate` must be",
            "\"PGUSER\", which is not",
            "the name \"1A\"",
            "the name \"A B\"",
            "names \"web\"",
            "`variables`, B",
            "C twice",
            "`format` is for files",
            "`file` is for files",
        ] {
            assert!(all.contains(part), "{part} is not in\n{all}");
        }
        assert!(parse(&[("variables", "")]).unwrap_err().to_string().contains("`variables` is empty"));
        assert!(parse(&[("credentials", ".dewdrop = a/b")]).is_err(), "the wrapper's folder");
    }
}
