//! Username templates: the subset of Go's template language that the public OpenBao documentation shows under "Username
//! Templating", with our own small parser. Pure: time and random bytes come in.
//!
//! Known: text, `{{ ... }}` with trim marks and comments, the fields `.DisplayName` and `.RoleName`, texts, whole numbers,
//! pipelines, parentheses, and the functions `random N`, `truncate N`, `truncate_sha256 N`, `uppercase`, `lowercase`,
//! `replace FROM TO`, `sha256`, `base64`, `unix_time`, `unix_time_millis`, `timestamp LAYOUT`, `uuid`, `printf` and
//! `print`. The rest of the language (`if`, variables, ...) is refused by name.

mod eval;
mod layout;
mod parse;

use dewdrop_core::{Fault, Moment};

/// Names the target as `v-<display 8>-<role 8>-<random 20>-<unix time>`, at most 63 bytes.
pub const DEFAULT: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (random 20) (unix_time) | truncate 63 }}"#;

/// A name that PostgreSQL keeps whole: longer ones it cuts by itself, so that we would not find them again.
pub const LONGEST_NAME: usize = 63;

/// A template that was read.
#[derive(Debug, Clone)]
pub struct Template {
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    Text(String),
    Action(Pipeline),
}

type Pipeline = Vec<Command>;
/// A function with its arguments, or a lone value.
type Command = Vec<Operand>;

#[derive(Debug, Clone)]
enum Operand {
    Text(String),
    Number(i64),
    DisplayName,
    RoleName,
    Function(Function),
    Group(Pipeline),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Function {
    Random,
    Truncate,
    TruncateSha256,
    Uppercase,
    Lowercase,
    Replace,
    Sha256,
    Base64,
    UnixTime,
    UnixTimeMillis,
    Timestamp,
    Uuid,
    Printf,
    Print,
}

/// What a template is filled with.
pub struct Inputs<'a> {
    /// The caller's name for people. Foreign text: what could mean something in SQL is replaced by `_`.
    pub display_name: &'a str,
    /// The role's name.
    pub role_name: &'a str,
    /// Now.
    pub now: Moment,
    /// Fills a buffer with random bytes.
    pub random: &'a mut dyn FnMut(&mut [u8]),
}

/// Why a template was refused, or cannot be filled. Each is a sentence for the operator (400).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid username template: {0}")]
pub struct TemplateError(pub(crate) String);

impl From<TemplateError> for Fault {
    fn from(error: TemplateError) -> Self {
        Fault::bad_request(error.to_string())
    }
}

// === impl Template ===

impl Template {
    /// Reads a template; the empty text is [`DEFAULT`]. It is filled once with made-up names to prove that it works.
    ///
    /// # Errors
    /// Says what is not understood.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Self { nodes: parse::template(if text.is_empty() { DEFAULT } else { text })? };
        let mut fixed = |buffer: &mut [u8]| buffer.fill(7);
        let inputs = Inputs { display_name: "name", role_name: "role", now: Moment(0), random: &mut fixed };
        template.fill(inputs)?;
        Ok(template)
    }

    /// Makes a username of at most [`LONGEST_NAME`] bytes, without control characters.
    ///
    /// # Errors
    /// The result is empty, or a function refuses its arguments.
    pub fn fill(&self, inputs: Inputs<'_>) -> Result<String, TemplateError> {
        let mut name = eval::template(&self.nodes, inputs)?;
        if name.chars().any(char::is_control) {
            return Err(TemplateError("it makes a name with control characters".into()));
        }
        name.truncate(name.floor_char_boundary(LONGEST_NAME));
        Ok(name)
    }
}

/// Foreign text as a part of a name: letters and digits of all scripts and ` -_.@+:/=,` stay, the rest becomes `_`.
fn harmless(text: &str) -> String {
    text.chars().map(|c| if c.is_alphanumeric() || " -_.@+:/=,".contains(c) { c } else { '_' }).collect()
}

#[cfg(test)]
mod tests;
