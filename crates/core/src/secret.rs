//! A value that cannot be printed, copied by accident or left lying in memory.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret: wiped on drop, without `Clone`, `Display` or `Serialize`; `Debug` prints `[secret]`.
/// `grep 'expose('` is the audit of who looks inside.
pub struct Secret<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize> Secret<T> {
    /// Takes the value in. Leave no other copy behind.
    pub fn new(value: T) -> Self {
        Self(Zeroizing::new(value))
    }

    /// The value itself.
    #[must_use]
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T: Zeroize> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

impl<T: Zeroize + AsRef<[u8]>> PartialEq for Secret<T> {
    /// Takes the same time wherever the first difference is (the length is not hidden).
    fn eq(&self, other: &Self) -> bool {
        same_bytes(self.0.as_ref(), other.0.as_ref())
    }
}

impl<T: Zeroize> From<T> for Secret<T> {
    fn from(value: T) -> Self {
        Self::new(value)
    }
}

/// Compares in a time that depends on the lengths alone.
#[must_use]
pub fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_does_not_tell() {
        let secret = Secret::new(String::from("hunter2"));
        assert_eq!(format!("{secret:?}"), "[secret]");
        assert_eq!(secret.expose(), "hunter2");
    }

    #[test]
    fn equality_is_by_content() {
        assert!(Secret::new(vec![1u8, 2]) == Secret::new(vec![1u8, 2]));
        assert!(Secret::new(vec![1u8, 2]) != Secret::new(vec![1u8]));
    }
}
