//! What is kept of a secret beside its data, and the rules of its versions. Deciding only.

use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::Moment;
use dewdrop_core::wire::format_ttl;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::config::Config;

/// Versions that are kept when neither the mount nor the secret says otherwise.
const DEFAULT_MAX_VERSIONS: u32 = 10;

/// A secret without its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// When it was first written.
    #[serde(rename = "c")]
    pub created: Moment,
    /// When a version was added or the settings below were changed last.
    #[serde(rename = "u")]
    pub updated: Moment,
    /// The newest version; zero before the first.
    #[serde(rename = "n")]
    pub current: u64,
    /// The oldest version that is kept; zero until one was dropped.
    #[serde(rename = "o", default, skip_serializing_if = "is_zero")]
    pub oldest: u64,
    /// The versions that are kept, oldest first.
    #[serde(rename = "v")]
    pub versions: Vec<Version>,
    /// What people set for this secret.
    #[serde(rename = "s", default, skip_serializing_if = "Settings::is_default")]
    pub settings: Settings,
}

/// What people set for one secret.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Versions to keep; zero: as the mount says. The larger of the two counts.
    pub max_versions: u32,
    /// Writes must name the version that they replace.
    pub cas_required: bool,
    /// Changes of these settings must name the number that they replace.
    pub metadata_cas_required: bool,
    /// Each version is deleted so long after it was written; zero: as the mount says. The shorter of the two counts.
    pub delete_version_after: Duration,
    /// Free words.
    pub custom_metadata: BTreeMap<String, String>,
    /// How often these settings were changed.
    pub number: u64,
}

/// One version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its number.
    #[serde(rename = "n")]
    pub number: u64,
    /// When it was written.
    #[serde(rename = "c")]
    pub created: Moment,
    /// When it was or will be deleted.
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Moment>,
    /// Its data is gone for good.
    #[serde(rename = "x", default, skip_serializing_if = "std::ops::Not::not")]
    pub destroyed: bool,
}

/// What [`KeyRecord::add`] did.
#[derive(Debug, PartialEq, Eq)]
pub struct Added {
    /// The number of the new version.
    pub version: u64,
    /// Versions whose data is to be deleted.
    pub dropped: Vec<u64>,
}

// === impl KeyRecord ===

impl KeyRecord {
    /// A secret without versions.
    pub fn new(now: Moment) -> Self {
        Self { created: now, updated: now, current: 0, oldest: 0, versions: Vec::new(), settings: Settings::default() }
    }

    /// A version that is kept.
    pub fn version(&self, number: u64) -> Option<&Version> {
        self.versions.binary_search_by_key(&number, |v| v.number).ok().and_then(|at| self.versions.get(at))
    }

    /// The same, to be changed.
    pub fn version_mut(&mut self, number: u64) -> Option<&mut Version> {
        let at = self.versions.binary_search_by_key(&number, |v| v.number).ok()?;
        self.versions.get_mut(at)
    }

    /// Adds a version and drops those that are too many.
    pub fn add(&mut self, now: Moment, config: &Config) -> Added {
        self.current += 1;
        self.updated = now;
        let deleted = config.life_of_versions(self.settings.delete_version_after).map(|life| now.plus(life));
        self.versions.push(Version { number: self.current, created: now, deleted, destroyed: false });
        let keep = match self.settings.max_versions.max(config.max_versions) {
            0 => DEFAULT_MAX_VERSIONS,
            most => most,
        };
        let first = (self.current + 1).saturating_sub(u64::from(keep));
        let dropped: Vec<u64> = self.versions.iter().map(|v| v.number).take_while(|n| *n < first).collect();
        if !dropped.is_empty() {
            self.versions.drain(..dropped.len());
            self.oldest = first;
        }
        Added { version: self.current, dropped }
    }

    /// `data` of `metadata/PATH`.
    pub fn view(&self) -> Map<String, Value> {
        let version = |v: &Version| json!({ "created_time": v.created.rfc3339(), "deletion_time": v.deletion_time(), "destroyed": v.destroyed });
        let versions: Map<String, Value> = self.versions.iter().map(|v| (v.number.to_string(), version(v))).collect();
        let mut view = Map::new();
        view.insert("cas_required".into(), self.settings.cas_required.into());
        view.insert("created_time".into(), self.created.rfc3339().into());
        view.insert("current_metadata_version".into(), self.settings.number.into());
        view.insert("current_version".into(), self.current.into());
        view.insert("custom_metadata".into(), self.settings.words());
        view.insert("delete_version_after".into(), format_ttl(self.settings.delete_version_after).into());
        view.insert("max_versions".into(), self.settings.max_versions.into());
        view.insert("metadata_cas_required".into(), self.settings.metadata_cas_required.into());
        view.insert("oldest_version".into(), self.oldest.into());
        view.insert("updated_time".into(), self.updated.rfc3339().into());
        view.insert("versions".into(), versions.into());
        view
    }

    /// `metadata` beside a version's data.
    pub fn view_of(&self, version: &Version) -> Map<String, Value> {
        let mut view = Map::new();
        view.insert("created_time".into(), version.created.rfc3339().into());
        view.insert("custom_metadata".into(), self.settings.words());
        view.insert("deletion_time".into(), version.deletion_time().into());
        view.insert("destroyed".into(), version.destroyed.into());
        view.insert("version".into(), version.number.into());
        view
    }
}

// === impl Settings ===

impl Settings {
    /// The free words as the API shows them: `null` when there are none.
    fn words(&self) -> Value {
        if self.custom_metadata.is_empty() {
            return Value::Null;
        }
        self.custom_metadata
            .iter()
            .map(|(name, word)| (name.clone(), word.clone().into()))
            .collect::<Map<_, _>>()
            .into()
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

// === impl Version ===

impl Version {
    /// Whether its data can be read now.
    pub fn is_readable(&self, now: Moment) -> bool {
        !self.destroyed && self.deleted.is_none_or(|at| at > now)
    }

    fn deletion_time(&self) -> String {
        self.deleted.map_or_else(String::new, Moment::rfc3339)
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
