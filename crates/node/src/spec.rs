//! What a pod says of one of our volumes (docs/decisions/0016), read from the attributes in its `csi` block. Pure: text in,
//! a [`VolumeSpec`] out, or every mistake at once in words that kubelet shows in the pod's events.

mod parse;
mod wrap;

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

pub use dewdrop_api::credentials::{Credential, Verb, is_file_name};
pub use dewdrop_api::variables::Variables;
pub use parse::SpecError;

/// One volume for one container.
#[derive(Debug, Clone, PartialEq)]
pub struct VolumeSpec {
    /// The container whose it is.
    pub container: String,
    /// Role of the Kubernetes auth method.
    pub role: String,
    /// What is to be in it.
    pub credentials: Vec<Credential>,
    /// How it is laid out in files.
    pub layout: Layout,
    /// Permissions of the files: 0400 unless the volume says otherwise.
    pub mode: u32,
    /// Owner of the files.
    pub uid: u32,
    /// Group of the files; `None`: kubelet's fsGroup, else 0.
    pub gid: Option<u32>,
    /// Sent to the container's process after a rotation.
    pub signal: Option<Signal>,
    /// The server's namespace; empty is the root.
    pub namespace: String,
    /// Whether the command starts through `dewdrop-exec`.
    pub wrap: Wrap,
    attributes: BTreeMap<String, String>,
}

/// The files of a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Layout {
    /// One folder for each credential, one file for each field.
    Files,
    /// All in one file.
    One {
        /// Its name.
        file: String,
        /// Its form.
        form: Form,
    },
}

/// The form of a single file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Form {
    /// An object of objects.
    Json,
    /// `NAME='value'`, for a shell.
    Env,
    /// Java's properties.
    Properties,
    /// A text with `{{name.field}}`.
    Template(String),
}

/// What the wrapper `dewdrop-exec` does before the container's command (docs/decisions/0018).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrap {
    /// There is none.
    No,
    /// Waits for the files.
    Gate,
    /// Waits, and gives the command these variables; there are no files.
    Env(Variables),
}

/// The pod, as kubelet tells it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodInfo {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its identity.
    pub uid: String,
    /// Its ServiceAccount; empty when kubelet does not tell.
    pub service_account: String,
}

// === impl VolumeSpec ===

impl VolumeSpec {
    /// The attributes that it was read from, for the journal. Kubelet's own are not among them.
    #[must_use]
    pub fn attributes(&self) -> &BTreeMap<String, String> {
        &self.attributes
    }
}
