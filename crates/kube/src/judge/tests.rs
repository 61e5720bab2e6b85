use std::collections::BTreeMap;

use async_trait::async_trait;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::rules::SecretFolders;

/// A cluster with one pod and one namespace, or one that does not answer.
#[derive(Default)]
pub struct Fake {
    pub pod: Option<Value>,
    pub labels: BTreeMap<String, String>,
    pub away: bool,
}

#[async_trait]
impl Cluster for Fake {
    async fn pod(&self, _: &str, _: &str) -> Result<Option<Pod>, LookUpError> {
        if self.away {
            return Err(LookUpError::Away("cut".into()));
        }
        Ok(self.pod.clone().map(|pod| serde_json::from_value(pod).unwrap()))
    }

    async fn labels(&self, _: &str) -> Result<BTreeMap<String, String>, LookUpError> {
        if self.away { Err(LookUpError::Away("cut".into())) } else { Ok(self.labels.clone()) }
    }
}

pub fn judge(fake: Fake) -> Judge {
    let ground =
        Ground { audience: "dewdrop".into(), folders: SecretFolders::new("/var/lib/kubelet"), exec_image: None };
    let manners = Manners {
        exempt: vec!["kube-system".into(), "dewdrop-system".into()],
        literals: Mode::Warn,
        host_paths: Mode::Ignore,
    };
    Judge::new(Arc::new(fake), ground, manners, mutate::Settings { audience: "dewdrop".into(), agentless: None })
}

pub fn labelled(name: &str, value: &str) -> Fake {
    Fake { labels: BTreeMap::from([(name.to_owned(), value.to_owned())]), ..Fake::default() }
}

pub fn ask(operation: &str, sub: &str, namespace: &str, object: &Value) -> String {
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {
        "uid": "u", "operation": operation, "resource": {"group": "", "version": "v1", "resource": "pods"}, "subResource": sub,
        "name": "p", "namespace": namespace, "object": object, "userInfo": {"username": "alice"},
    }})
    .to_string()
}

async fn validate(fake: Fake, body: &str) -> Result<Verdict, JudgeError> {
    judge(fake).validate(&Question::read(body.as_bytes()).unwrap()).await
}

pub fn ours() -> Value {
    json!({"spec": {
        "volumes": [{"name": "db", "csi": {"driver": "csi.dewdrop.dev", "readOnly": true,
            "volumeAttributes": {"container": "app", "role": "app", "credentials": "db = x/y"}}}],
        "containers": [{"name": "app", "volumeMounts": [{"name": "db", "mountPath": "/db", "readOnly": true}]}],
    }})
}

pub fn bad() -> Value {
    let mut pod = ours();
    pod["spec"]["hostPID"] = json!(true);
    pod
}

pub fn plain(env: &Value) -> Value {
    json!({"spec": {"containers": [{"name": "app", "env": env}]}})
}

#[tokio::test]
async fn a_bad_pod_is_refused_and_a_good_one_is_not() {
    let told = validate(Fake::default(), &ask("CREATE", "", "team", &bad())).await.unwrap().denied.unwrap();
    assert!(told.starts_with("dewdrop: [host-namespaces] "), "{told}");
    assert_eq!(validate(Fake::default(), &ask("CREATE", "", "team", &ours())).await, Ok(Verdict::allowed()));
}

#[tokio::test]
async fn what_nobody_guards_is_allowed_unread() {
    for (operation, sub) in [
        ("UPDATE", ""),
        ("DELETE", ""),
        ("UPDATE", "status"),
        ("CREATE", "binding"),
        ("CREATE", "eviction"),
        ("CONNECT", "proxy"),
        ("", ""),
    ] {
        let verdict =
            validate(Fake { away: true, ..Fake::default() }, &ask(operation, sub, "team", &json!("no pod"))).await;
        assert_eq!(verdict, Ok(Verdict::allowed()), "{operation} {sub}");
    }
    let other = ask("CREATE", "", "team", &json!(null)).replace("\"pods\"", "\"configmaps\"");
    assert_eq!(validate(Fake::default(), &other).await, Ok(Verdict::allowed()));
    let other = ask("CREATE", "", "team", &bad()).replace("\"group\":\"\"", "\"group\":\"metrics.k8s.io\"");
    assert_eq!(validate(Fake::default(), &other).await, Ok(Verdict::allowed()));
}

#[tokio::test]
async fn our_own_namespace_and_the_control_plane_are_let_be() {
    for namespace in ["kube-system", "dewdrop-system"] {
        let exec = ask("CONNECT", "exec", namespace, &json!({}));
        assert_eq!(validate(Fake { away: true, ..Fake::default() }, &exec).await, Ok(Verdict::allowed()));
        assert_eq!(validate(Fake::default(), &ask("CREATE", "", namespace, &bad())).await, Ok(Verdict::allowed()));
    }
}

