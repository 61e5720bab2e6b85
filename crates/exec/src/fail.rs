//! Why the command does not run, and the code that says so: as a shell's and docker's.

use std::fmt;

/// A failure before the command runs.
#[derive(Debug)]
pub enum Fail {
    /// There is no credential, or something of ours is broken.
    Credential(String),
    /// The command cannot be run.
    Command(String),
    /// There is no such command.
    NotFound(String),
}

// === impl Fail ===

impl Fail {
    /// The exit code.
    pub const fn code(&self) -> u8 {
        match self {
            Self::Credential(_) => 125,
            Self::Command(_) => 126,
            Self::NotFound(_) => 127,
        }
    }
}

impl fmt::Display for Fail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Credential(text) | Self::Command(text) | Self::NotFound(text)) = self;
        f.write_str(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_codes_are_those_of_a_shell() {
        let codes = [Fail::Credential(String::new()), Fail::Command(String::new()), Fail::NotFound(String::new())];
        assert_eq!(codes.map(|fail| fail.code()), [125, 126, 127]);
    }
}
