//! The thread on which a watcher's callbacks run, in order, so that no callback can hold up the link to the runtime.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::model::{Adjustment, Container, Pod};
use super::watcher::{Link, Watcher};

/// Callbacks that may wait. Beyond it the link is given up: a new one tells everything anew.
const QUEUE: usize = 256;

/// What a watcher is told or asked.
#[derive(Debug)]
pub enum Job {
    Synchronize(Vec<Pod>, Vec<Container>),
    Creating(Pod, Container),
    Started(Pod, Container),
    Stopped(Pod, Container),
    PodGone(Pod),
    Link(Link),
}

/// The watcher is so far behind that it cannot be told.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node agent is {QUEUE} events behind")]
pub struct Stuck;

/// Why there is no answer of the watcher.
#[derive(Debug, PartialEq, Eq)]
pub enum Unanswered {
    Late,
    Stuck,
    Panicked,
}

type Answer = Result<Adjustment, String>;
type Queued = (Job, oneshot::Sender<Answer>);

/// The handle to the thread, which ends with it.
#[derive(Debug)]
pub struct Worker {
    jobs: SyncSender<Queued>,
    /// Jobs that are not done.
    open: Arc<AtomicUsize>,
}

impl Worker {
    /// # Errors
    /// No thread can be started.
    pub fn start(watcher: Arc<dyn Watcher>) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let open = Arc::new(AtomicUsize::new(0));
        let counted = open.clone();
        std::thread::Builder::new().name("nri-watcher".into()).spawn(move || work(&*watcher, &queue, &counted))?;
        Ok(Self { jobs, open })
    }

    /// Tells, and waits for at most `patience` until it was heard; it will be heard all the same.
    pub async fn tell(&self, job: Job, patience: Duration) -> Result<(), Stuck> {
        match self.run(job, patience).await {
            Err(Unanswered::Stuck) => Err(Stuck),
            Ok(_) | Err(Unanswered::Late | Unanswered::Panicked) => Ok(()),
        }
    }

    /// Asks about a container that is to be made.
    pub async fn ask(&self, pod: Pod, container: Container, patience: Duration) -> Result<Answer, Unanswered> {
        self.run(Job::Creating(pod, container), patience).await
    }

    /// Puts it into the queue, to be heard some time.
    pub fn leave(&self, job: Job) -> Result<(), Stuck> {
        self.queue(job).map(drop)
    }

    async fn run(&self, job: Job, patience: Duration) -> Result<Answer, Unanswered> {
        // The runtime asks one thing at a time, so an open job is one that it was not let wait for: it is not let wait as
        // long for those behind it.
        let behind = self.open.load(Ordering::Relaxed) > 0;
        let answer = self.queue(job).map_err(|Stuck| Unanswered::Stuck)?;
        match tokio::time::timeout(if behind { patience / 4 } else { patience }, answer).await {
            Ok(answer) => answer.map_err(|_| Unanswered::Panicked),
            Err(_) => Err(Unanswered::Late),
        }
    }

    fn queue(&self, job: Job) -> Result<oneshot::Receiver<Answer>, Stuck> {
        let (reply, answer) = oneshot::channel();
        self.open.fetch_add(1, Ordering::Relaxed);
        self.jobs.try_send((job, reply)).map_err(|error| {
            self.open.fetch_sub(1, Ordering::Relaxed);
            let (TrySendError::Full(_) | TrySendError::Disconnected(_)) = error;
            Stuck
        })?;
        Ok(answer)
    }
}

fn work(watcher: &dyn Watcher, queue: &Receiver<Queued>, open: &AtomicUsize) {
    while let Ok((job, reply)) = queue.recv() {
        // Nobody waits for the answer any more: that container was decided on without it.
        let forgone = matches!(job, Job::Creating(..)) && reply.is_closed();
        let answer = if forgone { None } else { catch_unwind(AssertUnwindSafe(|| call(watcher, job))).ok() };
        open.fetch_sub(1, Ordering::Relaxed);
        match answer {
            Some(answer) => drop(reply.send(answer)),
            None if forgone => {}
            None => tracing::error!("an NRI callback panicked"),
        }
    }
}

fn call(watcher: &dyn Watcher, job: Job) -> Answer {
    match job {
        Job::Creating(pod, container) => return watcher.creating(&pod, &container),
        Job::Synchronize(pods, containers) => watcher.synchronize(pods, containers),
        Job::Started(pod, container) => watcher.started(&pod, &container),
        Job::Stopped(pod, container) => watcher.stopped(&pod, &container),
        Job::PodGone(pod) => watcher.pod_gone(&pod),
        Job::Link(state) => watcher.link(state),
    }
    Ok(Adjustment::default())
}
