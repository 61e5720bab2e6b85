//! One published volume: what it is for, how far it is, and what its keeper has to do next. The runtime's callbacks only
//! change this record and return; the keeper does the work.

use std::path::PathBuf;
use std::sync::Arc;

use dewdrop_api::SecretText;
use parking_lot::Mutex;
use rustix::fd::OwnedFd;
use tokio::sync::Notify;

use super::life::{Act, ContainerId, Life, Phase, Standing};
use super::start::Start;
use super::vault::StartName;
use crate::api_watch::View;
use crate::pidfd;
use crate::spec::{PodInfo, VolumeSpec, Wrap};

/// What does not change while the volume is published.
#[derive(Debug, Clone)]
pub struct About {
    /// Kubelet's id of the volume.
    pub volume_id: String,
    /// Where it is mounted.
    pub target: PathBuf,
    /// What is in it and for which container.
    pub spec: VolumeSpec,
    /// The pod.
    pub pod: PodInfo,
    /// The group that kubelet wants on the files.
    pub fs_group: Option<u32>,
}

/// What the keeper has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Todo {
    /// Renew what is there, when it is time.
    Renew,
    /// Make a credential for a container that is still to start.
    Mint,
    /// Make another for the one that runs, and tell it.
    Refresh,
    /// The volume is gone.
    Close,
}

/// A volume and its state.
pub struct Hold {
    /// What it is.
    pub about: About,
    state: Mutex<State>,
    /// Held while the volume's files or its record on the journal are written: an older state must not overtake a newer, and
    /// nothing is written after the volume was closed.
    pub pen: Mutex<()>,
    /// Rung when there is something to do.
    pub bell: Notify,
    /// Rung when a credential is there.
    pub news: Notify,
}

/// What a container's wrapper may have.
#[derive(Debug)]
pub enum Claim {
    /// This start's credential.
    Given(Arc<Start>),
    /// Nothing yet; why, as far as that is known.
    Wait(String),
    /// Nothing, before the runtime has said which container this is.
    Unknown(Phase),
    /// Nothing, ever.
    Never,
}

struct State {
    life: Life,
    todo: Todo,
    pod_token: SecretText,
    start: Option<Arc<Start>>,
    /// Asked for, not yet heard of.
    intent: Option<StartName>,
    process: Option<Arc<OwnedFd>>,
    /// Why the keeper did not succeed when it last tried.
    trouble: Option<String>,
}

// === impl Hold ===

impl Hold {
    /// A volume with the start that it has, if any.
    #[must_use]
    pub fn new(about: About, phase: Phase, pod_token: SecretText, start: Option<Start>) -> Self {
        let todo = if phase == Phase::Minting { Todo::Mint } else { Todo::Renew };
        let start = start.map(Arc::new);
        let state = State { life: Life::at(phase), todo, pod_token, start, intent: None, process: None, trouble: None };
        Self { about, state: Mutex::new(state), pen: Mutex::default(), bell: Notify::new(), news: Notify::new() }
    }

    /// With the containers that ended before.
    #[must_use]
    pub fn after(self, ended: Vec<ContainerId>) -> Self {
        self.state.lock().life.remember(ended);
        self
    }

    /// The first start is there.
    pub fn begin(&self, start: Start) {
        let mut state = self.state.lock();
        state.life = Life::at(Phase::Ready);
        state.todo = Todo::Renew;
        state.intent = None;
        state.start = Some(Arc::new(start));
    }

    /// A start's name with the container that has it, when one has.
    #[must_use]
    pub fn named(&self, name: &StartName) -> StartName {
        let container_id = match self.state.lock().life.phase() {
            Phase::Taken(id) => Some(id.clone()),
            Phase::Minting | Phase::Ready => None,
        };
        StartName { container_id, ..name.clone() }
    }

    /// A start is about to be asked for.
    pub fn intend(&self, name: StartName) {
        self.state.lock().intent = Some(name);
    }

    /// The starts that the server may have, for the beat: the one that is held, and the one that was asked for.
    #[must_use]
    pub fn names(&self) -> (Option<StartName>, Option<StartName>) {
        let (held, intent) = {
            let state = self.state.lock();
            (state.start.clone(), state.intent.clone())
        };
        (held.map(|start| self.named(&start.name)), intent)
    }

