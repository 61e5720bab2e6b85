//! Folders of the node that hold the secrets of all pods on it, or the way to them.

use crate::pod::Pod;

use super::Violation;

const RULE: &str = "host-path";

/// Beside kubelet's own folder: processes, our own state, the runtimes' sockets and folders (whoever writes to a container's
/// root file system there runs as that container), kubelet's keys.
const ALWAYS: &[&str] = &[
    "/proc",
    "/run/dewdrop",
    "/run/containerd",
    "/run/crio",
    "/run/nri",
    "/run/docker.sock",
    "/run/k3s",
    "/var/lib/containerd",
    "/var/lib/containers",
    "/var/lib/docker",
    "/var/lib/rancher",
    "/etc/kubernetes",
];

/// The folders.
#[derive(Debug, Clone)]
pub struct SecretFolders(Vec<Vec<String>>);

impl SecretFolders {
    /// Those of a node whose kubelet has this folder.
    #[must_use]
    pub fn new(kubelet: &str) -> Self {
        Self(ALWAYS.iter().chain([&"/var/lib/kubelet", &kubelet]).map(|path| parts(path)).collect())
    }

    /// Whether the path is one of the folders, in one of them, or above one of them.
    #[must_use]
    pub fn touched_by(&self, path: &str) -> bool {
        let path = parts(path);
        self.0.iter().any(|folder| folder.starts_with(&path) || path.starts_with(folder))
    }
}

/// No volume of the pod may be such a folder.
pub fn check(pod: &Pod, folders: &SecretFolders) -> Vec<Violation> {
    let mut found = Vec::new();
    for volume in &pod.spec.volumes {
        let Some(host) = volume.host_path.as_ref().filter(|host| folders.touched_by(&host.path)) else { continue };
        let what =
            format!("volume {:?} is the node's {:?}, where secrets of pods are to be found", volume.name, host.path);
        let todo = "mount a folder that holds none of kubelet's, of /proc, or of the container runtime";
        found.push(Violation::new(RULE, what, todo));
    }
    found
}

/// The names in a path, without what means nothing; `/var/run` is a link to `/run` on every node.
fn parts(path: &str) -> Vec<String> {
    let mut parts: Vec<String> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            name => parts.push(name.to_owned()),
        }
    }
    if parts.len() >= 2 && parts[0] == "var" && parts[1] == "run" {
        parts.remove(0);
    }
    parts
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{broken, judged, with};
    use super::*;

    /// `tests/policies.sh` tries the same paths with the policies.
    const BAD: &[&str] = &[
        "/",
        "//",
        "/var",
        "/var/",
        "/var/lib",
        "/var//lib",
        "/var/lib/kubelet",
        "/var/lib/kubelet/pods/x/volumes",
        "/var/lib/containerd",
        "/var/lib/containers/storage",
        "/var/lib/docker/overlay2",
        "/var/lib/rancher/k3s/agent",
        "/proc",
        "/proc/1/root",
        "/run",
        "/var/run",
        "/run/dewdrop/node",
        "/var/run/dewdrop",
        "/run/containerd/containerd.sock",
        "/var/run/docker.sock",
        "/etc",
        "/etc/kubernetes/kubelet.conf",
        "/srv/../var/lib",
        "/./proc",
    ];
    const GOOD: &[&str] = &[
        "/srv/data",
        "/var/log",
        "/var/lib/kubelet2",
        "/var/lib/docker-data",
        "/var/libs",
        "/procs",
        "/etc/ssl/certs",
        "/dev/kvm",
        "/run/udev",
        "/sys",
        "/opt/cni/bin",
    ];

    #[test]
    fn folders_with_secrets_and_those_above() {
        let folders = SecretFolders::new("/var/lib/kubelet");
        for path in BAD {
            assert!(folders.touched_by(path), "{path}");
        }
        for path in GOOD {
            assert!(!folders.touched_by(path), "{path}");
        }
        assert!(SecretFolders::new("/data/kubelet").touched_by("/data"));
    }

    #[test]
    fn a_pod_that_mounts_one() {
        let pod = |path: &str| with("/spec/volumes/-", json!({"name": "host", "hostPath": {"path": path}}));
        assert_eq!(broken(&pod("/var/lib")), [RULE]);
        assert_eq!(judged(&pod("/srv/data")), []);
    }
}
