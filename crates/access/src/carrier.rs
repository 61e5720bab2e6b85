//! The way to the server, for what it must be told before or after people act; and why it was not told.

#[cfg(test)]
pub mod stub;

use dewdrop_api::Error;

use crate::inside::Announcement;
use crate::record::Line;
use crate::session::tape::Piece;

/// The server's words go to people and into lines; longer ones are cut.
const LONGEST: usize = 300;

/// Tells the server.
#[async_trait::async_trait]
pub trait Carrier: Send + Sync + 'static {
    /// Sends lines of the record.
    async fn carry(&self, lines: &[Line]) -> Result<(), Untold>;

    /// Sends a piece of a session's recording.
    async fn session(&self, id: &str, piece: &Piece) -> Result<(), Untold>;

    /// Somebody is about to go into a pod.
    async fn announce(&self, announcement: &Announcement) -> Result<(), Untold>;

    /// He has left it.
    async fn left(&self, session: &str) -> Result<(), Untold>;
}

/// Why the server does not have what it was told.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Untold {
    /// It was not heard, or asks for patience: that passes by itself.
    #[error("{0}")]
    Away(String),
    /// It says that it cannot take anything now: it is sealed, or its audit log cannot be written.
    #[error("the server says: {0}")]
    Unable(String),
    /// It refuses the proxy: a token or a policy is gone, or nothing is mounted there. That lasts until somebody changes it.
    #[error("the server refuses the proxy: {0}")]
    Refused(String),
    /// It refuses just this, and will do so again.
    #[error("the server does not take this: {0}")]
    Unfit(String),
}

// === impl Untold ===

impl Untold {
    /// Whether telling it again without any change elsewhere is in vain.
    #[must_use]
    pub fn lasts(&self) -> bool {
        matches!(self, Self::Refused(_) | Self::Unfit(_))
    }
}

impl From<Error> for Untold {
    fn from(error: Error) -> Self {
        let Error::Api(api) = &error else {
            return match error {
                Error::Config(why) | Error::BadCall(why) => Self::Refused(shortened(&why)),
                error => Self::Away(shortened(&error.to_string())),
            };
        };
        let words = if api.errors.is_empty() { "no reason was given".to_owned() } else { api.errors.join("; ") };
        let why = format!("{} ({})", shortened(&words), api.status);
        match api.status {
            // 502 and 504 are said by what stands in front of the server.
            408 | 412 | 425 | 429 | 472 | 473 | 502 | 504 => Self::Away(why),
            400 | 413 | 422 => Self::Unfit(why),
            500.. => Self::Unable(why),
            _ => Self::Refused(why),
        }
    }
}

/// In one line, and not for ever.
fn shortened(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use dewdrop_api::ApiError;

    use super::*;

    fn answered(status: u16, words: &str) -> Untold {
        let errors = if words.is_empty() { Vec::new() } else { vec![words.to_owned()] };
        let (method, url) = ("POST".to_owned(), "https://server/v1/access/record".to_owned());
        Error::Api(Box::new(ApiError { method, url, namespace: None, status, errors, raw: None })).into()
    }

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for status in [408, 412, 429, 473, 502, 504] {
            assert!(matches!(answered(status, "later"), Untold::Away(_)), "{status}");
        }
        for status in [500, 501, 503] {
            assert!(matches!(answered(status, "no"), Untold::Unable(_)) && !answered(status, "no").lasts(), "{status}");
        }
        for status in [401, 403, 404, 405] {
            assert!(matches!(answered(status, "no"), Untold::Refused(_)) && answered(status, "no").lasts(), "{status}");
        }
        for status in [400, 413, 422] {
            assert!(matches!(answered(status, "no"), Untold::Unfit(_)) && answered(status, "no").lasts(), "{status}");
        }
        assert!(matches!(Untold::from(Error::Config("no token".into())), Untold::Refused(_)));
    }

    #[test]
    fn the_servers_words_come_in_one_line_without_its_address() {
        let told = answered(503, "the audit log\n\tcannot be written").to_string();
        assert_eq!(told, "the server says: the audit log cannot be written (503)");
        assert!(answered(403, "").to_string().contains("no reason was given (403)"));
        assert!(answered(400, &"x".repeat(9000)).to_string().len() < 400);
    }
}
