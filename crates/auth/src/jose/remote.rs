//! Keys that are fetched and kept fresh: read again when they are old, or when a token names one that is not among them
//! (but not more often than every ten seconds, or anybody could make us ask all the time). While the issuer is away, the
//! last good ones stay.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::Clock;
use parking_lot::Mutex;

use super::{Alg, Claims, KeySet, Refused, Signed};

/// After this long they are read again.
const FRESH: Duration = Duration::from_secs(300);
/// The shortest time between two reads.
const PAUSE: Duration = Duration::from_secs(10);

/// Reads the keys from where they are.
#[async_trait]
pub trait Fetch: Send + Sync {
    /// All keys of now.
    async fn fetch(&self) -> Result<KeySet, String>;
}

/// A cache of keys.
pub struct RemoteKeys {
    from: Box<dyn Fetch>,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    /// Held by the one that reads.
    reading: tokio::sync::Mutex<()>,
}

#[derive(Default, Clone)]
struct State {
    keys: Option<Arc<KeySet>>,
    /// When they were read with success.
    read: Option<Duration>,
    /// When it was tried.
    tried: Option<Duration>,
    trouble: Option<String>,
}

impl RemoteKeys {
    /// Nothing is read yet.
    pub fn new(from: Box<dyn Fetch>, clock: Arc<dyn Clock>) -> Self {
        Self { from, clock, state: Mutex::default(), reading: tokio::sync::Mutex::new(()) }
    }

    /// Verifies a token, see [`KeySet::verify`].
    ///
    /// # Errors
    /// As there, and [`Refused::Keys`] when none could be had.
    pub async fn verify(&self, token: Signed<'_>, taken: &[Alg]) -> Result<Claims, Refused> {
        if !taken.contains(&token.alg) {
            return Err(Refused::Algorithm);
        }
        let mut state = self.state();
        if state.keys.is_none() || self.is_old(&state) {
            state = self.read(&state).await;
        }
        if state.keys.as_ref().is_some_and(|keys| keys.lacks(&token)) {
            state = self.read(&state).await;
        }
        match state.keys {
            Some(keys) => keys.verify(token, taken),
            None => Err(Refused::Keys(state.trouble.unwrap_or_default())),
        }
    }

    /// Reads the keys now, and says what is wrong with them.
    ///
    /// # Errors
    /// Why they cannot be had.
    pub async fn warm(&self) -> Result<(), String> {
        let state = self.read(&self.state()).await;
        state.trouble.map_or(Ok(()), Err)
    }

    /// Whether there are any.
    pub fn are_known(&self) -> bool {
        self.state.lock().keys.is_some()
    }

    fn state(&self) -> State {
        self.state.lock().clone()
    }

    fn is_old(&self, state: &State) -> bool {
        state.read.is_none_or(|read| self.clock.steady() >= read + FRESH)
    }

    /// Reads the keys anew, unless somebody has tried just now. Of many that want it, one does.
    async fn read(&self, seen: &State) -> State {
        let _reading = self.reading.lock().await;
        let now = self.clock.steady();
        let state = self.state();
        let is_newer = state.tried != seen.tried;
        if is_newer || state.tried.is_some_and(|tried| now < tried + PAUSE) {
            return state;
        }
        let fetched = self.from.fetch().await;
        let mut state = self.state.lock();
        state.tried = Some(now);
        match fetched {
            Ok(keys) => {
                *state = State { keys: Some(Arc::new(keys)), read: Some(now), tried: Some(now), trouble: None };
            }
            Err(trouble) => state.trouble = Some(trouble),
        }
        state.clone()
    }
}
