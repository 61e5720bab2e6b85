//! `{{identity...}}` in the paths of rules. Values are put in once and never read again, so nothing can loop.

use std::collections::BTreeMap;

/// What templates may ask of the caller's identity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IdentityValues {
    /// The entity's id.
    pub entity_id: String,
    /// The entity's name.
    pub entity_name: String,
    /// The entity's metadata.
    pub metadata: BTreeMap<String, String>,
    /// The entity's aliases, by the accessor of their mount.
    pub aliases: BTreeMap<String, AliasValues>,
    /// The groups that the entity is a member of.
    pub groups: Vec<GroupValues>,
}

/// One alias of the entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AliasValues {
    /// Its id.
    pub id: String,
    /// Its name: who the entity is to the auth method.
    pub name: String,
    /// What the auth method said of it.
    pub metadata: BTreeMap<String, String>,
    /// What operators wrote to it.
    pub custom_metadata: BTreeMap<String, String>,
}

/// One group of the entity.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GroupValues {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
}

/// Why a templated path cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// The caller has no such value, or an empty one: the rule is left out.
    Missing(String),
    /// The value would change the meaning of the path: nothing may be allowed to this caller.
    Forbidden(String, char),
}

/// Whether the braces of a path are in order, and whether there are any.
pub(super) fn check(path: &str) -> Result<bool, &'static str> {
    let mut rest = path;
    let mut any = false;
    loop {
        match (rest.find("{{"), rest.find("}}")) {
            (None, None) => return Ok(any),
            (Some(open), Some(close)) if open < close && !rest[open + 2..close].contains("{{") => {
                any = true;
                rest = &rest[close + 2..];
            }
            _ => return Err("the braces of its template are not in pairs: write {{identity.entity.id}}"),
        }
    }
}

/// Puts the values in.
pub(super) fn fill(path: &str, identity: Option<&IdentityValues>) -> Result<String, Unresolved> {
    let mut out = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once("{{") {
        let Some((name, after)) = after.split_once("}}") else { break };
        let name = name.trim();
        let value = identity.and_then(|identity| identity.value(name)).filter(|value| !value.is_empty());
        let value = value.ok_or_else(|| Unresolved::Missing(name.to_owned()))?;
        if let Some(bad) = value.chars().find(|c| matches!(c, '/' | '*' | '+')) {
            return Err(Unresolved::Forbidden(name.to_owned(), bad));
        }
        out.push_str(before);
        out.push_str(value);
        rest = after;
    }
    out.push_str(rest);
    Ok(out)
}

impl IdentityValues {
    /// The value of `identity.entity.id` and the like.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let name = name.strip_prefix("identity.")?;
        if let Some(name) = name.strip_prefix("entity.aliases.") {
            let (accessor, field) = name.split_once('.')?;
            return self.aliases.get(accessor)?.value(field);
        }
        if let Some(name) = name.strip_prefix("entity.") {
            return match name {
                "id" => Some(&self.entity_id),
                "name" => Some(&self.entity_name),
                _ => self.metadata.get(name.strip_prefix("metadata.")?).map(String::as_str),
            };
        }
        if let Some(name) = name.strip_prefix("groups.ids.") {
            let (id, field) = name.split_once('.')?;
            return self.groups.iter().find(|group| group.id == id)?.value(field);
        }
        // Names may hold dots, so every group of the entity is tried.
        let name = name.strip_prefix("groups.names.")?;
        let field = |group: &GroupValues| name.strip_prefix(group.name.as_str())?.strip_prefix('.').map(str::len);
        self.groups.iter().find_map(|group| field(group).and_then(|len| group.value(&name[name.len() - len..])))
    }
}

impl AliasValues {
    fn value(&self, field: &str) -> Option<&str> {
        match field {
            "id" => Some(&self.id),
            "name" => Some(&self.name),
            _ => match field.strip_prefix("metadata.") {
                Some(key) => self.metadata.get(key).map(String::as_str),
                None => self.custom_metadata.get(field.strip_prefix("custom_metadata.")?).map(String::as_str),
            },
        }
    }
}

impl GroupValues {
    fn value(&self, field: &str) -> Option<&str> {
        match field {
            "id" => Some(&self.id),
            "name" => Some(&self.name),
            _ => self.metadata.get(field.strip_prefix("metadata.")?).map(String::as_str),
        }
    }
}
