//! Templates: a text with `{{name.field}}`, and a filter after a bar: `{{db.password | url}}`.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::credentials::Credential;
use crate::variables::{Fields, text_of as text};

/// A piece of a template.
#[derive(Debug, PartialEq, Eq)]
enum Piece<'a> {
    Text(&'a str),
    Field { name: &'a str, field: &'a str, filter: &'a str },
}

/// Whether a template can be filled from these credentials, as far as that can be known beforehand.
///
/// # Errors
/// A sentence that names the place.
pub fn check(template: &str, credentials: &[Credential]) -> Result<(), String> {
    for piece in pieces(template)? {
        let Piece::Field { name, filter, .. } = piece else { continue };
        if !credentials.iter().any(|one| one.name == name) {
            return Err(format!("`template` names {name:?}, which is not among `credentials`"));
        }
        if !matches!(filter, "" | "json" | "base64" | "url") {
            return Err(format!("`template` has the filter {filter:?}: there are json, base64, url"));
        }
    }
    Ok(())
}

/// Fills a template.
///
/// # Errors
/// A sentence that names the field which is not there.
pub fn fill(template: &str, fields: &Fields) -> Result<Zeroizing<String>, String> {
    let mut out = Zeroizing::new(String::new());
    for piece in pieces(template)? {
        match piece {
            Piece::Text(text) => out.push_str(text),
            Piece::Field { name, field: path, filter } => {
                let value = field(fields, name, path);
                let value = value
                    .ok_or_else(|| format!("the template wants {name}.{path}, and the server gave no such field"))?;
                match filter {
                    "json" => out.push_str(&Zeroizing::new(value.to_string())),
                    "base64" => out.push_str(&Zeroizing::new(BASE64_STANDARD.encode(text(value).as_bytes()))),
                    "url" => out.extend(utf8_percent_encode(&text(value), NON_ALPHANUMERIC)),
                    _ => out.push_str(&text(value)),
                }
            }
        }
    }
    Ok(out)
}

/// A field of a credential; dots lead into objects.
fn field<'a>(fields: &'a Fields, name: &str, path: &str) -> Option<&'a Value> {
    let mut parts = path.split('.');
    let first = fields.get(name).and_then(|data: &Map<String, Value>| data.get(parts.next()?))?;
    parts.try_fold(first, |value, part| value.get(part))
}

fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((inside, left)) = after.split_once("}}") else {
            return Err(format!(
                "`template` has a `{{{{` without `}}}}` at byte {}",
                template.len() - rest.len() + before.len()
            ));
        };
        let (path, filter) = inside.split_once('|').unwrap_or((inside, ""));
        let Some((name, field)) = path.trim().trim_start_matches('.').split_once('.') else {
            return Err("`template` has a `{{...}}` that is not `{{name.field}}`".into());
        };
        pieces.push(Piece::Text(before));
        pieces.push(Piece::Field { name, field, filter: filter.trim() });
        rest = left;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::credentials::Verb;

    fn db() -> Vec<Credential> {
        vec![Credential { name: "db".into(), verb: Verb::Get, path: "a/b".into() }]
    }

    #[test]
    fn fields_and_filters() {
        let fields: Fields =
            serde_json::from_value(json!({"db": {"username": "u", "password": "a b\"/", "more": {"x": 1}}})).unwrap();
        let template = "postgres://{{db.username}}:{{ db.password | url }}@h {{.db.password|json}} {{db.password|base64}} {{db.more.x}}";
        check(template, &db()).unwrap();
        let text = fill(template, &fields).unwrap();
        assert_eq!(text.as_str(), "postgres://u:a%20b%22%2F@h \"a b\\\"/\" YSBiIi8= 1");
    }

    #[test]
    fn mistakes_are_named_and_values_are_not() {
        for (template, part) in
            [("{{db.x", "without"), ("{{db}}", "name.field"), ("{{web.x}}", "\"web\""), ("{{db.x|upper}}", "\"upper\"")]
        {
            let error = check(template, &db()).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
        let fields: Fields = serde_json::from_value(json!({"db": {"password": "hunter2"}})).unwrap();
        let error = fill("{{db.missing}}", &fields).unwrap_err();
        assert!(error.contains("db.missing") && !error.contains("hunter2"), "{error}");
    }

    proptest! {
        #[test]
        fn no_template_breaks_it(template in "[{}|. a-z]{0,60}") {
            drop(check(&template, &db()));
            drop(fill(&template, &Fields::new()));
        }
    }
}
