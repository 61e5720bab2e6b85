//! What the runtime calls: the service `Plugin`. Reads a call, has the watcher hear it, gives the answer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;

use super::link::LinkError;
use super::model::{Adjustment, Container, Pod};
use super::run::Guard;
use super::ttrpc::code;
use super::watcher::Link;
use super::wire::{
    About, ConfigureRequest, ConfigureResponse, CreateContainerResponse, Event, FailurePolicy, PLUGIN_SERVICE, Request,
    StateChangeEvent, Status, SynchronizeRequest, SynchronizeResponse,
};
use super::worker::{Job, Unanswered, Worker};

/// Most bytes of the parts in which a runtime tells what runs: some ten thousand containers.
const MOST_TOLD: usize = 64 << 20;

/// Calls that we did not ask for, and to which nothing is to be said.
const HEARD: [&str; 9] = [
    "RunPodSandbox",
    "UpdatePodSandbox",
    "PostUpdatePodSandbox",
    "PostCreateContainer",
    "StartContainer",
    "UpdateContainer",
    "PostUpdateContainer",
    "ValidateContainerAdjustment",
    "Log",
];

/// A call's answer: for the runtime, or the end of the link.
type Answered = Result<Result<Vec<u8>, Status>, LinkError>;

/// How the service stands on one link.
pub struct Service<'a> {
    worker: &'a Worker,
    guarded: Guard,
    patience: Duration,
    runtime: Option<Link>,
    /// Told so far, of what comes in parts.
    pods: Vec<Pod>,
    containers: Vec<Container>,
    told: usize,
    /// What to do once the answer is sent.
    pub then: Then,
}

/// What follows an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Then {
    GoOn,
    /// All is known: the link is up.
    Connected(Link),
    /// The runtime ends.
    ShutDown,
}

impl<'a> Service<'a> {
    pub fn new(worker: &'a Worker, guarded: Guard, patience: Duration) -> Self {
        let (pods, containers) = Default::default();
        Self { worker, guarded, patience, runtime: None, pods, containers, told: 0, then: Then::GoOn }
    }

    /// Answers one call.
    ///
    /// # Errors
    /// What is said makes no sense, or the watcher cannot be told: the link has to end.
    pub async fn answer(&mut self, request: Request) -> Answered {
        if request.service != PLUGIN_SERVICE {
            return Ok(Err(Status::new(code::UNIMPLEMENTED, format!("service {}", request.service))));
        }
        let payload = request.payload;
        match request.method.as_str() {
            "Configure" => self.configure(payload),
            "Synchronize" => self.synchronize(payload).await,
            "Shutdown" => {
                self.then = Then::ShutDown;
                nothing()
            }
            "StateChange" => {
                let change: StateChangeEvent = read("StateChange", payload)?;
                match Event::of(change.event) {
                    // Its answer has no place for a refusal.
                    None | Some(Event::CreateContainer) => nothing(),
                    Some(event) => self.event(event, About { pod: change.pod, container: change.container }).await,
                }
            }
            "StopPodSandbox" => self.event(Event::StopPodSandbox, read("StopPodSandbox", payload)?).await,
            "RemovePodSandbox" => self.event(Event::RemovePodSandbox, read("RemovePodSandbox", payload)?).await,
            "CreateContainer" => self.event(Event::CreateContainer, read("CreateContainer", payload)?).await,
            "PostStartContainer" => self.event(Event::PostStartContainer, read("PostStartContainer", payload)?).await,
            "StopContainer" => self.event(Event::StopContainer, read("StopContainer", payload)?).await,
            "RemoveContainer" => self.event(Event::RemoveContainer, read("RemoveContainer", payload)?).await,
            method if HEARD.contains(&method) => nothing(),
            method => Ok(Err(Status::new(code::UNIMPLEMENTED, format!("method {method}")))),
        }
    }

