//! Snapshots of the file: read from one view while writers go on; restored inside one transaction.

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use super::Redb;
use super::writer::{Job, Restoring};
use crate::snapshot::{Reader, SnapshotError, SnapshotInfo, SnapshotStore, Writer, spool};

/// Rows and bytes that are read or handed over at a time.
const PAGE_ROWS: usize = 1024;
const PAGE_BYTES: usize = 1 << 20;

#[async_trait]
impl SnapshotStore for Redb {
    async fn snapshot(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        let view = self.view()?;
        let mut writer = Writer::start(to, view.revision(), view.len()?).await?;
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = view.scan(b"", after.as_deref(), PAGE_ROWS, PAGE_BYTES)?;
            for row in &rows {
                writer.row(&row.key, &row.entry.value).await?;
            }
            let Some(last) = rows.into_iter().next_back() else { break };
            after = Some(last.key);
            // A fast reader of the snapshot must not keep this thread from its other tasks.
            tokio::task::yield_now().await;
        }
        writer.finish().await
    }

    async fn restore(&self, from: &mut (dyn AsyncRead + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        // Read to its end and checked first: a slow sender must not hold up the writer.
        let (mut file, info) = spool(from, &self.folder).await?;
        let mut reader = Reader::start(&mut file).await?;
        let (parts, inbox) = mpsc::channel(2);
        let (reply, answer) = oneshot::channel();
        self.send(Job::Restore(reader.revision(), inbox, reply)).await?;
        // Any error below drops `parts`, and the writer aborts its transaction.
        let mut page = Vec::new();
        let mut bytes = 0;
        while let Some((key, value)) = reader.row().await? {
            bytes += key.len() + value.len();
            page.push((key, value));
            if page.len() >= PAGE_ROWS || bytes >= PAGE_BYTES {
                bytes = 0;
                // The writer stops listening only when its disk fails; its answer tells.
                let _ = parts.send(Restoring::Rows(std::mem::take(&mut page))).await;
            }
        }
        reader.finish().await?;
        let _ = parts.send(Restoring::Rows(page)).await;
        let _ = parts.send(Restoring::Finish).await;
        answer.await.unwrap_or_else(|_| Err(super::stopped()))?;
        Ok(info)
    }
}
