//! Tokens: kept under their accessor, which is a keyed hash of the token's text. So one record serves both look-ups,
//! and no token is in the store.

mod auth;
pub(crate) mod batch;
mod end;
mod make;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwapOption;
use aws_lc_rs::hmac;
use dewdrop_core::call::Beside;
use dewdrop_core::mount::Namespace;
use dewdrop_core::store::{Batch, Revision, SharedStore, StoreError, get_json};
use dewdrop_core::token::{TokenKind, TokenRecord};
use dewdrop_core::{Fault, Moment, Secret};
use quick_cache::sync::Cache;

use crate::ids;
use crate::leases::index;
use crate::vault::Compiled;
pub use auth::TokenAuth;
pub use batch::BatchKey;
pub use end::{AT_ONCE, end_token, end_tokens, end_tokens_made_until, finish_tombstone};
pub use make::{INITIAL_ROOT, from_login, make, make_root};

/// How many tokens are kept parsed in memory.
const CACHED: usize = 20_000;
/// `num_uses` of a token whose last use has begun.
pub const USED_UP: i64 = -1;

/// All tokens.
pub struct Tokens {
    store: SharedStore,
    accessor_key: hmac::Key,
    batch_key: BatchKey,
    live: Cache<String, Arc<LiveToken>>,
    /// Grows with every token that is forgotten, so that a reader that raced with an end notices.
    forgotten: AtomicU64,
}

/// A token as requests use it.
pub struct LiveToken {
    /// What is kept of it.
    pub record: Arc<TokenRecord>,
    /// What it may do, compiled; look at the generation before use.
    pub rights: ArcSwapOption<Compiled>,
}

impl LiveToken {
    fn new(record: TokenRecord) -> Arc<Self> {
        Arc::new(Self { record: Arc::new(record), rights: ArcSwapOption::empty() })
    }
}

impl Tokens {
    /// Opens the tokens with the two keys of this vault (32 bytes each).
    ///
    /// # Errors
    /// The batch key has the wrong length (a defect).
    pub fn new(store: SharedStore, accessor_key: &Secret<Vec<u8>>, batch_key: &Secret<Vec<u8>>) -> Result<Self, Fault> {
        Ok(Self {
            store,
            accessor_key: hmac::Key::new(hmac::HMAC_SHA384, accessor_key.expose()),
            batch_key: BatchKey::new(batch_key)?,
            live: Cache::new(CACHED),
            forgotten: AtomicU64::new(0),
        })
    }

    /// The accessor of a token's text: 24 letters and digits (143 bits).
    #[must_use]
    pub fn accessor_of(&self, token: &str) -> String {
        let own = ids::base62_of(hmac::sign(&self.accessor_key, token.as_bytes()).as_ref());
        // The text of a token outside the root namespace ends in the namespace's id, and so does its accessor.
        match token.splitn(3, '.').nth(2) {
            Some(namespace) => format!("{own}.{namespace}"),
            None => own,
        }
    }

    /// The token of a text, when it is known and its time is not up.
    ///
    /// # Errors
    /// The store's.
    pub async fn find(&self, token: &str, now: Moment) -> Result<Option<Arc<LiveToken>>, Fault> {
        let found = if token.starts_with(batch::PREFIX) {
            self.find_batch(token).await?
        } else {
            self.by_accessor(&self.accessor_of(token)).await?
        };
        Ok(found.filter(|live| !live.record.is_expired(now) && live.record.num_uses != USED_UP))
    }

    /// The token with an accessor, expired or not.
    ///
    /// # Errors
    /// The store's.
    pub async fn by_accessor(&self, accessor: &str) -> Result<Option<Arc<LiveToken>>, Fault> {
        if let Some(live) = self.live.get(accessor) {
            return Ok(Some(live));
        }
        let before = self.forgotten.load(Ordering::SeqCst);
        let Some((record, _)) = self.read(accessor).await? else { return Ok(None) };
        Ok(Some(self.keep(accessor, LiveToken::new(record), before)))
    }