    fn configure(&mut self, payload: Bytes) -> Answered {
        let asked: ConfigureRequest = read("Configure", payload)?;
        let timeout = Duration::from_millis(asked.request_timeout.try_into().unwrap_or(0));
        if !timeout.is_zero() {
            self.patience = self.patience.min(timeout / 2);
        }
        let (runtime, version, nri) = (asked.runtime_name, asked.runtime_version, asked.nri_version);
        self.runtime = Some(Link::Connected { runtime, version, nri, timeout });
        // Should we not answer in time after all, that one container is to be refused, not made without us. The link is
        // then dropped as ever: a node must not wait for us again and again.
        let failure_policy = Some(FailurePolicy { fail_request: true, keep_connected: false });
        reply(&ConfigureResponse { events: Event::mask(), failure_policy })
    }

    async fn synchronize(&mut self, payload: Bytes) -> Answered {
        let Some(runtime) = self.runtime.clone() else {
            return Ok(Err(Status::new(code::FAILED_PRECONDITION, "Synchronize before Configure")));
        };
        self.told += payload.len();
        if self.told > MOST_TOLD {
            return Err(LinkError::TooMuch);
        }
        let part: SynchronizeRequest = read("Synchronize", payload)?;
        self.pods.extend(part.pods.into_iter().map(Pod::from));
        self.containers.extend(part.containers.into_iter().map(Container::from));
        if !part.more {
            self.told = 0;
            let all = Job::Synchronize(std::mem::take(&mut self.pods), std::mem::take(&mut self.containers));
            self.worker.tell(all, self.patience).await?;
            self.then = Then::Connected(runtime);
        }
        // Whoever does not say `more` to more is not sent the rest.
        reply(&SynchronizeResponse { more: part.more })
    }

    async fn event(&self, event: Event, about: About) -> Answered {
        let Some(pod) = about.pod.map(Pod::from) else { return Ok(Err(lacking("pod"))) };
        let job = match (event, about.container.map(Container::from)) {
            (Event::StopPodSandbox | Event::RemovePodSandbox, _) => Job::PodGone(pod),
            (_, None) => return Ok(Err(lacking("container"))),
            (Event::CreateContainer, Some(container)) => return self.creating(pod, container).await,
            (Event::PostStartContainer, Some(container)) => Job::Started(pod, container),
            (Event::StopContainer | Event::RemoveContainer, Some(container)) => Job::Stopped(pod, container),
        };
        self.worker.tell(job, self.patience).await?;
        nothing()
    }

    async fn creating(&self, pod: Pod, container: Container) -> Answered {
        let guarded = self.guarded;
        let guarded = catch_unwind(AssertUnwindSafe(|| guarded(&pod, &container))).unwrap_or(true);
        let names = (format!("{pod:?}"), format!("{container:?}"));
        let answer = self.worker.ask(pod, container, self.patience).await.unwrap_or_else(|why| {
            tracing::error!(pod = names.0, container = names.1, guarded, ?why, "no answer about a container in time");
            without_answer(guarded, &why)
        });
        match answer {
            Ok(adjustment) if adjustment == Adjustment::default() => reply(&CreateContainerResponse { adjust: None }),
            Ok(adjustment) => reply(&CreateContainerResponse { adjust: Some(adjustment.into()) }),
            Err(text) => Ok(Err(Status::new(code::FAILED_PRECONDITION, text))),
        }
    }
}

/// A watcher that is stuck must not let a container of ours through, and must not stop the rest of the node.
fn without_answer(guarded: bool, why: &Unanswered) -> Result<Adjustment, String> {
    let why = match why {
        Unanswered::Late => "did not answer in time",
        Unanswered::Stuck => "is too far behind",
        Unanswered::Panicked => "failed; see its log",
    };
    if guarded { Err(format!("dewdrop: the node agent {why}")) } else { Ok(Adjustment::default()) }
}

fn lacking(what: &str) -> Status {
    Status::new(code::INVALID_ARGUMENT, format!("there is no {what}"))
}

fn read<M: prost::Message + Default>(method: &'static str, payload: Bytes) -> Result<M, LinkError> {
    M::decode(payload).map_err(|source| LinkError::Garbage { what: method, source })
}

fn reply(message: &impl prost::Message) -> Answered {
    Ok(Ok(message.encode_to_vec()))
}

fn nothing() -> Answered {
    Ok(Ok(Vec::new()))
}
