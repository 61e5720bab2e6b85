//! Where records and rows lie. Ids are UUIDs; names are free text and stand last, behind a NUL where something is before
//! them, so that no key is a prefix of another's subtree by accident.

/// An entity's record.
pub fn entity(id: &str) -> String {
    format!("e/{id}")
}

/// Entity by name, in any case.
pub fn entity_name(name: &str) -> String {
    format!("n/{}", name.to_lowercase())
}

/// Entity by the id of one of its aliases.
pub fn alias(id: &str) -> String {
    format!("a/{id}")
}

/// Entity by the id of one that went up in it.
pub fn merged(id: &str) -> String {
    format!("x/{id}")
}

/// Entity by alias: the name at one mount.
pub fn factor(accessor: &str, name: &str) -> String {
    format!("f/{accessor}\0{name}")
}

/// A group's record.
pub fn group(id: &str) -> String {
    format!("g/{id}")
}

/// Group by name, in any case.
pub fn group_name(name: &str) -> String {
    format!("h/{}", name.to_lowercase())
}

/// Group by the id of its alias.
pub fn group_alias(id: &str) -> String {
    format!("b/{id}")
}

/// Group by alias: the name at one mount.
pub fn group_factor(accessor: &str, name: &str) -> String {
    format!("k/{accessor}\0{name}")
}

/// The entity is a member of the group.
pub fn group_of(entity: &str, group: &str) -> String {
    format!("me/{entity}/{group}")
}

/// The same row, to be found from the group.
pub fn member_of(group: &str, entity: &str) -> String {
    format!("gm/{group}/{entity}")
}

/// Written with each change of an entity's memberships: who deletes the entity sees that they changed.
pub fn memberships(entity: &str) -> String {
    format!("mr/{entity}")
}

/// The group is a member of another.
pub fn parent_of(child: &str, parent: &str) -> String {
    format!("mg/{child}/{parent}")
}

/// Written with each change of which groups are members of which: two changes that make a circle together collide.
pub const GRAPH: &str = "graph";

/// An MFA method.
pub fn mfa_method(id: &str) -> String {
    format!("mfa/m/{id}")
}

/// MFA method by name.
pub fn mfa_name(name: &str) -> String {
    format!("mfa/n/{name}")
}

/// A login enforcement.
pub fn mfa_rule(name: &str) -> String {
    format!("mfa/l/{name}")
}

/// Where the secrets of all entities lie.
pub const MFA_SECRETS: &str = "mfa/s/";

/// The secret of an entity for a method.
pub fn mfa_secret(entity: &str, method: &str) -> String {
    format!("{MFA_SECRETS}{entity}/{method}")
}

/// The recovery codes of an entity.
pub fn mfa_recovery(entity: &str) -> String {
    format!("mfa/r/{entity}")
}
