//! A secret string that can be read from JSON and compared in constant time.

use std::fmt;

use dewdrop_core::secret::same_bytes;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

/// A secret text: wiped on drop; `Debug` prints `[secret]`. Cloned on purpose only, and the clone is wiped as well.
#[derive(Clone, Default)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// Takes a text in. Leave no other copy behind.
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is nothing in it.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl PartialEq for SecretText {
    fn eq(&self, other: &Self) -> bool {
        same_bytes(self.0.as_bytes(), other.0.as_bytes())
    }
}

impl From<&str> for SecretText {
    fn from(text: &str) -> Self {
        Self::new(text.to_owned())
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // The API writes "no token" as null or as an empty text.
        Ok(Self::new(Option::<String>::deserialize(deserializer)?.unwrap_or_default()))
    }
}
