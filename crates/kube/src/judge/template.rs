//! What makes pods: Deployments and the like. A pod that a controller makes is refused where nobody looks, so its author is
//! told when he applies the template. Only told: the pod itself is where it is decided.

use serde::Deserialize;

use crate::pod::Pod;
use crate::review::{Question, ReviewError};
use crate::rules::Violation;

/// The kinds with a template of their own.
const KINDS: &[(&str, &str)] = &[
    ("apps", "deployments"),
    ("apps", "statefulsets"),
    ("apps", "daemonsets"),
    ("batch", "jobs"),
    ("batch", "cronjobs"),
];
/// What the mutating webhook does to the pod, and has not done to a template.
const LATER: &[&str] = &["wrapper"];

#[derive(Default, Deserialize)]
#[serde(default)]
struct Workload {
    spec: WorkloadSpec,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct WorkloadSpec {
    template: Option<Pod>,
    job_template: Option<JobTemplate>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobTemplate {
    spec: JobSpec,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct JobSpec {
    template: Option<Pod>,
}

/// The pod that the thing would make; `None`: it makes none.
///
/// # Errors
/// It cannot be read.
pub fn template(question: &Question<'_>) -> Result<Option<Pod>, ReviewError> {
    let kind = (question.resource.group.as_str(), question.resource.resource.as_str());
    let changes = matches!(question.operation.as_str(), "CREATE" | "UPDATE") && question.sub_resource.is_empty();
    if !changes || !KINDS.contains(&kind) {
        return Ok(None);
    }
    let workload: Workload = question.object("workload with a template")?;
    Ok(workload.spec.template.or(workload.spec.job_template.and_then(|job| job.spec.template)))
}

/// The words for a violation in a template.
pub fn warning(violation: &Violation) -> Option<String> {
    (!LATER.contains(&violation.rule)).then(|| format!("dewdrop: its pods will be refused: {violation}"))
}
