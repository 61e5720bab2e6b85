//! Deleting, bringing back and destroying versions by number.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::store::Batch;
use dewdrop_core::wire::Strings;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use super::{Kv2, Verdict, data_key};

/// Numbers of versions.
#[derive(Deserialize, JsonSchema)]
pub struct VersionsAsk {
    /// The versions; those that do not exist are passed over.
    #[serde(default, deserialize_with = "numbers")]
    #[schemars(with = "Vec<i64>")]
    versions: Vec<i64>,
}

/// Numbers in a list or in text.
fn numbers<'de, D: Deserializer<'de>>(input: D) -> Result<Vec<i64>, D::Error> {
    let Strings(texts) = Strings::deserialize(input)?;
    texts.iter().map(|text| text.parse().map_err(|_| D::Error::custom("expected whole numbers"))).collect()
}

/// `delete/`, `undelete/` and `destroy/`.
pub(super) fn routes(routes: Routes<Kv2>) -> Routes<Kv2> {
    routes
        .at("delete/{path*}", "Deletes versions; they can be brought back", |r| {
            r.write("Deletes them", Kv2::delete_versions)
        })
        .at("undelete/{path*}", "Brings deleted versions back", |r| r.write("Brings them back", Kv2::undelete_versions))
        .at("destroy/{path*}", "Destroys versions for good", |r| r.write("Destroys them", Kv2::destroy_versions))
}

impl Kv2 {
    async fn delete_versions(self: Arc<Self>, call: Call, ask: VersionsAsk) -> Result<Reply, Fault> {
        let numbers = ask.numbers("No version number provided")?;
        self.change(call.capture("path"), |record| {
            let Some(record) = record else { return Ok(Verdict::unchanged(())) };
            let mut changed = false;
            for number in &numbers {
                if let Some(version) = record.version_mut(*number).filter(|v| v.is_readable(call.now)) {
                    version.deleted = Some(call.now);
                    changed = true;
                }
            }
            Ok(Verdict { changed, ..Verdict::unchanged(()) })
        })
        .await?;
        Ok(Reply::nothing())
    }

    async fn undelete_versions(self: Arc<Self>, call: Call, ask: VersionsAsk) -> Result<Reply, Fault> {
        let numbers = ask.numbers("No version number provided")?;
        let config = self.settings().await?;
        self.change(call.capture("path"), |record| {
            let Some(record) = record else { return Ok(Verdict::unchanged(())) };
            let life = config.life_of_versions(record.settings.delete_version_after);
            let mut changed = false;
            for number in &numbers {
                if let Some(version) = record.version_mut(*number).filter(|v| !v.destroyed && v.deleted.is_some()) {
                    version.deleted = life.map(|life| call.now.plus(life));
                    changed = true;
                }
            }
            Ok(Verdict { changed, ..Verdict::unchanged(()) })
        })
        .await?;
        Ok(Reply::nothing())
    }

    async fn destroy_versions(self: Arc<Self>, call: Call, ask: VersionsAsk) -> Result<Reply, Fault> {
        let numbers = ask.numbers("no version number provided")?;
        let path = call.capture("path");
        self.change(path, |record| {
            let Some(record) = record else { return Ok(Verdict::unchanged(())) };
            let mut batch = Batch::new();
            for number in &numbers {
                if let Some(version) = record.version_mut(*number).filter(|v| !v.destroyed) {
                    version.destroyed = true;
                    batch = batch.delete(data_key(path, *number));
                }
            }
            Ok(Verdict { changed: !batch.changes.is_empty(), batch, answer: () })
        })
        .await?;
        Ok(Reply::nothing())
    }
}

impl VersionsAsk {
    /// The numbers; negative ones name nothing, but count as given.
    fn numbers(self, told_if_none: &'static str) -> Result<Vec<u64>, Fault> {
        if self.versions.is_empty() {
            return Err(Fault::bad_request(told_if_none));
        }
        Ok(self.versions.into_iter().filter_map(|number| u64::try_from(number).ok()).collect())
    }
}
