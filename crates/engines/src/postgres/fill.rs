//! Filling values into an operator's SQL. The statement is read as PostgreSQL's own lexer would, so that each value is
//! escaped for the place where it stands: no value can leave its quotes, whatever it holds.

use super::sql::{ident, literal};

/// What may be filled in.
#[derive(Clone, Copy)]
pub struct Values<'a> {
    /// For `{{name}}` and `{{username}}`.
    pub username: &'a str,
    /// For `{{password}}`.
    pub password: &'a str,
    /// For `{{expiration}}`.
    pub expiration: &'a str,
}

/// A value stands where it could be read as SQL: within `$$`, outside of quotes, or with characters that the inner SQL
/// would read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{placeholder} cannot be filled in safely within $$: put it in quotes there, and keep quotes, backslashes and $ out of its value"
)]
pub struct Unsafe {
    placeholder: &'static str,
}

const PLACEHOLDERS: [&str; 4] = ["{{name}}", "{{username}}", "{{password}}", "{{expiration}}"];

/// Where the lexer is.
#[derive(Clone, Copy, PartialEq)]
enum State<'a> {
    Plain,
    Ident,
    Literal { escapes: bool },
    Dollar(&'a str),
    LineComment,
    BlockComment(usize),
}

/// The statement with all placeholders filled in.
///
/// # Errors
/// [`Unsafe`].
pub fn fill(statement: &str, values: Values<'_>) -> Result<String, Unsafe> {
    let mut out = String::with_capacity(statement.len() + 128);
    let mut state = State::Plain;
    let mut rest = statement;
    while let Some(c) = rest.chars().next() {
        if c == '{'
            && let Some((placeholder, after)) =
                PLACEHOLDERS.iter().find_map(|p| rest.strip_prefix(*p).map(|after| (*p, after)))
        {
            place(&mut out, state, placeholder, values)?;
            rest = after;
            continue;
        }
        let (token, next) = step(state, rest, out.chars().next_back());
        let (token, after) = rest.split_at_checked(token).unwrap_or((rest, ""));
        out.push_str(token);
        state = next;
        rest = after;
    }
    Ok(out)
}

/// Whether every `{{password}}` stands behind the word `PASSWORD`, where a verifier is as good as the password.
#[must_use]
pub fn takes_verifier(statement: &str) -> bool {
    let mut parts: Vec<&str> = statement.split("{{password}}").collect();
    parts.pop();
    let ends_well = |part: &str| {
        let part = part.trim_end_matches(|c: char| c == '\'' || c.is_whitespace());
        part.len()
            .checked_sub(8)
            .and_then(|at| part.get(at..))
            .is_some_and(|word| word.eq_ignore_ascii_case("password"))
    };
    parts.into_iter().all(ends_well)
}

/// Length of the next token, and the state behind it.
fn step<'a>(state: State<'a>, rest: &'a str, before: Option<char>) -> (usize, State<'a>) {
    let one = rest.chars().next().map_or(1, char::len_utf8);
    match state {
        State::Plain => plain(rest, before, one),
        State::Ident if rest.starts_with("\"\"") => (2, state),
        State::Ident if rest.starts_with('"') => (1, State::Plain),
        State::Literal { .. } if rest.starts_with("''") => (2, state),
        State::Literal { .. } if rest.starts_with('\'') => (1, State::Plain),
        State::Literal { escapes: true } if rest.starts_with('\\') => {
            (1 + rest.chars().nth(1).map_or(0, char::len_utf8), state)
        }
        State::Dollar(tag) if rest.starts_with(tag) => (tag.len(), State::Plain),
        State::LineComment if rest.starts_with(['\n', '\r']) => (1, State::Plain),
        State::BlockComment(depth) if rest.starts_with("*/") => {
            (2, if depth == 1 { State::Plain } else { State::BlockComment(depth - 1) })
        }
        State::BlockComment(depth) if rest.starts_with("/*") => (2, State::BlockComment(depth + 1)),
        _ => (one, state),
    }
}

