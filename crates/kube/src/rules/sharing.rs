//! Who may look into another container's processes, and so at its secrets.

use crate::pod::{Container, Pod};

use super::Violation;

const PROCESSES: &str = "shared-processes";
const HOST: &str = "host-namespaces";
const PRIVILEGED: &str = "privileged";
const CAPABILITIES: &str = "capabilities";

/// With each of these one container reads another's memory, `/proc/PID/root` or mounts, or any file of the node.
const FORBIDDEN: &[&str] =
    &["ALL", "BPF", "DAC_READ_SEARCH", "PERFMON", "SYS_ADMIN", "SYS_MODULE", "SYS_PTRACE", "SYS_RAWIO"];

/// Namespaces and rights.
pub fn check(pod: &Pod) -> Vec<Violation> {
    let mut found = Vec::new();
    let spec = &pod.spec;
    if spec.share_process_namespace {
        let what = "the pod says shareProcessNamespace: true, so its containers read each other's files through /proc";
        found.push(Violation::new(PROCESSES, what, "take it out"));
    }
    for (name, is_set, why) in [
        ("hostPID", spec.host_pid, "a container sees every process of the node"),
        ("hostIPC", spec.host_ipc, "a container sees the node's shared memory"),
    ] {
        if is_set {
            found.push(Violation::new(HOST, format!("the pod says {name}: true, so {why}"), "take it out"));
        }
    }
    for container in pod.all_containers() {
        rights(container, &mut found);
    }
    found
}

fn rights(container: &Container, found: &mut Vec<Violation>) {
    let (name, security) = (&container.name, &container.security_context);
    if security.privileged {
        let what = format!("container {name:?} is privileged, and so is as good as root on the node");
        let todo = "take privileged out, or give the pod no volume of ours";
        found.push(Violation::new(PRIVILEGED, what, todo));
    }
    for added in &security.capabilities.add {
        let plain = added.to_ascii_uppercase();
        let plain = plain.strip_prefix("CAP_").unwrap_or(&plain);
        if let Some(forbidden) = FORBIDDEN.iter().find(|forbidden| **forbidden == plain) {
            let what = format!("container {name:?} adds the capability {forbidden}");
            found.push(Violation::new(
                CAPABILITIES,
                what,
                "take it out of securityContext.capabilities.add (kubectl debug: --profile=baseline)",
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{broken, good, judged, set, with};
    use super::*;

    #[test]
    fn no_shared_processes() {
        assert_eq!(broken(&with("/spec/shareProcessNamespace", json!(true))), [PROCESSES]);
        assert_eq!(judged(&with("/spec/shareProcessNamespace", json!(false))), []);
    }

    #[test]
    fn no_namespaces_of_the_host_but_the_network() {
        assert_eq!(broken(&with("/spec/hostPID", json!(true))), [HOST]);
        assert_eq!(broken(&with("/spec/hostIPC", json!(true))), [HOST]);
        assert_eq!(judged(&with("/spec/hostNetwork", json!(true))), []);
    }

    #[test]
    fn no_container_is_privileged_whichever_it_is() {
        let security = json!({"privileged": true});
        assert_eq!(broken(&with("/spec/containers/1/securityContext", security.clone())), [PRIVILEGED]);
        for kind in ["initContainers", "ephemeralContainers"] {
            let mut pod = good();
            set(&mut pod, &format!("/spec/{kind}"), json!([{"name": "x", "securityContext": security}]));
            assert_eq!(broken(&pod), [PRIVILEGED], "{kind}");
        }
    }

    #[test]
    fn capabilities_that_look_into_others() {
        let more = ["BPF", "CAP_PERFMON", "DAC_READ_SEARCH", "SYS_MODULE", "sys_rawio"];
        for name in ["SYS_PTRACE", "CAP_SYS_ADMIN", "ALL", "all", "sys_ptrace"].into_iter().chain(more) {
            let pod = with("/spec/containers/1/securityContext", json!({"capabilities": {"add": ["NET_ADMIN", name]}}));
            assert_eq!(broken(&pod), [CAPABILITIES], "{name}");
        }
        let pod = with(
            "/spec/containers/1/securityContext",
            json!({"capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["ALL"]}}),
        );
        assert_eq!(judged(&pod), []);
    }
}
