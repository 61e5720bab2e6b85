//! Metadata of secrets: read, write, patch, delete.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Flag, Int, Ttl};
use dewdrop_core::{Fault, Kind, Operation};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::config::{Config, max_versions};
use super::data::{empty_object, not_an_object};
use super::record::{KeyRecord, Settings};
use super::{Kv2, Verdict, data_prefix, nothing_to_patch};
use crate::shared::words::{check_custom_metadata, check_path, present, words_of};

/// What a write or patch of `metadata/PATH` takes. What is left out stays.
#[derive(Deserialize, JsonSchema)]
pub struct MetadataAsk {
    /// Versions to keep; zero: as the mount says. The larger of the two counts.
    #[serde(default, deserialize_with = "present")]
    max_versions: Option<Int>,
    /// Whether writes must use check-and-set.
    #[serde(default, deserialize_with = "present")]
    cas_required: Option<Flag>,
    /// Whether changes of metadata must use check-and-set.
    #[serde(default, deserialize_with = "present")]
    metadata_cas_required: Option<Flag>,
    /// The `current_metadata_version` that this replaces; 0: the secret must not exist or never have had its metadata set.
    metadata_cas: Option<Int>,
    /// Time after which a version is deleted; zero: as the mount says. The shorter of the two counts.
    delete_version_after: Option<Ttl>,
    /// At most 64 words that describe the secret; a write replaces them all, a patch those that it names.
    #[serde(default, deserialize_with = "present")]
    custom_metadata: Option<Value>,
}

/// `metadata/`, `detailed-metadata/` and `subkeys/`.
pub(super) fn routes(routes: Routes<Kv2>) -> Routes<Kv2> {
    routes
        .at("metadata/{path*}", "Metadata of a secret, or a folder of secrets", |route| {
            route
                .exists(|engine, captures| async move { engine.exists(&captures).await })
                .read("Reads the metadata with all versions", Kv2::read_metadata)
                .write("Sets metadata", Kv2::write_metadata)
                .on(Operation::Patch, "Changes metadata by a JSON merge patch", Kv2::patch_metadata)
                .delete("Deletes the secret with all its versions, for good", Kv2::delete_metadata)
                .list("Names in a folder", Kv2::list)
                .on(Operation::Scan, "Names in a folder and all folders below", Kv2::scan)
        })
        .at("metadata", "The secrets at the top", |route| {
            let route = Kv2::root(route).list("Names at the top", Kv2::list);
            route.on(Operation::Scan, "Names of all secrets", Kv2::scan)
        })
        .at("detailed-metadata/{path*}", "A folder of secrets with their metadata", |route| {
            let route = route.list("Names and metadata in a folder", Kv2::list_detailed);
            route.on(Operation::Scan, "Names and metadata in a folder and all folders below", Kv2::scan_detailed)
        })
        .at("detailed-metadata", "All secrets with their metadata", |route| {
            let route = Kv2::lost_but_lists(route).list("Names and metadata at the top", Kv2::list_detailed);
            route.on(Operation::Scan, "Names and metadata of all secrets", Kv2::scan_detailed)
        })
        .at("subkeys/{path*}", "The names within a secret, without their values", |route| {
            route.read("Reads the names", Kv2::subkeys)
        })
}

impl Kv2 {
    async fn read_metadata(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let (record, _) = self.record(call.capture("path")).await?.ok_or_else(Fault::not_found)?;
        Ok(Reply::data(record.view()))
    }

    async fn write_metadata(self: Arc<Self>, call: Call, ask: MetadataAsk) -> Result<Reply, Fault> {
        let path = call.capture("path");
        check_path(path)?;
        let words = match ask.custom_metadata.clone().map(empty_object) {
            None => None,
            Some(Value::Null) => Some(Map::new()),
            Some(Value::Object(words)) => Some(words),
            Some(_) => return Err(not_an_object("custom_metadata")),
        };
        let words = words.map(|words| words_of(&words)).transpose()?;
        words.as_ref().map_or(Ok(()), check_custom_metadata)?;
        let config = self.settings().await?;
        self.change(path, |record| {
            ask.check_cas(record.as_ref(), &config)?;
            if ask.is_empty() {
                return Ok(Verdict::unchanged(()));
            }
            let record = record.get_or_insert_with(|| KeyRecord::new(call.now));
            ask.apply(&mut record.settings)?;
            if let Some(words) = &words {
                record.settings.custom_metadata.clone_from(words);
            }
            record.settings.number += 1;
            record.updated = call.now;
            Ok(Verdict::changed(Batch::new(), ()))
        })
        .await?;
        Ok(ask.warn(Reply::nothing(), &config))
    }

