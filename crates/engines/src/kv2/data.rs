//! Data of versions: read, write, patch, delete, and the names within a secret.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::NoFields;
use dewdrop_core::store::{Batch, decode};
use dewdrop_core::wire::Int;
use dewdrop_core::{Fault, Kind, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::record::KeyRecord;
use super::{Kv2, Verdict, data_bytes, data_key, nothing_to_patch, record_key};
use crate::shared::cas::{TRIES, gave_up};
use crate::shared::words::{check_path, merge, present};

/// What a read of `data/PATH` takes.
#[derive(Deserialize, JsonSchema)]
pub struct ReadAsk {
    /// The version; zero or left out: the current one.
    #[serde(default)]
    version: Int,
}

/// What a read of `subkeys/PATH` takes.
#[derive(Deserialize, JsonSchema)]
pub struct SubkeysAsk {
    /// The version; zero or left out: the current one.
    #[serde(default)]
    version: Int,
    /// How deep to look; zero or left out: to the end.
    #[serde(default)]
    depth: Int,
}

/// What a write or patch of `data/PATH` takes.
#[derive(Deserialize, JsonSchema)]
pub struct WriteAsk {
    /// The secret, a JSON object.
    #[serde(default, deserialize_with = "present")]
    data: Option<Value>,
    /// `cas`: the version that this write replaces; 0: there must be none.
    options: Option<Value>,
    /// Not used; clients send it.
    #[serde(default, rename = "version")]
    _version: Option<Value>,
}

/// A write, checked.
struct Payload {
    /// An object or `null`.
    data: Value,
    cas: Option<i64>,
}

impl Kv2 {
    pub(super) async fn read(self: Arc<Self>, call: Call, ask: ReadAsk) -> Result<Reply, Fault> {
        let (data, metadata) = self.version_of(&call, ask.version, "data").await?;
        let mut reply = Map::new();
        reply.insert("data".into(), data);
        reply.insert("metadata".into(), metadata.into());
        Ok(Reply::data(reply))
    }

    pub(super) async fn subkeys(self: Arc<Self>, call: Call, ask: SubkeysAsk) -> Result<Reply, Fault> {
        let (data, metadata) = self.version_of(&call, ask.version, "subkeys").await?;
        let depth = match ask.depth.0 {
            0 => usize::MAX,
            depth => usize::try_from(depth).unwrap_or(1),
        };
        let mut reply = Map::new();
        reply.insert("metadata".into(), metadata.into());
        reply.insert("subkeys".into(), if data.is_object() { names_within(data, depth) } else { Value::Null });
        Ok(Reply::data(reply))
    }

    pub(super) async fn write(self: Arc<Self>, call: Call, ask: WriteAsk) -> Result<Reply, Fault> {
        let path = call.capture("path");
        check_path(path)?;
        let payload = ask.check()?;
        let bytes = data_bytes(&payload.data)?;
        let config = self.settings().await?;
        let view = self
            .change(path, |record| {
                let record = record.get_or_insert_with(|| KeyRecord::new(call.now));
                payload.check_cas(record, config.cas_required)?;
                let (view, batch) = add_version(path, record, call.now, &config);
                Ok(Verdict::changed(batch.put(data_key(path, record.current), bytes.clone()), view))
            })
            .await?;
        Ok(Reply::data(view))
    }

    pub(super) async fn patch(self: Arc<Self>, call: Call, ask: WriteAsk) -> Result<Reply, Fault> {
        let path = call.capture("path");
        check_path(path)?;
        let payload = ask.check()?;
        let config = self.settings().await?;
        let _turn = self.writers.turn(path).await;
        let key = record_key(path);
        for _ in 0..TRIES {
            let Some((mut record, revision)) = self.record(path).await? else { return Ok(nothing_to_patch()) };
            let Some(version) = record.version(record.current) else { return Ok(nothing_to_patch()) };
            if !version.is_readable(call.now) {
                return Err(gone(record.view_of(version).into()));
            }
            payload.check_cas(&record, config.cas_required)?;
            let Some(current) = self.data(path, version.number).await? else { continue };
            let data = match &payload.data {
                Value::Object(patch) => patched(current, patch.clone()),
                other => other.clone(),
            };
            let (view, batch) = add_version(path, &mut record, call.now, &config);
            let batch = batch.put(data_key(path, record.current), data_bytes(&data)?);
            if self.commits(&key, Some(&record), revision, batch).await? {
                return Ok(Reply::data(view));
            }
        }
        Err(gave_up())
    }

    pub(super) async fn delete(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.change(call.capture("path"), |record| {
            let version = record.as_mut().and_then(|record| record.version_mut(record.current));
            let Some(version) = version.filter(|v| v.is_readable(call.now)) else { return Ok(Verdict::unchanged(())) };
            version.deleted = Some(call.now);
            Ok(Verdict::changed(Batch::new(), ()))
        })
        .await?;
        Ok(Reply::nothing())
    }

    /// The data of a version with its metadata; a version that is deleted or destroyed is 404 with its metadata and
    /// `name: null`.
    async fn version_of(&self, call: &Call, version: Int, name: &str) -> Result<(Value, Map<String, Value>), Fault> {
        let path = call.capture("path");
        for _ in 0..TRIES {
            let (record, _) = self.record(path).await?.ok_or_else(Fault::not_found)?;
            let number = u64::try_from(version.0).ok().filter(|n| *n > 0).unwrap_or(record.current);
            let version = record.version(number).ok_or_else(Fault::not_found)?;
            let metadata = record.view_of(version);
            if !version.is_readable(call.now) {
                let mut data = Map::new();
                data.insert(name.into(), Value::Null);
                data.insert("metadata".into(), metadata.into());
                return Err(gone(data.into()));
            }
            // Between the two reads the version may be dropped or destroyed: then the record says so now.
            if let Some(data) = self.data(path, number).await? {
                return Ok((data, metadata));
            }
        }
        Err(Fault::internal("a version has no data"))
    }

    /// The data of a version; `None` when it was dropped or destroyed since its record was read.
    async fn data(&self, path: &str, version: u64) -> Result<Option<Value>, Fault> {
        let key = data_key(path, version);
        let entry = self.store.get(key.as_bytes()).await?;
        Ok(entry.map(|entry| decode(key.as_bytes(), &entry)).transpose()?)
    }
}

impl WriteAsk {
    fn check(self) -> Result<Payload, Fault> {
        let data = self.data.map(empty_object).ok_or_else(|| Fault::bad_request("no data provided"))?;
        if !data.is_object() && !data.is_null() {
            return Err(not_an_object("data"));
        }
        let cas = match self.options {
            None | Some(Value::Null) => None,
            Some(Value::Object(options)) => options.get("cas").map(parse_cas).transpose()?,
            Some(_) => return Err(not_an_object("options")),
        };
        Ok(Payload { data, cas })
    }
}

impl Payload {
    fn check_cas(&self, record: &KeyRecord, always: bool) -> Result<(), Fault> {
        let required = always || record.settings.cas_required;
        match self.cas {
            None if required => Err(Fault::bad_request("check-and-set parameter required for this call")),
            Some(cas) if u64::try_from(cas) != Ok(record.current) => {
                Err(Fault::new(Kind::Conflict, "check-and-set parameter did not match the current version"))
            }
            _ => Ok(()),
        }
    }
}

/// Adds a version to the record: what the caller reads of it, and the removal of the data that is too old.
fn add_version(path: &str, record: &mut KeyRecord, now: Moment, config: &super::Config) -> (Map<String, Value>, Batch) {
    let added = record.add(now, config);
    let batch = added.dropped.iter().fold(Batch::new(), |batch, number| batch.delete(data_key(path, *number)));
    let view = record.version(added.version).map(|version| record.view_of(version)).unwrap_or_default();
    (view, batch)
}

fn patched(current: Value, patch: Map<String, Value>) -> Value {
    let mut target = if let Value::Object(object) = current { object } else { Map::new() };
    merge(&mut target, patch);
    target.into()
}

fn parse_cas(value: &Value) -> Result<i64, Fault> {
    let number = match value {
        Value::Null => Some(0),
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Fault::bad_request("error parsing check-and-set parameter"))
}

/// An empty list is what some languages make of an object without fields.
pub(super) fn empty_object(value: Value) -> Value {
    if value.as_array().is_some_and(Vec::is_empty) { Value::Object(Map::new()) } else { value }
}

pub(super) fn not_an_object(field: &str) -> Fault {
    Fault::bad_request(format!("error converting input for field {field:?}: expected a JSON object"))
}

fn gone(data: Value) -> Fault {
    Fault::not_found().with_data(data)
}

/// The names of an object with `null` for what is no object, or lies deeper than `depth`.
fn names_within(data: Value, depth: usize) -> Value {
    match data {
        Value::Object(object) if depth > 0 && !object.is_empty() => {
            object.into_iter().map(|(name, value)| (name, names_within(value, depth - 1))).collect::<Map<_, _>>().into()
        }
        _ => Value::Null,
    }
}