fn plain<'a>(rest: &'a str, before: Option<char>, one: usize) -> (usize, State<'a>) {
    if rest.starts_with('"') {
        return (1, State::Ident);
    }
    if rest.starts_with('\'') {
        return (1, State::Literal { escapes: matches!(before, Some('e' | 'E')) });
    }
    if rest.starts_with("--") {
        return (2, State::LineComment);
    }
    if rest.starts_with("/*") {
        return (2, State::BlockComment(1));
    }
    match dollar_tag(rest) {
        Some(tag) if !before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$') => {
            (tag.len(), State::Dollar(tag))
        }
        _ => (one, State::Plain),
    }
}

/// `$$` or `$tag$` at the beginning.
fn dollar_tag(rest: &str) -> Option<&str> {
    let inner = rest.strip_prefix('$')?;
    let end = inner.find('$')?;
    let tag = inner.get(..end)?;
    let starts_well = !tag.starts_with(|c: char| c.is_ascii_digit());
    (starts_well && tag.chars().all(|c| c.is_alphanumeric() || c == '_')).then(|| rest.get(..end + 2)).flatten()
}

fn place(out: &mut String, state: State<'_>, placeholder: &'static str, values: Values<'_>) -> Result<(), Unsafe> {
    let (value, is_name) = match placeholder {
        "{{password}}" => (values.password, false),
        "{{expiration}}" => (values.expiration, false),
        _ => (values.username, true),
    };
    match state {
        State::Plain if is_name && is_simple(value) && value.starts_with(|c: char| !c.is_ascii_digit()) => {
            out.push_str(value);
        }
        State::Plain if is_name => out.push_str(&ident(value)),
        State::Plain => out.push_str(&literal(value)),
        State::Ident => out.push_str(&value.replace('"', "\"\"")),
        State::Literal { escapes: false } => out.push_str(&value.replace('\'', "''")),
        State::Literal { escapes: true } => out.push_str(&value.replace('\\', "\\\\").replace('\'', "''")),
        State::Dollar(_) => {
            let quoted = out.ends_with(['"', '\'']) && !value.contains(['"', '\'', '\\', '$']);
            if !quoted && !is_simple(value) {
                // A verifier holds `$`, but only the tag of the body could end it.
                return place_in_body(out, state, placeholder, value);
            }
            out.push_str(value);
        }
        // Nothing is read there.
        State::LineComment | State::BlockComment(_) => out.push_str(placeholder),
    }
    Ok(())
}

/// Within `$$`, in inner quotes: `$` does no harm unless the body could end with it.
fn place_in_body(out: &mut String, state: State<'_>, placeholder: &'static str, value: &str) -> Result<(), Unsafe> {
    let State::Dollar(tag) = state else { return Err(Unsafe { placeholder }) };
    let quoted = out.ends_with(['"', '\'']) && !value.contains(['"', '\'', '\\']);
    // The value with a character on both sides: a tag may begin or end beyond the value.
    let ends_body = format!("{}{value}$", out.chars().next_back().unwrap_or(' ')).contains(tag) || value.ends_with('$');
    if !quoted || ends_body {
        return Err(Unsafe { placeholder });
    }
    out.push_str(value);
    Ok(())
}

