//! What kubectl shows.

use std::process::Stdio;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::process::Command;

use crate::failure::{Failure, Result};

/// The name of the webhook's two configurations.
pub const CONFIGURATION: &str = "dewdrop";

/// What was seen of a cluster. `Null` is what is not there.
#[derive(Debug, Default)]
pub struct Seen {
    /// `kubectl version`.
    pub version: Value,
    /// The nodes.
    pub nodes: Value,
    /// What kubelet knows of CSI drivers, node by node.
    pub csi_nodes: Value,
    /// The CSIDriver object.
    pub driver: Value,
    /// The namespace that we are installed in.
    pub namespace: Value,
    /// Our pods.
    pub pods: Value,
    /// The agents' role; `None`: nobody looked.
    pub role: Option<Value>,
    /// What guards pods at admission; `None`: nobody looked.
    pub guards: Option<Guards>,
}

/// What was seen of the guards.
#[derive(Debug, Default)]
pub struct Guards {
    /// The namespace that we are installed in.
    pub system: String,
    /// The MutatingWebhookConfiguration.
    pub mutating: Value,
    /// The ValidatingWebhookConfiguration.
    pub validating: Value,
    /// The Service that they name.
    pub service: Value,
    /// Its EndpointSlices.
    pub slices: Value,
    /// The authority in the webhook's Secret, or why it was not seen; `None`: no pod says which Secret.
    pub authority: Option<std::result::Result<String, String>>,
    /// All ValidatingAdmissionPolicies.
    pub policies: Value,
    /// All of their bindings.
    pub bindings: Value,
}

/// Looks at a cluster.
pub async fn at(kubectl: &str, context: Option<&str>, system: &str) -> Result<Seen> {
    let ask = Ask { kubectl, context };
    Ok(Seen {
        version: ask.json(&["version"]).await?,
        nodes: ask.json(&["get", "nodes"]).await?,
        csi_nodes: ask.json(&["get", "csinodes"]).await?,
        driver: ask.json(&["get", "csidriver", "csi.dewdrop.dev", "--ignore-not-found"]).await?,
        namespace: ask.json(&["get", "namespace", system, "--ignore-not-found"]).await?,
        pods: ask.json(&["get", "pods", "--namespace", system, "--selector", "app.kubernetes.io/name=dewdrop"]).await?,
        role: None,
        guards: None,
    })
}

/// Looks at the guards; `pods` are ours.
pub async fn guards(kubectl: &str, context: Option<&str>, system: &str, pods: &Value) -> Result<Guards> {
    let ask = Ask { kubectl, context };
    let mutating = ask.json(&["get", "mutatingwebhookconfiguration", CONFIGURATION, "--ignore-not-found"]).await?;
    let validating = ask.json(&["get", "validatingwebhookconfiguration", CONFIGURATION, "--ignore-not-found"]).await?;
    let (mut service, mut slices) = (Value::Null, Value::Null);
    if let Some((namespace, name)) = service_of(&mutating).or_else(|| service_of(&validating)) {
        service = ask.json(&["get", "service", name, "--namespace", namespace, "--ignore-not-found"]).await?;
        let of = format!("kubernetes.io/service-name={name}");
        slices = ask.json(&["get", "endpointslices", "--namespace", namespace, "--selector", &of]).await?;
    }
    Ok(Guards {
        system: system.to_owned(),
        authority: match secret_of(pods) {
            Some((namespace, name)) => Some(ask.authority(namespace, name).await),
            None => None,
        },
        policies: ask.json(&["get", "validatingadmissionpolicies"]).await?,
        bindings: ask.json(&["get", "validatingadmissionpolicybindings"]).await?,
        mutating,
        validating,
        service,
        slices,
    })
}

/// Namespace and name of the Service of a configuration's webhooks.
fn service_of(configuration: &Value) -> Option<(&str, &str)> {
    let service = configuration.pointer("/webhooks/0/clientConfig/service")?;
    Some((service["namespace"].as_str()?, service["name"].as_str()?))
}

