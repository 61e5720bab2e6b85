//! Builds the programs of a cluster from Go modules, once: they are kept outside of the work tree, in a folder that is named
//! by a hash of the pinned versions.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::image::hash;
use crate::parts::{output_of, repo_root, which};
use crate::say::{self, Stopwatch};
use crate::tools;

/// Programs that come from one Go module. Each module pins its own dependencies: together they would conflict.
struct Module {
    /// Name of its folder below `xtask/go`.
    name: &'static str,
    /// Where in the module the programs are, and what they are called.
    programs: &'static [(&'static str, &'static str)],
    /// Whether it is built with C.
    cgo: bool,
    /// Build tags.
    tags: &'static str,
    /// More for the linker: without a version of their own, Kubernetes' programs call themselves v0.0.0.
    linker: &'static str,
}

const MODULES: &[Module] = &[
    Module { programs: &[("go.etcd.io/etcd/server/v3", "etcd")], ..module("etcd") },
    Module {
        programs: &[("github.com/opencontainers/runc", "runc")],
        cgo: true,
        // Without it no sandbox starts: the runtime always asks for a filter of system calls.
        tags: "seccomp",
        ..module("runc")
    },
    Module {
        programs: &[
            ("github.com/containernetworking/plugins/plugins/main/bridge", "bridge"),
            ("github.com/containernetworking/plugins/plugins/main/loopback", "loopback"),
            ("github.com/containernetworking/plugins/plugins/ipam/host-local", "host-local"),
        ],
        ..module("cni")
    },
    Module {
        programs: &[
            ("github.com/containerd/containerd/v2/cmd/containerd", "containerd"),
            ("github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2", "containerd-shim-runc-v2"),
            ("github.com/containerd/containerd/v2/cmd/ctr", "ctr"),
        ],
        tags: "no_btrfs no_devmapper no_zfs",
        ..module("containerd")
    },
    Module {
        programs: &[
            ("k8s.io/kubernetes/cmd/kube-apiserver", "kube-apiserver"),
            ("k8s.io/kubernetes/cmd/kube-controller-manager", "kube-controller-manager"),
            ("k8s.io/kubernetes/cmd/kube-scheduler", "kube-scheduler"),
            ("k8s.io/kubernetes/cmd/kube-proxy", "kube-proxy"),
            ("k8s.io/kubernetes/cmd/kubelet", "kubelet"),
            ("k8s.io/kubernetes/cmd/kubectl", "kubectl"),
        ],
        linker: "-X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 \
                 -X k8s.io/component-base/version.gitMinor=37",
        ..module("kubernetes")
    },
];

/// Built only when it is asked for: no part of a cluster needs it.
const HELM: Module = Module { programs: &[("helm.sh/helm/v4/cmd/helm", "helm")], ..module("helm") };

const fn module(name: &'static str) -> Module {
    Module { name, programs: &[], cgo: false, tags: "", linker: "" }
}

/// Whether all that a cluster needs has been built before.
pub fn is_whole() -> Result<bool> {
    let bin = bin()?;
    Ok(MODULES.iter().all(|module| module.is_built(&bin)))
}

/// The folder of all programs; what is missing in it is built first.
pub fn ensure(helm: bool) -> Result<PathBuf> {
    let bin = bin()?;
    let wanted = MODULES.iter().chain(helm.then_some(&HELM));
    let missing: Vec<&Module> = wanted.filter(|module| !module.is_built(&bin)).collect();
    if missing.is_empty() {
        return Ok(bin);
    }
    needs(&missing)?;
    say::heading(&format!("building Kubernetes, once (about 12 minutes with cold caches), into {}", bin.display()));
    for module in missing {
        let clock = Stopwatch::start();
        module.build(&bin)?;
        let names: Vec<&str> = module.programs.iter().map(|(_, name)| *name).collect();
        say::good(&format!("{}: {} ({})", module.name, names.join(", "), say::time(clock.elapsed())));
    }
    Ok(bin)
}

/// Where the programs are, built or not.
pub fn bin() -> Result<PathBuf> {
    let cache = match std::env::var_os("DEWDROP_CACHE").filter(|value| !value.is_empty()) {
        Some(folder) => PathBuf::from(folder),
        None => {
            Path::new(&std::env::var_os("HOME").context("HOME says no folder for the cache")?).join(".cache/dewdrop")
        }
    };
    let cache = std::path::absolute(cache)?;
    Ok(cache.join("kubernetes").join(key(&modules_folder())?).join("bin"))
}

fn modules_folder() -> PathBuf {
    repo_root().join("xtask/go")
}

