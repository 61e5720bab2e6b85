//! From a question to its verdict: which rules it is put to, for whom none counts, and what must be looked up first.

mod template;

use std::sync::Arc;

use crate::cluster::{Cluster, LookUpError};
use crate::gate::{self, Gate, Visit};
use crate::mutate;
use crate::pod::Pod;
use crate::review::{Question, ReviewError, Verdict};
use crate::rules::{self, Ground, TokenRequest, Violation};

/// The label of a namespace that says what becomes of literal secrets.
const LITERALS: &str = "dewdrop.dev/literal-secrets";
/// The label of a namespace that says what becomes of the node's folders in pods without secrets of ours.
const HOST_PATHS: &str = "dewdrop.dev/host-paths";

/// What becomes of something that no pod of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is refused.
    Deny,
    /// It is allowed, and the user is told.
    Warn,
    /// Nobody looks.
    Ignore,
}

/// For whom no rule counts, and how strict the others are.
#[derive(Debug, Clone)]
pub struct Manners {
    /// Namespaces whose pods are never looked at: ours and the control plane's.
    pub exempt: Vec<String>,
    /// Literal secrets, where the namespace does not say.
    pub literals: Mode,
    /// The node's folders in pods without secrets of ours, where the namespace does not say.
    pub host_paths: Mode,
}

/// Why there is no verdict. The API server then does what `failurePolicy` says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JudgeError {
    /// The question cannot be read.
    #[error(transparent)]
    Review(#[from] ReviewError),
    /// Something had to be looked up and could not.
    #[error(transparent)]
    LookUp(#[from] LookUpError),
}

/// Answers questions.
pub struct Judge {
    cluster: Arc<dyn Cluster>,
    ground: Ground,
    manners: Manners,
    changes: mutate::Settings,
    /// Doors open by grants; `None`: by the namespace's label alone.
    gate: Option<Gate>,
}

// === impl Mode ===

impl Mode {
    /// Reads `deny`, `warn` or `ignore`.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        match text {
            "deny" => Some(Self::Deny),
            "warn" => Some(Self::Warn),
            "ignore" => Some(Self::Ignore),
            _ => None,
        }
    }
}

// === impl Judge ===

impl Judge {
    /// A judge. Nothing is asked yet.
    #[must_use]
    pub fn new(cluster: Arc<dyn Cluster>, ground: Ground, manners: Manners, changes: mutate::Settings) -> Self {
        Self { cluster, ground, manners, changes, gate: None }
    }

    /// The same, with doors that open by grants.
    #[must_use]
    pub fn with_gate(self, gate: Gate) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// Whether it is allowed. Changes nothing anywhere, so a dry run needs no care.
    ///
    /// # Errors
    /// There is no verdict.
    pub async fn validate(&self, question: &Question<'_>) -> Result<Verdict, JudgeError> {
        let verb = question.operation.as_str();
        if verb == "CREATE" && question.is_core("serviceaccounts", "token") {
            return self.token(question); // Whoever mints tokens in our own namespace could be our agent: none is exempt.
        }
        if let Some(gate) = self.gate.as_ref().filter(|_| question.is_core("namespaces", ""))
            && matches!(verb, "CREATE" | "UPDATE")
        {
            return Ok(gate.relabelled(question).await?);
        }
        if question.resource.group.is_empty() && question.resource.resource == "pods" && !self.is_exempt(question) {
            match (verb, question.sub_resource.as_str()) {
                // What the rules look at cannot be changed later, but for ephemeral containers.
                ("CREATE", "") | ("UPDATE", "ephemeralcontainers") => return self.pod(question).await,
                ("CONNECT", door) if rules::is_door(door) => return self.door(question, door).await,
                _ => {}
            }
        }
        match template::template(question)? {
            Some(pod) if !self.is_exempt(question) => self.template(question, &pod).await,
            _ => Ok(Verdict::allowed()),
        }
    }

    /// What is to be changed.
    ///
    /// # Errors
    /// There is no verdict.
    pub fn mutate(&self, question: &Question<'_>) -> Result<Verdict, JudgeError> {
        if question.operation != "CREATE" || !question.is_core("pods", "") || self.is_exempt(question) {
            return Ok(Verdict::allowed());
        }
        let pod: Pod = question.object("Pod")?;
        Ok(match mutate::patch(&pod, &question.namespace, &self.changes) {
            Ok(patch) => Verdict { patch, ..Verdict::allowed() },
            Err(why) => Verdict::denied(format!("dewdrop: {why}")),
        })
    }

    fn is_exempt(&self, question: &Question<'_>) -> bool {
        self.manners.exempt.contains(&question.namespace)
    }