/// Namespace and name of the Secret with the webhook's authority, as a pod of the webhook says.
fn secret_of(pods: &Value) -> Option<(&str, &str)> {
    let pods = pods["items"].as_array()?;
    let pod = pods.iter().find(|pod| pod["metadata"]["labels"]["app.kubernetes.io/component"] == "webhook")?;
    let words = pod.pointer("/spec/containers/0/args")?.as_array()?;
    let told = words.iter().find_map(|word| word.as_str()?.strip_prefix("--secret=")?.split_once('/'));
    let brought = || {
        let volumes = pod["spec"]["volumes"].as_array()?;
        let volume = volumes.iter().find(|volume| volume["name"] == "tls")?;
        Some((pod["metadata"]["namespace"].as_str()?, volume["secret"]["secretName"].as_str()?))
    };
    told.or_else(brought)
}

struct Ask<'a> {
    kubectl: &'a str,
    context: Option<&'a str>,
}

impl Ask<'_> {
    /// One question. Nothing said is `Null`.
    async fn json(&self, words: &[&str]) -> Result<Value> {
        let said = self.said(words, "json").await?;
        if said.trim_ascii().is_empty() {
            return Ok(Value::Null);
        }
        let odd = |_| Failure::usage(format!("{} {} says no JSON", self.kubectl, words.join(" ")));
        serde_json::from_slice(&said).map_err(odd)
    }

    /// The certificate in a Secret, in PEM. kubectl prints nothing else of it: the key is beside it.
    async fn authority(&self, namespace: &str, name: &str) -> std::result::Result<String, String> {
        let words = ["get", "secret", name, "--namespace", namespace];
        let said = self.said(&words, "jsonpath={.data.ca\\.crt}").await.map_err(|failure| failure.to_string())?;
        let pem = STANDARD.decode(said.trim_ascii()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        pem.filter(|pem| !pem.is_empty()).ok_or_else(|| format!("Secret {namespace}/{name} holds no ca.crt"))
    }

    /// What kubectl prints.
    async fn said(&self, words: &[&str], output: &str) -> Result<Vec<u8>> {
        let mut command = Command::new(self.kubectl);
        command.args(words).args(["--output", output]).stdin(Stdio::null());
        command.args(self.context.map(|context| format!("--context={context}")));
        let out = command.output().await.map_err(|e| {
            Failure::usage(format!("{} cannot be started: {e}", self.kubectl))
                .hint("say where it is: --kubectl PROGRAM")
        })?;
        let told = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        if !out.status.success() {
            return Err(Failure::usage(format!("{} {}: {}", self.kubectl, words.join(" "), told(&out.stderr))));
        }
        Ok(out.stdout)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A list with a pod of the webhook that has these, as the chart makes it.
    fn pods(args: &Value, volumes: &Value) -> Value {
        let webhook = json!({
            "metadata": {"namespace": "ns", "labels": {"app.kubernetes.io/component": "webhook"}},
            "spec": {"containers": [{"args": args}], "volumes": volumes},
        });
        json!({"items": [{"metadata": {"labels": {"app.kubernetes.io/component": "server"}}, "spec": {}}, webhook]})
    }

    #[test]
    fn the_secret_of_the_webhook_is_found() {
        let own = pods(&json!(["kube", "webhook", "--secret=ns/dewdrop-webhook"]), &Value::Null);
        assert_eq!(secret_of(&own), Some(("ns", "dewdrop-webhook")));
        let volumes = json!([{"name": "token"}, {"name": "tls", "secret": {"secretName": "brought"}}]);
        let brought = pods(&json!(["kube", "webhook", "--tls-cert=/etc/dewdrop/webhook/tls.crt"]), &volumes);
        assert_eq!(secret_of(&brought), Some(("ns", "brought")));
        assert_eq!(secret_of(&pods(&json!(["kube", "webhook"]), &Value::Null)), None);
        assert_eq!(secret_of(&Value::Null), None);
    }

    #[test]
    fn a_webhook_outside_of_the_cluster_has_no_service() {
        let inside = json!({"webhooks": [{"clientConfig": {"service": {"namespace": "ns", "name": "svc"}}}]});
        assert_eq!(service_of(&inside), Some(("ns", "svc")));
        assert_eq!(service_of(&json!({"webhooks": [{"clientConfig": {"url": "https://example.com"}}]})), None);
    }
}
