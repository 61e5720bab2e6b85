//! The life of one volume, as a pure machine: whether the credential in it is there, and which start of its container has
//! it. Events come from CSI, NRI, the watch and the server; what is to be done comes back as an [`Act`].

/// The runtime's id of one container, which is a new one at each start.
pub type ContainerId = String;

/// How far the volume's credential is.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase", tag = "phase", content = "container")]
pub enum Phase {
    /// It is being made; a container that is created now is refused.
    Minting,
    /// It is in the volume, and no container has read it.
    Ready,
    /// A container has it.
    Taken(ContainerId),
}

/// So many ends are remembered of one volume's containers. What is told late is late by one or two.
const REMEMBERED: usize = 8;

/// What an event asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    Rest,
    /// The start is over: end its token, make the next one's.
    Replace,
    /// The start goes on, but its token is gone: make another, for the same container.
    Refresh,
}

/// The machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    phase: Phase,
    /// Containers that ended, the latest last: their starts may be told after their ends.
    ended: Vec<ContainerId>,
    /// A container that waits for what is being made.
    awaits: Option<ContainerId>,
}

/// How a container that asks stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It has the credential.
    Holds,
    /// It is being made for it.
    Awaits,
    /// It has ended.
    Over,
    /// It was not heard of, or another one has the credential.
    Unknown,
}

// === impl Life ===

impl Life {
    /// At a phase, as it was written down.
    #[must_use]
    pub fn at(phase: Phase) -> Self {
        Self { phase, ended: Vec::new(), awaits: None }
    }

    /// These containers are known to have ended.
    pub fn remember(&mut self, ended: Vec<ContainerId>) {
        self.ended = ended;
    }

    /// The containers that ended, as far as they are remembered; the latest is the last.
    #[must_use]
    pub fn ended(&self) -> &[ContainerId] {
        &self.ended
    }

    fn is_over(&self, id: &str) -> bool {
        self.ended.iter().any(|ended| ended == id)
    }

