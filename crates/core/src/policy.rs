//! Policies (being written).

/// Proof that policy said yes.
#[derive(Debug)]
pub struct Permit(());

impl Permit {
    /// For routes that need no token.
    #[must_use]
    pub fn public(_reason: &'static str) -> Self {
        Self(())
    }
}
