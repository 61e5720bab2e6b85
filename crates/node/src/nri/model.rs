//! What runs on a node, as the runtime tells it.

use std::collections::HashMap;
use std::fmt;

use super::wire;

/// A pod.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pod {
    /// Of its sandbox, given by the runtime; a pod whose sandbox died gets another.
    pub id: String,
    /// In Kubernetes.
    pub name: String,
    /// In Kubernetes: the pod's identity.
    pub uid: String,
    /// In Kubernetes.
    pub namespace: String,
    /// Of the pod.
    pub labels: HashMap<String, String>,
    /// Of the pod.
    pub annotations: HashMap<String, String>,
    /// The runtime class's handler; empty is the default.
    pub runtime_handler: String,
    /// Under which the containers' cgroups are.
    pub cgroup_parent: String,
    /// Of the sandbox; 0 is not known.
    pub pid: u32,
}

/// A container of a pod.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Container {
    /// Given by the runtime: another one for each start.
    pub id: String,
    /// [`Pod::id`].
    pub pod_id: String,
    /// In the pod.
    pub name: String,
    /// As told.
    pub state: State,
    /// Of the CRI, such as `io.kubernetes.container.name`.
    pub labels: HashMap<String, String>,
    /// Of the CRI, such as `io.kubernetes.container.restartCount`.
    pub annotations: HashMap<String, String>,
    /// What is run, after the image's entrypoint was resolved.
    pub args: Vec<String>,
    /// `NAME=value`; may hold secrets of others.
    pub env: Vec<String>,
    /// All of them, those of kubelet too.
    pub mounts: Vec<Mount>,
    /// On the node; 0 is not known, as it is until the start.
    pub pid: u32,
    /// Its cgroup.
    pub cgroups_path: String,
    /// How it ended, when the runtime says so (containerd from 2.3).
    pub ended: Option<Ended>,
}

/// How a container ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// Of its first process.
    pub exit_code: i32,
    /// Nanoseconds since 1970.
    pub finished_at: i64,
}

/// Of a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Not told.
    #[default]
    Unknown,
    /// Not yet started.
    Created,
    /// Frozen.
    Paused,
    /// Started.
    Running,
    /// Ended.
    Stopped,
}

/// A mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// In the container.
    pub destination: String,
    /// `bind`, `tmpfs`, ...
    pub kind: String,
    /// On the node.
    pub source: String,
    /// As for mount(8).
    pub options: Vec<String>,
}

/// What is to be changed in a container before it is made. The runtime keeps it on disk and shows it: never a secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Adjustment {
    /// Run instead of the container's own; for runtimes with NRI from 0.10.
    pub args: Option<Vec<String>>,
    /// Added.
    pub mounts: Vec<Mount>,
    /// Set. A leading `-` in a name would remove it.
    pub env: Vec<(String, String)>,
    /// Set. A leading `-` in a name would remove it.
    pub annotations: Vec<(String, String)>,
}

/// Names only: the rest may hold what is nobody's business.
impl fmt::Debug for Pod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pod({}/{} {})", self.namespace, self.name, self.uid)
    }
}

/// Names only: the environment may hold secrets.
impl fmt::Debug for Container {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Container({} {})", self.name, self.id)
    }
}

impl From<wire::PodSandbox> for Pod {
    fn from(pod: wire::PodSandbox) -> Self {
        Self {
            id: pod.id,
            name: pod.name,
            uid: pod.uid,
            namespace: pod.namespace,
            labels: pod.labels,
            annotations: pod.annotations,
            runtime_handler: pod.runtime_handler,
            cgroup_parent: pod.linux.unwrap_or_default().cgroup_parent,
            pid: pod.pid,
        }
    }
}

impl From<wire::Container> for Container {
    fn from(container: wire::Container) -> Self {
        let wire::Container { exit_code, finished_at, .. } = container;
        Self {
            id: container.id,
            pod_id: container.pod_sandbox_id,
            name: container.name,
            state: State::of(container.state),
            labels: container.labels,
            annotations: container.annotations,
            args: container.args,
            env: container.env,
            mounts: container.mounts.into_iter().map(Mount::from).collect(),
            pid: container.pid,
            cgroups_path: container.linux.unwrap_or_default().cgroups_path,
            ended: (finished_at > 0).then_some(Ended { exit_code, finished_at }),
        }
    }
}

impl State {
    const fn of(number: i32) -> Self {
        match number {
            1 => Self::Created,
            2 => Self::Paused,
            3 => Self::Running,
            4 => Self::Stopped,
            _ => Self::Unknown,
        }
    }
}

impl From<wire::Mount> for Mount {
    fn from(mount: wire::Mount) -> Self {
        Self { destination: mount.destination, kind: mount.r#type, source: mount.source, options: mount.options }
    }
}

impl From<Mount> for wire::Mount {
    fn from(mount: Mount) -> Self {
        Self { destination: mount.destination, r#type: mount.kind, source: mount.source, options: mount.options }
    }
}

impl From<Adjustment> for wire::ContainerAdjustment {
    fn from(adjustment: Adjustment) -> Self {
        // An empty first element says that args are replaced, even where another plug-in has set them before.
        let args = adjustment.args.map(|args| std::iter::once(String::new()).chain(args).collect());
        let pair = |(key, value)| wire::KeyValue { key, value };
        Self {
            annotations: adjustment.annotations.into_iter().collect(),
            mounts: adjustment.mounts.into_iter().map(wire::Mount::from).collect(),
            env: adjustment.env.into_iter().map(pair).collect(),
            args: args.unwrap_or_default(),
        }
    }
}
