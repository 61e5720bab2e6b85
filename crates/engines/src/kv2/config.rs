//! Settings of a mount.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::NoFields;
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::{Flag, Int, Ttl, format_ttl};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Value, json};

use super::{CONFIG, Kv2};
use crate::shared::cas::{TRIES, commits, gave_up};

/// Settings of a mount.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// Versions to keep; zero: as the secret says, or 10.
    pub max_versions: u32,
    /// Writes must name the version that they replace.
    pub cas_required: bool,
    /// Changes of metadata must name the number that they replace.
    pub metadata_cas_required: bool,
    /// When versions are deleted by themselves.
    pub delete_version_after: Expiry,
}

/// When versions are deleted by themselves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expiry {
    /// As the secret says.
    #[default]
    Unset,
    /// Never, whatever the secret says.
    Never,
    /// So long after they were written, or sooner if the secret says so.
    After(Duration),
}

/// What `POST config` takes. What is left out stays.
#[derive(Deserialize, JsonSchema)]
pub struct ConfigAsk {
    /// Versions to keep of each secret; zero: 10.
    max_versions: Option<Int>,
    /// Whether writes must use check-and-set.
    cas_required: Option<Flag>,
    /// Whether changes of metadata must use check-and-set.
    metadata_cas_required: Option<Flag>,
    /// Time after which a version is deleted; zero: never unless the secret says so; negative: never.
    delete_version_after: Option<Expiry0>,
}

/// [`Expiry`] as clients send it.
struct Expiry0(Expiry);

impl<'de> Deserialize<'de> for Expiry0 {
    fn deserialize<D: Deserializer<'de>>(input: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(input)?;
        let is_negative = match &value {
            Value::Number(number) => number.as_f64().is_some_and(f64::is_sign_negative),
            Value::String(text) => {
                text.trim_start().starts_with('-') && Ttl::deserialize(json!(text.replace('-', ""))).is_ok()
            }
            _ => false,
        };
        if is_negative {
            return Ok(Self(Expiry::Never));
        }
        let Ttl(life) = Ttl::deserialize(value).map_err(serde::de::Error::custom)?;
        Ok(Self(if life.is_zero() { Expiry::Unset } else { Expiry::After(life) }))
    }
}

impl JsonSchema for Expiry0 {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Expiry".into()
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "format": "seconds" })
    }
}

impl Config {
    /// How long the versions of a secret live that says `own` of it.
    pub fn life_of_versions(&self, own: Duration) -> Option<Duration> {
        let own = Some(own).filter(|life| !life.is_zero());
        match self.delete_version_after {
            Expiry::Never => None,
            Expiry::Unset => own,
            Expiry::After(life) => Some(own.map_or(life, |own| own.min(life))),
        }
    }
}

impl Kv2 {
    pub(super) async fn read_config(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let config = self.settings().await?;
        Reply::of(&json!({
            "cas_required": config.cas_required,
            "delete_version_after": match config.delete_version_after {
                Expiry::Unset => "0s".to_owned(),
                Expiry::Never => "-1s".to_owned(),
                Expiry::After(life) => format_ttl(life),
            },
            "max_versions": config.max_versions,
            "metadata_cas_required": config.metadata_cas_required,
        }))
    }

    pub(super) async fn write_config(self: Arc<Self>, _: Call, ask: ConfigAsk) -> Result<Reply, Fault> {
        let max_versions = ask.max_versions.map(max_versions).transpose()?;
        for _ in 0..TRIES {
            let (mut config, revision) = get_json::<Config>(&*self.store, CONFIG).await?.unwrap_or_default();
            config.max_versions = max_versions.unwrap_or(config.max_versions);
            config.cas_required = ask.cas_required.map_or(config.cas_required, |flag| flag.0);
            config.metadata_cas_required =
                ask.metadata_cas_required.map_or(config.metadata_cas_required, |flag| flag.0);
            config.delete_version_after =
                ask.delete_version_after.as_ref().map_or(config.delete_version_after, |e| e.0);
            let done = commits(&*self.store, Batch::new().put_json(CONFIG, &config)?.expect(CONFIG, revision)).await?;
            self.config.forget();
            if done {
                return Ok(Reply::nothing());
            }
        }
        Err(gave_up())
    }
}

/// A number of versions.
///
/// # Errors
/// 400 for one that is negative or above 4,294,967,295.
pub fn max_versions(number: Int) -> Result<u32, Fault> {
    u32::try_from(number.0).map_err(|_| {
        Fault::bad_request(format!(
            "max_versions must be a number from 0 (the default) to {}, not {}",
            u32::MAX,
            number.0
        ))
    })
}
