//! Removing secret ids that are past their end. A login refuses them at once; this only gives their space back.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::NoFields;
use dewdrop_core::store::{Batch, Row, StoreError, scan_all};
use dewdrop_core::{Fault, Moment};

use super::role::Role;
use super::secret_ids::removal;
use super::{AppRole, keys};

/// How many are removed in one commit.
const AT_ONCE: usize = 256;

impl AppRole {
    /// Removes some of what is past its end; answers whether there may be more.
    pub(super) async fn sweep_some(&self, now: Moment) -> Result<bool, Fault> {
        let rows = self.place.store.scan(keys::ENDS.as_bytes(), None, AT_ONCE).await?;
        let due: Vec<&Row> = rows.iter().take_while(|row| is_due(row, now)).collect();
        match self.remove(&due, now).await {
            // Somebody used one of them just now: each for itself.
            Err(StoreError::Conflict) => {
                for row in &due {
                    match self.remove(&[*row], now).await {
                        Ok(()) | Err(StoreError::Conflict) => {}
                        Err(error) => return Err(error.into()),
                    }
                }
            }
            other => other?,
        }
        Ok(due.len() == AT_ONCE)
    }

    async fn remove(&self, due: &[&Row], now: Moment) -> Result<(), StoreError> {
        if due.is_empty() {
            return Ok(());
        }
        let mut batch = Batch::new();
        for row in due {
            batch = batch.delete(row.key.clone());
            let Some((_, uid, hmac)) = keys::parse_end(&row.key) else { continue };
            let found =
                self.find_hmac(uid, hmac.to_owned()).await.map_err(|e| StoreError::Unavailable(e.to_string()))?;
            // A secret id that was destroyed and registered again has another end.
            if let Some(found) = found.filter(|found| !found.record.is_alive(now)) {
                batch = batch.expect(keys::secret(uid, hmac), found.revision);
                batch = removal(batch, uid, &found);
            }
        }
        self.place.store.commit(batch).await.map(|_| ())
    }

    pub(super) async fn tidy(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        if self.tidying.swap(true, Ordering::SeqCst) {
            return Ok(Reply::nothing().warn("Tidy operation already in progress."));
        }
        let engine = self.clone();
        tokio::spawn(async move {
            // What fails now is done by the next tick or tidy.
            let _ = engine.tidy_all(call.now).await;
            engine.tidying.store(false, Ordering::SeqCst);
        });
        let mut reply = Reply::nothing().warn(
            "Tidy operation successfully started. Any information from the operation will be printed to the server's logs.",
        );
        reply.status = Some(202);
        Ok(reply)
    }

    /// All that is past its end, and whatever is left of roles that are gone (nothing, unless the store was mended by
    /// hand).
    pub(super) async fn tidy_all(&self, now: Moment) -> Result<(), Fault> {
        while self.sweep_some(now).await? {}
        // First the secret ids, then the roles: a uid that is in the first and not in the second list belongs to a role
        // that was removed, since the roles come first into being and uids are never used again.
        let seen: BTreeSet<String> = self.uids_of_secrets().await?;
        let roles = scan_all(&*self.place.store, keys::ROLES.as_bytes(), 1000).await?;
        let alive: BTreeSet<String> = roles
            .iter()
            .filter_map(|row| serde_json::from_slice::<Role>(&row.entry.value).ok())
            .map(|role| role.uid)
            .collect();
        if alive.len() < roles.len() {
            return Err(Fault::internal("a role cannot be read: nothing is tidied"));
        }
        for uid in seen.difference(&alive) {
            let batch = Batch::new().delete_prefix(keys::secrets_of(uid)).delete_prefix(keys::accessors_of(uid));
            self.place.store.commit(batch).await?;
        }
        Ok(())
    }

    async fn uids_of_secrets(&self) -> Result<BTreeSet<String>, Fault> {
        let mut uids = BTreeSet::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let rows = self.place.store.scan(keys::SECRETS.as_bytes(), after.as_deref(), 1).await?;
            let Some(row) = rows.into_iter().next() else { return Ok(uids) };
            let rest = row.key.get(keys::SECRETS.len()..).unwrap_or_default();
            let uid = String::from_utf8_lossy(rest.split(|b| *b == b'/').next().unwrap_or_default()).into_owned();
            // Over all others of the same role: HMACs are hexadecimal, so `g` lies behind them all.
            after = Some(format!("{}g", keys::secrets_of(&uid)).into_bytes());
            uids.insert(uid);
        }
    }
}

fn is_due(row: &Row, now: Moment) -> bool {
    keys::parse_end(&row.key).is_none_or(|(end, ..)| end <= now)
}
