//! Bodies that are no questions, and questions that are large.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::fake::{Webhook, pod, question};

#[tokio::test]
async fn what_is_no_question_gets_400_in_words() {
    let webhook = Webhook::start(&[]).await;
    let review = |request: Value| {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).to_string()
    };
    let mut beta = question("CREATE", "", &pod());
    beta["apiVersion"] = json!("admission.k8s.io/v1beta1");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let bodies: Vec<String> = vec![
        String::new(),
        "no json canary".into(),
        "[]".into(),
        "7".into(),
        "{\"request\":".into(),
        "{}".into(),
        review(Value::Null),
        review(json!("canary")),
        review(json!({})),
        review(json!({"uid": 7})),
        beta.to_string(),
        question("CREATE", "", &Value::Null).to_string(),
        question("CREATE", "", &json!("canary")).to_string(),
        question("CREATE", "", &json!({"spec": {"containers": "canary"}})).to_string(),
        question("CREATE", "", &json!({"spec": {"volumes": [{"csi": {"volumeAttributes": {"a": 1}}}]}})).to_string(),
        format!("{{\"apiVersion\":\"admission.k8s.io/v1\",\"kind\":\"AdmissionReview\",\"request\":{deep}}}"),
        question("CREATE", "", &json!("DEEP")).to_string().replace("\"DEEP\"", &deep),
    ];
    for body in bodies {
        let begin: String = body.chars().take(80).collect();
        let (status, text) = webhook.post("/validate", body.clone()).await;
        assert_eq!(status, 400, "{begin}: {text}");
        assert!(text.len() > 10 && !text.contains("canary"), "{begin}: {text}");
        assert_eq!(webhook.post("/mutate", body).await.0, 400, "{begin}");
    }
    assert_eq!(webhook.request("GET", "/healthz").send().await.unwrap().status(), 200, "it still lives");
}

#[tokio::test]
async fn bytes_that_are_no_text() {
    let webhook = Webhook::start(&[]).await;
    let mut body = question("CREATE", "", &pod()).to_string().into_bytes();
    let at = body.windows(5).position(|window| window == b"app:1").unwrap();
    body[at] = 0xff;
    assert_eq!(webhook.post("/validate", body).await.0, 400);
}

#[tokio::test]
async fn only_json_by_post_at_the_right_places() {
    let webhook = Webhook::start(&[]).await;
    let body = question("CREATE", "", &pod()).to_string();
    for kind in ["text/plain", "application/jsonx", "application/yaml", ""] {
        let response =
            webhook.request("POST", "/validate").header("content-type", kind).body(body.clone()).send().await.unwrap();
        assert_eq!(response.status(), 415, "{kind}");
    }
    let response = webhook
        .request("POST", "/validate")
        .header("content-type", "application/json; charset=utf-8")
        .body(body.clone());
    assert_eq!(response.send().await.unwrap().status(), 200);
    for (method, path, status) in [
        ("GET", "/validate", 405),
        ("PUT", "/mutate", 405),
        ("POST", "/healthz", 405),
        ("GET", "/", 404),
        ("POST", "/validate/x", 404),
        ("GET", "/readyz", 200),
    ] {
        assert_eq!(webhook.request(method, path).send().await.unwrap().status(), status, "{method} {path}");
    }
}

#[tokio::test]
async fn what_is_too_large() {
    let webhook = Webhook::start(&[]).await;
    assert_eq!(webhook.post("/validate", vec![b' '; (8 << 20) + 1]).await.0, 413);
    // Without a length: counted while it comes.
    let pieces =
        (0..9).map(|_| Ok::<_, std::io::Error>(hyper::body::Frame::data(bytes::Bytes::from(vec![b' '; 1 << 20]))));
    let body = reqwest::Body::wrap(http_body_util::StreamBody::new(futures_util::stream::iter(pieces)));
    assert_eq!(webhook.post("/validate", body).await.0, 413);
}

