//! What a rule grants: a set of capabilities in two bytes.

use std::fmt;

use crate::op::Operation;

/// Names by bit, in the order in which `sys/capabilities` lists them.
const NAMES: [&str; 9] = ["create", "delete", "deny", "list", "patch", "read", "scan", "sudo", "update"];

/// A set of capabilities.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Capabilities(u16);

impl Capabilities {
    /// Nothing.
    pub const NONE: Self = Self(0);
    /// Refuses, whatever else is granted beside it.
    pub const DENY: Self = Self(1 << 2);
    /// Access to paths that are marked as dangerous.
    pub const SUDO: Self = Self(1 << 7);

    /// One capability by its name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        NAMES.iter().position(|known| *known == name).map(|bit| Self(1 << bit))
    }

    /// What the old `policy = "..."` form stands for.
    #[must_use]
    pub fn shorthand(name: &str) -> Option<Self> {
        let names: &[&str] = match name {
            "deny" => &["deny"],
            "read" => &["list", "read"],
            "write" => &["create", "delete", "list", "read", "update"],
            "sudo" => &["create", "delete", "list", "read", "sudo", "update"],
            _ => return None,
        };
        Some(names.iter().filter_map(|name| Self::named(name)).fold(Self::NONE, Self::and))
    }

    /// What an operation needs; `None`: nothing, any token may.
    #[must_use]
    pub fn needed(operation: Operation) -> Option<Self> {
        let name = match operation {
            Operation::Help => return None,
            Operation::Create => "create",
            Operation::Read => "read",
            Operation::Update | Operation::Renew | Operation::Revoke | Operation::Rollback => "update",
            Operation::Delete => "delete",
            Operation::List => "list",
            Operation::Scan => "scan",
            Operation::Patch => "patch",
        };
        Self::named(name)
    }

    /// Both sets together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in here.
    #[must_use]
    pub fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether something may be done at all.
    #[must_use]
    pub fn grants(self) -> bool {
        self != Self::NONE && !self.has(Self::DENY)
    }

    /// What `sys/capabilities` shows: sorted names, `deny` alone where nothing is granted.
    #[must_use]
    pub fn shown(self) -> Vec<&'static str> {
        if self.grants() { self.names() } else { vec!["deny"] }
    }

    /// The names, sorted.
    #[must_use]
    pub fn names(self) -> Vec<&'static str> {
        NAMES.iter().enumerate().filter(|(bit, _)| self.0 & (1 << bit) != 0).map(|(_, name)| *name).collect()
    }

    /// All names there are, for messages.
    pub(super) fn all_names() -> String {
        NAMES.join(", ")
    }
}

impl fmt::Debug for Capabilities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}
