//! Why there is no audit log, or no line in it.

use std::path::PathBuf;

/// Why the log cannot be opened or written.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The system refused something.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The end of the chain does not hold together.
    #[error("the audit log {} was changed: {why}. `dewdrop audit verify` shows where; to begin a new chain, move all of the folder away", path.display())]
    Broken {
        /// The file.
        path: PathBuf,
        /// What does not fit.
        why: String,
    },
    /// Two servers, one folder.
    #[error("another server writes into the audit folder {}: give each its own with audit_log {{ path }}", .0.display())]
    Held(PathBuf),
    /// The signing key is gone, the lines are there.
    #[error("the key {} is gone, and the log beside it is signed with it: put the key back, or move all of the folder away to begin a new chain", .0.display())]
    KeyGone(PathBuf),
    /// The signing key cannot be used.
    #[error("{} is no Ed25519 key in PKCS #8", .0.display())]
    BadKey(PathBuf),
    /// No space, and the reserve is not for this line.
    #[error("the disk of the audit log is full")]
    Full,
    /// The file is not what was written.
    #[error("the audit log is lost: {0}. Mend it and send SIGHUP to go on in a new file")]
    Lost(String),
    /// Devices copy the chain, and there is none.
    #[error(
        "audit devices copy the chained log, and there is none: set audit_log {{ path = \"/var/lib/dewdrop/audit\" }}"
    )]
    NoChain,
    /// A line before the key came.
    #[error("the key of the audit log's HMACs is not there while the server is sealed")]
    NoKey,
}

impl AuditError {
    /// With its cause, for a log or an operator.
    #[must_use]
    pub fn whole(&self) -> String {
        match self {
            Self::Io { source, .. } => format!("{self}: {source}"),
            other => other.to_string(),
        }
    }
}
