//! One record kept in memory. A generation keeps a slow reader from putting an old value back.

use std::future::Future;
use std::sync::Arc;

use dewdrop_core::Fault;
use parking_lot::RwLock;

/// The record, once it was read.
pub struct Cached<T> {
    slot: RwLock<Slot<T>>,
}

struct Slot<T> {
    generation: u64,
    value: Option<Arc<T>>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { slot: RwLock::new(Slot { generation: 0, value: None }) }
    }
}

impl<T> Cached<T> {
    /// The record; `read` is asked when it is not known.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn get<F>(&self, read: F) -> Result<Arc<T>, Fault>
    where
        F: Future<Output = Result<T, Fault>>,
    {
        let generation = {
            let slot = self.slot.read();
            if let Some(value) = &slot.value {
                return Ok(value.clone());
            }
            slot.generation
        };
        let value = Arc::new(read.await?);
        let mut slot = self.slot.write();
        if slot.generation == generation {
            slot.value = Some(value.clone());
        }
        Ok(value)
    }

    /// Forgets it: it was written, here or elsewhere.
    pub fn forget(&self) {
        let mut slot = self.slot.write();
        slot.generation += 1;
        slot.value = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_read_before_a_write_is_not_kept() {
        let cached = Cached::default();
        let old = cached
            .get(async {
                cached.forget();
                Ok(1)
            })
            .await;
        assert_eq!(old.map(|v| *v), Ok(1));
        assert_eq!(cached.get(async { Ok(2) }).await.map(|v| *v), Ok(2));
        assert_eq!(cached.get(async { Ok(3) }).await.map(|v| *v), Ok(2));
    }
}
