//! Locks within one process, for the stores that only one process can open: nobody else can take them, so they
//! end when they are dropped and need no time to live.

use std::collections::HashSet;
use std::sync::Arc;

use dewdrop_core::store::Hold;
use parking_lot::Mutex;

/// The names that are taken.
#[derive(Clone, Default)]
pub(crate) struct Holds(Arc<Mutex<HashSet<String>>>);

struct Held {
    name: String,
    among: Holds,
}

// === impl Holds ===

impl Holds {
    /// Takes a name, or says `None` when it is taken.
    pub(crate) fn take(&self, name: &str) -> Option<Box<dyn Hold>> {
        self.0
            .lock()
            .insert(name.to_owned())
            .then(|| -> Box<dyn Hold> { Box::new(Held { name: name.to_owned(), among: self.clone() }) })
    }
}

// === impl Held ===

impl Hold for Held {
    fn is_held(&self) -> bool {
        true
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.among.0.lock().remove(&self.name);
    }
}
