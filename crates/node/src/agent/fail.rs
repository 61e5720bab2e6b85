//! What can go wrong for the agent, in words that kubelet may show in the pod's events.

use crate::volume::VolumeError;

/// A failed act of the agent.
#[derive(Debug, thiserror::Error)]
pub enum Fail {
    /// The server refused, or cannot be reached.
    #[error("{}", brief(.0))]
    Server(#[from] dewdrop_api::Error),
    /// The volume cannot be written.
    #[error("{0}")]
    Volume(#[from] VolumeError),
    /// A refusal, and what it may come from.
    #[error("{0} ({1})")]
    Hinted(Box<Fail>, &'static str),
    /// Something is not as it must be.
    #[error("{0}")]
    Odd(String),
}

// === impl Fail ===

impl Fail {
    /// Something is not as it must be; a sentence says what.
    #[must_use]
    pub fn odd(what: impl Into<String>) -> Self {
        Self::Odd(what.into())
    }

    /// Whether the same may well succeed later.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Server(error) => error.is_passing(),
            Self::Hinted(why, _) => why.is_passing(),
            Self::Volume(_) | Self::Odd(_) => false,
        }
    }

    /// The server's HTTP status, when it answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Server(error) => error.status(),
            Self::Hinted(why, _) => why.status(),
            Self::Volume(_) | Self::Odd(_) => None,
        }
    }
}

/// In one line: it goes into logs and into the pod's events.
fn brief(error: &dewdrop_api::Error) -> String {
    match error {
        dewdrop_api::Error::Api(api) => {
            let path = api.url.split_once("/v1/").map_or(api.url.as_str(), |(_, path)| path);
            format!("the server answers {} to {} {path}: {}", api.status, api.method, api.errors.join("; "))
        }
        other => other.to_string(),
    }
}
