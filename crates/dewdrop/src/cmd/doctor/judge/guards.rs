//! The guards: the webhook's two configurations with what they lead to, and the policies. Either is enough, and both are better.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::super::look::{CONFIGURATION, Guards};
use super::{Finding, Grade, bad, good, items, some, text};

/// What a webhook or a policy does for those who ask when it cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Away {
    /// It keeps pods from each other's secrets, so they wait for it.
    Refuses,
    /// It only tells, so it stops nobody.
    Allows,
}

/// As in deploy/admission/webhooks.yaml.
const MUTATING: &[(&str, Away)] = &[("wrap.dewdrop.dev", Away::Refuses)];
const VALIDATING: &[(&str, Away)] = &[
    ("pods.dewdrop.dev", Away::Refuses),
    ("doors.dewdrop.dev", Away::Refuses),
    ("open-doors.dewdrop.dev", Away::Allows),
    ("namespace-doors.dewdrop.dev", Away::Allows),
    ("tokens.dewdrop.dev", Away::Refuses),
    ("host-paths.dewdrop.dev", Away::Refuses),
    ("literal-secrets-deny.dewdrop.dev", Away::Refuses),
    ("templates.dewdrop.dev", Away::Allows),
    ("literal-secrets-warn.dewdrop.dev", Away::Allows),
];
/// As in deploy/admission/policies.yaml.
const POLICIES: &[(&str, Away)] = &[
    ("pods.dewdrop.dev", Away::Refuses),
    ("host-paths.dewdrop.dev", Away::Refuses),
    ("tokens.dewdrop.dev", Away::Refuses),
    ("doors.dewdrop.dev", Away::Refuses),
    ("literal-secrets.dewdrop.dev", Away::Allows),
];
/// Of the webhooks, those that every namespace meets but the control plane's and ours.
const SPARING: &[&str] = &["wrap.dewdrop.dev", "pods.dewdrop.dev", "doors.dewdrop.dev"];

/// All findings about the guards.
pub(super) fn all(seen: &Guards) -> Vec<Finding> {
    let has_webhook = !seen.mutating.is_null() || !seen.validating.is_null();
    let has_policies = POLICIES.iter().any(|(name, _)| named(&seen.policies, name).is_some());
    let mut findings = Vec::new();
    if has_webhook {
        findings.extend(webhook(seen));
    }
    if has_policies {
        findings.extend(policies(seen));
    }
    if !has_webhook && !has_policies {
        findings.push(warning(
            "there are no guards: whoever may start pods in a namespace can look into their neighbours' secrets",
            "install them: webhook.enabled=true of the chart, policies.enabled=true, or both (docs/guides/admission.md)",
        ));
    }
    findings
}

fn warning(what: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding::new(Grade::Warning, what, remedy)
}

fn webhook(seen: &Guards) -> Vec<Finding> {
    let mut findings = configuration("MutatingWebhookConfiguration", &seen.mutating, MUTATING, &seen.system);
    findings.extend(configuration("ValidatingWebhookConfiguration", &seen.validating, VALIDATING, &seen.system));
    findings.extend(trust(seen));
    findings.extend(service(seen));
    if findings.is_empty() {
        findings.push(good("the webhook is asked as it should be, trusted, and there"));
    }
    if let Some(Err(why)) = &seen.authority {
        findings.push(Finding::new(Grade::Unknown, format!("the webhook's authority was not looked at: {why}"), ""));
    }
    findings
}

