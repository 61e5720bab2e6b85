//! Lists of secrets, with or without their metadata.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::store::{Entry, decode};
use serde_json::{Map, Value};

use super::record::KeyRecord;
use super::{Kv2, RECORDS};
use crate::kv1::scanned;
use crate::shared::folder::{self, Paging};

impl Kv2 {
    pub(super) async fn list(self: Arc<Self>, call: Call, paging: Paging) -> Result<Reply, Fault> {
        let items = folder::list(&*self.store, RECORDS, call.capture("path"), &paging).await?;
        Reply::keys(items.into_iter().map(|item| item.name).collect())
    }

    /// Paging is taken and not used, as in OpenBao.
    pub(super) async fn scan(self: Arc<Self>, call: Call, _: Paging) -> Result<Reply, Fault> {
        let found = folder::walk(&*self.store, RECORDS, call.capture("path"), |_| Ok(())).await?;
        scanned(found.into_iter().map(|(name, ())| name).collect())
    }

    pub(super) async fn list_detailed(self: Arc<Self>, call: Call, paging: Paging) -> Result<Reply, Fault> {
        let items = folder::list(&*self.store, RECORDS, call.capture("path"), &paging).await?;
        let details: Vec<(String, Value)> = items
            .into_iter()
            .map(|item| Ok((item.name, item.entry.map_or_else(|| Ok(Map::new().into()), |entry| view(&entry))?)))
            .collect::<Result<_, Fault>>()?;
        Reply::listed(details)
    }

    pub(super) async fn scan_detailed(self: Arc<Self>, call: Call, _: Paging) -> Result<Reply, Fault> {
        let found = folder::walk(&*self.store, RECORDS, call.capture("path"), |entry| view(&entry)).await?;
        if found.is_empty() { Ok(Reply::data(Map::new())) } else { Reply::listed(found) }
    }
}

fn view(entry: &Entry) -> Result<Value, Fault> {
    Ok(decode::<KeyRecord>(RECORDS.as_bytes(), entry)?.view().into())
}
