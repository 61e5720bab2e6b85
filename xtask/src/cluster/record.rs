//! What is known about a cluster: `cluster.json` in its state folder. It is written before the first process starts and
//! again after every step, so that `down` can end a cluster of which only a part came up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};

use super::daemon::Daemon;
use super::instance;

/// Name of the file in the state folder.
pub const FILE: &str = "cluster.json";

/// The longest state folder. The path of a Unix socket ends at 107 bytes, and containerd's shims name theirs by a hash.
const LONGEST_STATE: usize = 36;

/// A cluster, as later runs and the end-to-end tests read it. It holds paths and numbers, never a key.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Cluster {
    /// Which of the clusters beside each other on this machine.
    #[serde(default)] // older records are all of the usual one
    pub instance: u8,
    /// The folder that holds everything of this cluster.
    pub state: PathBuf,
    /// The folder of kubectl, ctr and the others; helm too, when it was asked for.
    pub bin: PathBuf,
    /// The administrator's way in.
    pub kubeconfig: PathBuf,
    /// Address of the API server, and issuer of the ServiceAccounts' tokens: its keys can be read there by anybody.
    pub server: String,
    /// Certificate of the authority behind the API server's and the kubelets' certificates.
    pub ca: PathBuf,
    /// The parent of all control groups of this cluster, as in `/sys/fs/cgroup/pids/GROUP`.
    pub cgroup: String,
    /// Ports by the names of those who listen.
    pub ports: BTreeMap<String, u16>,
    /// The nodes. Empty for a cluster that we did not start.
    pub nodes: Vec<Node>,
    /// What was started, in this order.
    pub daemons: Vec<Daemon>,
    /// Settings of the kernel that we changed, with their former values.
    pub sysctls: BTreeMap<String, String>,
    /// Folders that the programs of a cluster make at places that cannot be chosen, if they were not there before.
    #[serde(default)] // a record of an older program must still be enough for `down`
    pub outside: Vec<PathBuf>,
}

/// One node: a kubelet with its own container runtime.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Node {
    /// Its name in Kubernetes.
    pub name: String,
    /// Its InternalIP.
    pub address: String,
    /// The addresses of its pods.
    pub pods: String,
    /// kubelet's `--root-dir`: plugins, registration sockets and volumes are below it.
    pub root_dir: PathBuf,
    /// The socket of containerd, which serves CRI as well.
    pub containerd_sock: PathBuf,
    /// The socket for NRI plug-ins.
    pub nri_sock: PathBuf,
    /// Its network namespace, for `nsenter --net=`; none for the node that lives in the machine's own.
    pub netns: Option<PathBuf>,
}

impl Node {
    /// The folder of this node.
    pub fn dir(&self) -> &Path {
        self.root_dir.parent().unwrap_or(&self.root_dir)
    }

    /// The control group of its daemons, shims included, beside that of its containers.
    pub fn daemons_group(&self) -> String {
        format!("{}-daemons", self.name)
    }
}

impl Cluster {
    /// A cluster that is not there yet.
    pub fn plan(instance: u8, state: &Path, bin: &Path, nodes: u8) -> Result<Self> {
        let state = settled(state)?;
        if state.as_os_str().len() > LONGEST_STATE {
            bail!("{} is too long: sockets below it need short paths (at most {LONGEST_STATE} bytes)", state.display());
        }
        Ok(Self {
            instance,
            bin: bin.to_path_buf(),
            kubeconfig: state.join("kubeconfig"),
            server: String::new(),
            ca: state.join("pki/ca.pem"),
            cgroup: group_name(&state),
            ports: BTreeMap::new(),
            nodes: (1..=nodes).map(|number| plan_node(instance, &state, number)).collect(),
            daemons: Vec::new(),
            sysctls: BTreeMap::new(),
            outside: super::down::outside_that_is_free(),
            state,
        })
    }

    /// The cluster of a state folder; none when there is no such cluster.
    pub fn load(state: &Path) -> Result<Option<Self>> {
        let state = settled(state)?;
        let file = state.join(FILE);
        match std::fs::read(&file) {
            Ok(text) => {
                let told = || format!("{} is not the record of a cluster in this folder", file.display());
                let cluster: Self = serde_json::from_slice(&text).with_context(told)?;
                // `down` empties the folder that the record names.
                if cluster.state == state { Ok(Some(cluster)) } else { bail!(told()) }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
        }
    }

    /// Writes the record: beside, then renamed, for a reader must not see half of it.
    pub fn save(&self) -> Result<()> {
        let file = self.state.join(FILE);
        let beside = self.state.join(".cluster.json.new");
        std::fs::write(&beside, serde_json::to_vec_pretty(self)?)
            .and_then(|()| std::fs::rename(&beside, &file))
            .with_context(|| format!("cannot write {}", file.display()))
    }

    /// The log of one of the daemons.
    pub fn log_of(&self, name: &str) -> PathBuf {
        self.state.join("logs").join(format!("{name}.log"))
    }

    /// A node by name.
    pub fn node(&self, name: &str) -> Result<&Node> {
        self.nodes.iter().find(|node| node.name == name).with_context(|| format!("there is no node {name}"))
    }
}

/// An absolute path without links above its last part, as the kernel writes it in the list of mounts.
fn settled(state: &Path) -> Result<PathBuf> {
    let state = std::path::absolute(state)?;
    let above = state.parent().and_then(|above| above.canonicalize().ok());
    Ok(match (above, state.file_name()) {
        (Some(above), Some(name)) => above.join(name),
        _ => state,
    })
}

/// Two clusters on one machine must not share control groups.
fn group_name(state: &Path) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("dewdrop{}", state.to_string_lossy().chars().map(plain).collect::<String>())
}

