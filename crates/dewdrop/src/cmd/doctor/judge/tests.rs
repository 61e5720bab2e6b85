use serde_json::json;

use super::*;

/// A cluster where all is well.
fn well() -> Seen {
    Seen {
        version: json!({"serverVersion": {"major": "1", "minor": "37+"}}),
        nodes: json!({"items": [
            {"metadata": {"name": "n1"}, "status": {"nodeInfo": {"operatingSystem": "linux", "containerRuntimeVersion": "containerd://2.3.7"}}},
            {"metadata": {"name": "w1"}, "status": {"nodeInfo": {"operatingSystem": "windows"}}},
        ]}),
        csi_nodes: json!({"items": [{"metadata": {"name": "n1"}, "spec": {"drivers": [{"name": "other"}, {"name": DRIVER}]}}]}),
        driver: json!({"spec": {
            "attachRequired": false, "podInfoOnMount": true, "requiresRepublish": true, "volumeLifecycleModes": ["Ephemeral"],
            "tokenRequests": [{"audience": "dewdrop"}],
        }}),
        namespace: json!({"metadata": {"name": "dewdrop-system", "labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
        pods: json!({"items": [{"metadata": {"name": "dewdrop-0"}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}]}),
        role: Some(json!({"agent": true, "audience": "dewdrop"})),
        guards: None,
    }
}

fn worst(seen: &Seen) -> (Grade, String) {
    let found = all(seen).into_iter().max_by_key(|finding| finding.grade).unwrap();
    (found.grade, found.text())
}

#[test]
fn a_cluster_where_all_is_well_has_only_good_findings() {
    let findings = all(&well());
    assert!(findings.iter().all(|finding| finding.grade == Grade::Good), "{findings:?}");
    assert_eq!(findings.len(), 6);
}

#[test]
fn each_thing_that_is_missing_is_named() {
    type Spoil = fn(&mut Seen);
    let cases: [(&str, Spoil); 10] = [
        ("1.35 is too old", |seen| seen.version = json!({"serverVersion": {"major": "1", "minor": "35"}})),
        ("is not there", |seen| seen.namespace = Value::Null),
        ("\"restricted\", which refuses", |seen| {
            seen.namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = json!("restricted");
        }),
        ("no CSIDriver", |seen| seen.driver = Value::Null),
        ("podInfoOnMount must be true", |seen| seen.driver["spec"]["podInfoOnMount"] = json!(false)),
        ("tokenRequests must name", |seen| seen.driver["spec"]["tokenRequests"] = json!([])),
        ("no agent on n1", |seen| seen.csi_nodes = json!({"items": []})),
        ("dewdrop-0 is not Ready (ImagePullBackOff)", |seen| {
            seen.pods["items"][0]["status"] =
                json!({"containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff"}}}]});
        }),
        ("an ordinary one", |seen| seen.role = Some(json!({"agent": false}))),
        ("wants the audience \"vault\"", |seen| seen.role = Some(json!({"agent": true, "audience": "vault"}))),
    ];
    for (words, spoil) in cases {
        let mut seen = well();
        spoil(&mut seen);
        let (grade, told) = worst(&seen);
        assert!(grade == Grade::Bad && told.contains(words), "{words:?} is not in {told:?}");
    }
}

#[test]
fn what_is_not_ours_to_keep_running_is_not_missed() {
    let mut seen = well();
    let over = json!({"metadata": {"name": "job"}, "status": {"phase": "Succeeded"}});
    let test = json!({
        "metadata": {"name": "dewdrop-test-guards", "annotations": {"helm.sh/hook": "test"}},
        "status": {"phase": "Failed"},
    });
    seen.pods["items"].as_array_mut().unwrap().extend([over, test]);
    assert_eq!(worst(&seen).0, Grade::Good, "{}", worst(&seen).1);
}

#[test]
fn an_old_runtime_is_a_warning_only() {
    let mut seen = well();
    seen.nodes["items"][0]["status"]["nodeInfo"]["containerRuntimeVersion"] = json!("containerd://1.7.33");
    let (grade, told) = worst(&seen);
    assert!(grade == Grade::Warning && told.contains("NRI") && told.contains("n1"), "{told}");
}

#[test]
fn an_empty_answer_breaks_nothing() {
    let found = all(&Seen::default());
    assert!(found.iter().any(|finding| finding.grade == Grade::Bad));
}

#[test]
fn many_names_are_cut() {
    let names: Vec<String> = (0..9).map(|n| format!("n{n}")).collect();
    assert_eq!(some(&names), "n0, n1, n2, n3, n4 and 4 more");
}