#[tokio::test]
async fn a_pod_that_is_none_is_no_verdict() {
    for object in [json!(null), json!("pod"), json!({"spec": {"containers": 7}})] {
        let verdict = validate(Fake::default(), &ask("CREATE", "", "team", &object)).await;
        assert!(matches!(verdict, Err(JudgeError::Review(ReviewError::Object { .. }))), "{object}");
    }
}

#[tokio::test]
async fn doors_open_by_label_alone() {
    for door in rules::DOORS {
        let body = ask("CONNECT", door, "team", &json!({"kind": "PodExecOptions"}));
        let there = |labels: Fake| Fake { pod: Some(ours()), ..labels };
        let told = validate(there(Fake::default()), &body).await.unwrap().denied.unwrap();
        assert!(told.contains(door) && told.contains("dewdrop.dev/allow-exec"), "{told}");
        assert!(validate(there(labelled("dewdrop.dev/allow-exec", "yes")), &body).await.unwrap().denied.is_some());
        assert_eq!(validate(there(labelled("dewdrop.dev/allow-exec", "true")), &body).await, Ok(Verdict::allowed()));
        assert_eq!(validate(Fake::default(), &body).await, Ok(Verdict::allowed()), "no such pod");
        assert_eq!(
            validate(Fake { pod: Some(plain(&json!([]))), ..Fake::default() }, &body).await,
            Ok(Verdict::allowed())
        );
        let away = validate(Fake { away: true, ..Fake::default() }, &body).await;
        assert!(matches!(away, Err(JudgeError::LookUp(_))));
    }
}

#[tokio::test]
async fn literal_secrets_by_namespace() {
    let body = ask("CREATE", "", "team", &plain(&json!([{"name": "DB_PASSWORD", "value": "hunter2-canary"}])));
    let warned = validate(Fake::default(), &body).await.unwrap();
    assert_eq!((warned.denied, warned.warnings.len()), (None, 1));
    assert!(warned.warnings[0].contains("DB_PASSWORD") && !warned.warnings[0].contains("hunter2"));
    let typo = validate(labelled("dewdrop.dev/literal-secrets", "denny"), &body).await.unwrap();
    assert_eq!(typo.warnings.len(), 1);
    let denied = validate(labelled("dewdrop.dev/literal-secrets", "deny"), &body).await.unwrap();
    assert!(denied.denied.is_some_and(|told| told.contains("[literal-secrets]") && !told.contains("hunter2")));
    assert_eq!(validate(labelled("dewdrop.dev/literal-secrets", "ignore"), &body).await, Ok(Verdict::allowed()));
    assert!(validate(Fake { away: true, ..Fake::default() }, &body).await.is_err());
    let innocent = ask("CREATE", "", "team", &plain(&json!([{"name": "MODE", "value": "x"}])));
    assert_eq!(
        validate(Fake { away: true, ..Fake::default() }, &innocent).await,
        Ok(Verdict::allowed()),
        "nothing is looked up"
    );
}

#[tokio::test]
async fn folders_of_the_node_by_namespace_and_always_beside_our_volumes() {
    let host = json!({"name": "h", "hostPath": {"path": "/var/lib"}});
    let other = ask("CREATE", "", "team", &json!({"spec": {"volumes": [host], "containers": []}}));
    assert_eq!(validate(Fake::default(), &other).await, Ok(Verdict::allowed()));
    assert!(validate(labelled("dewdrop.dev/host-paths", "deny"), &other).await.unwrap().denied.is_some());
    assert_eq!(validate(labelled("dewdrop.dev/host-paths", "warn"), &other).await.unwrap().warnings.len(), 1);
    let mut pod = ours();
    pod["spec"]["volumes"].as_array_mut().unwrap().push(host.clone());
    let both = validate(labelled("dewdrop.dev/host-paths", "ignore"), &ask("CREATE", "", "team", &pod)).await.unwrap();
    assert_eq!(both.denied.unwrap().matches("[host-path]").count(), 1);
}

#[tokio::test]
async fn an_ephemeral_container_is_looked_at_in_the_whole_pod() {
    let mut pod = ours();
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug", "targetContainerName": "app"}]);
    let told =
        validate(Fake::default(), &ask("UPDATE", "ephemeralcontainers", "team", &pod)).await.unwrap().denied.unwrap();
    assert!(told.contains("[ephemeral-target]"), "{told}");
    pod["spec"]["ephemeralContainers"] = json!([{"name": "debug"}]);
    assert_eq!(
        validate(Fake::default(), &ask("UPDATE", "ephemeralcontainers", "team", &pod)).await,
        Ok(Verdict::allowed())
    );
}

