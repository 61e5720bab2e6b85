//! Which container a process is in, by its cgroups. The path is written by kubelet and the runtime, so what stands first in
//! it counts: below its own group a container may be able to make groups with names of its choice.

/// The longest file that is read.
pub const MOST: u64 = 64 << 10;

/// A container of a pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whose {
    /// The pod's UID, with dashes if it has them.
    pub pod_uid: String,
    /// The runtime's id of the container.
    pub container_id: String,
}

/// Reads `/proc/PID/cgroup`. `None`: the process is in no container of a pod, or its groups contradict each other.
#[must_use]
pub fn whose(text: &str) -> Option<Whose> {
    let paths = text.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    let mut found = paths.filter_map(of_path);
    let first = found.next()?;
    found.all(|other| other == first).then_some(first)
}

/// One path: what follows the pod's part is the container's.
fn of_path(path: &str) -> Option<Whose> {
    let mut parts = path.split('/');
    while let Some(part) = parts.next() {
        // The runtime and kubelet disagree about the driver: `kubepods-podUID.slice:cri-containerd:ID`, in one part.
        if let [slice, _, id] = part.split(':').collect::<Vec<_>>()[..]
            && let Some(pod_uid) = pod(slice)
        {
            return Some(Whose { pod_uid, container_id: container(id)? });
        }
        if let Some(pod_uid) = pod(part) {
            return Some(Whose { pod_uid, container_id: container(parts.next()?)? });
        }
    }
    None
}

/// `podUID` (cgroupfs), `kubepods-burstable-podUID.slice` (systemd, whose dashes separate).
fn pod(part: &str) -> Option<String> {
    let uid = match part.strip_suffix(".slice") {
        Some(slice) if slice.starts_with("kubepods-") || slice.contains("-kubepods-") => {
            let (_, uid) = slice.rsplit_once("-pod")?;
            if uid.contains('-') {
                return None;
            }
            uid.replace('_', "-")
        }
        Some(_) => return None,
        None => part.strip_prefix("pod")?.to_owned(),
    };
    let hex = uid.bytes().filter(|b| b.is_ascii_hexdigit()).count();
    let plain = uid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    // 32 digits: the UID of a pod, with dashes; or without, a static pod's.
    (plain && hex == 32).then_some(uid)
}

/// `ID`, `cri-containerd-ID.scope`, `crio-ID.scope`, `crio-ID`, `docker-ID.scope`; not `crio-conmon-ID.scope`.
fn container(part: &str) -> Option<String> {
    let part = part.strip_suffix(".scope").unwrap_or(part);
    let id = match part.rsplit_once('-') {
        Some(("cri-containerd" | "crio" | "docker", id)) => id,
        Some(_) => return None,
        None => part,
    };
    let plain = id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    (id.len() == 64 && plain).then(|| id.to_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UID: &str = "1b2c3d4e-0000-4a5b-8c9d-00112233aabb";
    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "ffffffffffffffff0123456789abcdef0123456789abcdef0123456789abcdef";

    fn expected() -> Option<Whose> {
        Some(Whose { pod_uid: UID.into(), container_id: ID.into() })
    }

    fn path(form: &str) -> String {
        form.replace("UID_", &UID.replace('-', "_")).replace("UID", UID).replace("ID", ID)
    }

    #[test]
    fn the_forms_of_the_runtimes() {
        for form in [
            // cgroupfs: containerd, the three classes of service, a root of its own, a namespace of cgroups, kind.
            "0::/kubepods/besteffort/podUID/ID",
            "0::/kubepods/podUID/ID",
            "11:memory:/kubepods/burstable/podUID/ID\n10:cpu,cpuacct:/kubepods/burstable/podUID/ID\n0::/",
            "4:memory:/n2/kubepods/besteffort/podUID/ID",
            "0::/../../kubepods/podUID/ID",
            "0::/docker/OTHER/kubelet/kubepods/besteffort/podUID/ID",
            // systemd
            "0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_.slice/cri-containerd-ID.scope",
            "0::/kubepods.slice/kubepods-podUID_.slice/crio-ID.scope",
            "0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID_.slice/cri-containerd-ID.scope",
            "0::/kubepods.slice/kubepods-podUID_.slice/docker-ID.scope",
            // a container that has groups below its own
            "0::/kubepods.slice/kubepods-podUID_.slice/crio-ID.scope/container",
            "0::/kubepods.slice/kubepods-podUID_.slice/cri-containerd-ID.scope/init.scope",
            // CRI-O with cgroupfs; containerd with cgroupfs below kubelet with systemd
            "0::/kubepods/besteffort/podUID/crio-ID",
            "0::/system.slice/containerd.service/kubepods-besteffort-podUID_.slice:cri-containerd:ID",
        ] {
            assert_eq!(whose(&path(form).replace("OTHER", OTHER)), expected(), "{form}");
        }
    }

    #[test]
    fn a_static_pod_has_a_uid_without_dashes() {
        let uid = UID.replace('-', "");
        let found = whose(&format!("0::/kubepods/besteffort/pod{uid}/{ID}")).unwrap();
        assert_eq!(found.pod_uid, uid);
    }

    #[test]
    fn what_is_in_no_container() {
        for form in [
            "",
            "0::/",
            "0::/system.slice/kubelet.service",
            "0::/kubepods/besteffort/podUID",
            "0::/user.slice/podUID.slice/ID",
            "0::/kubepods.slice/kubepods-podUID_.slice/crio-conmon-ID.scope",
            "0::/kubepods/podUID/short",
            "0::/docker/ID",
            "0::/kubepods/pod../ID",
            "ID",
            "0:/podUID/ID",
        ] {
            assert_eq!(whose(&path(form)), None, "{form}");
        }
    }

    #[test]
    fn a_container_cannot_say_that_it_is_another() {
        let other = format!("pod{}/{OTHER}", UID.replace('1', "2"));
        assert_eq!(
            whose(&format!("{}/{other}", path("0::/kubepods/podUID/ID"))),
            expected(),
            "a group that it made itself"
        );
        let crossed = format!("{}\n2:cpu:/kubepods/{other}", path("1:memory:/kubepods/podUID/ID"));
        assert_eq!(whose(&crossed), None, "contradiction");
        assert_eq!(
            whose(&format!("{}/{other}", path("0::/kubepods/podUID/x"))),
            None,
            "not the next pod in the path either"
        );
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(text in "([0-9]{0,2}:[a-z,]{0,6}:)?(/|pod|kubepods|-|:|_|\\.slice|\\.scope|[0-9a-f]{0,64}|\n){0,20}") {
            if let Some(found) = whose(&text) {
                prop_assert!(text.contains(&found.container_id));
                prop_assert_eq!(found.container_id.len(), 64);
            }
        }

        #[test]
        fn whatever_stands_around_it_is_found(before in "(/[a-z.]{1,8}){0,3}", after in "(/[a-z.0-9]{1,70}){0,3}", line in 0u8..20) {
            let text = format!("{line}:name:{before}/kubepods/pod{UID}/{ID}{after}\n0::/\n");
            prop_assert_eq!(whose(&text), expected());
        }
    }
}
