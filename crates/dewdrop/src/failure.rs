//! How a command fails: an exit code, what happened, and what to do next.

use dewdrop_api::Error;

/// The result of a command's steps.
pub type Result<T> = std::result::Result<T, Failure>;

/// A command's end that is not success. Codes as `bao` uses them: 1 for a mistake on our side, 2 for the server's no.
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
    hint: Option<String>,
    status: Option<u16>,
}

impl Failure {
    /// The command was given wrongly, or something local failed.
    #[must_use]
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into(), hint: None, status: None }
    }

    /// The server has nothing there, or said no.
    #[must_use]
    pub fn server(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into(), hint: None, status: None }
    }

    /// Nothing more to do: the command has said all and ends with this code.
    #[must_use]
    pub fn quiet(code: u8) -> Self {
        Self { code, text: String::new(), hint: None, status: None }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says what was being done when it failed: `Error reading x: ...`.
    #[must_use]
    pub fn doing(mut self, what: &str) -> Self {
        if !self.text.is_empty() && !what.is_empty() {
            self.text = format!("{what}: {}", self.text);
        }
        self
    }

    /// Another exit code.
    #[must_use]
    pub fn coded(mut self, code: u8) -> Self {
        self.code = code;
        self
    }

    /// The HTTP status, when the server said no.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        self.status
    }

    /// Whether the server refuses this way of asking, so that another may be tried.
    #[must_use]
    pub fn is_forbidden_or_unsupported(&self) -> bool {
        matches!(self.status, Some(403 | 405))
    }

    /// Tells stderr, and returns the exit code.
    #[must_use]
    pub fn report(&self) -> u8 {
        use std::io::Write;
        if !self.text.is_empty() {
            let mut err = std::io::stderr().lock();
            // A closed stderr does not change the exit code.
            let _ = writeln!(err, "{}", self.text);
            if let Some(hint) = &self.hint {
                let _ = writeln!(err, "\nHint: {hint}.");
            }
        }
        self.code
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)?;
        self.hint.as_ref().map_or(Ok(()), |hint| write!(f, " ({hint})"))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = if matches!(error, Error::Config(_) | Error::BadCall(_)) { 1 } else { 2 };
        Self { code, text: error.to_string(), hint: error.advice(), status: error.status() }
    }
}
