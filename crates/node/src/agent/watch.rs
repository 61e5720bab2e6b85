//! What the runtime tells: a container is created, runs, ends. Every answer comes from memory, at once; the keepers do
//! the work.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::Agent;
use super::hold::Hold;
use super::start::Start;
use crate::nri::{Adjustment, Container, Link, Pod, State, Watcher};
use crate::pidfd;

/// Where kubelet binds what a container mounts with `subPath`, below the pod's folder: `VOLUME/CONTAINER/NUMBER`.
const SUB_PATHS: &str = "volume-subpaths";

impl Watcher for Agent {
    fn synchronize(&self, pods: Vec<Pod>, containers: Vec<Container>) {
        let uids: HashMap<&str, &str> = pods.iter().map(|pod| (pod.id.as_str(), pod.uid.as_str())).collect();
        let holds: Vec<Arc<Hold>> = self.holds.lock().values().cloned().collect();
        for hold in holds {
            let about = &hold.about;
            let its = containers.iter().filter(|container| {
                container.name == about.spec.container
                    && uids.get(container.pod_id.as_str()).is_some_and(|uid| *uid == about.pod.uid)
            });
            let alive: Vec<&Container> = its.filter(|container| container.state != State::Stopped).collect();
            let ids: Vec<&str> = alive.iter().map(|container| container.id.as_str()).collect();
            self.over(&hold, hold.seen(&ids));
            for container in alive {
                self.runs(&hold, container);
            }
            self.note_or_warn(&hold);
        }
    }

    fn creating(&self, pod: &Pod, container: &Container) -> Result<Adjustment, String> {
        self.refuse_foreign(pod, container)?;
        for hold in self.of_container(&pod.uid, &container.name) {
            match hold.creating(&container.id) {
                Ok(()) => self.note_or_warn(&hold),
                Err(over) => {
                    self.over(&hold, over);
                    return Err(format!(
                        "dewdrop: the credential of this start of container {:?} is not there yet; it is being made",
                        container.name
                    ));
                }
            }
        }
        Ok(Adjustment::default())
    }

    fn started(&self, pod: &Pod, container: &Container) {
        for hold in self.of_container(&pod.uid, &container.name) {
            self.runs(&hold, container);
        }
    }

    fn stopped(&self, pod: &Pod, container: &Container) {
        for hold in self.of_container(&pod.uid, &container.name) {
            self.over(&hold, hold.stopped(&container.id));
            self.note_or_warn(&hold);
        }
    }

    fn pod_gone(&self, pod: &Pod) {
        // Its containers are gone as well; the volumes follow when kubelet unpublishes them.
        for hold in self.of_pod(&pod.uid) {
            self.over(&hold, hold.seen(&[]));
        }
    }

    fn link(&self, state: Link) {
        match state {
            Link::Connected { runtime, version, .. } => {
                self.nets.set_nri(true);
                tracing::info!(%runtime, %version, "the runtime tells of starts and ends of containers (NRI)");
            }
            Link::Lost { why } => {
                self.nets.set_nri(false);
                tracing::warn!(%why, "the runtime tells nothing (NRI); trying again");
            }
        }
    }
}

impl Agent {
    /// The second net behind the webhook: a volume of ours belongs to one container of the pod.
    fn refuse_foreign(&self, pod: &Pod, container: &Container) -> Result<(), String> {
        let pod_dir = self.pods_dir.join(&pod.uid);
        let holds = self.of_pod(&pod.uid);
        for mount in &container.mounts {
            let source = Path::new(&mount.source);
            let its = holds.iter().find(|hold| {
                hold.about.spec.container != container.name && is_of_volume(source, &hold.about.target, &pod_dir)
            });
            if let Some(hold) = its {
                return Err(format!(
                    "dewdrop: container {:?} mounts a volume that belongs to container {:?}",
                    container.name, hold.about.spec.container
                ));
            }
        }
        Ok(())
    }

    /// A container runs, in a process whose handle stays right when the number is used again.
    fn runs(&self, hold: &Arc<Hold>, container: &Container) {
        let process = pidfd::open(container.pid).map(Arc::new);
        self.over(hold, hold.running(&container.id, process.clone()));
        if let Some(process) = process {
            self.follow(hold, &container.id, process);
        }
    }

    pub(super) fn over(&self, hold: &Arc<Hold>, start: Option<Arc<Start>>) {
        if let Some(start) = start {
            tracing::debug!(container = %hold.about.spec.container, start = %start.name.start, "a start is over");
            self.ender.end(start.name.clone());
        }
    }
}

/// Whether what is mounted is a volume of a pod, or a part of it. Kubelet publishes a volume at `volumes/DRIVER/VOLUME/mount`
/// below the pod's folder.
fn is_of_volume(source: &Path, target: &Path, pod_dir: &Path) -> bool {
    let volume = target.parent().and_then(Path::file_name);
    let is_part = |volume| source.starts_with(pod_dir.join(SUB_PATHS).join(volume));
    source.starts_with(target) || volume.is_some_and(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_volume_is_known_whole_and_by_its_parts() {
        let pod = Path::new("/var/lib/kubelet/pods/u");
        let target = pod.join("volumes/kubernetes.io~csi/db/mount");
        for (below, is_it) in [
            ("volumes/kubernetes.io~csi/db/mount", true),
            ("volumes/kubernetes.io~csi/db/mount/password", true),
            ("volume-subpaths/db/thief/0", true),
            ("volumes/kubernetes.io~csi/db/mounts", false),
            ("volumes/kubernetes.io~csi/db2/mount", false),
            ("volume-subpaths/db2/thief/0", false),
            ("volumes/kubernetes.io~empty-dir/db", false),
            ("etc-hosts", false),
        ] {
            assert_eq!(is_of_volume(&pod.join(below), &target, pod), is_it, "{below}");
        }
        assert!(!is_of_volume(Path::new("/var/lib/kubelet/pods/other/volume-subpaths/db/thief/0"), &target, pod));
    }
}
