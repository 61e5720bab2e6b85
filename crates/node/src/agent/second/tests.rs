//! What the API server's word does to volumes. No server is there: what is to be ended waits in the queue.

use std::collections::BTreeMap;

use dewdrop_api::{Client, Config, SecretText};

use super::*;
use crate::agent::hold::{About, Todo};
use crate::agent::life::Phase;
use crate::agent::start::Start;
use crate::agent::vault::{SignIn, StartName, Vault};
use crate::api_watch::{Newest, Status};
use crate::nri::{self, Watcher as _};
use crate::spec::{PodInfo, VolumeSpec};

struct Rig {
    agent: Arc<Agent>,
    _dir: tempfile::TempDir,
}

async fn rig() -> Rig {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let sign_in = SignIn { mount: "kubernetes".into(), role: "node".into(), token_file: dir.path().join("none") };
    let settings = Settings {
        node: "n1".into(),
        kubelet_dir: dir.path().into(),
        nri_socket: None,
        exec_binary: None,
        cri_socket: None,
        kube: None,
        metrics: None,
        state_dir: dir.path().join("state"),
        sign_in: sign_in.clone(),
    };
    let client = Client::new(Config::new("http://127.0.0.1:9")).await.unwrap();
    Rig { agent: Agent::open(&settings, Vault::new(client, sign_in)).unwrap(), _dir: dir }
}

impl Rig {
    /// A volume of the pod `uid`, whose credential nobody has.
    fn publish(&self, uid: &str) -> Arc<Hold> {
        let pairs = [("container", "app"), ("role", "app"), ("credentials", "db = a/b")];
        let pairs: BTreeMap<String, String> = pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let name = StartName {
            pod_uid: uid.into(),
            container: "app".into(),
            start: format!("start-{uid}"),
            role: "app".into(),
            container_id: None,
        };
        let about = About {
            volume_id: format!("v-{uid}"),
            target: "/nowhere".into(),
            spec: VolumeSpec::parse(&pairs).unwrap(),
            pod: PodInfo { uid: uid.into(), ..PodInfo::default() },
            fs_group: None,
        };
        let start = Start {
            name,
            life: String::new(),
            token: "t".into(),
            seconds: 0,
            leases: Vec::new(),
            variables: Vec::new(),
        };
        let hold = Arc::new(Hold::new(about, Phase::Ready, SecretText::default(), Some(start)));
        self.agent.holds.lock().insert(hold.about.volume_id.clone(), hold.clone());
        hold
    }

    fn tell(&self, uid: &str, version: u64, id: &str, has_ended: bool) {
        self.agent.pod(pod(uid, version, id, has_ended));
    }

    fn ends(&self) -> usize {
        self.agent.ender.waiting()
    }
}

fn pod(uid: &str, version: u64, id: &str, has_ended: bool) -> PodSeen {
    let status = Status { newest: Some(Newest { id: id.into(), has_ended }), before: None };
    PodSeen { uid: uid.into(), version, statuses: [("app".to_owned(), status)].into(), ..PodSeen::default() }
}

#[tokio::test]
async fn a_start_and_its_end_are_taken_from_the_watch() {
    let rig = rig().await;
    let (hold, other) = (rig.publish("u"), rig.publish("other"));
    rig.tell("u", 2, "a", false);
    assert_eq!(hold.phase(), Phase::Taken("a".into()));
    rig.tell("u", 3, "a", true);
    assert_eq!((hold.phase(), hold.todo(), rig.ends()), (Phase::Minting, Todo::Mint, 1));
    rig.tell("u", 3, "a", true);
    assert_eq!(rig.ends(), 1, "once");
    assert_eq!(other.phase(), Phase::Ready);
}

#[tokio::test]
async fn an_older_word_counts_for_nothing() {
    let rig = rig().await;
    let hold = rig.publish("u");
    rig.tell("u", 7, "b", false);
    rig.tell("u", 6, "a", true);
    rig.tell("u", 5, "a", false);
    assert_eq!((hold.phase(), rig.ends()), (Phase::Taken("b".into()), 0));
}

