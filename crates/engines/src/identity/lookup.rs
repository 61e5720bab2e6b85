//! Finding entities and groups by any of their names.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;

use super::model::{Entity, Group};
use super::{Identities, keys};

/// What a look-up takes: one way to name the thing.
#[derive(Deserialize, JsonSchema)]
pub struct LookupAsk {
    /// Its id.
    #[serde(default)]
    id: Text,
    /// Its name.
    #[serde(default)]
    name: Text,
    /// The id of one of its aliases.
    #[serde(default)]
    alias_id: Text,
    /// The name of one of its aliases, with `alias_mount_accessor`.
    #[serde(default)]
    alias_name: Text,
    /// The accessor of that alias's mount.
    #[serde(default)]
    alias_mount_accessor: Text,
}

enum By<'a> {
    Id(&'a str),
    Name(&'a str),
    Alias(&'a str),
    Factor(&'a str, &'a str),
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("lookup/entity", "Finds an entity", |r| r.write("Finds it by id, name or alias", Identities::lookup_entity))
        .at("lookup/group", "Finds a group", |r| r.write("Finds it by id, name or alias", Identities::lookup_group))
}

impl Identities {
    async fn lookup_entity(self: Arc<Self>, call: Call, ask: LookupAsk) -> Result<Reply, Fault> {
        let id = match ask.by()? {
            By::Id(id) => Some(id.to_owned()),
            By::Name(name) => self.pointed(&keys::entity_name(name)).await?,
            By::Alias(id) => self.pointed(&keys::alias(id)).await?,
            By::Factor(accessor, name) => self.pointed(&keys::factor(accessor, name)).await?,
        };
        let found = match id {
            Some(id) => self.get::<Entity>(&keys::entity(&id)).await?,
            None => None,
        };
        match found {
            Some((entity, _)) => self.entity_reply(&call, &entity).await,
            None => Ok(Reply::nothing()),
        }
    }

    async fn lookup_group(self: Arc<Self>, call: Call, ask: LookupAsk) -> Result<Reply, Fault> {
        let id = match ask.by()? {
            By::Id(id) => Some(id.to_owned()),
            By::Name(name) => self.pointed(&keys::group_name(name)).await?,
            By::Alias(id) => self.pointed(&keys::group_alias(id)).await?,
            By::Factor(accessor, name) => self.pointed(&keys::group_factor(accessor, name)).await?,
        };
        let found = match id {
            Some(id) => self.get::<Group>(&keys::group(&id)).await?,
            None => None,
        };
        match found {
            Some((group, _)) => self.group_reply(&call, &group).await,
            None => Ok(Reply::nothing()),
        }
    }
}

impl LookupAsk {
    fn by(&self) -> Result<By<'_>, Fault> {
        let (name, accessor) = (self.alias_name.0.as_str(), self.alias_mount_accessor.0.as_str());
        match (self.id.0.as_str(), self.name.0.as_str(), self.alias_id.0.as_str(), name, accessor) {
            ("", "", "", "", "") => Err(Fault::bad_request("query parameter not supplied")),
            (id, "", "", "", "") => Ok(By::Id(id)),
            ("", name, "", "", "") => Ok(By::Name(name)),
            ("", "", id, "", "") => Ok(By::Alias(id)),
            ("", "", "", "", _) | ("", "", "", _, "") => {
                Err(Fault::bad_request("both 'alias_name' and 'alias_mount_accessor' needs to be set"))
            }
            ("", "", "", name, accessor) => Ok(By::Factor(accessor, name)),
            _ => Err(Fault::bad_request("query parameter conflict; please supply distinct set of query parameters")),
        }
    }
}
