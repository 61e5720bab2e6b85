//! The wrapper must stand in front where it was asked for: a later webhook may have undone it, or ours may not have been
//! asked. And what it is started from may not be written to by others.

use crate::agentless::{self, Ask};
use crate::pod::{Container, Owned, Pod};
use crate::wrapper;

use super::{Ground, Violation};

const WRAPPER: &str = "wrapper";
const AGENTLESS: &str = "agentless";
const EXEC_VOLUME: &str = "exec-volume";

/// Wrappers of both modes.
pub fn check(pod: &Pod, owned: &[Owned<'_>], ground: &Ground) -> Vec<Violation> {
    let mut found = Vec::new();
    for container in pod.all_containers() {
        let there = wrapper::in_front(&container.command);
        let missing = wrapper::wanted(container, owned).into_iter().find(|path| !there.contains(&path.as_str()));
        found.extend(missing.map(|path| not_there(&container.name, &path)));
    }
    let asks = agentless::asks(pod);
    for ask in &asks {
        asked(pod, ask, &mut found);
    }
    if !asks.is_empty() {
        exec_volume(pod, ground, &mut found);
    }
    found
}

fn not_there(container: &str, path: &str) -> Violation {
    let what = format!("container {container:?} does not start with {path:?}, as env, variables or gate asks for");
    let todo = "see that the mutating webhook of Dewdrop is installed and that no other undoes what it did";
    Violation::new(WRAPPER, what, todo)
}

fn asked(pod: &Pod, ask: &Ask<'_>, found: &mut Vec<Violation>) {
    let name = ask.container;
    let Some(container) = pod.container(name) else {
        let what = format!("an annotation names the container {name:?}, and the pod has none of that name");
        found.push(Violation::new(
            AGENTLESS,
            what,
            "put a container's name behind dewdrop.dev/role. and dewdrop.dev/credentials.",
        ));
        return;
    };
    for (note, text) in [("role", ask.role), ("credentials", ask.credentials)] {
        if text.is_empty() {
            let what = format!("container {name:?} has no annotation dewdrop.dev/{note}.{name}");
            found.push(Violation::new(AGENTLESS, what, "add it"));
        }
    }
    let there = wrapper::in_front(&container.command);
    if let Some(why) = agentless::lacks_command(container) {
        found.push(Violation::new(AGENTLESS, why, "set `command`"));
    } else if !there.contains(&agentless::EXEC_PATH) && found.is_empty() {
        found.push(not_there(name, agentless::EXEC_PATH));
    }
}

/// Whoever can write to the wrapper runs as whoever it starts.
fn exec_volume(pod: &Pod, ground: &Ground, found: &mut Vec<Violation>) {
    let is_installer = |c: &Container| c.name == agentless::EXEC && Some(&c.image) == ground.exec_image.as_ref();
    let installers = pod.spec.init_containers.iter();
    if let Some(foreign) = installers.clone().find(|c| c.name == agentless::EXEC && !is_installer(c)) {
        let what = format!("the init container {:?} has an image that is not ours", foreign.name);
        found.push(Violation::new(EXEC_VOLUME, what, "take it out: the webhook adds its own"));
    }
    let images = pod.spec.volumes.iter().filter(|v| v.name == agentless::EXEC).filter_map(|v| v.image.as_ref());
    if images.map(|image| &image.reference).any(|image| Some(image) != ground.exec_image.as_ref()) {
        let what = format!("the volume {:?} is of an image that is not ours", agentless::EXEC);
        found.push(Violation::new(EXEC_VOLUME, what, "take it out: the webhook adds its own"));
    }
    for container in pod.all_containers().filter(|c| c.name != agentless::EXEC) {
        if container.mounts_of(agentless::EXEC).any(|mount| !mount.read_only) {
            let what = format!("container {:?} could write to the volume {:?}", container.name, agentless::EXEC);
            found.push(Violation::new(EXEC_VOLUME, what, "add readOnly: true to the mount, or take it out"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::testing::{broken, good, judged, set, with};
    use super::*;

    #[test]
    fn the_wrapper_must_be_there_when_it_was_asked_for() {
        for name in ["env", "gate"] {
            let mut pod = with(&format!("/spec/volumes/0/csi/volumeAttributes/{name}"), json!("true"));
            assert_eq!(broken(&pod), [WRAPPER], "{name}");
            set(&mut pod, "/spec/containers/0/command", json!(["/db/.dewdrop/exec", "--image", "--"]));
            assert_eq!(judged(&pod), [], "{name}");
            set(&mut pod, "/spec/containers/0/command", json!(["/tmp/.dewdrop/exec", "--", "/app"]));
            assert_eq!(broken(&pod), [WRAPPER], "{name}");
        }
        assert_eq!(judged(&with("/spec/volumes/0/csi/volumeAttributes/gate", json!("false"))), []);
    }

    fn agentless() -> Value {
        let mut pod = good();
        set(
            &mut pod,
            "/spec/volumes",
            json!([super::super::testing::token("t", "dewdrop://team/app"), {"name": "dewdrop-exec"}]),
        );
        set(&mut pod, "/spec/containers/0/volumeMounts/0/name", json!("t"));
        set(
            &mut pod,
            "/spec/containers/0/volumeMounts/-",
            json!({"name": "dewdrop-exec", "mountPath": "/dewdrop", "readOnly": true}),
        );
        set(&mut pod, "/spec/containers/0/command", json!(["/dewdrop/.dewdrop/exec", "--", "/app"]));
        set(
            &mut pod,
            "/spec/initContainers",
            json!([{"name": "dewdrop-exec", "image": "dewdrop-exec:1", "volumeMounts": [{"name": "dewdrop-exec"}]}]),
        );
        let notes = json!({"dewdrop.dev/agentless": "true", "dewdrop.dev/role.app": "app", "dewdrop.dev/credentials.app": "db = x/y"});
        set(&mut pod, "/metadata/annotations", notes);
        pod
    }

    #[test]
    fn a_whole_agentless_pod_is_allowed() {
        assert_eq!(judged(&agentless()), []);
    }

    #[test]
    fn without_an_agent_a_command_must_be_named() {
        let mut pod = agentless();
        set(&mut pod, "/spec/containers/0/command", json!([]));
        assert_eq!(broken(&pod), [AGENTLESS]);
        set(&mut pod, "/spec/containers/0/command", json!(["/dewdrop/.dewdrop/exec", "--image", "--"]));
        assert_eq!(broken(&pod), [AGENTLESS]);
        set(&mut pod, "/spec/containers/0/command", json!(["/app"]));
        assert_eq!(broken(&pod), [WRAPPER]);
    }

    #[test]
    fn annotations_must_fit_together() {
        let mut pod = agentless();
        set(&mut pod, "/metadata/annotations/dewdrop.dev~1role.app", json!(""));
        pod["metadata"]["annotations"]["dewdrop.dev/role.app"] = json!(" ");
        assert_eq!(broken(&pod), [AGENTLESS]);
        let mut pod = agentless();
        pod["metadata"]["annotations"]["dewdrop.dev/role.nobody"] = json!("x");
        assert_eq!(broken(&pod), [AGENTLESS]);
    }

    #[test]
    fn nobody_else_writes_to_the_wrapper() {
        let mut pod = agentless();
        set(&mut pod, "/spec/containers/1/volumeMounts", json!([{"name": "dewdrop-exec", "mountPath": "/x"}]));
        assert_eq!(broken(&pod), [EXEC_VOLUME]);
        let mut pod = agentless();
        set(&mut pod, "/spec/initContainers/0/image", json!("mine"));
        assert_eq!(broken(&pod), [EXEC_VOLUME]);
        let mut pod = agentless();
        set(&mut pod, "/spec/initContainers", json!([]));
        for (image, rules) in [("dewdrop-exec:1", &[][..]), ("mine", &[EXEC_VOLUME])] {
            set(&mut pod, "/spec/volumes/1", json!({"name": "dewdrop-exec", "image": {"reference": image}}));
            assert_eq!(broken(&pod), rules, "{image}");
        }
    }
}
