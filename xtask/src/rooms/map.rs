//! Who may use whom: the map of `design.md`, section 2.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::Finding;
use crate::parts::output_of;

/// Each crate with those of ours that it may use. `testkit` may be used by all, in tests.
const MAP: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("api", &["core"]),
    ("store", &["core"]),
    ("auth", &["core", "api"]),
    ("engines", &["core", "api"]),
    ("leaks", &["core"]),
    ("server", &["core", "api", "store", "auth", "engines", "leaks"]),
    ("node", &["core", "api"]),
    ("kube", &["core", "api", "leaks"]),
    ("access", &["core", "api"]),
    ("exec", &["core", "api", "leaks"]),
    ("dewdrop", &["core", "api", "store", "auth", "engines", "leaks", "server", "node", "kube", "access"]),
    ("testkit", &["core", "api", "store", "auth", "engines", "leaks", "server"]),
    ("xtask", &[]),
];

/// What ring 0 must not pull in, however deep: crates that know sockets, threads of their own, or clocks.
const NOT_IN_RING_0: &[&str] = &["tokio", "mio", "socket2", "hyper", "reqwest", "async-std", "smol", "rustix", "ureq"];

/// A package of `cargo metadata`, as far as it matters here.
#[derive(Debug, Deserialize)]
pub struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    kind: Option<String>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

/// Checks the crates of the workspace.
pub fn check(root: &Path) -> Result<Vec<Finding>> {
    let mut cargo = Command::new("cargo");
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).current_dir(root);
    let metadata: Metadata =
        serde_json::from_str(&output_of(&mut cargo)?).context("cargo metadata is not as expected")?;
    let mut findings = check_map(&metadata.packages);
    for name in ["dewdrop-core", "dewdrop-api"] {
        let mut cargo = Command::new("cargo");
        cargo.args(["tree", "--package", name, "--edges", "normal", "--prefix", "none", "--no-default-features"]);
        findings.extend(check_tree(name, &output_of(cargo.current_dir(root))?));
    }
    Ok(findings)
}

/// Checks the dependencies between our own crates.
pub fn check_map(packages: &[Package]) -> Vec<Finding> {
    let map: BTreeMap<&str, &[&str]> = MAP.iter().copied().collect();
    let mut findings = Vec::new();
    for package in packages {
        let name = short(&package.name);
        let Some(allowed) = map.get(name) else {
            let todo = "draw it into design.md, section 2, and into xtask/src/rooms/map.rs";
            findings.push(Finding::stop(&package.name, "is not on the map of crates", todo));
            continue;
        };
        for dependency in &package.dependencies {
            let used = short(&dependency.name);
            let is_ours = dependency.name.starts_with("dewdrop-") || map.contains_key(dependency.name.as_str());
            let for_tests = dependency.kind.as_deref() == Some("dev");
            if !is_ours || allowed.contains(&used) || (used == "testkit" && for_tests) {
                continue;
            }
            let what = format!(
                "uses {}, which it may not{}",
                dependency.name,
                if used == "testkit" { " but in tests" } else { "" }
            );
            findings.push(Finding::stop(
                &package.name,
                what,
                "move what it needs to core, or let ring 2 put the two together",
            ));
        }
    }
    findings
}

/// Checks what a crate of ring 0 pulls in.
pub fn check_tree(name: &str, tree: &str) -> Vec<Finding> {
    let pulled = |bad: &&&str| tree.lines().any(|line| line.split(' ').next() == Some(**bad));
    let found = NOT_IN_RING_0.iter().filter(pulled);
    found
        .map(|bad| {
            let todo = format!("cargo tree -p {name} -i {bad} shows the way; put the need behind a joint or a feature");
            Finding::stop(name, format!("pulls in {bad}, and ring 0 is pure"), todo)
        })
        .collect()
}

fn short(package: &str) -> &str {
    package.strip_prefix("dewdrop-").unwrap_or(package)
}
