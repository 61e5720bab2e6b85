//! Doors into a running container: whoever is in it reads what it reads.

use crate::pod::Pod;

use super::{Ground, Violation};

const RULE: &str = "doors";

/// The label of a namespace that opens them.
pub const ALLOW_EXEC: &str = "dewdrop.dev/allow-exec";

/// The subresources of pods.
pub const DOORS: &[&str] = &["attach", "exec", "portforward"];

/// Whether a subresource of pods is a door.
#[must_use]
pub fn is_door(subresource: &str) -> bool {
    DOORS.contains(&subresource)
}

/// What is said to who wants in. A pod without secrets of ours has its doors open.
#[must_use]
pub fn through_a_door(door: &str, pod: &Pod, ground: &Ground) -> Option<Violation> {
    if pod.owned(&ground.audience).is_empty() {
        return None;
    }
    let what = format!("{door} into a pod with secrets of ours");
    let todo = format!("ask for the namespace's label {ALLOW_EXEC}: \"true\", or look at the logs");
    Some(Violation::new(RULE, what, todo))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{good, ground, pod, token, with};
    use super::*;

    #[test]
    fn closed_where_there_are_secrets_of_ours() {
        let told = through_a_door("exec", &pod(&good()), &ground()).unwrap();
        assert!(told.to_string().contains(ALLOW_EXEC), "{told}");
        let agentless = with("/spec/volumes", json!([token("t", "dewdrop://team/app")]));
        assert!(through_a_door("attach", &pod(&agentless), &ground()).is_some());
        assert!(through_a_door("exec", &pod(&with("/spec/volumes", json!([]))), &ground()).is_none());
    }

    #[test]
    fn which_are_doors() {
        assert!(["exec", "attach", "portforward"].iter().all(|name| is_door(name)));
        assert!(["log", "", "status", "proxy"].iter().all(|name| !is_door(name)));
    }
}
