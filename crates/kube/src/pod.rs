//! A pod, as far as the guards look: every other field is skipped while it is read, so that a pod of 3 MB costs one pass.

mod ours;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

pub use ours::{DRIVER, Owned, audience_of};

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Pod {
    /// Its names and notes.
    #[serde(default)]
    pub metadata: Meta,
    /// What it runs.
    #[serde(default)]
    pub spec: Spec,
}

/// `metadata`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Meta {
    /// What it is known by as long as it lives.
    #[serde(default)]
    pub uid: String,
    /// Annotations.
    #[serde(default, deserialize_with = "or_default")]
    pub annotations: BTreeMap<String, String>,
    /// Labels.
    #[serde(default, deserialize_with = "or_default")]
    pub labels: BTreeMap<String, String>,
}

/// `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// The node that it runs on.
    #[serde(default, deserialize_with = "or_default")]
    pub node_name: String,
    /// Volumes.
    #[serde(default, deserialize_with = "or_default")]
    pub volumes: Vec<Volume>,
    /// Init containers and sidecars.
    #[serde(default, deserialize_with = "or_default")]
    pub init_containers: Vec<Container>,
    /// Containers.
    #[serde(default, deserialize_with = "or_default")]
    pub containers: Vec<Container>,
    /// Containers that came later, to look for faults.
    #[serde(default, deserialize_with = "or_default")]
    pub ephemeral_containers: Vec<Container>,
    /// All containers see each other's processes.
    #[serde(default, deserialize_with = "or_default")]
    pub share_process_namespace: bool,
    /// The node's processes are seen.
    #[serde(default, rename = "hostPID", deserialize_with = "or_default")]
    pub host_pid: bool,
    /// The node's shared memory is seen.
    #[serde(default, rename = "hostIPC", deserialize_with = "or_default")]
    pub host_ipc: bool,
}

/// A container of any of the three kinds.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its image.
    #[serde(default, deserialize_with = "or_default")]
    pub image: String,
    /// What is run instead of the image's ENTRYPOINT.
    #[serde(default, deserialize_with = "or_default")]
    pub command: Vec<String>,
    /// What is run instead of the image's CMD.
    #[serde(default, deserialize_with = "or_default")]
    pub args: Vec<String>,
    /// Variables.
    #[serde(default, deserialize_with = "or_default")]
    pub env: Vec<Variable>,
    /// Mounts.
    #[serde(default, deserialize_with = "or_default")]
    pub volume_mounts: Vec<Mount>,
    /// Rights.
    #[serde(default, deserialize_with = "or_default")]
    pub security_context: Security,
    /// Of an ephemeral container: whose processes it sees.
    #[serde(default, deserialize_with = "or_default")]
    pub target_container_name: String,
}

/// A variable. Its value may be a secret: it has no `Debug`.
#[derive(Clone, Default, Deserialize)]
pub struct Variable {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its value, when the pod itself says it.
    #[serde(default, deserialize_with = "or_default")]
    pub value: String,
}

/// A mount.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mount {
    /// The volume's name.
    #[serde(default)]
    pub name: String,
    /// Where.
    #[serde(default)]
    pub mount_path: String,
    /// Nothing may be written.
    #[serde(default, deserialize_with = "or_default")]
    pub read_only: bool,
    /// Only this folder or file of it.
    #[serde(default, deserialize_with = "or_default")]
    pub sub_path: String,
    /// The same, with variables.
    #[serde(default, deserialize_with = "or_default")]
    pub sub_path_expr: String,
}

/// `securityContext` of a container.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Security {
    /// As good as root on the node.
    #[serde(default, deserialize_with = "or_default")]
    pub privileged: bool,
    /// Capabilities.
    #[serde(default, deserialize_with = "or_default")]
    pub capabilities: Capabilities,
}

/// `capabilities`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Capabilities {
    /// Those beyond the runtime's own.
    #[serde(default, deserialize_with = "or_default")]
    pub add: Vec<String>,
}

/// A volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Volume {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Filled by a driver.
    pub csi: Option<Csi>,
    /// A path of the node.
    pub host_path: Option<HostPath>,
    /// Put together by kubelet.
    pub projected: Option<Projected>,
    /// What an image holds.
    pub image: Option<ImageVolume>,
}

/// `image` of a volume.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct ImageVolume {
    /// The image.
    #[serde(default, deserialize_with = "or_default")]
    pub reference: String,
}

/// `csi`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Csi {
    /// The driver's name.
    #[serde(default)]
    pub driver: String,
    /// Nothing may be written.
    #[serde(default, deserialize_with = "or_default")]
    pub read_only: bool,
    /// What the driver is told.
    #[serde(default, deserialize_with = "or_default")]
    pub volume_attributes: BTreeMap<String, String>,
}

/// `hostPath`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct HostPath {
    /// The path.
    #[serde(default)]
    pub path: String,
}

/// `projected`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Projected {
    /// The parts.
    #[serde(default, deserialize_with = "or_default")]
    pub sources: Vec<Source>,
}

/// One part of a projected volume.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// A token of the pod's ServiceAccount.
    pub service_account_token: Option<TokenSource>,
}

/// `serviceAccountToken`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TokenSource {
    /// Whom the token is for; empty: the API server.
    #[serde(default, deserialize_with = "or_default")]
    pub audience: String,
}

// === impl Pod ===

impl Pod {
    /// All containers: init containers and sidecars, ordinary ones, ephemeral ones.
    pub fn all_containers(&self) -> impl Iterator<Item = &Container> {
        let spec = &self.spec;
        spec.init_containers.iter().chain(&spec.containers).chain(&spec.ephemeral_containers)
    }

    /// The init container, sidecar or container of this name. An ephemeral one owns nothing.
    #[must_use]
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.spec.init_containers.iter().chain(&self.spec.containers).find(|c| c.name == name)
    }
}

// === impl Container ===

impl Container {
    /// The mounts of a volume.
    pub fn mounts_of<'a>(&'a self, volume: &'a str) -> impl Iterator<Item = &'a Mount> {
        self.volume_mounts.iter().filter(move |mount| mount.name == volume)
    }
}

impl std::fmt::Debug for Variable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Variable").field("name", &self.name).finish_non_exhaustive()
    }
}

/// `null` counts as left out.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}
