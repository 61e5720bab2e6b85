//! Whether the guards are there: a pod that breaks one is shown to the API server, which must not take it. Nothing is made:
//! the question is a dry run.

use serde_json::{Value, json};

use crate::cluster::{Api, LookUpError};

/// What the API server said of the pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A guard of ours refused it; its words.
    Refused(String),
    /// Nobody refused it.
    Taken,
    /// Somebody else did, or the webhook could not be asked; the words.
    Otherwise(String),
}

/// Shows the pod.
///
/// # Errors
/// The API server cannot be asked, or does not let us make pods there.
pub async fn ask(api: &Api, namespace: &str) -> Result<Answer, LookUpError> {
    let path = format!("/api/v1/namespaces/{namespace}/pods?dryRun=All");
    let (status, body) = api.ask("POST", &path, &pod()).await?;
    Ok(read(status, &body))
}

fn read(status: u16, body: &[u8]) -> Answer {
    if (200..300).contains(&status) {
        return Answer::Taken;
    }
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let words = body["message"].as_str().unwrap_or("no reason is told").to_owned();
    // Both nets put the rule's name into their words; the API server's own refusals do not.
    match words.contains("dewdrop") && words.contains("[volume-elsewhere]") {
        true => Answer::Refused(words),
        false => Answer::Otherwise(format!("status {status}: {words}")),
    }
}

/// A container mounts what is another's. All else is as Pod Security `restricted` wants it.
fn pod() -> Value {
    let container = |name: &str| {
        json!({
            "name": name, "image": "dewdrop.dev/none:0", "command": ["none"],
            "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
            "volumeMounts": [{ "name": "secrets", "mountPath": "/secrets", "readOnly": true }],
        })
    };
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "generateName": "dewdrop-guards-" },
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": { "runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": { "type": "RuntimeDefault" } },
            "containers": [container("owner"), container("other")],
            "volumes": [{ "name": "secrets", "csi": { "driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": {
                "container": "owner", "role": "none", "credentials": "none = none",
            }}}],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::Pod;
    use crate::rules::{Ground, SecretFolders, check};

    #[test]
    fn the_words_of_a_guard_are_told_from_others() {
        let says = |status, words: &str| read(status, json!({ "message": words }).to_string().as_bytes());
        let ours = "admission webhook denied the request: dewdrop: 1 thing is to be changed: [volume-elsewhere] ...";
        assert_eq!(says(403, ours), Answer::Refused(ours.into()));
        assert_eq!(says(201, ""), Answer::Taken);
        let away = "failed calling webhook \"pods.dewdrop.dev\": connection refused";
        assert_eq!(says(500, away), Answer::Otherwise(format!("status 500: {away}")));
        assert_eq!(read(403, b"<html>"), Answer::Otherwise("status 403: no reason is told".into()));
    }

    #[test]
    fn the_pod_breaks_that_rule_and_no_other() {
        let pod: Pod = serde_json::from_value(pod()).unwrap();
        let ground =
            Ground { audience: "dewdrop".into(), folders: SecretFolders::new("/var/lib/kubelet"), exec_image: None };
        let broken: Vec<_> = check(&pod, "team", &ground).into_iter().map(|violation| violation.rule).collect();
        assert_eq!(broken, ["volume-elsewhere"]);
    }
}
