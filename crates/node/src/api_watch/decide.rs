//! What kubelet's word about a container means for its volume: a pure function. The word is true and late. Only one container
//! of a name lives at a time, and an id never comes back; all else follows from that.

use super::wire::{Newest, Status};
use crate::agent::{ContainerId, Phase};

/// What is known of a volume without kubelet's word.
#[derive(Debug, Clone)]
pub struct View {
    /// How far its credential is.
    pub phase: Phase,
    /// Containers that are known to have ended.
    pub ended: Vec<ContainerId>,
    /// The kernel says that the process of the container that has the credential lives.
    pub lives: bool,
    /// The runtime tells of starts and ends itself (NRI), and sooner.
    pub is_led: bool,
}

/// What is to be told to the volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// This container runs.
    Running(ContainerId),
    /// This one has ended.
    Stopped(ContainerId),
    /// Find this one's process, so that its end is known at once.
    Follow(ContainerId),
}

/// What a status means.
#[must_use]
pub fn steps(status: &Status, view: &View) -> Vec<Step> {
    let Some(newest) = &status.newest else { return Vec::new() };
    if view.is_led {
        return led(newest, status, view);
    }
    match &view.phase {
        // Kubelet is late: that one is over, and we know it already.
        _ if view.ended.contains(&newest.id) => Vec::new(),
        Phase::Taken(known) if *known == newest.id => match newest.has_ended {
            false => vec![Step::Follow(newest.id.clone())],
            true if view.lives => Vec::new(),
            true => vec![Step::Stopped(newest.id.clone())],
        },
        // Kubelet is late in another way: it has not heard of this one yet.
        Phase::Taken(_) if view.lives => Vec::new(),
        Phase::Taken(known) => {
            let missed = newest.has_ended || status.before.as_ref() == Some(known);
            let over = missed.then(|| Step::Stopped(known.clone()));
            over.into_iter().chain(came(newest)).collect()
        }
        Phase::Ready => {
            let unseen = status.before.iter().filter(|before| !view.ended.contains(before));
            let unseen = unseen.flat_map(|before| [Step::Running(before.clone()), Step::Stopped(before.clone())]);
            let newest_ran = newest.has_ended.then(|| Step::Running(newest.id.clone()));
            unseen.chain(newest_ran).chain(came(newest)).collect()
        }
        Phase::Minting => came(newest).collect(),
    }
}

/// The runtime's word counts more. Only an end that it has missed is taken up, and only of the container that is known: that
/// one cannot come back.
fn led(newest: &Newest, status: &Status, view: &View) -> Vec<Step> {
    match &view.phase {
        Phase::Taken(known) if !view.lives => {
            let is_over = (newest.has_ended && newest.id == *known) || status.before.as_ref() == Some(known);
            is_over.then(|| Step::Stopped(known.clone())).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// A container that was not heard of.
fn came(newest: &Newest) -> impl Iterator<Item = Step> + use<> {
    let id = newest.id.clone();
    let steps = match newest.has_ended {
        true => [Some(Step::Stopped(id)), None],
        false => [Some(Step::Running(id.clone())), Some(Step::Follow(id))],
    };
    steps.into_iter().flatten()
}

#[cfg(test)]
mod tests;