fn configuration(kind: &str, found: &Value, wanted: &[(&str, Away)], system: &str) -> Vec<Finding> {
    const CHART: &str = "take the chart's (webhook.enabled=true), or deploy/admission/webhooks.yaml";
    if found.is_null() {
        return vec![bad(format!("there is no {kind} {CONFIGURATION}"), CHART)];
    }
    let webhooks = |name: &str| hooks(found).find(|webhook| text(webhook, "/name") == name);
    let missing: Vec<String> =
        wanted.iter().filter(|(name, _)| webhooks(name).is_none()).map(|(name, _)| (*name).to_owned()).collect();
    let mut findings = Vec::new();
    if !missing.is_empty() {
        findings.push(bad(format!("{kind} {CONFIGURATION} lacks {}", some(&missing)), CHART));
    }
    for (name, away) in wanted {
        let Some(webhook) = webhooks(name) else { continue };
        findings.extend(when_away(&format!("webhook {name}"), text(webhook, "/failurePolicy"), *away));
        let met: Vec<String> = ["kube-system", system]
            .into_iter()
            .filter(|namespace| SPARING.contains(name) && !spares(webhook, namespace))
            .map(str::to_owned)
            .collect();
        if !met.is_empty() {
            findings.push(warning(
                format!("webhook {name} is asked of namespace {}, too", met.join(" and ")),
                "leave them out by its namespaceSelector: while the webhook is away, nothing could be mended there",
            ));
        }
    }
    findings
}

fn hooks(configuration: &Value) -> impl Iterator<Item = &Value> {
    configuration.pointer("/webhooks").and_then(Value::as_array).into_iter().flatten()
}

fn when_away(what: &str, failure_policy: &str, away: Away) -> Option<Finding> {
    match (failure_policy, away) {
        ("Ignore", Away::Refuses) => Some(warning(
            format!("{what} has failurePolicy Ignore: when it fails, nothing is guarded"),
            "make it Fail, as in the chart: only those who ask for secrets wait for it",
        )),
        ("Fail", Away::Allows) => Some(warning(
            format!(
                "{what} has failurePolicy Fail: when it fails, others are stopped, though it only warns and records"
            ),
            "make it Ignore, as in the chart",
        )),
        _ => None,
    }
}

/// Whether a webhook's selector leaves a namespace out. Who asks for a label of his own does.
fn spares(webhook: &Value, namespace: &str) -> bool {
    let labels = webhook.pointer("/namespaceSelector/matchLabels").and_then(Value::as_object);
    let expressions = webhook.pointer("/namespaceSelector/matchExpressions").and_then(Value::as_array);
    let mut expressions = expressions.into_iter().flatten();
    labels.is_some_and(|labels| !labels.is_empty())
        || expressions.any(|one| {
            let has = one["values"].as_array().is_some_and(|values| values.iter().any(|value| value == namespace));
            match (one["key"].as_str(), one["operator"].as_str()) {
                (Some("kubernetes.io/metadata.name"), Some("NotIn")) => has,
                (Some("kubernetes.io/metadata.name"), Some("In")) => !has,
                (_, Some("In" | "Exists")) => true,
                _ => false,
            }
        })
}

/// Whether the API server trusts what the webhook shows.
fn trust(seen: &Guards) -> Vec<Finding> {
    let all = || hooks(&seen.mutating).chain(hooks(&seen.validating));
    let names = |of: &dyn Fn(&str) -> bool| -> Vec<String> {
        let bundle = |webhook: &&Value| of(text(webhook, "/clientConfig/caBundle"));
        all().filter(bundle).map(|webhook| text(webhook, "/name").to_owned()).collect()
    };
    let empty = names(&str::is_empty);
    if !empty.is_empty() {
        return vec![bad(
            format!("the API server knows no authority (caBundle) for {}", some(&empty)),
            "the webhook writes it within a minute (its log says why not); with certificates=secret it is for cert-manager, or you",
        )];
    }
    let Some(authority) = seen.authority.as_ref().and_then(|known| known.as_ref().ok()) else { return Vec::new() };
    let ours = certificates(authority);
    let strange = names(&|bundle| {
        let bundle = STANDARD.decode(bundle).ok().and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
        let trusted = certificates(&bundle);
        ours.first().is_none_or(|first| !trusted.contains(first))
    });
    if strange.is_empty() {
        return Vec::new();
    }
    vec![bad(
        format!(
            "the API server trusts another authority (caBundle) for {} than the webhook's Secret holds",
            some(&strange)
        ),
        "the webhook mends it within a minute (its log says why not); with certificates=secret put ca.crt of that Secret there",
    )]
}

