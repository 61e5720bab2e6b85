//! What follows from what was seen. Nothing is asked here.

mod guards;

use serde::Serialize;
use serde_json::Value;

use super::look::Seen;

/// The CSI driver's name.
const DRIVER: &str = "csi.dewdrop.dev";
/// The first minor version of Kubernetes 1 that gives drivers the pods' tokens as secrets.
const LEAST_MINOR: u32 = 36;

/// How a finding is meant. Sorted so that the worst comes last, where it is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// As it must be.
    Good,
    /// Could not be seen.
    Unknown,
    /// It works, but.
    Warning,
    /// Pods that ask for secrets will not start.
    Bad,
}

/// One finding.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// How it is meant.
    pub grade: Grade,
    /// What is so.
    pub what: String,
    /// What to do; empty where nothing is to be done.
    #[serde(rename = "do", skip_serializing_if = "String::is_empty")]
    pub remedy: String,
}

impl Finding {
    /// A finding.
    pub fn new(grade: Grade, what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { grade, what: what.into(), remedy: remedy.into() }
    }

    /// For people.
    pub fn text(&self) -> String {
        let grade = match self.grade {
            Grade::Good => "ok",
            Grade::Unknown => "?",
            Grade::Warning => "warning",
            Grade::Bad => "missing",
        };
        let remedy = if self.remedy.is_empty() { String::new() } else { format!("         {}\n", self.remedy) };
        format!("{grade:<8} {}\n{remedy}", self.what)
    }
}

/// All findings.
pub fn all(seen: &Seen) -> Vec<Finding> {
    let mut findings = vec![version(&seen.version), namespace(&seen.namespace)];
    findings.extend(driver(&seen.driver));
    findings.extend(nodes(&seen.nodes, &seen.csi_nodes));
    findings.extend(pods(&seen.pods));
    findings.extend(seen.role.as_ref().map(|role| role_of_agents(role, &seen.driver)));
    findings.extend(seen.guards.iter().flat_map(guards::all));
    findings
}

fn good(what: impl Into<String>) -> Finding {
    Finding::new(Grade::Good, what, "")
}

fn bad(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding::new(Grade::Bad, what, remedy)
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.pointer("/items").and_then(Value::as_array).into_iter().flatten()
}

fn version(told: &Value) -> Finding {
    let minor = text(told, "/serverVersion/minor");
    let digits = minor.trim_end_matches(|c: char| !c.is_ascii_digit());
    match (text(told, "/serverVersion/major"), digits.parse::<u32>()) {
        ("1", Ok(number)) if number >= LEAST_MINOR => good(format!("Kubernetes 1.{number}")),
        ("1", Ok(number)) => bad(
            format!("Kubernetes 1.{number} is too old"),
            format!("1.{LEAST_MINOR} and later give the pods' tokens to CSI drivers as secrets"),
        ),
        _ => Finding::new(Grade::Unknown, "the API server does not say its version", ""),
    }
}

fn namespace(found: &Value) -> Finding {
    let name = text(found, "/metadata/name");
    let enforced = text(found, "/metadata/labels/pod-security.kubernetes.io~1enforce");
    match (name, enforced) {
        ("", _) => bad("the namespace of Dewdrop is not there", "install the chart, or say --system NAMESPACE"),
        (_, "privileged") => good(format!("namespace {name} allows the agents' pods")),
        (_, "") => Finding::new(
            Grade::Warning,
            format!("namespace {name} says nothing of Pod Security; the cluster's default may refuse the agents"),
            format!("kubectl label namespace {name} pod-security.kubernetes.io/enforce=privileged"),
        ),
        (_, other) => bad(
            format!("namespace {name} enforces {other:?}, which refuses the agents' pods"),
            format!("kubectl label --overwrite namespace {name} pod-security.kubernetes.io/enforce=privileged"),
        ),
    }
}

fn driver(found: &Value) -> Vec<Finding> {
    if found.is_null() {
        return vec![bad(format!("there is no CSIDriver {DRIVER}"), "install the chart (csiDriver=true)")];
    }
    let is_on = |field: &str| found.pointer(&format!("/spec/{field}")).and_then(Value::as_bool) == Some(true);
    let mut wrong: Vec<String> = ["podInfoOnMount", "requiresRepublish"]
        .into_iter()
        .filter(|field| !is_on(field))
        .map(|field| format!("{field} must be true"))
        .collect();
    if is_on("attachRequired") {
        wrong.push("attachRequired must be false".into());
    }
    let modes = found.pointer("/spec/volumeLifecycleModes").and_then(Value::as_array);
    if !modes.is_some_and(|modes| modes.iter().any(|mode| mode == "Ephemeral")) {
        wrong.push("volumeLifecycleModes must have Ephemeral".into());
    }
    if audience(found).is_empty() {
        wrong.push("tokenRequests must name an audience".into());
    }
    match wrong.as_slice() {
        [] => vec![good(format!("CSIDriver {DRIVER}, audience {:?}", audience(found)))],
        _ => vec![bad(format!("CSIDriver {DRIVER}: {}", wrong.join("; ")), "take the chart's")],
    }
}

