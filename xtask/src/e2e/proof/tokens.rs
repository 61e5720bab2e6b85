//! A sidecar asks the server with all that it has.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::agent::{START, uid_of};
use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::{PATIENCE, Stage};
use crate::say;

/// The pod's author may give the sidecar every token that Kubernetes makes for a pod, and one for us: none opens anything.
pub fn found(stage: &mut Stage) -> Result<()> {
    let script = "find / -xdev -name '*oken' -type l 2>/dev/null; find /var/run/secrets /tokens -name '*oken' 2>/dev/null; while :; do sleep 1; done";
    let mut manifest = TestPod::new("asks").with("app", WAIT).beside("side", script, &[]).manifest();
    manifest["spec"]["automountServiceAccountToken"] = true.into();
    let ours = json!({ "name": "ours", "projected": { "sources": [
        { "serviceAccountToken": { "audience": "dewdrop", "path": "token" } },
    ] } });
    manifest["spec"]["volumes"].as_array_mut().context("no volumes")?.push(ours);
    let mount = json!([{ "name": "ours", "mountPath": "/tokens", "readOnly": true }]);
    manifest["spec"]["containers"][1]["volumeMounts"] = mount;
    stage.apply_json(&manifest)?;
    let user = stage.user_of("asks", "app")?;
    let mut paths = Vec::new();
    stage.wait("the sidecar to find its tokens", PATIENCE, || {
        let log = stage.kubectl(&["logs", "asks", "-c", "side"])?;
        paths = log.lines().map(str::to_owned).collect::<std::collections::BTreeSet<_>>().into_iter().collect();
        Ok(paths.len() >= 2)
    })?;
    ensure!(paths.iter().any(|path| path.starts_with("/tokens/")), "our audience is not among {paths:?}");
    ensure!(
        paths.iter().any(|path| path.starts_with("/var/run/secrets/kubernetes.io/")),
        "the ServiceAccount's is not among {paths:?}"
    );
    let pod = uid_of(stage, "asks")?;
    for path in &paths {
        let token = stage.kubectl(&["exec", "asks", "-c", "side", "--", "/bin/busybox", "cat", path])?;
        ensure!(token.matches('.').count() == 2, "{path} holds no token");
        everything_refused(stage, path, token.trim(), &pod)?;
    }
    lawful_token_opens_nothing(stage, &paths, &pod)?;
    ensure!(stage.users()? == [user.as_str()], "{:?} instead of {user}", stage.users()?);
    stage.delete("asks")?;
    stage.until_empty().map(drop)
}

/// All ways to ask with a Kubernetes token: as a login, as an agent would, and as if it were one of ours.
pub fn everything_refused(stage: &Stage, what: &str, jwt: &str, pod: &str) -> Result<()> {
    for role in ["app", "worker", "dewdrop-node"] {
        refused(stage, what, "", "POST", "auth/kubernetes/login", json!({ "role": role, "jwt": jwt }))?;
    }
    let start = json!({ "role": "app", "jwt": jwt, "container": "app", "start": START });
    for token in ["", jwt] {
        refused(stage, what, token, "POST", "auth/kubernetes/agent/start", start.clone())?;
    }
    as_an_agent(stage, what, jwt, pod)
}

/// What only an agent may ask, and the credential itself, asked for with a token for the server.
fn as_an_agent(stage: &Stage, what: &str, token: &str, pod: &str) -> Result<()> {
    let one = json!({ "pod_uid": pod, "container": "app" });
    refused(stage, what, token, "POST", "auth/kubernetes/agent/end", json!({ "starts": [one] }))?;
    refused(stage, what, token, "POST", "auth/kubernetes/agent/beat", json!({ "starts": [], "complete": true }))?;
    refused(stage, what, token, "GET", "auth/kubernetes/agent/nodes?list=true", Value::Null)?;
    for role in ["app", "worker"] {
        refused(stage, what, token, "GET", &format!("database/creds/{role}"), Value::Null)?;
    }
    refused(stage, what, token, "GET", "sys/leases/lookup/database/creds/app?list=true", Value::Null)
}

/// A role that any container of the pod may have, as OpenBao has them, is no way to a container's role.
fn lawful_token_opens_nothing(stage: &Stage, paths: &[String], pod: &str) -> Result<()> {
    let role = json!({
        "bound_service_account_names": "default", "bound_service_account_namespaces": "default", "audience": "dewdrop", "token_ttl": "5m",
    });
    stage.vault.ask("POST", "auth/kubernetes/role/any", Some(role))?;
    let path = paths.iter().find(|path| path.starts_with("/tokens/")).context("no token for us")?;
    let jwt = stage.kubectl(&["exec", "asks", "-c", "side", "--", "/bin/busybox", "cat", path])?;
    let jwt = jwt.trim();
    let caller = stage.vault.caller().with_token("");
    let (status, made) = caller.send("POST", "auth/kubernetes/login", Some(json!({ "role": "any", "jwt": jwt })))?;
    let token = made.pointer("/auth/client_token").and_then(Value::as_str);
    let token = token
        .with_context(|| format!("the role for any container answered {status}, so the rest would show nothing"))?;
    let what = "a token of a role for any container";
    let start = json!({ "role": "app", "jwt": jwt, "container": "app", "start": START });
    refused(stage, what, token, "POST", "auth/kubernetes/agent/start", start)?;
    as_an_agent(stage, what, token, pod)?;
    stage.vault.ask("DELETE", "auth/kubernetes/role/any", None).map(drop)
}

/// One request that must be refused; the answer is shown.
pub fn refused(stage: &Stage, what: &str, token: &str, method: &str, path: &str, body: Value) -> Result<()> {
    let role = body.get("role").and_then(Value::as_str).unwrap_or_default().to_owned();
    let body = (!body.is_null()).then_some(body);
    let (status, answer) = stage.vault.caller().with_token(token).send(method, path, body)?;
    let errors = answer.get("errors").map(Value::to_string).unwrap_or_default();
    let asked = format!("{what}: {method} {path} {role}");
    ensure!(matches!(status, 400 | 403), "{asked}: answered {status}, not refused: {errors}");
    ensure!(!errors.is_empty() && errors != "[]", "{asked}: {status} without a word");
    let gives = ["/auth/client_token", "/data/password", "/data/keys"]
        .into_iter()
        .find(|field| answer.pointer(field).is_some_and(|v| !v.is_null()));
    ensure!(gives.is_none(), "{asked}: {status}, and yet there is {gives:?}");
    say::line(&format!("{asked}: {status} {errors}"));
    Ok(())
}