    /// The record as it stands in the store.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, accessor: &str) -> Result<Option<(TokenRecord, Revision)>, Fault> {
        Ok(get_json(&*self.store, &index::token(accessor)).await?)
    }

    /// Accessors in order, after one, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn accessors(&self, after: Option<&str>, limit: usize) -> Result<Vec<(String, TokenRecord)>, Fault> {
        let after = after.map(index::token);
        let rows = self.store.scan(index::TOKENS, after.as_deref(), limit).await?;
        let named = |row: &dewdrop_core::store::Row| -> Result<(String, TokenRecord), Fault> {
            let record: TokenRecord = dewdrop_core::store::decode(&row.key, &row.entry)?;
            Ok((record.accessor.clone(), record))
        };
        rows.iter().map(named).collect()
    }

    /// Writes a new service token with all its indexes, and the row beside it, in one commit.
    ///
    /// # Errors
    /// 400 when the text is taken; 503 when the row beside it was written by another; the store's.
    pub async fn write_new(&self, record: TokenRecord, beside: Option<Beside>) -> Result<Arc<LiveToken>, Fault> {
        let before = self.forgotten.load(Ordering::SeqCst);
        let mut batch =
            Batch::new().expect(index::token(&record.accessor), 0).put_json(index::token(&record.accessor), &record)?;
        let has_beside = beside.is_some();
        if let Some(mut row) = beside {
            row.fields.insert("accessor".into(), record.accessor.clone().into());
            let key = record.beside.clone();
            batch = batch.expect(key.clone(), row.revision).put_json(key, &row.fields)?;
        }
        if let Some(expires) = record.expires {
            batch = batch.put(index::due_token(expires, &record.accessor), "").put(lease_pointer(&record), "");
        }
        if let Some(parent) = &record.parent {
            batch = batch.put(index::child(parent, &record.accessor), "");
        }
        match self.store.commit(batch).await {
            Err(StoreError::Conflict) if has_beside => Err(StoreError::Conflict.into()),
            Err(StoreError::Conflict) => Err(Fault::bad_request("cannot create a token with a duplicate ID")),
            Err(error) => Err(error.into()),
            Ok(_) => {
                let accessor = record.accessor.clone();
                Ok(self.keep(&accessor, LiveToken::new(record), before))
            }
        }
    }

    /// Changes a record: `edit` may be called more than once, and answers `false` to leave it as it is.
    /// `None`: the token is gone.
    ///
    /// # Errors
    /// What `edit` says; the store's.
    pub async fn change<F>(&self, accessor: &str, mut edit: F) -> Result<Option<Arc<LiveToken>>, Fault>
    where
        F: FnMut(&mut TokenRecord) -> Result<bool, Fault> + Send,
    {
        loop {
            let forgotten = self.forgotten.load(Ordering::SeqCst);
            let Some((mut record, revision)) = self.read(accessor).await? else { return Ok(None) };
            let before = record.expires;
            if !edit(&mut record)? {
                return self.by_accessor(accessor).await;
            }
            let mut batch =
                Batch::new().expect(index::token(accessor), revision).put_json(index::token(accessor), &record)?;
            if before != record.expires {
                batch = before.into_iter().fold(batch, |b, at| b.delete(index::due_token(at, accessor)));
                batch = record.expires.into_iter().fold(batch, |b, at| b.put(index::due_token(at, accessor), ""));
            }
            match self.store.commit(batch).await {
                Err(StoreError::Conflict) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => return Ok(Some(self.keep(accessor, LiveToken::new(record), forgotten))),
            }
        }
    }

    /// Counts one use of a token with a limit. `false`: none was left. `true` with the last one: the caller must end the
    /// token after the request.
    ///
    /// # Errors
    /// The store's.
    pub async fn use_once(&self, accessor: &str) -> Result<Option<i64>, Fault> {
        let mut left = None;
        let found = self
            .change(accessor, |record| {
                left = match record.num_uses {
                    USED_UP => None,
                    1 => Some(0),
                    uses => Some(uses - 1),
                };
                record.num_uses = left.map_or(USED_UP, |l| if l == 0 { USED_UP } else { l });
                Ok(left.is_some())
            })
            .await?;
        Ok(left.filter(|_| found.is_some()))
    }

    /// Forgets what is cached of one token.
    pub fn forget(&self, accessor: &str) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.live.remove(accessor);
    }

    /// Forgets all that is cached.
    pub fn forget_all(&self) {
        self.forgotten.fetch_add(1, Ordering::SeqCst);
        self.live.clear();
    }

    /// A token's text for a batch token.
    ///
    /// # Errors
    /// Encoding or encryption failed (a defect).
    pub fn seal_batch(&self, record: &TokenRecord, namespace: &Namespace) -> Result<String, Fault> {
        self.batch_key.seal(record, namespace)
    }

    /// Caches what was read while `before` was the count of forgotten ones. If a token was forgotten since, it may have
    /// been this one: then it is not left in the cache.
    fn keep(&self, accessor: &str, live: Arc<LiveToken>, before: u64) -> Arc<LiveToken> {
        self.live.insert(accessor.to_owned(), live.clone());
        if self.forgotten.load(Ordering::SeqCst) != before {
            self.live.remove(accessor);
        }
        live
    }

    async fn find_batch(&self, token: &str) -> Result<Option<Arc<LiveToken>>, Fault> {
        let key = self.accessor_of(token);
        let live = match self.live.get(&key) {
            Some(live) => live,
            None => {
                let Some(record) = self.batch_key.open(token) else { return Ok(None) };
                let live = LiveToken::new(record);
                self.live.insert(key, live.clone());
                live
            }
        };
        // A batch token ends with its parent.
        let Some(parent) = &live.record.parent else { return Ok(Some(live)) };
        Ok(self.by_accessor(parent).await?.map(|_| live))
    }
}

/// A new text for a service token, with the namespace's id at its end as clients know it.
///
/// # Errors
/// The machine gives no random bytes.
pub fn new_text(namespace: &Namespace) -> Result<Secret<String>, Fault> {
    let random = ids::base62(24)?;
    Ok(Secret::new(if namespace.is_root() { format!("s.{random}") } else { format!("s.{random}.{}", namespace.id) }))
}

/// The key by which the token's lease is listed.
fn lease_pointer(record: &TokenRecord) -> Vec<u8> {
    index::token_lease(&record.namespace, &token_lease_id(record))
}

/// The lease id of a token.
#[must_use]
pub fn token_lease_id(record: &TokenRecord) -> String {
    format!("{}/h{}", record.path, record.accessor)
}

/// Whether an auth mount's engine is needed to renew: tokens of `auth/token` renew by their own record.
#[must_use]
pub fn is_login(record: &TokenRecord) -> bool {
    record.kind == TokenKind::Service && !record.path.starts_with("auth/token/")
}

#[cfg(test)]
mod tests;
