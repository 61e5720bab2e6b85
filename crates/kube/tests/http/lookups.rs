//! What must be looked up at the API server.

use serde_json::{Value, json};

use super::fake::{Webhook, pod, question};

const POD: &str = "/api/v1/namespaces/team/pods/p";
const NAMESPACE: &str = "/api/v1/namespaces/team";

fn labels(labels: &Value) -> Value {
    json!({"metadata": {"name": "team", "labels": labels}})
}

fn exec() -> Value {
    question("CONNECT", "exec", &json!({"kind": "PodExecOptions", "apiVersion": "v1", "command": ["sh"]}))
}

#[tokio::test]
async fn exec_into_a_pod_of_ours_is_refused_but_for_the_label() {
    let closed = Webhook::start(&[(POD, 200, pod()), (NAMESPACE, 200, labels(&json!(null)))]).await;
    let answer = closed.ask("/validate", &exec()).await;
    assert_eq!(answer["response"]["allowed"], false);
    assert!(answer["response"]["status"]["message"].as_str().unwrap().contains("dewdrop.dev/allow-exec"));
    let open = labels(&json!({"dewdrop.dev/allow-exec": "true"}));
    let open = Webhook::start(&[(POD, 200, pod()), (NAMESPACE, 200, open)]).await;
    assert_eq!(open.ask("/validate", &exec()).await["response"]["allowed"], true);
}

#[tokio::test]
async fn exec_into_other_pods_is_allowed() {
    let plain = Webhook::start(&[(POD, 200, json!({"spec": {"containers": [{"name": "a"}]}}))]).await;
    assert_eq!(plain.ask("/validate", &exec()).await["response"]["allowed"], true);
    let gone = Webhook::start(&[]).await;
    assert_eq!(gone.ask("/validate", &exec()).await["response"]["allowed"], true);
}

#[tokio::test]
async fn without_an_answer_there_is_no_verdict() {
    for (status, body, words) in [
        (403, json!({}), "the webhook's ServiceAccount needs the right to get pods"),
        (401, json!({}), "status 401"),
        (500, json!({}), "status 500"),
        (200, json!([7]), "cannot be read"),
    ] {
        let webhook = Webhook::start(&[(POD, status, body)]).await;
        let (got, text) = webhook.post("/validate", exec().to_string()).await;
        assert_eq!(got, 503, "{text}");
        assert!(text.contains(words) && !text.contains("own-token"), "{text}");
    }
}

#[tokio::test]
async fn a_name_from_outside_stays_one_part_of_the_path() {
    let webhook = Webhook::start(&[("/api/v1/namespaces/other/pods/x", 200, pod())]).await;
    let mut ask = exec();
    ask["request"]["name"] = json!("../../other/pods/x");
    assert_eq!(webhook.ask("/validate", &ask).await["response"]["allowed"], true, "there is no pod of that name");
}
