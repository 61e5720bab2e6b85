//! The attributes of the wrapper: `env`, `variables`, `gate`.

use super::parse::Reader;
use super::{Credential, Variables, Wrap};

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
        let (found, mut wrong) = Variables::read_named(text, credentials);
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