    fn ends(&mut self, id: &str) {
        self.ended.retain(|ended| ended != id);
        if self.ended.len() >= REMEMBERED {
            self.ended.remove(0);
        }
        self.ended.push(id.to_owned());
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> &Phase {
        &self.phase
    }

    /// The credential is in the volume.
    pub fn minted(&mut self) {
        if self.phase == Phase::Minting {
            self.phase = self.awaits.take().map_or(Phase::Ready, Phase::Taken);
        }
    }

    /// A container that can wait by itself is there before its credential is: it is made for this one.
    pub fn awaited(&mut self, id: &str) {
        if self.phase == Phase::Minting && !self.is_over(id) {
            self.awaits = Some(id.to_owned());
        }
    }

    /// How a container that asks for the credential stands.
    #[must_use]
    pub fn standing(&self, id: &str) -> Standing {
        match &self.phase {
            _ if self.is_over(id) => Standing::Over,
            Phase::Taken(known) if known == id => Standing::Holds,
            Phase::Minting if self.awaits.as_deref() == Some(id) => Standing::Awaits,
            _ => Standing::Unknown,
        }
    }

    /// The container is about to be created. An error refuses it.
    ///
    /// # Errors
    /// The credential of this start is not there yet.
    pub fn creating(&mut self, id: &str) -> Result<(), Act> {
        match &self.phase {
            Phase::Ready => {
                self.phase = Phase::Taken(id.to_owned());
                Ok(())
            }
            Phase::Taken(known) if known == id => Ok(()),
            // The end of the one before was missed.
            Phase::Taken(known) => {
                let known = known.clone();
                self.ends(&known);
                self.phase = Phase::Minting;
                Err(Act::Replace)
            }
            Phase::Minting => Err(Act::Rest),
        }
    }

    /// The container runs: perhaps it was created while nobody told us.
    #[must_use]
    pub fn running(&mut self, id: &str) -> Act {
        match &self.phase {
            _ if self.is_over(id) => Act::Rest,
            Phase::Ready => {
                self.phase = Phase::Taken(id.to_owned());
                Act::Rest
            }
            Phase::Taken(known) if known != id => {
                let known = known.clone();
                self.ends(&known);
                self.phase = Phase::Taken(id.to_owned());
                // It runs with what its predecessor had: that must not stay so.
                Act::Refresh
            }
            Phase::Taken(_) => Act::Rest,
            // It was created while nobody was asked, and has read nothing that is good: what is made is for it.
            Phase::Minting => {
                self.awaits = Some(id.to_owned());
                Act::Rest
            }
        }
    }

    /// A container ended, or was removed.
    #[must_use]
    pub fn stopped(&mut self, id: &str) -> Act {
        self.ends(id);
        self.awaits.take_if(|awaits| awaits == id);
        match &self.phase {
            Phase::Taken(known) if known == id => {
                self.phase = Phase::Minting;
                Act::Replace
            }
            _ => Act::Rest,
        }
    }

    /// All containers of the pod by that name that exist now: what was missed shows.
    #[must_use]
    pub fn seen(&mut self, alive: &[&str]) -> Act {
        match &self.phase {
            Phase::Taken(known) if !alive.contains(&known.as_str()) => match alive.first() {
                Some(other) => self.running(other),
                None => {
                    let known = known.clone();
                    self.ends(&known);
                    self.phase = Phase::Minting;
                    Act::Replace
                }
            },
            Phase::Ready => alive.first().map_or(Act::Rest, |id| self.running(id)),
            _ => Act::Rest,
        }
    }

    /// The server has no token of this start any more.
    #[must_use]
    pub fn lost(&mut self) -> Act {
        match &self.phase {
            Phase::Minting => Act::Rest,
            Phase::Ready => {
                self.phase = Phase::Minting;
                Act::Replace
            }
            Phase::Taken(_) => Act::Refresh,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ready() -> Life {
        Life::at(Phase::Ready)
    }

    #[test]
    fn each_start_gets_a_fresh_one() {
        let mut life = Life::at(Phase::Minting);
        assert_eq!(life.creating("a"), Err(Act::Rest), "nothing starts before its credential is there");
        life.minted();
        assert_eq!(life.creating("a"), Ok(()));
        assert_eq!(life.stopped("a"), Act::Replace);
        assert_eq!(life.creating("b"), Err(Act::Rest), "the next start waits for its own");
        life.minted();
        assert_eq!(life.creating("b"), Ok(()));
    }

    #[test]
    fn a_missed_end_is_noticed_at_the_next_creation() {
        let mut life = ready();
        assert_eq!(life.creating("a"), Ok(()));
        assert_eq!(life.creating("b"), Err(Act::Replace));
        assert_eq!(life.stopped("a"), Act::Rest, "the end that comes late does no harm");
    }

    #[test]
    fn an_end_counts_once_and_only_for_the_holder() {
        let mut life = ready();
        assert_eq!(life.creating("a"), Ok(()));
        assert_eq!(life.stopped("other"), Act::Rest);
        assert_eq!(life.stopped("a"), Act::Replace);
        assert_eq!(life.stopped("a"), Act::Rest, "StopContainer and RemoveContainer both come");
    }

    #[test]
    fn a_start_that_is_told_after_its_end_takes_nothing() {
        let mut life = ready();
        assert_eq!(life.creating("a"), Ok(()));
        assert_eq!(life.stopped("a"), Act::Replace);
        life.minted();
        assert_eq!(life.running("a"), Act::Rest);
        assert_eq!(life.creating("b"), Ok(()));
    }

    #[test]
    fn a_container_that_waits_by_itself_gets_what_is_made_next() {
        let mut life = Life::at(Phase::Minting);
        life.awaited("a");
        assert_eq!((life.standing("a"), life.standing("b")), (Standing::Awaits, Standing::Unknown));
        life.minted();
        assert_eq!((life.standing("a"), life.standing("b")), (Standing::Holds, Standing::Unknown));
        assert_eq!(life.stopped("a"), Act::Replace);
        life.awaited("a");
        life.minted();
        assert_eq!(life.phase(), &Phase::Ready, "not for one that has ended");
        assert_eq!(life.standing("a"), Standing::Over);
    }

    #[test]
    fn one_that_ends_while_it_waits_takes_nothing() {
        let mut life = Life::at(Phase::Minting);
        life.awaited("a");
        assert_eq!(life.stopped("a"), Act::Rest);
        life.minted();
        assert_eq!(life.phase(), &Phase::Ready);
        life.awaited("b");
        assert_eq!(life.standing("b"), Standing::Unknown, "what is there is taken, not awaited");
    }

    #[test]
    fn what_was_missed_shows_when_the_runtime_tells_all() {
        let mut gone = Life::at(Phase::Taken("a".into()));
        assert_eq!(gone.seen(&[]), Act::Replace);
        let mut other = Life::at(Phase::Taken("a".into()));
        assert_eq!(other.seen(&["b"]), Act::Refresh);
        assert_eq!(other.phase(), &Phase::Taken("b".into()));
        let mut same = Life::at(Phase::Taken("a".into()));
        assert_eq!(same.seen(&["a"]), Act::Rest);
        let mut unbound = ready();
        assert_eq!(unbound.seen(&["a"]), Act::Rest);
        assert_eq!(unbound.phase(), &Phase::Taken("a".into()));
    }

    #[test]
    fn one_that_was_created_unasked_gets_what_is_made() {
        let mut life = Life::at(Phase::Minting);
        assert_eq!(life.running("a"), Act::Rest);
        life.minted();
        assert_eq!(life.phase(), &Phase::Taken("a".into()));
        assert_eq!(life.stopped("a"), Act::Replace);
        assert_eq!(life.running("a"), Act::Rest, "told late");
        life.minted();
        assert_eq!(life.phase(), &Phase::Ready);
    }

    #[test]
    fn ends_are_remembered_and_not_for_ever() {
        let mut life = ready();
        for id in 0..20 {
            assert_eq!(life.stopped(&id.to_string()), Act::Rest);
        }
        assert_eq!(life.ended().len(), REMEMBERED);
        assert_eq!((life.standing("19"), life.standing("0")), (Standing::Over, Standing::Unknown));
    }

    #[test]
    fn a_lost_token_is_replaced_without_taking_it_from_the_container() {
        let mut life = Life::at(Phase::Taken("a".into()));
        assert_eq!(life.lost(), Act::Refresh);
        assert_eq!(life.phase(), &Phase::Taken("a".into()));
        assert_eq!(life.stopped("a"), Act::Replace);
    }

    proptest! {
        /// Whatever comes in whatever order: no two containers ever hold one credential.
        #[test]
        fn one_credential_is_never_given_twice(events in proptest::collection::vec((0u8..5, 0u8..3), 1..200)) {
            let mut life = Life::at(Phase::Minting);
            let mut holder: Option<String> = None;
            for (kind, who) in events {
                let id = who.to_string();
                match kind {
                    0 => {
                        if *life.phase() == Phase::Minting {
                            holder = None;
                        }
                        life.minted();
                    }
                    1 => {
                        if life.creating(&id).is_ok() {
                            prop_assert!(holder.is_none() || holder.as_ref() == Some(&id));
                            holder = Some(id);
                        }
                    }
                    2 => drop(life.stopped(&id)),
                    3 => drop(life.seen(&[])),
                    _ => drop(life.lost()),
                }
            }
        }

        /// The same for containers that ask for it themselves: what was made once is had by one.
        #[test]
        fn what_was_made_once_is_had_by_one(events in proptest::collection::vec((0u8..6, 0u8..3), 1..200)) {
            let mut life = Life::at(Phase::Minting);
            let (mut made, mut had) = (0, std::collections::BTreeMap::new());
            for (kind, who) in events {
                let id = who.to_string();
                match kind {
                    0 => {
                        made += u32::from(*life.phase() == Phase::Minting);
                        life.minted();
                    }
                    1 | 2 if life.creating(&id).is_err() => life.awaited(&id),
                    3 => drop(life.stopped(&id)),
                    4 => drop(life.seen(&[])),
                    5 => drop(life.lost()),
                    _ => {}
                }
                for id in ["0", "1", "2"].iter().filter(|id| life.standing(id) == Standing::Holds) {
                    prop_assert_eq!(*had.entry(made).or_insert(*id), *id);
                }
            }
        }
    }
}
