use dewdrop_core::wire::parse_yaml;
use serde_json::json;

use super::*;

const AUTHORITY: &str = "-----BEGIN CERTIFICATE-----\nb3Vycw==\n-----END CERTIFICATE-----\n";
const FORMER: &str = "-----BEGIN CERTIFICATE-----\nZm9ybWVy\n-----END CERTIFICATE-----\n";

/// The objects of a manifest that are of this kind.
fn shipped(manifest: &str, kind: &str) -> Vec<Value> {
    let path = format!("{}/../../deploy/admission/{manifest}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let all = text.split("\n---\n").map(|document| parse_yaml(document).unwrap());
    all.filter(|object| object["kind"] == kind).collect()
}

fn configuration(kind: &str) -> Value {
    let mut found = shipped("webhooks.yaml", kind).remove(0);
    for webhook in found["webhooks"].as_array_mut().unwrap() {
        webhook["clientConfig"]["caBundle"] = json!(STANDARD.encode(format!("{AUTHORITY}{FORMER}")));
    }
    found
}

/// What the repository ships, with the CA that the webhook writes.
fn well() -> Guards {
    Guards {
        system: "dewdrop-system".into(),
        mutating: configuration("MutatingWebhookConfiguration"),
        validating: configuration("ValidatingWebhookConfiguration"),
        service: json!({"spec": {"ports": [{"port": 443}]}}),
        slices: json!({"items": [{"endpoints": [{"conditions": {"ready": false}}, {"conditions": {"ready": true}}]}]}),
        authority: Some(Ok(AUTHORITY.replace('\n', "\r\n"))),
        policies: json!({"items": shipped("policies.yaml", "ValidatingAdmissionPolicy")}),
        bindings: json!({"items": shipped("policies.yaml", "ValidatingAdmissionPolicyBinding")}),
    }
}

fn without_webhook(seen: &mut Guards) {
    (seen.mutating, seen.validating) = (Value::Null, Value::Null);
    (seen.service, seen.slices, seen.authority) = (Value::Null, Value::Null, None);
}

fn without_policies(seen: &mut Guards) {
    (seen.policies, seen.bindings) = (json!({"items": []}), json!({"items": []}));
}

#[test]
fn what_is_shipped_is_well_together_and_each_alone() {
    type Spoil = fn(&mut Guards);
    for (spoil, count) in [(((|_| ()) as Spoil), 2), (without_webhook, 1), (without_policies, 1)] {
        let mut seen = well();
        spoil(&mut seen);
        let findings = all(&seen);
        assert!(findings.iter().all(|finding| finding.grade == Grade::Good), "{findings:?}");
        assert_eq!(findings.len(), count);
    }
}

/// The tables name what the manifests hold, no more and no less.
#[test]
fn all_that_is_shipped_is_looked_at() {
    let seen = well();
    let names = |list: &Value, pointer: &str| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| text(one, pointer).to_owned()).collect()
    };
    let known = |table: &[(&str, Away)]| table.iter().map(|(name, _)| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(names(&seen.mutating["webhooks"], "/name"), known(MUTATING));
    assert_eq!(names(&seen.validating["webhooks"], "/name"), known(VALIDATING));
    assert_eq!(names(&seen.policies["items"], "/metadata/name"), known(POLICIES));
}

#[test]
fn no_guards_at_all_is_a_warning() {
    let findings = all(&Guards::default());
    assert!(findings.len() == 1 && findings[0].grade == Grade::Warning, "{findings:?}");
    assert!(findings[0].text().contains("there are no guards"), "{findings:?}");
}

#[test]
fn each_thing_that_is_wrong_is_named() {
    type Spoil = fn(&mut Guards);
    let cases: [(Grade, &str, Spoil); 16] = [
        (Grade::Bad, "no MutatingWebhookConfiguration", |seen| seen.mutating = Value::Null),
        (Grade::Bad, "no ValidatingWebhookConfiguration", |seen| seen.validating = Value::Null),
        (Grade::Bad, "lacks pods.dewdrop.dev", |seen| {
            seen.validating["webhooks"].as_array_mut().unwrap().remove(0);
        }),
        (Grade::Warning, "webhook pods.dewdrop.dev has failurePolicy Ignore", |seen| {
            seen.validating["webhooks"][0]["failurePolicy"] = json!("Ignore");
        }),
        (Grade::Warning, "webhook open-doors.dewdrop.dev has failurePolicy Fail", |seen| {
            seen.validating["webhooks"][2]["failurePolicy"] = json!("Fail");
        }),
        (Grade::Warning, "is asked of namespace kube-system and dewdrop-system, too", |seen| {
            seen.mutating["webhooks"][0]["namespaceSelector"] = json!({});
        }),
        (Grade::Warning, "is asked of namespace elsewhere, too", |seen| seen.system = "elsewhere".into()),
        (Grade::Bad, "(caBundle) for wrap.dewdrop.dev", |seen| {
            seen.mutating["webhooks"][0]["clientConfig"]["caBundle"] = json!("");
        }),
        (Grade::Bad, "another authority (caBundle) for doors.dewdrop.dev", |seen| {
            seen.validating["webhooks"][1]["clientConfig"]["caBundle"] = json!(STANDARD.encode(FORMER));
        }),
        (Grade::Unknown, "not looked at: forbidden", |seen| seen.authority = Some(Err("forbidden".into()))),
        (Grade::Bad, "Service dewdrop-system/dewdrop-webhook is not there", |seen| seen.service = Value::Null),
        (Grade::Bad, "has no port 443", |seen| seen.service["spec"]["ports"][0]["port"] = json!(8443)),
        (Grade::Bad, "no pod is ready behind", |seen| {
            seen.slices["items"][0]["endpoints"].as_array_mut().unwrap().remove(1);
        }),
        (Grade::Bad, "there is no tokens.dewdrop.dev", |seen| {
            seen.policies["items"].as_array_mut().unwrap().remove(2);
        }),
        (Grade::Bad, "nothing binds the admission policy pods.dewdrop.dev", |seen| {
            seen.bindings["items"].as_array_mut().unwrap().remove(0);
        }),
        (Grade::Warning, "policy pods.dewdrop.dev is bound, but refuses nothing", |seen| {
            seen.bindings["items"][0]["spec"]["validationActions"] = json!(["Audit"]);
        }),
    ];
    for (grade, words, spoil) in cases {
        let mut seen = well();
        spoil(&mut seen);
        let findings = all(&seen);
        let found = findings.iter().find(|finding| finding.grade != Grade::Good);
        let told = found.map(Finding::text).unwrap_or_default();
        assert!(found.is_some_and(|it| it.grade == grade) && told.contains(words), "{words:?} is not in {told:?}");
    }
}

/// One namespace that pods of their own choice are guarded in leaves the control plane alone.
#[test]
fn a_selector_of_ones_own_is_taken() {
    let mut seen = well();
    for selector in [
        json!({"matchLabels": {"team": "a"}}),
        json!({"matchExpressions": [{"key": "guarded", "operator": "Exists"}]}),
        json!({"matchExpressions": [{"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["shop"]}]}),
    ] {
        seen.mutating["webhooks"][0]["namespaceSelector"] = selector;
        assert!(all(&seen).iter().all(|finding| finding.grade == Grade::Good));
    }
}