    async fn patch_metadata(self: Arc<Self>, call: Call, ask: MetadataAsk) -> Result<Reply, Fault> {
        let path = call.capture("path");
        check_path(path)?;
        let config = self.settings().await?;
        let is_there = self
            .change(path, |found| {
                let Some(record) = found else { return Ok(Verdict::unchanged(false)) };
                ask.check_cas(Some(record), &config)?;
                if ask.is_empty() {
                    return Ok(Verdict::unchanged(true));
                }
                ask.apply(&mut record.settings)?;
                ask.patch_words(&mut record.settings)?;
                record.settings.number += 1;
                record.updated = call.now;
                Ok(Verdict::changed(Batch::new(), true))
            })
            .await?;
        Ok(if is_there { ask.warn(Reply::nothing(), &config) } else { nothing_to_patch() })
    }

    async fn delete_metadata(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let path = call.capture("path");
        self.change(path, |record| match record.take() {
            None => Ok(Verdict::unchanged(())),
            Some(_) => Ok(Verdict::changed(Batch::new().delete_prefix(data_prefix(path)), ())),
        })
        .await?;
        Ok(Reply::nothing())
    }
}

impl MetadataAsk {
    fn is_empty(&self) -> bool {
        self.max_versions.is_none()
            && self.cas_required.is_none()
            && self.metadata_cas_required.is_none()
            && self.delete_version_after.is_none()
            && self.custom_metadata.is_none()
    }

    fn check_cas(&self, record: Option<&KeyRecord>, config: &Config) -> Result<(), Fault> {
        let (number, own) = record.map_or((0, false), |r| (r.settings.number, r.settings.metadata_cas_required));
        match self.metadata_cas {
            None if config.metadata_cas_required || own => {
                Err(Fault::bad_request("metadata check-and-set parameter required for this call"))
            }
            Some(cas) if u64::try_from(cas.0) != Ok(number) => {
                Err(Fault::new(Kind::Conflict, "metadata check-and-set parameter does not match the current version"))
            }
            _ => Ok(()),
        }
    }

    /// All but the words.
    fn apply(&self, settings: &mut Settings) -> Result<(), Fault> {
        if let Some(number) = self.max_versions {
            settings.max_versions = max_versions(number)?;
        }
        settings.cas_required = self.cas_required.map_or(settings.cas_required, |flag| flag.0);
        settings.metadata_cas_required =
            self.metadata_cas_required.map_or(settings.metadata_cas_required, |flag| flag.0);
        settings.delete_version_after = self.delete_version_after.map_or(settings.delete_version_after, |ttl| ttl.0);
        Ok(())
    }

    fn patch_words(&self, settings: &mut Settings) -> Result<(), Fault> {
        match &self.custom_metadata {
            None => {}
            Some(Value::Null) => settings.custom_metadata.clear(),
            Some(Value::Object(patch)) => {
                let (gone, set): (Map<_, _>, Map<_, _>) =
                    patch.clone().into_iter().partition(|(_, value)| value.is_null());
                settings.custom_metadata.retain(|name, _| !gone.contains_key(name));
                settings.custom_metadata.extend(words_of(&set)?);
                check_custom_metadata(&settings.custom_metadata)?;
            }
            Some(_) => return Err(not_an_object("custom_metadata")),
        }
        Ok(())
    }

    /// What the mount demands cannot be switched off for one secret.
    fn warn(&self, mut reply: Reply, config: &Config) -> Reply {
        let pairs = [
            ("cas_required", self.cas_required, config.cas_required),
            ("metadata_cas_required", self.metadata_cas_required, config.metadata_cas_required),
        ];
        for (name, asked, mandated) in pairs {
            if mandated && asked == Some(Flag(false)) {
                reply = reply.warn(format!(
                    "\"{name}\" set to false, but is mandated by backend config. This value will be ignored."
                ));
            }
        }
        reply
    }
}