    /// How far it is.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.state.lock().life.phase().clone()
    }

    /// The start in force.
    #[must_use]
    pub fn start(&self) -> Option<Arc<Start>> {
        self.state.lock().start.clone()
    }

    /// The pod's newest token.
    #[must_use]
    pub fn pod_token(&self) -> SecretText {
        self.state.lock().pod_token.clone()
    }

    /// Kubelet brought a newer token of the pod.
    pub fn renew_pod_token(&self, token: SecretText) {
        self.state.lock().pod_token = token;
    }

    /// What is to be done now.
    #[must_use]
    pub fn todo(&self) -> Todo {
        self.state.lock().todo
    }

    /// The container is about to be created. `Err` refuses it, with the start that is over if one was missed.
    ///
    /// # Errors
    /// Its credential is not there yet.
    pub fn creating(&self, id: &str) -> Result<(), Option<Arc<Start>>> {
        let mut state = self.state.lock();
        match state.life.creating(id) {
            Ok(()) => Ok(()),
            Err(act) if self.is_wrapped() => {
                self.await_next(&mut state, act, id);
                Ok(())
            }
            Err(act) => Err(self.apply(&mut state, act)),
        }
    }

    /// Whether the container's command starts through the wrapper, which can wait.
    #[must_use]
    pub fn is_wrapped(&self) -> bool {
        self.about.spec.wrap != Wrap::No
    }

    /// A container asks through its wrapper.
    #[must_use]
    pub fn claim(&self, id: &str) -> Claim {
        let state = self.state.lock();
        let wait = || Claim::Wait(state.trouble.clone().unwrap_or_else(|| "it is being made".into()));
        match (state.life.standing(id), state.todo, &state.start) {
            (_, Todo::Close, _) | (Standing::Over, _, _) => Claim::Never,
            (Standing::Holds, Todo::Renew, Some(start)) => Claim::Given(start.clone()),
            (Standing::Holds | Standing::Awaits, _, _) => wait(),
            (Standing::Unknown, _, _) => Claim::Unknown(state.life.phase().clone()),
        }
    }

    /// How the keeper's last try went.
    pub fn tried(&self, trouble: Option<String>) {
        self.state.lock().trouble = trouble;
    }

    /// The container runs. Answers the start that is over, if that shows now.
    pub fn running(&self, id: &str, process: Option<Arc<OwnedFd>>) -> Option<Arc<Start>> {
        let mut state = self.state.lock();
        let act = if self.is_wrapped() { self.arrived(&mut state, id) } else { state.life.running(id) };
        if matches!(state.life.standing(id), Standing::Holds | Standing::Awaits) {
            state.process = process;
        }
        self.apply(&mut state, act)
    }

    /// What the API server's word is held against.
    #[must_use]
    pub fn view(&self, is_led: bool) -> View {
        let state = self.state.lock();
        let phase = state.life.phase().clone();
        let lives =
            matches!(phase, Phase::Taken(_)) && state.process.as_ref().is_some_and(|process| pidfd::lives(process));
        View { phase, ended: state.life.ended().to_vec(), lives, is_led }
    }

    /// The process of a container that was told of was found.
    pub fn follow(&self, id: &str, process: &Arc<OwnedFd>) {
        let mut state = self.state.lock();
        if matches!(state.life.standing(id), Standing::Holds | Standing::Awaits) {
            state.process = Some(process.clone());
        }
    }

    /// The containers that have ended, as far as they are remembered.
    #[must_use]
    pub fn ended(&self) -> Vec<ContainerId> {
        self.state.lock().life.ended().to_vec()
    }

    /// The container ended. Answers the start that is over.
    pub fn stopped(&self, id: &str) -> Option<Arc<Start>> {
        let mut state = self.state.lock();
        let act = state.life.stopped(id);
        self.apply(&mut state, act)
    }

    /// All containers of that name that exist. Answers the start that is over, if one is.
    pub fn seen(&self, alive: &[&str]) -> Option<Arc<Start>> {
        let mut state = self.state.lock();
        let is_known = alive.iter().any(|id| state.life.standing(id) == Standing::Holds);
        let act = match alive.first() {
            Some(id) if self.is_wrapped() && !is_known => self.arrived(&mut state, id),
            _ => state.life.seen(alive),
        };
        self.apply(&mut state, act)
    }

    /// The server has no token of a start any more. Answers that start.
    pub fn lost(&self, start: &str) -> Option<Arc<Start>> {
        let mut state = self.state.lock();
        if state.start.as_ref().is_none_or(|held| held.name.start != start) {
            return None;
        }
        let act = state.life.lost();
        self.apply(&mut state, act)
    }

    /// Whether a container that runs cannot be given another credential: it is in its environment, and nothing may end it.
    #[must_use]
    pub fn must_stay(&self) -> bool {
        matches!(self.about.spec.wrap, Wrap::Env(_)) && self.about.spec.signal.is_none()
    }

    /// The run of the container that goes on with another credential, by its first start.
    #[must_use]
    pub fn life(&self) -> Option<String> {
        let state = self.state.lock();
        state.start.as_ref().filter(|_| state.todo == Todo::Refresh).map(|start| start.life().to_owned())
    }

    /// Somebody has seen what the container has by this start: it gets another. Whether that begins now.
    pub fn seen_through(&self, start: &str) -> bool {
        let mut state = self.state.lock();
        let is_its = state.start.as_ref().is_some_and(|held| held.name.start == start);
        let begins = is_its && state.todo == Todo::Renew;
        if begins {
            state.todo = Todo::Refresh;
            self.bell.notify_one();
        }
        begins
    }

    /// What the container has cannot be renewed for much longer.
    pub fn wants_another(&self) {
        let mut state = self.state.lock();
        if state.todo == Todo::Renew {
            state.todo = Todo::Refresh;
        }
    }

    /// The volume is gone. Answers the start that is over.
    pub fn close(&self) -> Option<Arc<Start>> {
        let mut state = self.state.lock();
        state.todo = Todo::Close;
        state.process = None;
        self.bell.notify_one();
        state.start.take()
    }

    /// A credential was made and written. `Err` gives it back: the volume was closed meanwhile.
    ///
    /// # Errors
    /// The volume is gone, or the container that it was made for ended while it was made.
    pub fn minted(&self, start: Start, done: Todo) -> Result<Option<Arc<Start>>, Box<Start>> {
        let mut state = self.state.lock();
        state.intent = None;
        if state.todo != done {
            return Err(Box::new(start));
        }
        state.life.minted();
        state.todo = Todo::Renew;
        let former = state.start.replace(Arc::new(start));
        self.news.notify_waiters();
        Ok(former)
    }

    /// The process of the running container, and which container it is.
    #[must_use]
    pub fn process(&self) -> Option<(ContainerId, Arc<OwnedFd>)> {
        let state = self.state.lock();
        match (state.life.phase(), &state.process) {
            (Phase::Taken(id), Some(process)) => Some((id.clone(), process.clone())),
            _ => None,
        }
    }

    /// A container with a wrapper runs: it has read nothing yet of what its predecessor had.
    fn arrived(&self, state: &mut State, id: &str) -> Act {
        if state.life.standing(id) == Standing::Unknown
            && let Err(act) = state.life.creating(id)
        {
            self.await_next(state, act, id);
        }
        Act::Rest
    }

    /// A container that can wait is there. What the one before had stays on record until its successor's is made: the
    /// keeper ends it then.
    fn await_next(&self, state: &mut State, act: Act, id: &str) {
        if act == Act::Replace && state.todo != Todo::Close {
            state.todo = Todo::Mint;
            state.process = None;
            self.bell.notify_one();
        }
        state.life.awaited(id);
    }

    fn apply(&self, state: &mut State, act: Act) -> Option<Arc<Start>> {
        if state.todo == Todo::Close {
            return None;
        }
        let over = match act {
            Act::Rest => return None,
            Act::Replace => {
                state.todo = Todo::Mint;
                state.process = None;
                state.start.take()
            }
            // The files stay until the new ones are there; the server ends the old token when it makes the new one.
            Act::Refresh => {
                state.todo = Todo::Refresh;
                None
            }
        };
        self.bell.notify_one();
        over
    }
}
