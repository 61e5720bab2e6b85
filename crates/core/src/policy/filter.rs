//! `list_scan_response_keys_filter_path`: which keys of a list are shown. The template says which path each key stands
//! for; a key is shown where the caller may read that path (or list it, for a key that ends in a slash).
//!
//! Of Go's template language the part that is of use here: `{{ .path }}`, `{{ .key }}`, and the pipes `replace`,
//! `lowercase`, `uppercase`, `truncate`. The rest is refused when the policy is written.

/// A compiled template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFilter {
    source: String,
    parts: Vec<Part>,
    /// The path of the policy's namespace: the template knows only what is below it.
    namespace: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Field(Field, Vec<Pipe>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Path,
    Key,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pipe {
    Replace(String, String),
    Lowercase,
    Uppercase,
    Truncate(usize),
}

impl KeyFilter {
    /// Reads a template.
    ///
    /// # Errors
    /// A sentence: the template cannot be read, or gives the same path for different keys.
    pub(super) fn parse(source: &str, namespace: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut rest = source;
        while let Some((before, after)) = rest.split_once("{{") {
            let (action, after) = after.split_once("}}").ok_or("a `{{` is not closed with `}}`")?;
            let (action, trim_left) = action.strip_prefix("- ").map_or((action, false), |action| (action, true));
            let (action, trim_right) = action.strip_suffix(" -").map_or((action, false), |action| (action, true));
            let before = if trim_left { before.trim_end() } else { before };
            parts.push(Part::Text(before.to_owned()));
            parts.push(action_part(action)?);
            rest = if trim_right { after.trim_start() } else { after };
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        let filter = Self { source: source.to_owned(), parts, namespace: namespace.to_owned() };
        if filter.path_of("a/", "b") == filter.path_of("a/", "c") {
            return Err("it gives the same path for different keys: use {{ .key }} in it".into());
        }
        Ok(filter)
    }

    /// The template as written.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The full path that a key of the list at `list_path` (full, with its slash) stands for.
    #[must_use]
    pub fn path_of(&self, list_path: &str, key: &str) -> String {
        let below = list_path.strip_prefix(self.namespace.as_str()).unwrap_or(list_path);
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => out.push_str(text),
                Part::Field(field, pipes) => {
                    let value = match field {
                        Field::Path => below,
                        Field::Key => key,
                    };
                    out.push_str(&pipes.iter().fold(value.to_owned(), |value, pipe| pipe.apply(value)));
                }
            }
        }
        format!("{}{}", self.namespace, out.strip_prefix('/').unwrap_or(&out))
    }
}

impl Pipe {
    fn apply(&self, value: String) -> String {
        match self {
            Self::Replace(from, to) => value.replace(from.as_str(), to),
            Self::Lowercase => value.to_lowercase(),
            Self::Uppercase => value.to_uppercase(),
            Self::Truncate(length) => value.chars().take(*length).collect(),
        }
    }
}

fn action_part(action: &str) -> Result<Part, String> {
    let known = "in the braces may stand .path or .key, and after it pipes: replace \"a\" \"b\", lowercase, uppercase, truncate 8";
    let mut steps = words(action)?.into_iter();
    let field = match steps.next() {
        Some(Word::Bare(word)) if word == ".path" => Field::Path,
        Some(Word::Bare(word)) if word == ".key" => Field::Key,
        _ => return Err(known.into()),
    };
    let mut pipes = Vec::new();
    while let Some(word) = steps.next() {
        if word != Word::Bare("|".into()) {
            return Err(known.into());
        }
        pipes.push(match (steps.next(), &mut steps) {
            (Some(Word::Bare(name)), _) if name == "lowercase" => Pipe::Lowercase,
            (Some(Word::Bare(name)), _) if name == "uppercase" => Pipe::Uppercase,
            (Some(Word::Bare(name)), rest) if name == "truncate" => match rest.next() {
                Some(Word::Bare(length)) => Pipe::Truncate(length.parse().map_err(|_| known)?),
                _ => return Err(known.into()),
            },
            (Some(Word::Bare(name)), rest) if name == "replace" => match (rest.next(), rest.next()) {
                (Some(Word::Quoted(from)), Some(Word::Quoted(to))) if !from.is_empty() => Pipe::Replace(from, to),
                _ => return Err(known.into()),
            },
            _ => return Err(known.into()),
        });
    }
    Ok(Part::Field(field, pipes))
}

#[derive(PartialEq, Eq)]
enum Word {
    Bare(String),
    Quoted(String),
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            let end = rest[1..].find('"').ok_or("a string in the braces is not closed")?;
            words.push(Word::Quoted(rest[1..=end].to_owned()));
            rest = &rest[end + 2..];
        } else if first == '|' {
            words.push(Word::Bare("|".into()));
            rest = &rest[1..];
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || c == '|' || c == '"').unwrap_or(rest.len());
            words.push(Word::Bare(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(words)
}
