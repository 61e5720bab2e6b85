//! From what the server gave to files: names and contents.

use dewdrop_api::template;
use dewdrop_api::variables::{text_of as text, variable_name as variable};

use zeroize::Zeroizing;

use super::{Fields, VolumeError};
use crate::spec::{Form, Layout, is_file_name};

/// One file: its path in the volume, and its content.
pub type File = (String, Zeroizing<Vec<u8>>);

/// All files of a volume.
pub fn files(layout: &Layout, fields: &Fields) -> Result<Vec<File>, VolumeError> {
    match layout {
        Layout::Files => each(fields),
        Layout::One { file, form } => Ok(vec![(file.clone(), one(form, fields)?)]),
    }
}

fn each(fields: &Fields) -> Result<Vec<File>, VolumeError> {
    let mut files = Vec::new();
    for (name, data) in fields {
        for (field, value) in data {
            if !is_file_name(field) {
                return Err(VolumeError::Content(format!(
                    "credential {name:?} has a field whose name cannot be a file's; use format json or a template"
                )));
            }
            files.push((format!("{name}/{field}"), Zeroizing::new(text(value).as_bytes().to_vec())));
        }
    }
    Ok(files)
}

fn one(form: &Form, fields: &Fields) -> Result<Zeroizing<Vec<u8>>, VolumeError> {
    match form {
        Form::Json => {
            let bytes = serde_json::to_vec_pretty(fields).map(Zeroizing::new);
            bytes.map_err(|e| VolumeError::Content(format!("the credentials cannot be written as JSON: {e}")))
        }
        Form::Env => Ok(lines(fields, |name, value| format!("{}={}\n", variable(name), quoted(value)))),
        Form::Properties => {
            Ok(lines(fields, |name, value| format!("{}={}\n", escaped(name, true), escaped(value, false))))
        }
        Form::Template(text) => {
            let filled = template::fill(text, fields).map_err(VolumeError::Content)?;
            Ok(Zeroizing::new(filled.as_bytes().to_vec()))
        }
    }
}

/// A line for each field of each credential.
fn lines(fields: &Fields, line: impl Fn(&str, &str) -> String) -> Zeroizing<Vec<u8>> {
    let mut all = Zeroizing::new(Vec::new());
    for (name, data) in fields {
        for (field, value) in data {
            let one = Zeroizing::new(line(&format!("{name}.{field}"), &text(value)));
            all.extend_from_slice(one.as_bytes());
        }
    }
    all
}

/// One word for a shell, whatever is in it.
fn quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// As java.util.Properties reads it.
fn escaped(value: &str, is_key: bool) -> String {
    let mut out = String::new();
    for (at, c) in value.chars().enumerate() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            ' ' if is_key || at == 0 => out.push_str("\\ "),
            '=' | ':' | '#' | '!' => out.extend(['\\', c]),
            ' '..='~' => out.push(c),
            other => other.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn fields(value: Value) -> Fields {
        serde_json::from_value(value).unwrap()
    }

    fn only(layout: &Layout, value: Value) -> String {
        let files = files(layout, &fields(value)).unwrap();
        String::from_utf8(files[0].1.to_vec()).unwrap()
    }

    fn form(form: Form) -> Layout {
        Layout::One { file: "f".into(), form }
    }

    #[test]
    fn a_file_for_each_field() {
        let made = files(&Layout::Files, &fields(json!({"db": {"username": "u", "ttl": 60}}))).unwrap();
        let told: Vec<_> = made.iter().map(|(path, content)| (path.as_str(), content.as_slice())).collect();
        assert_eq!(told, [("db/ttl", b"60".as_slice()), ("db/username", b"u")]);
        let error = files(&Layout::Files, &fields(json!({"db": {"../etc": "hunter2"}}))).unwrap_err().to_string();
        assert!(!error.contains("hunter2") && error.contains("\"db\""), "{error}");
    }

    #[test]
    fn json_keeps_all_kinds() {
        let value = json!({"db": {"username": "u", "list": [1, null]}});
        let back: Value = serde_json::from_str(&only(&form(Form::Json), value.clone())).unwrap();
        assert_eq!(back, value);
    }

    #[test]
    fn properties_are_escaped() {
        let text = only(&form(Form::Properties), json!({"db": {"pass word": " a=b\\c\nü"}}));
        assert_eq!(text, "db.pass\\ word=\\ a\\=b\\\\c\\n\\u00fc\n");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// A real shell reads back just what was written.
        #[test]
        fn a_shell_reads_back_what_was_written(value in "[^\0]{0,40}") {
            let text = only(&form(Form::Env), json!({"db": {"pass.word": value}}));
            let script = format!("{text}printf '%s' \"$DB_PASS_WORD\"");
            let out = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
            prop_assert_eq!(String::from_utf8(out.stdout).unwrap(), value);
        }
    }
}
