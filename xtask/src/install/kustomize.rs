//! `deploy/kustomize/dewdrop.yaml`: what the chart makes, for those who use no helm. It is committed, with a sum of what it
//! was made from, so that a test without helm sees when it is old.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::helm;
use crate::cluster::{self, image::hash};
use crate::parts::{TempDir, output_of, repo_root};
use crate::say;

const MADE: &str = "# Made from deploy/helm/dewdrop by `cargo xtask install-test --write`; sum ";

fn folder() -> PathBuf {
    repo_root().join("deploy/kustomize")
}

/// Writes it anew.
pub fn write() -> Result<()> {
    let bin = cluster::programs(true)?;
    let scratch = TempDir::new("chart")?;
    let mut command = helm::command(&bin, scratch.path());
    command.args(["template", "dewdrop"]).arg(helm::chart()).args([
        "--namespace",
        "dewdrop-system",
        "--skip-tests",
        "--include-crds",
    ]);
    // The least that the chart takes; else helm's own idea of a cluster counts.
    command.args(["--kube-version", "1.36.0", "--values"]).arg(folder().join("values.yaml"));
    let made = output_of(&mut command)?
        .replace("app.kubernetes.io/managed-by: Helm", "app.kubernetes.io/managed-by: kustomize");
    let file = folder().join("dewdrop.yaml");
    std::fs::write(&file, format!("{MADE}{}\n{}\n", sum()?, made.trim_end()))?;
    say::good(&format!("{} is new", file.display()));
    Ok(())
}

/// Names the chart and the values.
fn sum() -> Result<String> {
    let mut files = vec![folder().join("values.yaml")];
    collect(&helm::chart(), &mut files)?;
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let content = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(repo_root()).unwrap_or(&file).to_string_lossy().into_owned();
        all.extend(format!("{name} {}\n", hash(&content)).into_bytes());
    }
    Ok(hash(&all))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { collect(&path, files)? } else { files.push(path) }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_manifests_are_those_of_the_chart() {
        let text = std::fs::read_to_string(folder().join("dewdrop.yaml")).expect("deploy/kustomize/dewdrop.yaml");
        let told = text.lines().next().and_then(|line| line.strip_prefix(MADE)).expect("a sum");
        assert_eq!(told, sum().expect("sum"), "run: cargo xtask install-test --write");
    }

    #[test]
    fn no_secret_is_committed() {
        let text = std::fs::read_to_string(folder().join("dewdrop.yaml")).expect("deploy/kustomize/dewdrop.yaml");
        let has_secret = text.lines().any(|line| line == "kind: Secret");
        assert!(text.contains("kind: DaemonSet") && !has_secret && !text.contains("PRIVATE KEY"));
    }
}
