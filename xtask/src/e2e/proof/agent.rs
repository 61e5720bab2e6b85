//! What the agent asks of the server, asked by a scene.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::e2e::account::AGENTS;
use crate::e2e::stage::Stage;

/// A start's id.
pub const START: &str = "00000000-0000-4000-8000-000000000001";

/// A pod's UID.
pub fn uid_of(stage: &Stage, pod: &str) -> Result<String> {
    stage.kubectl(&["get", "pod", pod, "-o", "jsonpath={.metadata.uid}"])
}

/// Signs in as the agent of a node.
pub fn login(stage: &Stage, node: &str) -> Result<String> {
    let jwt = stage.minted(AGENTS.on_node(node))?;
    let body = json!({ "role": "dewdrop-node", "jwt": jwt });
    let (status, answer) = stage.vault.caller().with_token("").send("POST", "auth/kubernetes/login", Some(body))?;
    token_of(&answer).with_context(|| format!("the agent's login: {status} {}", answer["errors"]))
}

/// The token that a login gave.
pub fn token_of(answer: &Value) -> Option<String> {
    answer.pointer("/auth/client_token").and_then(Value::as_str).map(str::to_owned)
}