fn audience(driver: &Value) -> &str {
    text(driver, "/spec/tokenRequests/0/audience")
}

fn nodes(nodes: &Value, csi_nodes: &Value) -> Vec<Finding> {
    let has_driver = |name: &str| {
        items(csi_nodes).filter(|node| text(node, "/metadata/name") == name).any(|node| {
            let drivers = node.pointer("/spec/drivers").and_then(Value::as_array);
            drivers.is_some_and(|drivers| drivers.iter().any(|driver| text(driver, "/name") == DRIVER))
        })
    };
    let linux: Vec<&Value> =
        items(nodes).filter(|node| text(node, "/status/nodeInfo/operatingSystem") != "windows").collect();
    let name = |node: &&&Value| text(node, "/metadata/name").to_owned();
    let lacking: Vec<String> =
        linux.iter().filter(|node| !has_driver(text(node, "/metadata/name"))).map(|n| name(&n)).collect();
    let late: Vec<String> = linux.iter().filter(|node| is_old_containerd(node)).map(|n| name(&n)).collect();
    let mut findings = Vec::new();
    if linux.is_empty() {
        findings.push(Finding::new(Grade::Unknown, "no node is there", ""));
    } else if lacking.is_empty() {
        findings.push(good(format!("an agent is registered on each of {} nodes", linux.len())));
    } else {
        findings.push(bad(
            format!("kubelet knows no agent on {}", some(&lacking)),
            "see `kubectl get pods -o wide` there; agent.kubeletDir must be kubelet's --root-dir",
        ));
    }
    if !late.is_empty() {
        findings.push(Finding::new(
            Grade::Warning,
            format!(
                "containerd before 2.0 has NRI off by default: on {} the end of a container may be seen late",
                some(&late)
            ),
            "switch NRI on in containerd's configuration, or update it",
        ));
    }
    findings
}

fn is_old_containerd(node: &Value) -> bool {
    let version = text(node, "/status/nodeInfo/containerRuntimeVersion").strip_prefix("containerd://");
    version.is_some_and(|version| matches!(version.trim_start_matches('v').split('.').next(), Some("0" | "1")))
}

/// A few names, and how many more.
fn some(names: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = names.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN { format!("{shown} and {} more", names.len() - SHOWN) } else { shown }
}

fn pods(pods: &Value) -> Vec<Finding> {
    let is_ready = |pod: &&Value| {
        let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
        conditions
            .is_some_and(|all| all.iter().any(|one| text(one, "/type") == "Ready" && text(one, "/status") == "True"))
    };
    // What `helm test` made stays when it failed; that it did, helm has said.
    let is_of_a_test = |pod: &Value| !text(pod, "/metadata/annotations/helm.sh~1hook").is_empty();
    let is_done = |pod: &Value| text(pod, "/status/phase") == "Succeeded";
    let should_run = |pod: &&Value| !is_done(pod) && !is_of_a_test(pod);
    let (ready, other): (Vec<&Value>, Vec<&Value>) = items(pods).filter(should_run).partition(is_ready);
    if ready.is_empty() && other.is_empty() {
        return vec![bad("no pod of Dewdrop is there", "install the chart, or say --system NAMESPACE")];
    }
    let waits = other.into_iter().map(|pod| {
        let name = text(pod, "/metadata/name");
        let reason = text(pod, "/status/containerStatuses/0/state/waiting/reason");
        let reason = if reason.is_empty() { text(pod, "/status/phase") } else { reason };
        let server = text(pod, "/metadata/labels/app.kubernetes.io~1component") == "server" && reason == "Running";
        let remedy = if server {
            "it is new or sealed: dewdrop operator init, dewdrop operator unseal"
        } else {
            "kubectl describe pod shows why"
        };
        bad(format!("pod {name} is not Ready ({reason})"), remedy)
    });
    let mut findings: Vec<Finding> = waits.collect();
    if !ready.is_empty() {
        findings.push(good(format!("{} pods of Dewdrop are Ready", ready.len())));
    }
    findings
}

fn role_of_agents(role: &Value, driver: &Value) -> Finding {
    if role.is_null() {
        return bad("the server has no role for the agents", "see docs/guides/first-secret.md, step 4");
    }
    if role.pointer("/agent").and_then(Value::as_bool) != Some(true) {
        return bad("the agents' role is an ordinary one", "write it again with agent=true");
    }
    let (has, wanted) = (text(role, "/audience"), audience(driver));
    if !has.is_empty() && !wanted.is_empty() && has != wanted {
        return bad(
            format!("the agents' role wants the audience {has:?}, the CSIDriver gives {wanted:?}"),
            "make both the same",
        );
    }
    good("the server has a role for the agents")
}

#[cfg(test)]
mod tests;
