//! Records, and how the API shows them.

use std::collections::BTreeMap;

use dewdrop_core::Moment;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use uuid::Uuid;

/// Free words.
pub type Words = BTreeMap<String, String>;

/// A person or machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    pub id: String,
    pub name: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Words,
    /// Sorted, in lower case.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    #[serde(default)]
    pub disabled: bool,
    pub created: Moment,
    pub updated: Moment,
    /// Ids of entities that went up in this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged: Vec<String>,
    /// At most one for each mount.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<Alias>,
}

/// Who an entity (or an external group) is to one auth method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alias {
    pub id: String,
    pub name: String,
    pub accessor: String,
    /// Path and type of the mount when the alias was last written.
    pub mount_path: String,
    pub mount_type: String,
    /// What the auth method says.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Words,
    /// What operators say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub custom_metadata: Words,
    pub created: Moment,
    pub updated: Moment,
    /// Ids of the entities that it belonged to before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub merged_from: Vec<String>,
}

/// A group. Its member entities are rows of their own, so that logins of many do not wait for each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    pub id: String,
    pub name: String,
    /// Members come and go by the alias at login; else by the API.
    pub external: bool,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: Words,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
    /// Sorted ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub member_groups: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    pub created: Moment,
    pub updated: Moment,
    /// Counts the writes.
    pub modify_index: u64,
}

/// A mount that an alias can be made at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountOf {
    pub accessor: String,
    pub path: String,
    pub kind: String,
}

/// A random id.
pub fn new_id() -> String {
    Uuid::new_v4().to_string()
}

/// A random name that ends in the id of its namespace, as in the API.
fn new_name(of: &str, namespace: &str) -> String {
    let random = Uuid::new_v4().simple().to_string();
    format!("{of}_{}.{namespace}", random.get(..8).unwrap_or_default())
}

// === impl Entity ===

impl Entity {
    /// An entity with a random name.
    pub fn new(namespace: &str, now: Moment) -> Self {
        Self {
            id: new_id(),
            name: new_name("entity", namespace),
            metadata: Words::new(),
            policies: Vec::new(),
            disabled: false,
            created: now,
            updated: now,
            merged: Vec::new(),
            aliases: Vec::new(),
        }
    }

    /// The alias at a mount.
    pub fn alias_at(&self, accessor: &str) -> Option<&Alias> {
        self.aliases.iter().find(|alias| alias.accessor == accessor)
    }

    /// As the API shows it; `direct` and `inherited` are the ids of its groups.
    pub fn view(&self, namespace: &str, direct: &[String], inherited: &[String]) -> Map<String, Value> {
        let aliases: Vec<Value> = self.aliases.iter().map(|alias| alias.view(&self.id, None).into()).collect();
        let both = [direct, inherited].concat();
        object(json!({
            "aliases": aliases,
            "creation_time": self.created.rfc3339(),
            "direct_group_ids": direct,
            "disabled": self.disabled,
            "group_ids": both,
            "id": self.id,
            "inherited_group_ids": inherited,
            "last_update_time": self.updated.rfc3339(),
            "merged_entity_ids": list_or_null(&self.merged),
            "metadata": words_or_null(&self.metadata),
            "name": self.name,
            "namespace_id": namespace,
            "policies": self.policies,
        }))
    }
}

// === impl Alias ===

impl Alias {
    /// A new alias.
    pub fn new(mount: &MountOf, name: &str, now: Moment) -> Self {
        Self {
            id: new_id(),
            name: name.to_owned(),
            accessor: mount.accessor.clone(),
            mount_path: mount.path.clone(),
            mount_type: mount.kind.clone(),
            metadata: Words::new(),
            custom_metadata: Words::new(),
            created: now,
            updated: now,
            merged_from: Vec::new(),
        }
    }

    /// As the API shows it; read by itself, it tells its namespace.
    pub fn view(&self, canonical: &str, namespace: Option<&str>) -> Map<String, Value> {
        let mut view = self.line(canonical);
        view.insert("creation_time".into(), self.created.rfc3339().into());
        view.insert("id".into(), self.id.clone().into());
        view.insert("last_update_time".into(), self.updated.rfc3339().into());
        view.insert("merged_from_canonical_ids".into(), list_or_null(&self.merged_from));
        if let Some(namespace) = namespace {
            view.insert("namespace_id".into(), namespace.into());
        }
        view
    }

    /// As lists of aliases show it.
    pub fn line(&self, canonical: &str) -> Map<String, Value> {
        object(json!({
            "canonical_id": canonical,
            "custom_metadata": words_or_null(&self.custom_metadata),
            "local": false,
            "metadata": words_or_null(&self.metadata),
            "mount_accessor": self.accessor,
            "mount_path": self.mount_path,
            "mount_type": self.mount_type,
            "name": self.name,
        }))
    }

    /// As lists of entities and groups show it.
    pub fn brief(&self) -> Value {
        json!({
            "id": self.id,
            "mount_accessor": self.accessor,
            "mount_path": self.mount_path,
            "mount_type": self.mount_type,
            "name": self.name,
        })
    }
}

// === impl Group ===

impl Group {
    /// A group with a random name.
    pub fn new(external: bool, namespace: &str, now: Moment) -> Self {
        Self {
            id: new_id(),
            name: new_name("group", namespace),
            external,
            metadata: Words::new(),
            policies: Vec::new(),
            member_groups: Vec::new(),
            alias: None,
            created: now,
            updated: now,
            modify_index: 0,
        }
    }

    /// As the API shows it.
    pub fn view(&self, namespace: &str, members: &[String], parents: &[String]) -> Map<String, Value> {
        let mut alias = self.alias.as_ref().map(|alias| alias.view(&self.id, None)).unwrap_or_default();
        alias.remove("local");
        alias.remove("custom_metadata");
        object(json!({
            "alias": alias,
            "creation_time": self.created.rfc3339(),
            "id": self.id,
            "last_update_time": self.updated.rfc3339(),
            "member_entity_ids": list_or_null(members),
            "member_group_ids": list_or_null(&self.member_groups),
            "metadata": words_or_null(&self.metadata),
            "modify_index": self.modify_index,
            "name": self.name,
            "namespace_id": namespace,
            "parent_group_ids": list_or_null(parents),
            "policies": list_or_null(&self.policies),
            "type": if self.external { "external" } else { "internal" },
        }))
    }
}

/// An empty list is `null` in most places of this API.
fn list_or_null(list: &[String]) -> Value {
    if list.is_empty() { Value::Null } else { list.into() }
}

fn words_or_null(words: &Words) -> Value {
    if words.is_empty() { Value::Null } else { json!(words) }
}

fn object(value: Value) -> Map<String, Value> {
    if let Value::Object(map) = value { map } else { Map::new() }
}
