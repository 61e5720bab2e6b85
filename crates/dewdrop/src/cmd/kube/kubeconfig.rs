//! Our clusters in a person's kubeconfig, beside all that is there already. YAML is read by kubectl itself, so that nothing of
//! it is lost; what is written is JSON, which is YAML as well.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Map, Value, json};

use crate::failure::{Failure, Result};

/// The file that kubectl would write to.
pub fn file(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let listed = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    let first = listed.and_then(|list| std::env::split_paths(&list).find(|path| !path.as_os_str().is_empty()));
    let home = || std::env::var_os("HOME").filter(|home| !home.is_empty()).map(PathBuf::from);
    first.or_else(|| home().map(|home| home.join(".kube").join("config"))).ok_or_else(|| {
        Failure::usage("there is no home directory for the kubeconfig").hint("set KUBECONFIG, or say -kubeconfig FILE")
    })
}

/// Puts our clusters in. The one named `current` becomes kubectl's own choice.
pub fn merge(file: &Path, ours: &[Value], current: Option<&str>) -> Result<()> {
    let lock = Lock::take(file)?;
    let mut config = load(file)?;
    ours.iter().for_each(|one| put(&mut config, one));
    if let Some(current) = current {
        config.insert("current-context".into(), json!(current));
    }
    save(file, &Value::Object(config))?;
    drop(lock);
    Ok(())
}

/// Replaces what has our names, and leaves the rest. The namespace of a context stays when ours says none.
fn put(config: &mut Map<String, Value>, ours: &Value) {
    for list in ["clusters", "contexts", "users"] {
        let own = config.entry(list).or_insert_with(|| json!([]));
        if !own.is_array() {
            *own = json!([]);
        }
        let Some(own) = own.as_array_mut() else { continue };
        for new in ours[list].as_array().into_iter().flatten() {
            let mut new = new.clone();
            let old = own.iter().position(|old| old["name"] == new["name"]);
            if let Some(old) = old.map(|at| own.remove(at)) {
                let kept = &old["context"]["namespace"];
                if list == "contexts" && new["context"]["namespace"].is_null() && !kept.is_null() {
                    new["context"]["namespace"] = kept.clone();
                }
            }
            own.push(new);
        }
    }
}

fn load(file: &Path) -> Result<Map<String, Value>> {
    let bytes = match fs::read(file) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Failure::usage(format!("read {}: {e}", file.display()))),
    };
    if bytes.iter().all(u8::is_ascii_whitespace) {
        let empty = json!({ "apiVersion": "v1", "kind": "Config", "clusters": [], "contexts": [], "users": [] });
        return Ok(empty.as_object().cloned().unwrap_or_default());
    }
    match serde_json::from_slice::<Map<String, Value>>(&bytes) {
        Ok(config) => Ok(config),
        Err(_) => by_kubectl(file),
    }
}

fn by_kubectl(file: &Path) -> Result<Map<String, Value>> {
    let hint = "without kubectl, use a file of its own: -kubeconfig ~/.kube/dewdrop, and KUBECONFIG=~/.kube/dewdrop";
    let mut kubectl = Command::new("kubectl");
    kubectl.args(["config", "view", "--raw", "--output=json"]).env("KUBECONFIG", file).stdin(Stdio::null());
    let out = kubectl.output().map_err(|e| {
        Failure::usage(format!("{} is YAML, and kubectl, which reads it, cannot be started: {e}", file.display()))
            .hint(hint)
    })?;
    let broken = |why: String| Failure::usage(format!("kubectl cannot read {}: {why}", file.display())).hint(hint);
    if !out.status.success() {
        return Err(broken(String::from_utf8_lossy(&out.stderr).trim().to_owned()));
    }
    serde_json::from_slice(&out.stdout).map_err(|e| broken(e.to_string()))
}

fn save(file: &Path, config: &Value) -> Result<()> {
    let told = |e: std::io::Error| Failure::usage(format!("write {}: {e}", file.display()));
    // A link is followed: it stays, and the file behind it is replaced.
    let file = fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
    let text = serde_json::to_vec_pretty(config).map_err(|e| Failure::usage(e.to_string()))?;
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(told)?;
    out.write_all(&text).and_then(|()| out.sync_all()).map_err(told)?;
    fs::rename(&new, &file).map_err(told)
}

/// The lock that kubectl takes as well when it writes.
struct Lock(PathBuf);

impl Lock {
    fn take(file: &Path) -> Result<Self> {
        if let Some(folder) = file.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            let made = DirBuilder::new().recursive(true).mode(0o750).create(folder);
            made.map_err(|e| Failure::usage(format!("make {}: {e}", folder.display())))?;
        }
        let mut name = file.as_os_str().to_owned();
        name.push(".lock");
        let lock = PathBuf::from(name);
        match OpenOptions::new().write(true).create_new(true).open(&lock) {
            Ok(_) => Ok(Self(lock)),
            Err(e) => Err(Failure::usage(format!("lock {}: {e}", lock.display()))
                .hint("another program writes the kubeconfig; if none does, remove the lock")),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // What stays is told by the next one who wants it.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays() {
        let mut config = json!({
            "apiVersion": "v1", "preferences": { "colors": true }, "current-context": "mine",
            "clusters": [{ "name": "mine", "cluster": { "server": "https://a" } }, { "name": "dewdrop-prod", "cluster": { "server": "https://old" } }],
            "contexts": [{ "name": "dewdrop-prod", "context": { "cluster": "x", "namespace": "shop" } }], "users": null,
        });
        let ours = json!({
            "clusters": [{ "name": "dewdrop-prod", "cluster": { "server": "https://new" } }],
            "contexts": [{ "name": "dewdrop-prod", "context": { "cluster": "dewdrop-prod", "user": "dewdrop-prod" } }],
            "users": [{ "name": "dewdrop-prod", "user": {} }],
        });
        let map = config.as_object_mut().unwrap();
        put(map, &ours);
        put(map, &ours);
        assert_eq!(config["clusters"].as_array().unwrap().len(), 2);
        assert_eq!(config["clusters"][0]["cluster"]["server"], "https://a");
        assert_eq!(config["clusters"][1]["cluster"]["server"], "https://new");
        assert_eq!(config["contexts"][0]["context"]["namespace"], "shop");
        assert_eq!((&config["current-context"], &config["preferences"]["colors"]), (&json!("mine"), &json!(true)));
        assert_eq!(config["users"].as_array().unwrap().len(), 1);
    }
}