/// Names what is built: the pinned versions with their sums, and how.
fn key(modules: &Path) -> Result<String> {
    let mut all = Vec::new();
    for module in MODULES.iter().chain([&HELM]) {
        for file in ["go.mod", "go.sum"] {
            let path = modules.join(module.name).join(file);
            let text = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            // The length keeps the end of one file apart from the beginning of the next.
            all.extend(
                format!("{} {file} {} {} {}\n", module.name, module.tags, module.linker, text.len()).into_bytes(),
            );
            all.extend(text);
        }
    }
    Ok(hash(&all).chars().take(16).collect())
}

/// What a build needs, and who else brings it.
fn needs(missing: &[&Module]) -> Result<()> {
    if which("go").is_none() {
        bail!(
            "there is no `go` in PATH: Kubernetes is built from Go modules, with Go 1.26 or newer (https://go.dev/dl)"
        );
    }
    if missing.iter().any(|module| module.cgo) {
        tools::bring("cc", "gcc", "building runc")?;
        tools::bring("pkg-config", "pkg-config", "building runc")?;
        tools::bring_library("libseccomp", "libseccomp-dev", "building runc")?;
    }
    Ok(())
}

impl Module {
    /// A program's name appears only when the program is whole, so its presence is enough.
    fn is_built(&self, bin: &Path) -> bool {
        self.programs.iter().all(|(_, name)| bin.join(name).is_file())
    }

    /// Builds beside, then renames: a build that is cut off leaves nothing that looks whole.
    fn build(&self, bin: &Path) -> Result<()> {
        let beside = bin.join(format!(".building-{}-{}", self.name, std::process::id()));
        std::fs::create_dir_all(&beside).with_context(|| format!("cannot make {}", beside.display()))?;
        let built = self.programs.iter().try_for_each(|(package, name)| {
            output_of(&mut self.command(package, &beside.join(name)))
                .with_context(|| format!("cannot build {name} from {package}"))?;
            std::fs::rename(beside.join(name), bin.join(name)).with_context(|| format!("cannot keep {name}"))
        });
        // Whatever became of the build; a leftover here would harm nobody.
        drop(std::fs::remove_dir_all(&beside));
        built
    }

    fn command(&self, package: &str, to: &Path) -> Command {
        let mut go = Command::new("go");
        go.args(["build", "-mod=readonly", "-trimpath", "-buildvcs=false"]).arg("-o").arg(to);
        go.arg("-ldflags").arg(format!("-s -w {}", self.linker));
        if !self.tags.is_empty() {
            go.args(["-tags", self.tags]);
        }
        go.arg(package).current_dir(modules_folder().join(self.name));
        go.env("CGO_ENABLED", if self.cgo { "1" } else { "0" });
        go
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::TempDir;

    fn copies() -> TempDir {
        let dir = TempDir::new("gomod").expect("folder");
        for module in MODULES.iter().chain([&HELM]) {
            std::fs::create_dir(dir.path().join(module.name)).expect("folder");
            for file in ["go.mod", "go.sum"] {
                let from = modules_folder().join(module.name).join(file);
                std::fs::copy(from, dir.path().join(module.name).join(file)).expect("every module has both files");
            }
        }
        dir
    }

    #[test]
    fn the_key_changes_with_any_of_the_files() {
        let dir = copies();
        let before = key(dir.path()).expect("key");
        assert_eq!(before.len(), 16);
        assert_eq!(before, key(&modules_folder()).expect("key"), "the same files have the same key");
        let file = dir.path().join("cni/go.sum");
        let text = std::fs::read_to_string(&file).expect("read");
        std::fs::write(&file, format!("{text}\n")).expect("write");
        assert_ne!(before, key(dir.path()).expect("key"));
        std::fs::remove_file(&file).expect("remove");
        assert!(key(dir.path()).is_err(), "a module without sums is not pinned");
    }

    #[test]
    fn half_a_module_is_not_built() {
        let dir = TempDir::new("gobin").expect("folder");
        let module = MODULES.iter().find(|module| module.name == "cni").expect("cni");
        std::fs::write(dir.path().join("bridge"), "").expect("write");
        assert!(!module.is_built(dir.path()));
        for (_, name) in module.programs {
            std::fs::write(dir.path().join(name), "").expect("write");
        }
        assert!(module.is_built(dir.path()));
    }

    #[test]
    fn the_linker_calls_kubernetes_what_its_module_pins() {
        let text = std::fs::read_to_string(modules_folder().join("kubernetes/go.mod")).expect("go.mod");
        let pinned = text.lines().find_map(|line| line.trim().strip_prefix("k8s.io/kubernetes v")).expect("pinned");
        let version = pinned.split_whitespace().next().expect("version");
        let module = MODULES.iter().find(|module| module.name == "kubernetes").expect("kubernetes");
        assert!(module.linker.contains(&format!("gitVersion=v{version} ")), "{version}");
    }
}
