//! The agent's core: which volumes are published, which container has which, and what is to be done when one starts or
//! ends. CSI, NRI and the API server's watch bring the events; the server makes and ends the credentials.

mod beat;
mod claim;
mod condition;
mod ender;
mod fail;
mod follow;
mod hold;
mod journal;
mod keeper;
mod life;
mod mint;
mod nets;
mod numbers;
mod publish;
mod record;
mod second;
mod start;
mod traits;
pub mod vault;
mod watch;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

use dewdrop_core::Clock;
use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

pub use fail::Fail;
#[cfg(test)]
pub use life::{Act, Life};
pub use life::{ContainerId, Phase};

use crate::env::Env;
use crate::settings::Settings;
use ender::Ender;
use follow::Followed;
use hold::Hold;
use journal::Journal;
use nets::Nets;
use numbers::Meters;
use second::Second;
use vault::{StartName, Vault};

/// The agent of one node.
pub struct Agent {
    vault: Vault,
    ender: Arc<Ender>,
    journal: Journal,
    holds: Mutex<HashMap<String, Arc<Hold>>>,
    pods_dir: PathBuf,
    env: Arc<Env>,
    second: Second,
    followed: Followed,
    nets: Nets,
    meters: Meters,
    me: Weak<Agent>,
}

// === impl Agent ===

impl Agent {
    /// The agent with what a former one left: its volumes, and the starts that it could not end. Its tasks run where this is
    /// called.
    ///
    /// # Errors
    /// The state's folder cannot be used.
    pub fn open(settings: &Settings, vault: Vault) -> Result<Arc<Self>, Fail> {
        let journal = Journal::open(&settings.state_dir.join("volumes"))?;
        let ender = Ender::open(vault.clone(), Journal::open(&settings.state_dir.join("ends"))?)?;
        let env = Env::open(settings.exec_binary.as_deref(), &settings.state_dir, settings.cri_socket.clone());
        let env = Arc::new(env.map_err(|e| Fail::odd(e.to_string()))?);
        let agent = Arc::new_cyclic(|me| Self {
            vault,
            ender,
            journal,
            holds: Mutex::default(),
            pods_dir: settings.kubelet_dir.join("pods"),
            env,
            second: Second::new(settings),
            followed: Followed::new(),
            nets: Nets::default(),
            meters: Meters::default(),
            me: me.clone(),
        });
        agent.recall()?;
        Ok(agent)
    }

    /// Does its own work until it is dropped: ends what is over, and tells the server that the node lives.
    pub async fn run(self: Arc<Self>, clock: Arc<dyn Clock>) {
        let own = async { tokio::join!(self.ender.clone().run(), beat::run(self.clone())) };
        let nets = async {
            tokio::join!(self.clone().mind_the_nets(), self.clone().watch(), self.clone().keep_condition(clock))
        };
        tokio::join!(own, nets);
    }

    /// Waits until everything that is over has been told to the server, but not for ever.
    pub async fn settle(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.ender.waiting() > 0 && Instant::now() < end {
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many volumes are published.
    #[must_use]
    pub fn volumes(&self) -> usize {
        self.holds.lock().len()
    }

    /// The names of all starts, for the beat: those that are held, and those that were asked for.
    fn starts(&self) -> (Vec<StartName>, Vec<StartName>) {
        let names: Vec<_> = self.holds.lock().values().map(|hold| hold.names()).collect();
        let (held, asked): (Vec<_>, Vec<_>) = names.into_iter().unzip();
        (held.into_iter().flatten().collect(), asked.into_iter().flatten().collect())
    }

    /// The volumes of one container.
    fn of_container(&self, pod_uid: &str, container: &str) -> Vec<Arc<Hold>> {
        let is_its = |hold: &&Arc<Hold>| hold.about.pod.uid == pod_uid && hold.about.spec.container == container;
        self.holds.lock().values().filter(is_its).cloned().collect()
    }

    /// The volumes of one pod.
    fn of_pod(&self, pod_uid: &str) -> Vec<Arc<Hold>> {
        self.holds.lock().values().filter(|hold| hold.about.pod.uid == pod_uid).cloned().collect()
    }

    /// The agent itself, for the tasks that it starts.
    fn me(&self) -> Result<Arc<Self>, Fail> {
        self.me.upgrade().ok_or_else(|| Fail::odd("the agent is stopping"))
    }

    /// Takes up a volume and gives it a keeper.
    fn take_up(self: &Arc<Self>, hold: Arc<Hold>) {
        self.holds.lock().insert(hold.about.volume_id.clone(), hold.clone());
        tokio::spawn(keeper::keep(self.clone(), hold.clone()));
        if hold.is_wrapped() {
            claim::open_door(self, &hold);
        }
    }
}
