//! Whole questions, as an API server sends them, and whole answers: `tests/golden/NAME.{validate,mutate}.{in,out}.json`.
//! With `UPDATE_GOLDEN=1` the answers are written anew.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde_json::{Value, json};

use super::fake::Webhook;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

/// The patch in the answer, decoded: so that a reader of the file sees it.
fn readable(mut answer: Value) -> Value {
    if let Some(patch) = answer.pointer("/response/patch").and_then(Value::as_str) {
        let bytes = base64::engine::general_purpose::STANDARD.decode(patch).unwrap();
        answer["response"]["patch"] = serde_json::from_slice(&bytes).unwrap();
    }
    answer
}

#[tokio::test]
async fn answers_are_as_they_were() {
    let labels = json!({"metadata": {"name": "strict", "labels": {"dewdrop.dev/literal-secrets": "deny"}}});
    let held = super::fake::pod();
    let webhook = Webhook::start(&[
        ("/api/v1/namespaces/strict", 200, labels),
        ("/api/v1/namespaces/team", 200, json!({"metadata": {"name": "team"}})),
        ("/api/v1/namespaces/team/pods/web-0", 200, held),
    ])
    .await;
    let mut names: Vec<String> =
        std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.ends_with(".in.json"));
    assert!(names.len() >= 8, "{names:?}");
    for name in names {
        let way = if name.contains(".mutate.") { "/mutate" } else { "/validate" };
        let (status, text) = webhook.post(way, std::fs::read(folder().join(&name)).unwrap()).await;
        assert_eq!(status, 200, "{name}: {text}");
        let answer = format!("{:#}\n", readable(serde_json::from_str(&text).unwrap()));
        let file = folder().join(name.replace(".in.json", ".out.json"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &answer).unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap_or_default(), answer, "{name}");
    }
}
