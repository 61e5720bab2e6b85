//! Where the chart is installed: a cluster of our own with the image on its node, and a folder for what the guide writes.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::helm;
use crate::cluster::{self, Cluster};
use crate::parts::{TempDir, exec, output_of, repo_root};
use crate::say::{self, Stopwatch};

/// Where everything is installed.
pub const NAMESPACE: &str = "dewdrop-system";
/// The server's address in the cluster, which has no DNS.
const ADDRESS: &str = "10.96.0.200";
/// How long anything may take. The machine may be busy.
const PATIENCE: Duration = Duration::from_secs(90);

/// The cluster and the folder.
pub struct Site {
    /// The cluster; `None` once it is down.
    cluster: Option<Cluster>,
    /// The guide's folder: `init.json`, `dewdrop-ca.crt`, and the programs' wrappers in `bin`.
    pub dir: TempDir,
    keep: bool,
}

impl Site {
    /// Starts the cluster and brings the image.
    pub fn open(program: &Path, keep: bool) -> Result<Self> {
        let image = crate::image::of(program, &exec::ensure()?)?;
        let cluster = cluster::up(&cluster::Options { helm: true, ..cluster::Options::default() })?;
        let site = Self { cluster: Some(cluster), dir: TempDir::new("install")?, keep };
        site.cluster()?.import_image(&image)?;
        site.volume()?;
        std::fs::write(site.values(), site.particulars()?.to_string())?;
        site.wrappers(program)?;
        Ok(site)
    }

    /// The cluster.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("the cluster is down")
    }

    /// The file with this cluster's values of the chart.
    pub fn values(&self) -> PathBuf {
        self.dir.path().join("values.json")
    }

    /// What is peculiar to this cluster: its folders, and that it has no DNS.
    fn particulars(&self) -> Result<Value> {
        let node = self.cluster()?.nodes.first().context("no node")?;
        let nri = node.nri_sock.parent().context("a socket is in a folder")?;
        let cri = node.containerd_sock.parent().context("a socket is in a folder")?;
        Ok(json!({
            "image": { "pullPolicy": "Never" },
            "server": { "service": { "clusterIP": ADDRESS }, "storage": { "size": "100Mi" } },
            "agent": {
                "kubeletDir": node.root_dir,
                "nri": { "socketDir": nri, "socketName": node.nri_sock.file_name().map(|name| name.to_string_lossy()) },
                "cri": { "socketDir": cri, "socketName": node.containerd_sock.file_name().map(|name| name.to_string_lossy()) },
                "stateDir": node.dir().join("dewdrop-agent"),
                "hostAliases": [{ "ip": ADDRESS, "hostnames": [format!("dewdrop.{NAMESPACE}.svc")] }],
            },
        }))
    }

    /// A disk for the server's claim: there is nobody who would provide one.
    fn volume(&self) -> Result<()> {
        let folder = self.cluster()?.state.join("disk");
        std::fs::create_dir_all(&folder)?;
        std::os::unix::fs::chown(&folder, Some(65532), Some(65532))?;
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume", "metadata": { "name": "disk" },
            "spec": {
                "capacity": { "storage": "100Mi" }, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
                "hostPath": { "path": folder }, "claimRef": { "namespace": NAMESPACE, "name": "data-dewdrop-0" },
            },
        });
        self.cluster()?.apply(&volume.to_string())
    }

    /// The guide's commands as it says them: helm with this cluster's values, and the program under its own name.
    fn wrappers(&self, program: &Path) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let bin = self.dir.path().join("bin");
        std::fs::create_dir_all(&bin)?;
        std::os::unix::fs::symlink(program.canonicalize()?, bin.join("dewdrop"))?;
        std::os::unix::fs::symlink(repo_root().join("deploy"), self.dir.path().join("deploy"))?;
        let helm = self.cluster()?.bin.join("helm");
        let script = format!(
            "#!/bin/sh\ncase \"$1\" in install|upgrade) exec '{0}' \"$@\" --values '{1}' ;; esac\nexec '{0}' \"$@\"\n",
            helm.display(),
            self.values().display()
        );
        let file = bin.join("helm");
        std::fs::write(&file, script)?;
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// Runs a script in the guide's folder, as its reader would; the error holds its last words.
    pub fn shell(&self, script: &str) -> Result<String> {
        let (dir, cluster) = (self.dir.path(), self.cluster()?);
        let file = dir.join("script.sh");
        std::fs::write(&file, script)?;
        let path = std::env::var("PATH").unwrap_or_default();
        let mut bash = Command::new("bash");
        bash.arg(&file).current_dir(dir).env("KUBECONFIG", &cluster.kubeconfig).env("HOME", dir);
        bash.env("PATH", format!("{}:{}:{path}", dir.join("bin").display(), cluster.bin.display()));
        output_of(&mut bash)
    }

    /// Runs kubectl; an error with its words when it fails.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        output_of(self.cluster()?.kubectl_command().args(args))
    }

    /// Runs helm.
    pub fn helm(&self, args: &[&str]) -> Result<String> {
        helm::run(self.cluster()?, self.dir.path(), args)
    }

    /// Runs `dewdrop` as root of the server.
    pub fn dewdrop(&self, commands: &str) -> Result<String> {
        self.shell(&format!("{COME_IN}{commands}\n"))
    }

    /// Waits for a condition; says how long it took.
    pub fn wait(&self, what: &str, mut is_so: impl FnMut() -> Result<bool>) -> Result<Duration> {
        let clock = Stopwatch::start();
        while clock.elapsed() < PATIENCE {
            if is_so()? {
                return Ok(clock.elapsed());
            }
            sleep(Duration::from_millis(50));
        }
        bail!("waited {} in vain for {what}", say::time(PATIENCE))
    }

    /// What the cluster says when a step failed.
    pub fn told(&self) -> String {
        let asks: [&[&str]; 4] = [
            &["get", "pods", "-A", "-o", "wide"],
            &["get", "events", "-A", "--sort-by=.lastTimestamp"],
            &["-n", NAMESPACE, "logs", "dewdrop-0", "--tail=20"],
            &["-n", NAMESPACE, "logs", "daemonset/dewdrop-node", "--tail=20"],
        ];
        let mut told: Vec<String> =
            asks.iter().map(|ask| self.kubectl(ask).unwrap_or_else(|error| format!("{error:#}"))).collect();
        // Kubelet tells of a volume that it cannot unmount in its log alone.
        let log = self
            .cluster()
            .and_then(|cluster| Ok(std::fs::read_to_string(cluster.log_of("n1-kubelet"))?))
            .unwrap_or_default();
        told.extend(log.lines().filter(|line| line.starts_with('E')).rev().take(8).map(str::to_owned));
        told.join("\n")
    }
}

/// The way in that the guide shows, on a port of its own.
const COME_IN: &str = r#"set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
rm -f forward.log
kubectl -n dewdrop-system port-forward service/dewdrop 18201:8200 > forward.log &
until grep -qs Forwarding forward.log; do kill -0 $!; sleep 0.1; done
export DEWDROP_ADDR=https://127.0.0.1:18201 DEWDROP_CACERT=$PWD/dewdrop-ca.crt
export DEWDROP_TOKEN=$(sed -n 's/.*"root_token": *"\([^"]*\)".*/\1/p' init.json)
"#;

impl Drop for Site {
    fn drop(&mut self) {
        if self.keep {
            return;
        }
        if let Some(cluster) = self.cluster.take()
            && let Err(error) = cluster.down()
        {
            say::failed(&format!("the cluster is not wholly down: {error:#}"));
        }
    }
}