/// The certificates of a PEM text, without what may differ in its lines.
fn certificates(pem: &str) -> Vec<String> {
    pem.split("-----BEGIN CERTIFICATE-----")
        .skip(1)
        .filter_map(|rest| rest.split_once("-----END CERTIFICATE-----"))
        .map(|(body, _)| body.split_whitespace().collect())
        .collect()
}

/// Whether there is somebody to be asked.
fn service(seen: &Guards) -> Option<Finding> {
    let named =
        hooks(&seen.mutating).chain(hooks(&seen.validating)).find_map(|it| it.pointer("/clientConfig/service"))?;
    let (namespace, name) = (text(named, "/namespace"), text(named, "/name"));
    let port = named.get("port").and_then(Value::as_u64).unwrap_or(443);
    let consequence = "pods that ask for secrets are refused, and so is exec";
    if seen.service.is_null() {
        return Some(bad(
            format!("the webhook's Service {namespace}/{name} is not there: {consequence}"),
            "install the webhook, or take its two configurations away",
        ));
    }
    let ports = seen.service.pointer("/spec/ports").and_then(Value::as_array);
    if !ports.is_some_and(|ports| ports.iter().any(|one| one["port"].as_u64() == Some(port))) {
        return Some(bad(
            format!("the webhook's Service {namespace}/{name} has no port {port}: {consequence}"),
            "make the port of its configurations and of the Service the same",
        ));
    }
    let endpoints = items(&seen.slices).filter_map(|slice| slice["endpoints"].as_array()).flatten();
    // An endpoint that says nothing is ready, as the API has it.
    let is_ready = |endpoint: &Value| endpoint.pointer("/conditions/ready").and_then(Value::as_bool) != Some(false);
    if endpoints.filter(|endpoint| is_ready(endpoint)).count() == 0 {
        return Some(bad(
            format!("no pod is ready behind the webhook's Service {namespace}/{name}: {consequence}"),
            format!("kubectl --namespace {namespace} get pods; kubectl logs says why"),
        ));
    }
    None
}

fn policies(seen: &Guards) -> Vec<Finding> {
    const CHART: &str = "take the chart's (policies.enabled=true), or deploy/admission/policies.yaml";
    let (mut missing, mut loose, mut findings) = (Vec::new(), Vec::new(), Vec::new());
    for (name, away) in POLICIES {
        let Some(policy) = named(&seen.policies, name) else {
            missing.push((*name).to_owned());
            continue;
        };
        // Where the policy says nothing it refuses, as the API has it.
        findings.extend(when_away(&format!("policy {name}"), text(policy, "/spec/failurePolicy"), *away));
        let mut bindings =
            items(&seen.bindings).filter(|binding| text(binding, "/spec/policyName") == *name).peekable();
        if bindings.peek().is_none() {
            loose.push((*name).to_owned());
        } else if *away == Away::Refuses && !bindings.any(denies) {
            findings.push(warning(
                format!("policy {name} is bound, but refuses nothing"),
                "bind it with validationActions: [Deny]",
            ));
        }
    }
    if !missing.is_empty() {
        findings.push(bad(format!("of the admission policies there is no {}", some(&missing)), CHART));
    }
    if !loose.is_empty() {
        findings.push(bad(format!("nothing binds the admission policy {}, so it does nothing", some(&loose)), CHART));
    }
    if findings.is_empty() {
        findings.push(good("the admission policies are there and bound"));
    }
    findings
}

fn denies(binding: &Value) -> bool {
    let actions = binding.pointer("/spec/validationActions").and_then(Value::as_array);
    actions.is_some_and(|actions| actions.iter().any(|action| action == "Deny"))
}

fn named<'a>(list: &'a Value, name: &str) -> Option<&'a Value> {
    items(list).find(|item| text(item, "/metadata/name") == name)
}

#[cfg(test)]
mod tests;
