//! A volume of ours is for one container, and for no other.

use crate::pod::{Container, Owned, Pod};

use super::Violation;

const OWNER: &str = "volume-owner";
const ATTRIBUTES: &str = "volume-attributes";
const READ_ONLY: &str = "volume-read-only";
const TWICE: &str = "volume-twice";
const ELSEWHERE: &str = "volume-elsewhere";
const SUB_PATH: &str = "volume-sub-path";

/// Everything about volumes and who mounts them.
pub fn check(pod: &Pod, namespace: &str, owned: &[Owned<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    for one in owned {
        match one {
            Owned::Csi { .. } => attributes(one, &mut found),
            Owned::Token { .. } => token(one, namespace, &mut found),
        }
        owner(pod, one, &mut found);
        for container in pod.all_containers() {
            mounts(container, one, &mut found);
        }
    }
    found.extend(twice(owned));
    found
}

fn attributes(one: &Owned<'_>, found: &mut Vec<Violation>) {
    let Owned::Csi { volume, csi } = one else { return };
    for (name, is) in [
        ("container", "the name of the container whose volume it is"),
        ("role", "the role of the Kubernetes auth method"),
        ("credentials", "lines of `name = path`, such as `db = database/creds/app`"),
    ] {
        if csi.attribute(name).is_empty() {
            let what = format!("volume {volume:?} has no attribute `{name}`");
            found.push(Violation::new(ATTRIBUTES, what, format!("add it to csi.volumeAttributes: {is}")));
        }
    }
    if !csi.read_only {
        let what = format!("volume {volume:?} does not say csi.readOnly: true");
        found.push(Violation::new(READ_ONLY, what, "add it: nothing but the agent writes there"));
    }
}

/// A token's audience names namespace and container, and the server believes it.
fn token(one: &Owned<'_>, namespace: &str, found: &mut Vec<Violation>) {
    let Owned::Token { volume, audience, others } = one else { return };
    let rest = audience.split_once("://").map_or("", |(_, rest)| rest);
    let of = rest.split_once('/').filter(|(_, container)| !container.is_empty() && !container.contains('/'));
    if of.is_none_or(|(named, _)| named != namespace) {
        let what = format!("volume {volume:?} has a token for another namespace, or for no container");
        found.push(Violation::new(ATTRIBUTES, what, format!("its audience must be ...://{namespace}/CONTAINER")));
    }
    if *others > 0 {
        let what = format!("volume {volume:?} has more in it than one container's token");
        found.push(Violation::new(ATTRIBUTES, what, "put what else there is into a volume of its own"));
    }
}

fn owner(pod: &Pod, one: &Owned<'_>, found: &mut Vec<Violation>) {
    let (volume, name) = (one.volume(), one.container());
    if name.is_empty() {
        return; // Told by `attributes` or `token`.
    }
    let Some(owner) = pod.container(name) else {
        let what = format!("volume {volume:?} is for container {name:?}, and the pod has none of that name");
        let there: Vec<&str> =
            pod.spec.init_containers.iter().chain(&pod.spec.containers).map(|c| c.name.as_str()).collect();
        found.push(Violation::new(OWNER, what, format!("name one of {}", there.join(", "))));
        return;
    };
    if owner.mounts_of(volume).next().is_none() {
        let what = format!("container {name:?} does not mount its volume {volume:?}");
        found.push(Violation::new(OWNER, what, "add it to the container's volumeMounts, or take the volume out"));
    }
}

fn mounts(container: &Container, one: &Owned<'_>, found: &mut Vec<Violation>) {
    let (volume, name) = (one.volume(), container.name.as_str());
    for mount in container.mounts_of(volume) {
        if name != one.container() {
            let what =
                format!("container {name:?} mounts volume {volume:?}, which is for container {:?}", one.container());
            let todo = "take the mount out; a container that needs a credential gets a volume of its own";
            found.push(Violation::new(ELSEWHERE, what, todo));
            break;
        }
        if !mount.read_only {
            let what = format!("container {name:?} mounts volume {volume:?} without readOnly: true");
            found.push(Violation::new(READ_ONLY, what, "add it to the mount"));
        }
        if !(mount.sub_path.is_empty() && mount.sub_path_expr.is_empty()) {
            let what =
                format!("container {name:?} mounts volume {volume:?} with a subPath, which would never see a rotation");
            found.push(Violation::new(
                SUB_PATH,
                what,
                "mount the whole volume and let the program read the file in it",
            ));
        }
    }
}

/// Two volumes for the same container and role would be two credentials where one is meant.
fn twice(owned: &[Owned<'_>]) -> Vec<Violation> {
    let key = |one: &Owned<'_>| match one {
        Owned::Csi { csi, .. } => (one.container().to_owned(), csi.attribute("role").to_owned()),
        Owned::Token { audience, .. } => ((*audience).to_owned(), String::new()),
    };
    let mut found = Vec::new();
    for (at, one) in owned.iter().enumerate() {
        let Some(first) = owned[..at].iter().find(|earlier| key(earlier) == key(one)) else { continue };
        if one.container().is_empty() {
            continue;
        }
        let (a, b) = (first.volume(), one.volume());
        let what = format!("volumes {a:?} and {b:?} are both for container {:?} with the same role", one.container());
        found.push(Violation::new(TWICE, what, "put the credentials of both into one volume"));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{broken, good, judged, mount, set, token, volume, with};
    use super::*;

    const MOUNT: &str = "/spec/containers/0/volumeMounts/0";

    #[test]
    fn only_the_owner_mounts_it_whatever_kind_the_other_is() {
        for kind in ["initContainers", "containers", "ephemeralContainers"] {
            let mut pod = good();
            if kind != "containers" {
                set(&mut pod, &format!("/spec/{kind}"), json!([]));
            }
            let other = json!({"name": "other", "restartPolicy": "Always", "volumeMounts": [mount("db")]});
            set(&mut pod, &format!("/spec/{kind}/-"), other);
            assert_eq!(broken(&pod)[0], ELSEWHERE, "{kind}");
            assert!(judged(&pod)[0].what.contains("\"other\""), "{kind}");
        }
    }

    #[test]
    fn an_init_container_or_a_sidecar_may_own_one() {
        let mut pod = good();
        set(&mut pod, "/spec/initContainers", json!([{"name": "migrate", "volumeMounts": [mount("m")]}]));
        set(&mut pod, "/spec/volumes/-", volume("m", "migrate", "migrate"));
        assert_eq!(judged(&pod), []);
    }

    #[test]
    fn the_owner_must_be_there_and_mount_it() {
        let pod = with("/spec/volumes/0", volume("db", "nobody", "app"));
        assert_eq!(broken(&pod), [OWNER, ELSEWHERE]);
        assert!(judged(&pod)[0].todo.contains("app, sidecar"));
        assert_eq!(broken(&with("/spec/containers/0/volumeMounts", json!([]))), [OWNER]);
    }

    #[test]
    fn an_ephemeral_container_cannot_own_one() {
        let mut pod = with("/spec/volumes/0", volume("db", "debug", "app"));
        set(&mut pod, "/spec/ephemeralContainers", json!([{"name": "debug"}]));
        assert!(broken(&pod).contains(&OWNER));
    }

    #[test]
    fn the_attributes_must_be_there() {
        for name in ["container", "role", "credentials"] {
            for empty in [json!(" "), json!("")] {
                let pod = with(&format!("/spec/volumes/0/csi/volumeAttributes/{name}"), empty);
                let found = judged(&pod);
                assert_eq!(found[0].rule, ATTRIBUTES, "{name}");
                assert!(found[0].what.contains(&format!("`{name}`")));
            }
        }
        assert_eq!(
            broken(&with("/spec/volumes/0/csi", json!({"driver": "csi.dewdrop.dev", "readOnly": true}))).len(),
            4
        );
    }

    #[test]
    fn nothing_may_be_writable() {
        assert_eq!(broken(&with("/spec/volumes/0/csi/readOnly", json!(false))), [READ_ONLY]);
        assert_eq!(broken(&with("/spec/volumes/0/csi/readOnly", json!(null))), [READ_ONLY]);
        assert_eq!(broken(&with(&format!("{MOUNT}/readOnly"), json!(false))), [READ_ONLY]);
    }

    #[test]
    fn no_sub_path() {
        assert_eq!(broken(&with(&format!("{MOUNT}/subPath"), json!("db"))), [SUB_PATH]);
        assert_eq!(broken(&with(&format!("{MOUNT}/subPathExpr"), json!("$(X)"))), [SUB_PATH]);
    }

    #[test]
    fn one_volume_for_one_container_and_role() {
        let mut pod = with("/spec/volumes/-", volume("two", "app", "app"));
        set(&mut pod, "/spec/containers/0/volumeMounts/-", mount("two"));
        assert_eq!(broken(&pod), [TWICE]);
        set(&mut pod, "/spec/volumes/1", volume("two", "app", "another"));
        assert_eq!(judged(&pod), []);
    }

    #[test]
    fn a_token_is_for_the_container_that_its_audience_names() {
        let mut pod = good();
        set(&mut pod, "/spec/volumes", json!([token("db", "dewdrop://team/app")]));
        assert_eq!(judged(&pod), []);
        set(&mut pod, "/spec/volumes/0", token("db", "dewdrop://team/sidecar"));
        assert!(broken(&pod).contains(&ELSEWHERE));
        for wrong in ["dewdrop://other/app", "dewdrop://app", "dewdrop://team/", "dewdrop://team/x/app"] {
            set(&mut pod, "/spec/volumes/0", token("db", wrong));
            assert!(broken(&pod).contains(&ATTRIBUTES), "{wrong}");
        }
    }

    #[test]
    fn a_token_has_its_volume_for_itself() {
        let mut pod = good();
        set(&mut pod, "/spec/volumes/0", token("db", "dewdrop://team/app"));
        set(
            &mut pod,
            "/spec/volumes/0/projected/sources/-",
            json!({"serviceAccountToken": {"audience": "dewdrop://team/sidecar"}}),
        );
        assert!(broken(&pod).iter().filter(|rule| **rule == ATTRIBUTES).count() >= 2);
    }

    #[test]
    fn tokens_of_others_are_not_ours() {
        let mut pod = good();
        set(&mut pod, "/spec/volumes", json!([token("db", "vault"), token("k", ""), token("d", "dewdrop-else://x/y")]));
        assert_eq!(judged(&pod), []);
    }
}