#[tokio::test]
async fn tokens_for_us_are_refused_in_every_namespace() {
    let token = |namespace: &str, user: &str| {
        ask("CREATE", "token", namespace, &json!({"spec": {"audiences": ["dewdrop"]}}))
            .replace("\"pods\"", "\"serviceaccounts\"")
            .replace("\"username\":\"alice\"", user)
    };
    for namespace in ["team", "dewdrop-system", "kube-system"] {
        let alice = validate(Fake::default(), &token(namespace, "\"username\":\"alice\"")).await.unwrap();
        assert!(alice.denied.is_some_and(|told| told.contains("[token-audience]")));
        let node = r#""username":"system:node:n1","groups":["system:nodes"]"#;
        assert_eq!(validate(Fake::default(), &token(namespace, node)).await, Ok(Verdict::allowed()));
    }
}

#[test]
fn only_new_pods_are_changed() {
    let mut pod = ours();
    pod["spec"]["volumes"][0]["csi"]["volumeAttributes"]["env"] = json!("true");
    let steps = |operation: &str, namespace: &str| {
        let body = ask(operation, "", namespace, &pod);
        judge(Fake::default()).mutate(&Question::read(body.as_bytes()).unwrap()).unwrap().patch.len()
    };
    assert_eq!(steps("CREATE", "team"), 3);
    assert_eq!(steps("UPDATE", "team"), 0);
    assert_eq!(steps("CREATE", "kube-system"), 0);
}

#[test]
fn agentless_mode_that_is_not_set_up_is_refused_in_words() {
    let pod = json!({"metadata": {"annotations": {"dewdrop.dev/agentless": "true", "dewdrop.dev/role.app": "x"}}});
    let body = ask("CREATE", "", "team", &pod);
    let verdict = judge(Fake::default()).mutate(&Question::read(body.as_bytes()).unwrap()).unwrap();
    assert!(verdict.denied.is_some_and(|told| told.contains("--exec-image")));
}

/// A thing that makes pods.
fn workload(group: &str, kind: &str, object: &Value) -> String {
    ask("UPDATE", "", "team", object)
        .replace("\"pods\"", &format!("\"{kind}\""))
        .replace("\"group\":\"\"", &format!("\"group\":\"{group}\""))
}

#[tokio::test]
async fn who_applies_a_template_is_told_what_its_pods_will_meet() {
    let job = json!({"spec": {"jobTemplate": {"spec": {"template": bad()}}}});
    let plain = json!({"spec": {"template": bad()}});
    for (group, kind, object) in [
        ("apps", "deployments", &plain),
        ("apps", "statefulsets", &plain),
        ("apps", "daemonsets", &plain),
        ("batch", "jobs", &plain),
        ("batch", "cronjobs", &job),
    ] {
        let verdict = validate(Fake::default(), &workload(group, kind, object)).await.unwrap();
        assert_eq!(verdict.denied, None, "{kind}");
        assert!(verdict.warnings[0].starts_with("dewdrop: its pods will be refused: [host-namespaces]"), "{verdict:?}");
    }
    assert_eq!(validate(Fake::default(), &workload("apps", "replicasets", &plain)).await, Ok(Verdict::allowed()));
    assert_eq!(validate(Fake::default(), &workload("other", "deployments", &plain)).await, Ok(Verdict::allowed()));
    let scale = workload("apps", "deployments", &plain).replace("\"subResource\":\"\"", "\"subResource\":\"scale\"");
    assert_eq!(validate(Fake::default(), &scale).await, Ok(Verdict::allowed()));
}

#[tokio::test]
async fn a_template_is_not_asked_for_what_we_do_to_its_pods() {
    let mut pod = ours();
    pod["spec"]["volumes"][0]["csi"]["volumeAttributes"]["env"] = json!("true");
    let verdict =
        validate(Fake::default(), &workload("apps", "deployments", &json!({"spec": {"template": pod}}))).await;
    assert_eq!(verdict, Ok(Verdict::allowed()));
    let literal = json!({"spec": {"template": plain(&json!([{"name": "DB_PASSWORD", "value": "hunter2-canary"}]))}});
    let denied = validate(labelled("dewdrop.dev/literal-secrets", "deny"), &workload("apps", "deployments", &literal))
        .await
        .unwrap();
    assert!(
        denied.denied.is_none() && denied.warnings[0].contains("its pods will be refused: [literal-secrets]"),
        "{denied:?}"
    );
}

proptest! {
    /// Whatever arrives, it gets a verdict or an error, and never a panic; and no error repeats what arrived.
    #[test]
    fn broken_questions_break_nothing(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut pod = bad();
        pod["spec"]["containers"][0]["env"] = json!([{"name": "A_TOKEN", "value": "canary-hunter2"}]);
        let mut body = ask("CREATE", "", "team", &pod).into_bytes();
        let at = at.index(body.len());
        if cut { body.truncate(at) } else { body[at] = byte }
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let told = match Question::read(&body) {
            Err(why) => why.to_string(),
            Ok(question) => {
                let _ = judge(Fake::default()).mutate(&question);
                match runtime.block_on(judge(Fake::default()).validate(&question)) {
                    Ok(verdict) => format!("{verdict:?}"),
                    Err(why) => why.to_string(),
                }
            }
        };
        prop_assert!(!told.contains("hunter2"), "{}", told);
    }
}
