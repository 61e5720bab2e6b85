//! In a build without the feature `pgp` there are no keys.

use dewdrop_core::Fault;
use dewdrop_core::clock::Moment;

use super::Wrong;

/// There is none.
pub enum PgpKey {}

impl PgpKey {
    /// Refuses every key.
    ///
    /// # Errors
    /// Always.
    pub fn read(_: &[u8], _: Moment) -> Result<Self, Wrong> {
        Err(Wrong::NotBuilt("this build has no PGP: leave the PGP keys out, or build with the feature `pgp`"))
    }

    /// Of no key.
    pub fn fingerprint(&self) -> &str {
        match *self {}
    }

    /// With no key.
    ///
    /// # Errors
    /// Never.
    pub fn encrypt(&self, _: &[u8]) -> Result<Vec<u8>, Fault> {
        match *self {}
    }
}
