//! What a caller may want of a path: the verbs of the API, and the rights that a policy grants for them.

use serde::{Deserialize, Serialize};

/// What is asked of a path. `Create` and `Update` are told apart only where a policy is checked: an engine
/// says whether the thing exists, and a write to something new is a `Create`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// A write to something that is not there yet.
    Create,
    /// `GET`.
    Read,
    /// `POST` or `PUT`.
    Update,
    /// `DELETE`.
    Delete,
    /// `LIST`, or `GET` with `list=true`.
    List,
    /// `SCAN`, or `GET` with `scan=true`: a list of everything below.
    Scan,
    /// `PATCH` with `application/merge-patch+json`.
    Patch,
    /// `GET` with `help=1`.
    Help,
    /// The lease keeper extends a lease.
    Renew,
    /// The lease keeper takes a credential back.
    Revoke,
    /// The server undoes a half-made act.
    Rollback,
}

impl Operation {
    /// The word used in the audit log and the API document.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Scan => "scan",
            Self::Patch => "patch",
            Self::Help => "help",
            Self::Renew => "renew",
            Self::Revoke => "revoke",
            Self::Rollback => "rollback",
        }
    }

    /// Whether state may change: such an act is on the audit log before it is done, and once more after.
    #[must_use]
    pub fn changes_state(self) -> bool {
        !matches!(self, Self::Read | Self::List | Self::Scan | Self::Help)
    }
}