fn plan_node(instance: u8, state: &Path, number: u8) -> Node {
    let name = format!("n{number}");
    let dir = state.join(&name);
    let net = instance::net(instance);
    // The first address is the machine's own; only the first node of the usual cluster shares it.
    let shift = u8::from(instance > 0);
    Node {
        address: format!("{net}.0.{}", number + shift),
        pods: format!("{net}.{}.0/24", number - 1 + shift),
        root_dir: dir.join("kubelet"),
        // Each in a folder of its own, which an agent can be given without all the rest.
        containerd_sock: dir.join("cri/containerd.sock"),
        nri_sock: dir.join("nri/nri.sock"),
        netns: (number + shift > 1).then(|| dir.join("netns")),
        name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::TempDir;

    #[test]
    fn a_record_survives_the_disk() {
        let dir = TempDir::new("clu").expect("folder");
        let mut cluster = Cluster::plan(0, dir.path(), Path::new("/bin"), 2).expect("plan");
        cluster.ports.insert("etcd".to_owned(), 2379);
        cluster.sysctls.insert("net/ipv4/ip_forward".to_owned(), "0".to_owned());
        cluster.save().expect("save");
        let read = Cluster::load(dir.path()).expect("load").expect("there");
        assert_eq!(serde_json::to_value(&read).expect("json"), serde_json::to_value(&cluster).expect("json"));
        assert!(!dir.path().join(".cluster.json.new").exists());
    }

    #[test]
    fn no_file_is_no_cluster_but_a_broken_one_is_an_error() {
        let dir = TempDir::new("clu").expect("folder");
        assert!(Cluster::load(dir.path()).expect("load").is_none());
        std::fs::write(dir.path().join(FILE), "{").expect("write");
        assert!(Cluster::load(dir.path()).is_err());
    }

    #[test]
    fn a_record_that_was_copied_elsewhere_ends_no_cluster() {
        let [here, there] = ["clu", "clu"].map(|name| TempDir::new(name).expect("folder"));
        Cluster::plan(0, here.path(), Path::new("/bin"), 1).expect("plan").save().expect("save");
        std::fs::copy(here.path().join(FILE), there.path().join(FILE)).expect("copy");
        assert!(Cluster::load(there.path()).is_err());
    }

    #[test]
    fn a_state_folder_behind_a_link_is_found_in_the_list_of_mounts() {
        let dir = TempDir::new("clu").expect("folder");
        std::fs::create_dir(dir.path().join("real")).expect("folder");
        std::os::unix::fs::symlink("real", dir.path().join("link")).expect("link");
        let cluster = Cluster::plan(0, &dir.path().join("link/s"), Path::new("/bin"), 1).expect("plan");
        assert!(cluster.state.ends_with("real/s"), "{}", cluster.state.display());
    }

    #[test]
    fn a_state_folder_too_deep_for_sockets_is_refused() {
        let deep = PathBuf::from("/tmp").join("x".repeat(LONGEST_STATE));
        let error = Cluster::plan(0, &deep, Path::new("/bin"), 1).expect_err("too long");
        assert!(error.to_string().contains("too long"), "{error}");
    }

    #[test]
    fn nodes_share_no_path_and_no_address() {
        let cluster = Cluster::plan(0, Path::new("/run/x"), Path::new("/bin"), 2).expect("plan");
        let [first, second] = cluster.nodes.as_slice() else { panic!("two nodes") };
        assert!(first.netns.is_none() && second.netns.is_some());
        assert_ne!(first.address, second.address);
        assert_ne!(first.pods, second.pods);
        assert_ne!(first.dir(), second.dir());
        assert!(cluster.node("n3").is_err());
    }

    #[test]
    fn groups_of_two_state_folders_differ() {
        assert_eq!(group_name(Path::new("/run/dewdrop-cluster")), "dewdrop-run-dewdrop-cluster");
        assert_ne!(group_name(Path::new("/run/a")), group_name(Path::new("/run/b")));
    }
}
