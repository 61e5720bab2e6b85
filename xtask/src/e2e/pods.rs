//! Pods for the scenes.

use serde_json::{Value, json};

/// A container of a test pod.
#[derive(Debug, Clone)]
pub struct Part {
    name: String,
    script: String,
    /// The volumes that it mounts, by the container whose they are.
    mounts: Vec<String>,
}

/// A test pod.
#[derive(Debug, Clone)]
pub struct TestPod {
    name: String,
    restart: &'static str,
    node: Option<String>,
    parts: Vec<Part>,
    /// Containers that have a volume.
    owners: Vec<String>,
    /// What is put into the manifest: where, and what.
    patches: Vec<(String, Value)>,
}

/// Says who it is and waits; ends well at SIGTERM.
pub const WAIT: &str = "echo user=$(cat /secrets/db/username); trap 'exit 0' TERM; while :; do sleep 0.1; done";

impl TestPod {
    /// A pod without containers, that restarts what ends.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            restart: "Always",
            node: None,
            parts: Vec::new(),
            owners: Vec::new(),
            patches: Vec::new(),
        }
    }

    /// What happens to a container that ends: `Always`, `OnFailure`, `Never`.
    pub fn restart(mut self, policy: &'static str) -> Self {
        self.restart = policy;
        self
    }

    /// On a node.
    pub fn on(mut self, node: &str) -> Self {
        self.node = Some(node.into());
        self
    }

    /// A container with a credential of its own. Its name is also the role's.
    pub fn with(mut self, name: &str, script: &str) -> Self {
        self.owners.push(name.into());
        self.parts.push(Part { name: name.into(), script: script.into(), mounts: vec![name.into()] });
        self
    }

    /// A container without one; `mounts` names the containers whose volumes it tries to mount.
    pub fn beside(mut self, name: &str, script: &str, mounts: &[&str]) -> Self {
        let mounts = mounts.iter().map(|owner| (*owner).to_owned()).collect();
        self.parts.push(Part { name: name.into(), script: script.into(), mounts });
        self
    }

    /// Puts a value into the manifest; the folder of the pointer must be there.
    pub fn patched(mut self, pointer: &str, value: Value) -> Self {
        self.patches.push((pointer.into(), value));
        self
    }

    /// With another script in the place of one.
    pub fn saying(mut self, script: &str, other: &str) -> Self {
        self.parts.iter_mut().filter(|part| part.script == script).for_each(|part| part.script = other.into());
        self
    }

    /// The manifest.
    pub fn manifest(&self) -> Value {
        let mut manifest = self.plain();
        for (pointer, value) in &self.patches {
            let (folder, name) = pointer.rsplit_once('/').unwrap_or(("", pointer));
            if let Some(place) = manifest.pointer_mut(folder).and_then(Value::as_object_mut) {
                place.insert(name.to_owned(), value.clone());
            }
        }
        manifest
    }

    fn plain(&self) -> Value {
        let volumes: Vec<Value> = self.owners.iter().map(|owner| volume(owner)).collect();
        let containers: Vec<Value> = self.parts.iter().map(container).collect();
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": { "name": self.name, "labels": { "scene": self.name } },
            "spec": {
                "restartPolicy": self.restart, "nodeName": self.node, "terminationGracePeriodSeconds": 5,
                "automountServiceAccountToken": false, "volumes": volumes, "containers": containers,
                "tolerations": [{ "operator": "Exists" }],
            },
        })
    }
}

fn volume(owner: &str) -> Value {
    json!({
        "name": format!("secrets-{owner}"),
        "csi": {
            "driver": "csi.dewdrop.dev", "readOnly": true,
            "volumeAttributes": {
                "container": owner, "role": owner, "credentials": format!("db = database/creds/{owner}"),
            },
        },
    })
}

fn container(part: &Part) -> Value {
    let mount =
        |owner: &String| json!({ "name": format!("secrets-{owner}"), "mountPath": "/secrets", "readOnly": true });
    json!({
        "name": part.name, "image": crate::cluster::image::BUSYBOX, "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sh", "-c", part.script],
        "volumeMounts": part.mounts.iter().map(mount).collect::<Vec<_>>(),
    })
}
