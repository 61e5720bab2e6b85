//! The data keys. Each has a term (1, 2, …); the newest encrypts, the older ones stay for reading.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::aead::LessSafeKey;
use bytes::Bytes;
use dewdrop_core::Moment;
use dewdrop_core::store::StoreError;
use zeroize::Zeroizing;

use super::record::{self, Nonces, Unopened};
use crate::locked::{KEY_BYTES, LockedError, LockedKey};

const MAGIC: &[u8; 5] = b"DDKR\x01";
const ROW: usize = 4 + 8 + KEY_BYTES;

/// One data key.
pub(super) struct Term {
    pub(super) number: u32,
    pub(super) created: Moment,
    key: LockedKey,
    ready: LessSafeKey,
}

/// All data keys; never empty.
#[derive(Clone)]
pub(super) struct Keyring {
    terms: BTreeMap<u32, Arc<Term>>,
    newest: Arc<Term>,
}

/// Counts the encryptions of one term by this process, within the block that it has reserved.
pub(super) struct Meter {
    pub(super) term: u32,
    used: AtomicU64,
    reserved: AtomicU64,
}

/// What an open barrier knows.
pub(super) struct Unsealed {
    pub(super) root: Arc<LockedKey>,
    pub(super) keyring: Keyring,
    pub(super) meter: Arc<Meter>,
}

// === impl Term ===

impl Term {
    fn new(number: u32, created: Moment, key: LockedKey) -> Result<Arc<Self>, StoreError> {
        let ready = record::ready(&key)?;
        Ok(Arc::new(Self { number, created, key, ready }))
    }
}

// === impl Keyring ===

impl Keyring {
    /// A keyring with a first key.
    pub(super) fn first(now: Moment) -> Result<Self, super::BarrierError> {
        let newest = Term::new(1, now, LockedKey::random()?)?;
        Ok(Self { terms: BTreeMap::from([(1, newest.clone())]), newest })
    }

    /// This keyring and one key more, which encrypts from now on.
    pub(super) fn rotated(&self, now: Moment) -> Result<Self, super::BarrierError> {
        let number =
            self.newest.number.checked_add(1).ok_or_else(|| StoreError::Refused("4 billion key rotations".into()))?;
        let newest = Term::new(number, now, LockedKey::random()?)?;
        let mut terms = self.terms.clone();
        terms.insert(number, newest.clone());
        Ok(Self { terms, newest })
    }

    /// The key that encrypts.
    pub(super) fn newest(&self) -> &Arc<Term> {
        &self.newest
    }

    pub(super) fn term(&self, number: u32) -> Option<&LessSafeKey> {
        self.terms.get(&number).map(|term| &term.ready)
    }

    /// The keys as bytes: magic, count (u32), then term (u32), time (u64, ms), key of each.
    pub(super) fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Sized at once: growing would leave copies behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAGIC.len() + 4 + self.terms.len() * ROW));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&u32::try_from(self.terms.len()).unwrap_or(u32::MAX).to_be_bytes());
        for term in self.terms.values() {
            bytes.extend_from_slice(&term.number.to_be_bytes());
            bytes.extend_from_slice(&term.created.0.to_be_bytes());
            bytes.extend_from_slice(term.key.expose());
        }
        bytes
    }

    /// Reads what [`Keyring::encode`] wrote.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, super::BarrierError> {
        let damaged = || StoreError::Damaged("the keyring has a form that this program does not know".into());
        let (count, rows) =
            bytes.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<4>()).ok_or_else(damaged)?;
        if rows.len() != ROW.saturating_mul(u32::from_be_bytes(*count) as usize) {
            return Err(damaged().into());
        }
        let mut terms = BTreeMap::new();
        for row in rows.chunks_exact(ROW) {
            let (number, row) = row.split_first_chunk::<4>().ok_or_else(damaged)?;
            let (created, key) = row.split_first_chunk::<8>().ok_or_else(damaged)?;
            let number = u32::from_be_bytes(*number);
            terms.insert(number, Term::new(number, Moment(u64::from_be_bytes(*created)), LockedKey::copy_of(key)?)?);
        }
        let newest = terms.values().next_back().cloned().ok_or_else(damaged)?;
        Ok(Self { terms, newest })
    }
}

// === impl Meter ===

impl Meter {
    /// A meter that has nothing reserved.
    pub(super) fn starting(term: u32, used: u64) -> Arc<Self> {
        Arc::new(Self { term, used: AtomicU64::new(used), reserved: AtomicU64::new(used) })
    }

    /// Takes so many encryptions out of the reserved block; false when it has not got them.
    pub(super) fn take(&self, count: u64) -> bool {
        let start = self.used.fetch_add(count, Ordering::AcqRel);
        start.saturating_add(count) <= self.reserved.load(Ordering::Acquire)
    }

    /// Begins a new block. The start first: until the end moves, takers still fail.
    pub(super) fn begin(&self, start: u64, end: u64) {
        self.used.store(start, Ordering::Release);
        self.reserved.store(end, Ordering::Release);
    }

    /// Encryptions so far, all that was reserved before included.
    pub(super) fn used(&self) -> u64 {
        self.used.load(Ordering::Acquire).min(self.reserved.load(Ordering::Acquire))
    }
}

// === impl Unsealed ===

impl Unsealed {
    /// Encrypts a value for its place. The caller has counted it.
    pub(super) fn close(&self, at: &[u8], value: &[u8], nonces: &Nonces) -> Result<Vec<u8>, StoreError> {
        let term = self.keyring.newest();
        record::close(&term.ready, term.number, at, value, nonces)
    }

    /// Decrypts a value of a place.
    pub(super) fn open(&self, at: &[u8], value: Bytes) -> Result<Bytes, Unopened> {
        let number = record::term_of(&value)?;
        match self.keyring.term(number) {
            Some(key) => record::open(key, number, at, value),
            None => Err(Unopened::UnknownTerm(number, value)),
        }
    }

    /// Decrypts a value that is a key.
    pub(super) fn open_key(&self, at: &[u8], value: &[u8]) -> Result<Result<LockedKey, LockedError>, Unopened> {
        let number = record::term_of(value)?;
        let key = self.keyring.term(number).ok_or(Unopened::Forged)?;
        Ok(LockedKey::copy_of(&record::open_key(key, number, at, value)?))
    }
}