#[tokio::test]
async fn a_pod_of_3_mb_is_read_and_its_fault_found() {
    let webhook = Webhook::start(&[]).await;
    let mut pod = pod();
    let filler: Vec<Value> =
        (0..30_000).map(|n| json!({"name": format!("VARIABLE_{n}"), "value": "x".repeat(70)})).collect();
    pod["spec"]["containers"][0]["env"] = json!(filler);
    pod["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:x": {"k": "v".repeat(100_000)}}}]);
    let ask = question("CREATE", "", &pod);
    assert!(ask.to_string().len() > 3_000_000, "{}", ask.to_string().len());
    let changed = webhook.ask("/mutate", &ask).await;
    assert_eq!(changed["response"]["patchType"], "JSONPatch");
    pod["spec"]["hostPID"] = json!(true);
    let answer = webhook.ask("/validate", &question("CREATE", "", &pod)).await;
    let told = answer["response"]["status"]["message"].as_str().unwrap();
    assert!(told.contains("[host-namespaces]") && told.contains("[wrapper]"), "{told}");
}

#[tokio::test]
async fn kinds_that_nobody_knows_and_deletes_are_allowed() {
    let webhook = Webhook::start(&[]).await;
    let mut unknown = question("CREATE", "", &json!({"any": ["thing"]}));
    unknown["request"]["resource"] = json!({"group": "example.com", "version": "v9", "resource": "things"});
    let delete = question("DELETE", "", &Value::Null);
    for ask in [unknown, delete] {
        for way in ["/validate", "/mutate"] {
            let answer = webhook.ask(way, &ask).await;
            let uid = &ask["request"]["uid"];
            assert_eq!(answer["response"], json!({"uid": uid, "allowed": true}), "{way}");
        }
    }
}

#[tokio::test]
async fn a_dry_run_gets_the_same_answer() {
    let webhook = Webhook::start(&[]).await;
    let mut ask = question("CREATE", "", &pod());
    let real = webhook.ask("/mutate", &ask).await;
    ask["request"]["dryRun"] = json!(true);
    assert_eq!(webhook.ask("/mutate", &ask).await, real);
}

#[tokio::test]
async fn who_speaks_no_tls_is_cut_and_the_next_is_served() {
    let webhook = Webhook::start(&[]).await;
    let mut stream = tokio::net::TcpStream::connect(format!("localhost:{}", webhook.address())).await.unwrap();
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut heard = Vec::new();
    let _ = stream.read_to_end(&mut heard).await;
    assert!(!heard.starts_with(b"HTTP/1.1 200"));
    assert_eq!(webhook.request("GET", "/healthz").send().await.unwrap().status(), 200);
}

/// Those for whom there is no room are refused, and hold up nobody.
#[tokio::test]
async fn more_large_questions_than_there_is_room_for() {
    let webhook = Webhook::start(&[]).await;
    let mut delete = question("DELETE", "", &Value::Null);
    delete["request"]["oldObject"] = json!("x".repeat(1 << 20));
    let body = delete.to_string();
    let answers = futures_util::future::join_all((0..20).map(|_| webhook.post("/validate", body.clone()))).await;
    assert!(answers.iter().all(|(status, _)| [200, 503].contains(status)));
    assert!(answers.iter().any(|(status, _)| *status == 200));
    for _ in 0..20 {
        assert_eq!(webhook.post("/validate", body.clone()).await.0, 200, "room is given back");
    }
}

#[tokio::test]
async fn http_1_and_2_are_both_spoken() {
    let webhook = Webhook::start(&[]).await;
    for client in [webhook.client_of(true), webhook.client_of(false)] {
        for _ in 0..2 {
            let response = client.get(webhook.url("/healthz")).send().await.unwrap();
            assert_eq!(response.status(), 200);
        }
    }
    let one = webhook.client_of(true).get(webhook.url("/healthz")).send().await.unwrap();
    let two = webhook.client_of(false).get(webhook.url("/healthz")).send().await.unwrap();
    assert_eq!((one.version(), two.version()), (http::Version::HTTP_11, http::Version::HTTP_2));
}
