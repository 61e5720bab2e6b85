//! What reads the API server's bytes: the fuzzer and the ordinary tests both call these. They fail by panicking.

use dewdrop_core::fuzzing::Target;
use serde::Deserialize;

use crate::mutate::{self, Agentless};
use crate::operator::House;
use crate::operator::kinds::{Grant, SecretAccess};
use crate::pod::Pod;
use crate::review::Question;
use crate::rules::{self, Ground, SecretFolders};

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[("admission-review", admission_review), ("secret-access", secret_access)];

const AUDIENCE: &str = "dewdrop";

/// A question about a pod, as far as it can be judged without looking anything up.
fn admission_review(bytes: &[u8]) {
    let Ok(question) = Question::read(bytes) else { return };
    let _ = (question.user_info.groups().count(), question.is_core("pods", ""));
    if let Ok(pod) = question.object::<Pod>("pod") {
        let named = pod.all_containers().filter(|one| pod.container(&one.name).is_some()).count();
        assert!(named <= pod.all_containers().count(), "more containers than there are");
        judge(&pod, &question.namespace);
    }
}

/// Whatever a pod says: in one that breaks no rule nobody mounts what is another's.
fn judge(pod: &Pod, namespace: &str) {
    let ground = Ground {
        audience: AUDIENCE.into(),
        folders: SecretFolders::new("/var/lib/kubelet"),
        exec_image: Some("dewdrop-exec:1".into()),
    };
    let agentless = Agentless {
        image: "dewdrop-exec:1".into(),
        image_volume: false,
        address: "https://dewdrop:8200".into(),
        auth_mount: "kubernetes".into(),
        ca: None,
    };
    let _ = mutate::patch(pod, namespace, &mutate::Settings { audience: AUDIENCE.into(), agentless: Some(agentless) });
    let _ = (rules::literal_secrets(pod).len(), rules::check_host_paths(pod, &ground).len());
    if !rules::check(pod, namespace, &ground).is_empty() {
        return;
    }
    for one in pod.owned(AUDIENCE) {
        let mut others = pod.all_containers().filter(|container| container.name != one.container());
        assert!(!others.any(|other| other.mounts_of(one.volume()).next().is_some()), "a volume is another's too");
    }
}

#[derive(Deserialize)]
struct Declared {
    access: SecretAccess,
    grants: Vec<Grant>,
}

/// Whatever is declared and granted: what is written at the server was granted, and is for containers of one namespace.
fn secret_access(bytes: &[u8]) {
    let (Ok(Declared { access, grants }), Ok(house)) = (serde_json::from_slice(bytes), House::new("k8s.", AUDIENCE))
    else {
        return;
    };
    let Ok(plan) = house.plan(&access, &grants) else { return };
    let namespace = &access.metadata.namespace;
    let lets = |granted: &str, path: &str| match granted.strip_suffix("/*") {
        Some(folder) => path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')),
        None => granted == path,
    };
    let granted = |path: &str| {
        let mut all = grants.iter().flat_map(|grant| &grant.spec.paths);
        all.any(|granted| lets(&granted.path.replace("{namespace}", namespace), path))
    };
    assert!(access.spec.paths.iter().all(|wanted| granted(&wanted.path)), "more than was granted");
    assert_eq!(plan.policy.lines().count(), access.spec.paths.len(), "a path is more than one rule");
    assert_eq!(plan.role["bound_service_account_namespaces"], serde_json::json!([namespace]));
    assert!(plan.role["bound_container_names"].as_array().is_some_and(|names| !names.is_empty()));
}

#[cfg(test)]
#[test]
fn the_webhook_and_the_operator_read_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}
