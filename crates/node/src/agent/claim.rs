//! A container asks for its credential through the wrapper (docs/decisions/0018).

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, timeout_at};

use super::Agent;
use super::hold::{About, Claim, Hold};
use super::life::Phase;
use super::start::Start;
use crate::env::{Answer, Cri, Desk, Runs, Starts, Whose};

/// How long a wrapper waits on one connection before it is told why.
const PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks at what nobody rings a bell for.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// What the runtime says of a container that asks.
enum Verdict {
    /// It is the one whose volume this is, and it is its turn.
    Yes,
    /// Ask again.
    Wait(String),
    /// It is another one.
    No,
}

/// One volume's desk.
struct VolumeDesk {
    agent: Arc<Agent>,
    hold: Arc<Hold>,
}

/// Lets a volume's container ask from now on.
pub fn open_door(agent: &Arc<Agent>, hold: &Arc<Hold>) {
    let desk = VolumeDesk { agent: agent.clone(), hold: hold.clone() };
    agent.env.open_door(&hold.about.volume_id, &hold.about.target, Arc::new(desk));
}

#[async_trait]
impl Desk for VolumeDesk {
    async fn answer(&self, whose: &Whose, image: bool) -> Answer {
        let about = &self.hold.about;
        if whose.pod_uid != about.pod.uid {
            tracing::warn!(pod = %about.pod.name, other = %whose.pod_uid, "a container of another pod asked for a credential and was refused");
            return Answer::Refused;
        }
        let end = Instant::now() + PATIENCE;
        loop {
            // Before the look, so that nothing rings between the two.
            let news = self.hold.news.notified();
            let why = match self.step(&whose.container_id, image).await {
                Ok(answer) => return answer,
                Err(why) => why,
            };
            if Instant::now() >= end {
                return Answer::Wait(why);
            }
            tokio::select! {
                _ = timeout_at(end, news) => {}
                () = sleep(LOOK_AGAIN) => {}
            }
        }
    }
}

impl VolumeDesk {
    /// One look; an error says what is waited for.
    async fn step(&self, id: &str, image: bool) -> Result<Answer, String> {
        match self.hold.claim(id) {
            Claim::Given(start) => self.give(&start, id, image).await,
            Claim::Never => Ok(Answer::Refused),
            Claim::Wait(why) => Err(why),
            Claim::Unknown(phase) => self.ask_runtime(id, image, &phase).await,
        }
    }

    async fn give(&self, start: &Start, id: &str, image: bool) -> Result<Answer, String> {
        let image = if image { Some(self.starts(id).await?) } else { None };
        Ok(Answer::Given { variables: start.variables.clone(), image })
    }

    /// Nobody has told of this container.
    async fn ask_runtime(&self, id: &str, image: bool, phase: &Phase) -> Result<Answer, String> {
        let Some(cri) = &self.agent.env.cri else {
            return Err(
                "the runtime has not told yet which container this is (NRI), and cannot be asked (--cri-socket)".into(),
            );
        };
        match verdict(cri, &self.hold.about, id, phase).await? {
            Verdict::No => Ok(Answer::Refused),
            Verdict::Wait(why) => Err(why),
            Verdict::Yes => {
                // It is created, as far as this volume is concerned: it takes what is there, or awaits what is made.
                drop(self.hold.creating(id));
                self.agent.note_or_warn(&self.hold);
                match self.hold.claim(id) {
                    Claim::Given(start) => self.give(&start, id, image).await,
                    _ => Err("it is being made".into()),
                }
            }
        }
    }

    async fn starts(&self, id: &str) -> Result<Starts, String> {
        let cri =
            self.agent.env.cri.as_ref().ok_or("the runtime cannot be asked what the image starts (--cri-socket)")?;
        let runs = cri.container(id).await?.ok_or("the runtime does not know this container")?;
        cri.starts(&runs.image).await
    }
}

/// Whether a container that nobody told us of is the one whose volume this is.
async fn verdict(cri: &Cri, about: &About, id: &str, phase: &Phase) -> Result<Verdict, String> {
    let is_it = |runs: &Runs| runs.pod_uid == about.pod.uid && runs.name == about.spec.container;
    match cri.container(id).await? {
        None => return Ok(Verdict::Wait("the runtime does not know this container".into())),
        Some(runs) if !is_it(&runs) => {
            tracing::warn!(pod = %about.pod.name, container = %runs.name, owner = %about.spec.container,
                "a container asked for another's credential and was refused");
            return Ok(Verdict::No);
        }
        Some(runs) if !runs.alive => return Ok(Verdict::No),
        Some(_) => {}
    }
    // Only one of a name can be alive: the end of the one before was missed, or it is not over.
    if let Phase::Taken(former) = phase
        && cri.container(former).await?.is_some_and(|runs| runs.alive)
    {
        return Ok(Verdict::Wait("the container's former start has not ended".into()));
    }
    Ok(Verdict::Yes)
}

#[cfg(test)]
mod tests;
