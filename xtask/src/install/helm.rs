//! helm, and where the chart is.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::cluster::Cluster;
use crate::parts::{output_of, repo_root};

/// The chart.
pub fn chart() -> PathBuf {
    repo_root().join("deploy/helm/dewdrop")
}

/// A helm of our own: it neither reads nor leaves anything in the home folder.
pub fn command(bin: &Path, scratch: &Path) -> Command {
    let mut helm = Command::new(bin.join("helm"));
    for (name, folder) in [("HELM_CACHE_HOME", "cache"), ("HELM_CONFIG_HOME", "config"), ("HELM_DATA_HOME", "data")] {
        helm.env(name, scratch.join("helm").join(folder));
    }
    helm
}

/// Runs helm on a cluster; its words, or an error with them.
pub fn run(cluster: &Cluster, scratch: &Path, args: &[&str]) -> Result<String> {
    output_of(command(&cluster.bin, scratch).arg("--kubeconfig").arg(&cluster.kubeconfig).args(args))
}