fn is_simple(value: &str) -> bool {
    !value.is_empty() && value.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn filled(statement: &str, username: &str) -> Result<String, Unsafe> {
        fill(statement, Values { username, password: "p'w\\", expiration: "2026-01-01 00:00:00+0000" })
    }

    #[test]
    fn each_place_has_its_own_escape() {
        let bad = "x\" SUPERUSER; --'";
        assert_eq!(filled("CREATE ROLE \"{{name}}\"", bad).unwrap(), "CREATE ROLE \"x\"\" SUPERUSER; --'\"");
        assert_eq!(filled("CREATE ROLE {{name}}", bad).unwrap(), "CREATE ROLE \"x\"\" SUPERUSER; --'\"");
        assert_eq!(filled("CREATE ROLE {{name}}", "simple_1").unwrap(), "CREATE ROLE simple_1");
        assert_eq!(filled("SELECT '{{name}}'", bad).unwrap(), "SELECT 'x\" SUPERUSER; --'''");
        assert_eq!(filled("PASSWORD '{{password}}'", bad).unwrap(), "PASSWORD 'p''w\\'");
        assert_eq!(filled("PASSWORD E'{{password}}'", bad).unwrap(), "PASSWORD E'p''w\\\\'");
        assert_eq!(filled("PASSWORD {{password}}", bad).unwrap(), "PASSWORD  E'p''w\\\\'");
        assert_eq!(filled("-- it's {{name}}\n'{{name}}'", "a'b").unwrap(), "-- it's {{name}}\n'a''b'");
        assert_eq!(filled("/* ' /* */ {{name}} */ '{{name}}'", "a'b").unwrap(), "/* ' /* */ {{name}} */ 'a''b'");
        assert_eq!(
            filled("'it''s' || '{{name}}' || \"a\"\"{{name}}\"", "a'\"").unwrap(),
            "'it''s' || 'a''\"' || \"a\"\"a'\"\"\""
        );
    }

    #[test]
    fn bodies_take_only_what_their_inner_sql_cannot_read() {
        let body = "DO $x$ BEGIN EXECUTE 'CREATE ROLE \"{{name}}\"'; END $x$; SELECT '{{name}}'";
        assert_eq!(filled(body, "v-a--b").unwrap(), body.replace("{{name}}", "v-a--b"));
        for bad in ["a\"b", "a'b", "a\\b", "x$x$y"] {
            assert!(filled(body, bad).is_err(), "{bad}");
        }
        assert!(filled("DO $$ DROP ROLE {{name}} $$", "a b").is_err());
        assert!(filled("DO $$ SELECT '{{password}}' $$", "a").is_err());
        let verifier = Values { username: "u", password: "SCRAM-SHA-256$4096:a+/=$b:c", expiration: "" };
        assert!(fill("DO $$ ALTER ROLE x PASSWORD '{{password}}' $$", verifier).is_ok());
    }

    #[test]
    fn verifiers_go_only_behind_the_word() {
        for (statement, takes) in [
            ("CREATE ROLE x PASSWORD '{{password}}'", true),
            ("CREATE ROLE x password\n'{{password}}' y", true),
            ("SELECT make_user('{{password}}')", false),
            ("ALTER ROLE x PASSWORD '{{password}}'; SELECT log('{{password}}')", false),
            ("SELECT 1", true),
            ("{{password}}", false),
        ] {
            assert_eq!(takes_verifier(statement), takes, "{statement}");
        }
    }

    /// Reads a statement like the server and says what its string and identifier tokens hold.
    fn tokens(sql: &str) -> Vec<String> {
        let (mut state, mut rest, mut found, mut before) = (State::Plain, sql, vec![String::new()], None);
        while !rest.is_empty() {
            let (length, next) = step(state, rest, before);
            let (token, after) = rest.split_at(length);
            before = token.chars().next_back();
            if state == State::Plain {
                found.push(String::new())
            } else {
                found.last_mut().unwrap().push_str(token)
            }
            (state, rest) = (next, after);
        }
        found.retain(|t| !t.is_empty());
        found
    }

    proptest! {
        #[test]
        fn a_value_never_adds_a_token(value in "[ -~é]{1,24}") {
            for statement in ["CREATE ROLE \"{{name}}\" PASSWORD '{{name}}' x", "A E'{{name}}' b", "DO $q$ a '{{name}}' $q$ b"] {
                if let Ok(sql) = filled(statement, &value) {
                    prop_assert_eq!(tokens(&sql).len(), tokens(statement).len(), "{}", sql);
                }
            }
        }
    }
}
