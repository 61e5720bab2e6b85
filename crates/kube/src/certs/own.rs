//! Certificates that we make ourselves, of an authority that lives as long as this process.

use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::Moment;

use super::authority::{Authority, DAY, LeafTime};
use super::{CertError, Pair, Source};

/// So a process that runs for years is still trusted.
const LIFE: Duration = DAY.saturating_mul(3650);

/// An authority of our own.
pub struct Own {
    names: Vec<String>,
    authority: Authority,
    leaf: LeafTime,
}

impl Own {
    /// Makes an authority for a server of these names.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(names: Vec<String>, now: Moment) -> Result<Self, CertError> {
        Ok(Self { names, authority: Authority::make(now, LIFE)?, leaf: LeafTime::default() })
    }

    /// What the API server must trust (`caBundle`).
    #[must_use]
    pub fn ca_pem(&self) -> &str {
        self.authority.pem()
    }

    /// Writes it to a file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_ca(&self, path: &Path) -> Result<(), CertError> {
        let file = |cause| CertError::File {
            what: "write the CA to",
            path: path.display().to_string(),
            cause: Box::new(cause),
        };
        let mut beside = PathBuf::from(path).into_os_string();
        beside.push(".new");
        std::fs::write(&beside, self.ca_pem()).map_err(file)?;
        std::fs::rename(&beside, path).map_err(file)
    }
}

#[async_trait]
impl Source for Own {
    async fn renewed(&mut self, now: Moment) -> Result<Option<Pair>, CertError> {
        if !self.leaf.is_due(now) {
            return Ok(None);
        }
        let pair = self.authority.leaf(&self.names, now)?;
        self.leaf.made(now);
        Ok(Some(pair))
    }
}
