//! Containers that are put into a running pod to look for faults must not find our secrets.

use crate::pod::{Owned, Pod};

use super::Violation;

const RULE: &str = "ephemeral-target";

/// Whose processes an ephemeral container sees. What it mounts is checked as for any other.
pub fn check(pod: &Pod, owned: &[Owned<'_>]) -> Vec<Violation> {
    let mut found = Vec::new();
    for container in &pod.spec.ephemeral_containers {
        let target = container.target_container_name.as_str();
        if target.is_empty() || !owned.iter().any(|one| one.container() == target) {
            continue;
        }
        let what =
            format!("ephemeral container {:?} targets container {target:?}, which has secrets of ours", container.name);
        found.push(Violation::new(RULE, what, "leave --target (targetContainerName) out, or target another container"));
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{broken, judged, with};
    use super::*;

    #[test]
    fn it_may_not_target_who_has_secrets() {
        let at =
            |target: &str| with("/spec/ephemeralContainers", json!([{"name": "debug", "targetContainerName": target}]));
        assert_eq!(broken(&at("app")), [RULE]);
        assert_eq!(judged(&at("sidecar")), []);
        assert_eq!(judged(&at("")), []);
    }
}
