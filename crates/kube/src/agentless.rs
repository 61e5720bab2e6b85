//! Where no DaemonSet is allowed: what a pod's annotations ask for. Each container gets a token of its own, and the wrapper
//! signs in with it.

use crate::pod::{Container, Pod};
use crate::wrapper;

/// `"true"`: this pod's containers fetch their credentials themselves.
pub const SWITCH: &str = "dewdrop.dev/agentless";
const ROLE: &str = "dewdrop.dev/role.";
const CREDENTIALS: &str = "dewdrop.dev/credentials.";
const SERVER_NAMESPACE: &str = "dewdrop.dev/namespace.";
const VARIABLES: &str = "dewdrop.dev/variables.";
const SIGNAL: &str = "dewdrop.dev/signal.";

/// The volume that the wrapper is copied to, and the init container that does it.
pub const EXEC: &str = "dewdrop-exec";
/// Where that volume is mounted.
pub const EXEC_DIR: &str = "/dewdrop";
/// The wrapper there.
pub const EXEC_PATH: &str = "/dewdrop/.dewdrop/exec";
/// Where a container's token is mounted.
pub const TOKEN_DIR: &str = "/var/run/secrets/dewdrop";
/// The variable by which the wrapper is told what to fetch.
pub const CREDENTIALS_VARIABLE: &str = "DEWDROP_CREDENTIALS";

/// What one container asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask<'a> {
    /// The container.
    pub container: &'a str,
    /// The role of the Kubernetes auth method.
    pub role: &'a str,
    /// Lines of `name = path`; empty when the annotation is missing.
    pub credentials: &'a str,
    /// Lines of `NAME = name.field`; empty: `NAME_FIELD` for each field.
    pub variables: &'a str,
    /// The server's namespace.
    pub namespace: &'a str,
    /// The signal for the command when its credential is about to end for good.
    pub signal: &'a str,
}

/// What the annotations of a pod ask for; nothing without the switch.
#[must_use]
pub fn asks(pod: &Pod) -> Vec<Ask<'_>> {
    let notes = &pod.metadata.annotations;
    if notes.get(SWITCH).is_none_or(|value| value != "true") {
        return Vec::new();
    }
    let note =
        |prefix: &str, container: &str| notes.get(&format!("{prefix}{container}")).map_or("", |text| text.trim());
    let mut names: Vec<&str> =
        notes.keys().filter_map(|key| key.strip_prefix(ROLE).or(key.strip_prefix(CREDENTIALS))).collect();
    names.sort_unstable();
    names.dedup();
    let ask = |container| Ask {
        container,
        role: note(ROLE, container),
        credentials: note(CREDENTIALS, container),
        variables: note(VARIABLES, container),
        namespace: note(SERVER_NAMESPACE, container),
        signal: note(SIGNAL, container),
    };
    names.into_iter().map(ask).collect()
}

/// Why a container cannot be started by the wrapper: without an agent nobody knows what its image starts.
#[must_use]
pub fn lacks_command(container: &Container) -> Option<String> {
    let command = &container.command;
    let is_images = command.is_empty() || command.windows(2).any(|two| two == [EXEC_PATH, wrapper::IMAGE]);
    is_images.then(|| {
        format!(
            "container {:?} names no command, and without an agent nobody knows its image's: write the image's \
             ENTRYPOINT into the container's command (and its CMD into args, unless args are there)",
            container.name
        )
    })
}
