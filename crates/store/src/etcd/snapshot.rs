//! Snapshots of etcd: read at one revision. No transaction of etcd can hold a whole store, so a restore sets a mark first
//! and takes it away last: while it stands, nobody can connect or commit, and an interrupted restore is repeated, never
//! half believed. The file is checked whole before the mark is set.

use std::io::SeekFrom;

use async_trait::async_trait;
use dewdrop_core::store::StoreError;
use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, Txn, TxnOp};
use tokio::fs::File;
use tokio::io::{AsyncRead, AsyncSeekExt, AsyncWrite, BufReader};

use super::plan::{MAX_BYTES, MAX_OPERATIONS};
use super::{Etcd, PAGE};
use crate::range;
use crate::snapshot::{Reader, SnapshotError, SnapshotInfo, SnapshotStore, Writer, spool};

#[async_trait]
impl SnapshotStore for Etcd {
    async fn snapshot(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        let end = range::end(&self.place.rows).unwrap_or_default();
        let (counted, revision) =
            self.range(self.place.rows.clone(), GetOptions::new().with_range(end).with_count_only()).await?;
        let mut writer = Writer::start(to, revision, super::unsigned(counted.count())).await?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let (rows, _) = self.rows_at(b"", after.as_deref(), PAGE, revision).await?;
            for row in &rows {
                writer.row(&row.key, &row.entry.value).await?;
            }
            let Some(last) = rows.into_iter().next_back() else { break };
            after = Some(last.key);
        }
        writer.finish().await
    }

    async fn restore(&self, from: &mut (dyn AsyncRead + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        let (mut file, info) = spool(from, &std::env::temp_dir()).await?;
        check(&mut file).await?;
        file.seek(SeekFrom::Start(0)).await?;
        let mut reader = Reader::start(&mut file).await?;

        self.plainly(vec![TxnOp::put(self.place.restoring.clone(), "", None)], false).await?;
        let end = range::end(&self.place.rows).unwrap_or_default();
        let all = TxnOp::delete(self.place.rows.clone(), Some(DeleteOptions::new().with_range(end)));
        self.plainly(vec![all], true).await?;
        let (mut operations, mut bytes) = (Vec::new(), 0);
        while let Some((key, value)) = reader.row().await? {
            let size = key.len() + value.len() + self.place.rows.len() + 16;
            if operations.len() == MAX_OPERATIONS || bytes + size > MAX_BYTES {
                self.plainly(std::mem::take(&mut operations), true).await?;
                bytes = 0;
            }
            bytes += size;
            operations.push(TxnOp::put([&self.place.rows, key.as_slice()].concat(), value, None));
        }
        self.plainly(operations, true).await?;
        self.plainly(vec![TxnOp::delete(self.place.restoring.clone(), None)], true).await?;
        Ok(info)
    }
}

impl Etcd {
    /// A step of a restore; with `marked`, only while the mark stands.
    async fn plainly(&self, operations: Vec<TxnOp>, marked: bool) -> Result<(), StoreError> {
        let mark = Compare::create_revision(self.place.restoring.clone(), CompareOp::Greater, 0);
        let compares = if marked { vec![mark] } else { Vec::new() };
        let mut kv = self.kv();
        let response = self.within(kv.txn(Txn::new().when(compares).and_then(operations))).await?;
        if response.succeeded() { Ok(()) } else { Err(StoreError::Conflict) }
    }
}

/// Refuses what etcd cannot take.
async fn check(file: &mut BufReader<File>) -> Result<(), SnapshotError> {
    let mut reader = Reader::start(file).await?;
    while let Some((key, value)) = reader.row().await? {
        if key.len() + value.len() > MAX_BYTES - 4096 {
            let key = crate::check::shown(&key);
            return Err(StoreError::Refused(format!(
                "the value of {key} is too large for etcd ({} bytes)",
                value.len()
            ))
            .into());
        }
    }
    Ok(())
}
