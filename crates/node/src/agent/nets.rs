//! By which net the ends of containers are caught now: the runtime itself (NRI), the API server's watch, or none but the end of
//! the whole pod.

use std::time::Duration;

use tokio::sync::watch;

/// A net.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Net {
    /// The runtime tells of starts and ends as they happen.
    Nri,
    /// The API server tells some seconds later; the kernel tells of ends at once.
    Watch,
    /// Credentials end with their pod.
    Nothing,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Links {
    nri: bool,
    watch: bool,
}

/// The state of both.
pub struct Nets(watch::Sender<Links>);

// === impl Links ===

impl Links {
    fn leading(self) -> Net {
        match self {
            Self { nri: true, .. } => Net::Nri,
            Self { watch: true, .. } => Net::Watch,
            Self { .. } => Net::Nothing,
        }
    }
}

// === impl Net ===

impl Net {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Nri, Self::Watch, Self::Nothing];

    /// In a word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Nri => "nri",
            Self::Watch => "watch",
            Self::Nothing => "none",
        }
    }
}

// === impl Nets ===

impl Default for Nets {
    fn default() -> Self {
        Self(watch::Sender::new(Links::default()))
    }
}

impl Nets {
    /// The one that leads.
    #[must_use]
    pub fn leading(&self) -> Net {
        self.0.borrow().leading()
    }

    /// The runtime tells, or does not.
    pub fn set_nri(&self, is_up: bool) {
        self.0.send_modify(|links| links.nri = is_up);
    }

    /// The API server tells, or does not. Answers whether that is new.
    pub fn set_watch(&self, is_up: bool) -> bool {
        self.0.send_if_modified(|links| std::mem::replace(&mut links.watch, is_up) != is_up)
    }

    /// Waits until another one leads.
    pub async fn change(&self, from: Net) -> Net {
        let mut links = self.0.subscribe();
        // The sender is here, so it does not end.
        drop(links.wait_for(|links| links.leading() != from).await);
        self.leading()
    }

    /// Waits for the runtime's link, but not for long.
    pub async fn until_nri(&self, limit: Duration) {
        let mut links = self.0.subscribe();
        drop(tokio::time::timeout(limit, links.wait_for(|links| links.nri)).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_runtime_leads_where_it_tells() {
        let nets = Nets::default();
        assert_eq!(nets.leading(), Net::Nothing);
        assert!(nets.set_watch(true) && !nets.set_watch(true));
        assert_eq!(nets.change(Net::Nothing).await, Net::Watch);
        nets.set_nri(true);
        assert_eq!(nets.leading(), Net::Nri);
        nets.set_watch(false);
        nets.set_nri(false);
        assert_eq!(nets.leading(), Net::Nothing);
    }
}
