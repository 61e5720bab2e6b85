//! What can go wrong at a target.

use dewdrop_core::fault::with_causes;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::sql::TOO_LATE;

/// Why a target did not do what it was asked. The texts hold no password as far as we know; SQL that the server quotes back
/// is cleaned by [`TargetError::without`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It cannot be reached, or gave no connection. Nothing was done.
    #[error("{0}")]
    Down(String),
    /// It does not let us in.
    #[error("{0}")]
    Login(String),
    /// It refused the SQL; nothing was done.
    #[error("ERROR: {message} (SQLSTATE {code})")]
    Refused {
        /// SQLSTATE.
        code: String,
        /// The server's words.
        message: String,
    },
    /// It began only after we had given up, and so did nothing.
    #[error("the target was too slow to begin in time")]
    TooLate,
    /// The connection was lost, or the time was up, before the answer came: it may have been done or not.
    #[error("{0}")]
    Unknown(String),
}

impl TargetError {
    pub(super) fn of_connect(place: &str, error: &Error) -> Self {
        match error.as_db_error() {
            Some(db) => {
                let code = db.code().code();
                let told =
                    format!("failed to connect to {place}: {}: {} (SQLSTATE {code})", db.severity(), db.message());
                if code.starts_with("28") { Self::Login(told) } else { Self::Down(told) }
            }
            None => Self::Down(format!("failed to connect to {place}: {}", with_causes(error))),
        }
    }

    pub(super) fn of_query(error: &Error) -> Self {
        match error.as_db_error() {
            // The server is going down or ended our session: whether the batch was done before is not known.
            Some(db) if db.code().code().starts_with("57P") => Self::Unknown(db.message().to_owned()),
            Some(db) if db.message().contains(TOO_LATE) => Self::TooLate,
            Some(db) => {
                let detail = db.detail().filter(|_| *db.code() == SqlState::DEPENDENT_OBJECTS_STILL_EXIST);
                let detail = detail.map(|d| format!(": {}", d.replace('\n', "; "))).unwrap_or_default();
                Self::Refused { code: db.code().code().to_owned(), message: format!("{}{detail}", db.message()) }
            }
            None => Self::Unknown(format!("the connection was lost: {}", with_causes(error))),
        }
    }

    /// The same with every secret, and every longer word of one, cut out: the server quotes SQL that it does not
    /// understand.
    #[must_use]
    pub fn without(self, secrets: &[&str]) -> Self {
        let clean = |text: String| {
            let words = secrets.iter().flat_map(|secret| {
                let words = secret.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() >= 4);
                std::iter::once(*secret).chain(words)
            });
            words.filter(|word| !word.is_empty()).fold(text, |text, word| text.replace(word, "[secret]"))
        };
        match self {
            Self::Down(text) => Self::Down(clean(text)),
            Self::Login(text) => Self::Login(clean(text)),
            Self::Unknown(text) => Self::Unknown(clean(text)),
            Self::TooLate => Self::TooLate,
            Self::Refused { code, message } => Self::Refused { code, message: clean(message) },
        }
    }

    /// Whether it is an SQLSTATE of the server.
    #[must_use]
    pub fn is_code(&self, wanted: &SqlState) -> bool {
        matches!(self, Self::Refused { code, .. } if code == wanted.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_cut_out_in_whole_and_in_words() {
        let error = TargetError::Refused { code: "42601".into(), message: "at \"Abcdef-ghij\" or \"ghij\"".into() };
        assert_eq!(
            error.without(&["Abcdef-ghij", ""]).to_string(),
            "ERROR: at \"[secret]\" or \"[secret]\" (SQLSTATE 42601)"
        );
    }
}