    fn token(&self, question: &Question<'_>) -> Result<Verdict, JudgeError> {
        let request: TokenRequest = question.object("TokenRequest")?;
        let found = rules::token_for_us(&request, &question.user_info, &self.ground.audience);
        Ok(refused(found.as_slice()))
    }

    async fn pod(&self, question: &Question<'_>) -> Result<Verdict, JudgeError> {
        let pod: Pod = question.object("Pod")?;
        let (found, warnings) = self.look(question, &pod).await?;
        if let (Some(gate), "ephemeralcontainers", []) = (&self.gate, question.sub_resource.as_str(), found.as_slice())
        {
            let verdict = self.through(gate, question, "ephemeralcontainers", &pod).await?;
            return Ok(Verdict { warnings: [warnings, verdict.warnings].concat(), ..verdict });
        }
        Ok(Verdict { warnings, ..refused(&found) })
    }

    async fn template(&self, question: &Question<'_>, pod: &Pod) -> Result<Verdict, JudgeError> {
        let (found, warnings) = self.look(question, pod).await?;
        let told = found.iter().filter_map(template::warning);
        Ok(Verdict { warnings: told.chain(warnings).collect(), ..Verdict::allowed() })
    }

    /// What is refused, and what is only told.
    async fn look(&self, question: &Question<'_>, pod: &Pod) -> Result<(Vec<Violation>, Vec<String>), JudgeError> {
        let mut found = rules::check(pod, &question.namespace, &self.ground);
        let mut labels = Labels { cluster: self.cluster.as_ref(), namespace: &question.namespace, known: None };
        let mut warnings = Vec::new();
        let host_paths = rules::check_host_paths(pod, &self.ground);
        if host_paths.iter().any(|one| !found.contains(one)) {
            let mode = labels.mode(HOST_PATHS, self.manners.host_paths).await?;
            sort(host_paths, mode, &mut found, &mut warnings);
        }
        let literals = rules::literal_secrets(pod);
        if !literals.is_empty() {
            let mode = labels.mode(LITERALS, self.manners.literals).await?;
            sort(literals, mode, &mut found, &mut warnings);
        }
        Ok((found, warnings))
    }

    async fn door(&self, question: &Question<'_>, door: &str) -> Result<Verdict, JudgeError> {
        let Some(pod) = self.cluster.pod(&question.namespace, &question.name).await? else {
            return Ok(Verdict::allowed()); // The API server says itself that there is none.
        };
        let Some(violation) = rules::through_a_door(door, &pod, &self.ground) else { return Ok(Verdict::allowed()) };
        if let Some(gate) = &self.gate {
            return self.through(gate, question, door, &pod).await;
        }
        let labels = self.cluster.labels(&question.namespace).await?;
        Ok(if gate::is_open(&labels) { Verdict::allowed() } else { refused(&[violation]) })
    }

    /// By the gate, where the pod has secrets of ours.
    async fn through(
        &self,
        gate: &Gate,
        question: &Question<'_>,
        door: &str,
        pod: &Pod,
    ) -> Result<Verdict, JudgeError> {
        let owned = pod.owned(&self.ground.audience);
        if owned.is_empty() {
            return Ok(Verdict::allowed());
        }
        let labels = self.cluster.labels(&question.namespace).await?;
        Ok(gate.judge(&Visit { door, question, pod, owned: &owned, labels: &labels }).await)
    }
}

/// The labels of a namespace, looked up when they matter, once.
struct Labels<'a> {
    cluster: &'a dyn Cluster,
    namespace: &'a str,
    known: Option<std::collections::BTreeMap<String, String>>,
}

impl Labels<'_> {
    /// A value that is not known counts as none, as a typing mistake must not stop a namespace.
    async fn mode(&mut self, label: &str, usual: Mode) -> Result<Mode, LookUpError> {
        let labels = match self.known.take() {
            Some(known) => known,
            None => self.cluster.labels(self.namespace).await?,
        };
        let mode = labels.get(label).and_then(|value| Mode::read(value)).unwrap_or(usual);
        self.known = Some(labels);
        Ok(mode)
    }
}

fn sort(new: Vec<Violation>, mode: Mode, found: &mut Vec<Violation>, warnings: &mut Vec<String>) {
    match mode {
        Mode::Deny => found.extend(new),
        Mode::Warn => warnings.extend(new.iter().map(|violation| format!("dewdrop: {violation}"))),
        Mode::Ignore => {}
    }
}

fn refused(found: &[Violation]) -> Verdict {
    if found.is_empty() { Verdict::allowed() } else { Verdict::denied(format!("dewdrop: {}", rules::told(found))) }
}

#[cfg(test)]
mod gate_tests;
#[cfg(test)]
mod tests;
