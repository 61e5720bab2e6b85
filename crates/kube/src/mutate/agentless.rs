//! Agentless mode: a token for each container, mounted only there, and the wrapper copied into memory before all else.

use serde_json::{Value, json};

use crate::agentless::{Ask, CREDENTIALS_VARIABLE, EXEC, EXEC_DIR, EXEC_PATH, TOKEN_DIR};
use crate::patch::{At, Op, into_list};
use crate::pod::{Container, Pod, audience_of};

/// Kubelet's least; it asks for a new one at four fifths of it.
const TOKEN_SECONDS: u32 = 600;

/// What agentless mode needs to know.
#[derive(Debug, Clone)]
pub struct Agentless {
    /// The image with the wrapper, `/.dewdrop/exec`.
    pub image: String,
    /// Whether it is mounted as a volume; otherwise an init container copies the wrapper.
    pub image_volume: bool,
    /// The server's address, as pods see it.
    pub address: String,
    /// Where the Kubernetes auth method is mounted.
    pub auth_mount: String,
    /// The server's CA, in PEM; `None`: what the container's own image trusts.
    pub ca: Option<String>,
}

impl Agentless {
    /// Adds to the patch what the asks need and the pod has not.
    pub(super) fn add(
        &self,
        pod: &Pod,
        namespace: &str,
        audience: &str,
        asks: &[Ask<'_>],
        ops: &mut Vec<Op>,
    ) -> Result<(), String> {
        if namespace.is_empty() {
            return Err("the pod's namespace is not known".into());
        }
        let mut volumes = Vec::new();
        for (at, ask) in asks.iter().enumerate() {
            let Some((place, container)) = find(pod, ask.container) else { continue }; // The guards tell of it.
            let audience = audience_of(audience, namespace, ask.container);
            let volume = match token_volume(pod, &audience) {
                Some(name) => name,
                None => {
                    let name = free_name(pod, at);
                    volumes.push(token(&name, &audience));
                    name
                }
            };
            mounts(&place, container, &volume, ops);
            self.env(&place, container, ask, ops);
        }
        if !pod.spec.volumes.iter().any(|volume| volume.name == EXEC) {
            volumes.push(self.exec_volume());
        }
        let mut is_empty = pod.spec.volumes.is_empty();
        for volume in volumes {
            into_list(ops, "/spec/volumes", is_empty, At::Back, volume);
            is_empty = false;
        }
        if !self.image_volume && pod.spec.init_containers.iter().all(|c| c.name != EXEC) {
            into_list(ops, "/spec/initContainers", pod.spec.init_containers.is_empty(), At::Front, self.installer());
        }
        Ok(())
    }

    /// Where the wrapper lies.
    fn exec_volume(&self) -> Value {
        if self.image_volume {
            return json!({"name": EXEC, "image": {"reference": self.image, "pullPolicy": "IfNotPresent"}});
        }
        json!({"name": EXEC, "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}})
    }

    /// Fits the Pod Security Standard `restricted`.
    fn installer(&self) -> Value {
        json!({
            "name": EXEC,
            "image": self.image,
            "args": ["--install", EXEC_PATH],
            "volumeMounts": [{"name": EXEC, "mountPath": EXEC_DIR}],
            "resources": {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "32Mi"}},
            "securityContext": {
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "runAsNonRoot": true,
                "runAsUser": 65532,
                "capabilities": {"drop": ["ALL"]},
                "seccompProfile": {"type": "RuntimeDefault"},
            },
        })
    }

    /// What the wrapper reads. No secret is among it.
    fn env(&self, place: &str, container: &Container, ask: &Ask<'_>, ops: &mut Vec<Op>) {
        let token = format!("{TOKEN_DIR}/token");
        let ours = [
            ("DEWDROP_ADDR", self.address.as_str()),
            ("DEWDROP_CACERT_PEM", self.ca.as_deref().unwrap_or("")),
            ("DEWDROP_NAMESPACE", ask.namespace),
            ("DEWDROP_AUTH_MOUNT", self.auth_mount.as_str()),
            ("DEWDROP_ROLE", ask.role),
            ("DEWDROP_SIGNAL", ask.signal),
            (CREDENTIALS_VARIABLE, ask.credentials),
            ("DEWDROP_VARIABLES", ask.variables),
            ("DEWDROP_TOKEN_FILE", token.as_str()),
        ];
        let mut is_empty = container.env.is_empty();
        for (name, value) in ours {
            if value.is_empty() || container.env.iter().any(|variable| variable.name == name) {
                continue;
            }
            into_list(ops, &format!("{place}/env"), is_empty, At::Back, json!({"name": name, "value": value}));
            is_empty = false;
        }
    }
}

fn find<'a>(pod: &'a Pod, name: &str) -> Option<(String, &'a Container)> {
    super::places(pod).find(|(container, _)| container.name == name).map(|(container, place)| (place, container))
}

fn token_volume(pod: &Pod, audience: &str) -> Option<String> {
    let tokens = |volume: &&crate::pod::Volume| {
        let sources = volume.projected.as_ref().map_or(&[][..], |p| &p.sources);
        sources.iter().any(|s| s.service_account_token.as_ref().is_some_and(|token| token.audience == audience))
    };
    pod.spec.volumes.iter().find(tokens).map(|volume| volume.name.clone())
}

/// A container's name may be too long for a part of a volume's.
fn free_name(pod: &Pod, at: usize) -> String {
    let mut number = at;
    loop {
        let name = format!("dewdrop-token-{number}");
        if pod.spec.volumes.iter().all(|volume| volume.name != name) {
            return name;
        }
        number += 1000;
    }
}

fn token(name: &str, audience: &str) -> Value {
    let token = json!({"audience": audience, "expirationSeconds": TOKEN_SECONDS, "path": "token"});
    json!({"name": name, "projected": {"sources": [{"serviceAccountToken": token}]}})
}

fn mounts(place: &str, container: &Container, token: &str, ops: &mut Vec<Op>) {
    let mut is_empty = container.volume_mounts.is_empty();
    for (name, path) in [(token, TOKEN_DIR), (EXEC, EXEC_DIR)] {
        if container.mounts_of(name).next().is_some() {
            continue;
        }
        let mount = json!({"name": name, "mountPath": path, "readOnly": true});
        into_list(ops, &format!("{place}/volumeMounts"), is_empty, At::Back, mount);
        is_empty = false;
    }
}