#[tokio::test]
async fn what_is_missing_in_a_list_is_over_if_it_was_there_before() {
    let rig = rig().await;
    let gone = rig.publish("gone");
    let before = rig.agent.listing();
    let (new, stays) = (rig.publish("new"), rig.publish("stays"));
    rig.agent.all(vec![pod("stays", 1, "a", false)], &before);
    assert_eq!((gone.todo(), rig.ends()), (Todo::Close, 1));
    assert_eq!(new.todo(), Todo::Renew, "it was published after the list was made");
    assert_eq!(stays.phase(), Phase::Taken("a".into()));
    rig.agent.gone("stays");
    assert_eq!((stays.todo(), rig.ends()), (Todo::Close, 2), "and nothing is made for it any more");
}

#[tokio::test]
async fn a_pod_that_is_over_gets_nothing_more() {
    let rig = rig().await;
    let hold = rig.publish("u");
    rig.agent.pod(PodSeen { is_over: true, ..pod("u", 2, "a", true) });
    assert_eq!((hold.todo(), rig.ends()), (Todo::Close, 1));
}

/// The runtime's callbacks come on a thread of their own.
#[tokio::test]
async fn the_kernel_tells_of_an_end_before_the_runtime_does() {
    let rig = rig().await;
    let hold = rig.publish("u");
    rig.agent.nets.set_nri(true);
    let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    let pod = nri::Pod { id: "sandbox".into(), uid: "u".into(), ..nri::Pod::default() };
    let container = nri::Container {
        id: "a".into(),
        pod_id: "sandbox".into(),
        name: "app".into(),
        pid: child.id(),
        ..nri::Container::default()
    };
    let told = |tell: fn(&Agent, &nri::Pod, &nri::Container)| {
        std::thread::scope(|scope| scope.spawn(|| tell(&rig.agent, &pod, &container)).join().unwrap());
    };
    told(|agent, pod, container| drop(agent.creating(pod, container).unwrap()));
    told(Agent::started);
    // Its link broke for a moment.
    told(|agent, pod, container| agent.synchronize(vec![pod.clone()], vec![container.clone()]));
    assert_eq!((hold.phase(), rig.ends(), rig.agent.followed.count()), (Phase::Taken("a".into()), 0, 1));
    child.kill().unwrap();
    while rig.agent.followed.count() == 1 {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
    assert_eq!((hold.phase(), rig.ends()), (Phase::Minting, 1));
    told(Agent::stopped);
    assert_eq!(rig.ends(), 1, "once");
    child.wait().unwrap();
}

#[tokio::test]
async fn where_the_runtime_tells_the_watch_does_next_to_nothing() {
    let rig = rig().await;
    let hold = rig.publish("u");
    rig.agent.nets.set_nri(true);
    rig.tell("u", 2, "a", false);
    assert_eq!(hold.phase(), Phase::Ready);
    rig.agent.all(Vec::new(), &rig.agent.listing());
    rig.agent.gone("u");
    rig.agent.pod(PodSeen { is_over: true, ..pod("u", 3, "a", true) });
    assert_eq!((hold.phase(), hold.todo(), rig.ends()), (Phase::Ready, Todo::Renew, 0));
    // Its link breaks.
    rig.agent.nets.set_nri(false);
    rig.tell("u", 4, "a", false);
    assert_eq!(hold.phase(), Phase::Taken("a".into()));
}

/// A node has a hundred of them, and the agent 25 MB.
#[tokio::test]
async fn what_waits_for_a_volume_is_small() {
    let rig = rig().await;
    let hold = rig.publish("a");
    let keeps = size_of_val(&super::super::keeper::keep(rig.agent.clone(), hold.clone()));
    let follows = size_of_val(&rig.agent.until_exit(&hold, "c1"));
    assert!(keeps <= 1024 && follows <= 1024, "{keeps} and {follows} bytes");
}
