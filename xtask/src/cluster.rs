//! `cargo xtask cluster`: a real Kubernetes on this one machine, with nothing from a registry: programs built from Go
//! modules, images written by hand. It is what the end-to-end tests run on.
//!
//! For those tests: `up(&Options)` answers a `Cluster`, whose nodes say where their sockets and folders are; `attach` finds
//! the one that runs. `Cluster` can ask (`kubectl`), bring (`import_image`, `apply`), and break (`cable`, `power_off`).

mod build;
mod certs;
mod cgroup;
mod control;
mod daemon;
mod down;
pub mod image;
mod instance;
mod network;
mod node;
pub mod record;
mod status;
mod stock;
mod tar;
mod texts;
mod trial;
mod up;
mod verbs;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::say::{self, Stopwatch};

pub use build::ensure as programs;
pub use certs::folder as pki;
pub use record::{Cluster, Node};
pub use up::up;

const USAGE: &str = "\
cargo xtask cluster up|down|status|try|env [options]
  up          builds what is needed (once), starts, waits until all nodes are Ready
  down        ends everything and leaves nothing behind
  status      says what runs; exit status 0 only when all nodes are Ready
  try         proves it: pods on each node, logs, exec, restart in place, a Service, a lost node
  env         prints what a shell needs: eval \"$(cargo xtask cluster env)\"
  --nodes N       1 or 2 (default 1)
  --instance N    0 to 3 (default 0): clusters beside each other, each with addresses of its own
  --state DIR     where everything is (default /run/dewdrop-cluster, /run/dewdrop-cluster-N)
  --helm          builds helm as well
  --api-arg ARG   one more argument of kube-apiserver; may be repeated
  --existing      uses the cluster of KUBECONFIG: looks whether it answers, starts and ends nothing";

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Options {
    /// Which of the clusters beside each other on this machine: 0 is the usual one.
    pub instance: u8,
    /// How many nodes: 1 or 2.
    pub nodes: u8,
    /// The folder of everything that runs.
    pub state: PathBuf,
    /// Whether helm is wanted.
    pub helm: bool,
    /// More arguments of the API server.
    pub api_args: Vec<String>,
    /// Whether to take the cluster of `KUBECONFIG` instead of starting one.
    pub existing: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self::of(0)
    }
}

impl Options {
    /// What an instance is when nothing else is said.
    pub fn of(instance: u8) -> Self {
        let state = instance::state(instance);
        Self { instance, nodes: 1, state, helm: false, api_args: Vec::new(), existing: false }
    }

    fn parse(args: &[String]) -> Result<Self> {
        let (mut options, mut state) = (Self::default(), None);
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().with_context(|| format!("{arg} needs a value\n{USAGE}"));
            match arg.as_str() {
                "--nodes" => options.nodes = number_of_nodes(value()?)?,
                "--instance" => options.instance = instance::number(value()?)?,
                "--state" => state = Some(PathBuf::from(value()?)),
                "--api-arg" => options.api_args.push(value()?.clone()),
                "--helm" => options.helm = true,
                "--existing" => options.existing = true,
                _ => bail!("cluster does not know `{arg}`\n{USAGE}"),
            }
        }
        options.state = state.unwrap_or_else(|| instance::state(options.instance));
        Ok(options)
    }
}

fn number_of_nodes(text: &str) -> Result<u8> {
    match text.parse() {
        Ok(number @ 1..=2) => Ok(number),
        _ => bail!("--nodes takes 1 or 2, not {text:?}"),
    }
}

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let Some((verb, rest)) = args.split_first() else { bail!("what about the cluster?\n{USAGE}") };
    let options = Options::parse(rest)?;
    match verb.as_str() {
        "up" => {
            let cluster = if options.existing { attach(&options)? } else { up(&options)? };
            say::line(&format!("KUBECONFIG={}", cluster.kubeconfig.display()));
            Ok(())
        }
        "down" => end(&options),
        "status" => status::tell(&attach(&options)?),
        "try" => trial::run(attach(&options)?),
        "env" => attach(&options).map(|cluster| print!("{}", environment(&cluster))),
        _ => bail!("cluster does not know `{verb}`\n{USAGE}"),
    }
}

/// Whether a cluster can run here at all; the error says what is missing. For chores that go without it then.
pub fn possible() -> Result<()> {
    if !crate::tools::is_root()? {
        bail!("it needs root: it makes namespaces, mounts and a bridge");
    }
    let tries = "mount -t tmpfs probe /mnt && ip link add probe type bridge";
    let own = Command::new("unshare").args(["--net", "--mount", "sh", "-c", tries]).output();
    if !own.is_ok_and(|out| out.status.success()) {
        bail!("namespaces, mounts and bridges of its own cannot be made here");
    }
    if !groups_can_be_made() {
        bail!("control groups cannot be made here");
    }
    if !build::is_whole()? && crate::parts::which("go").is_none() {
        bail!("Kubernetes is not built yet, and there is no Go to build it");
    }
    Ok(())
}

/// Whether control groups can be made, of either version.
fn groups_can_be_made() -> bool {
    ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].iter().any(|root| {
        let probe = Path::new(root).join(format!("dewdrop-probe-{}", std::process::id()));
        std::fs::create_dir(&probe).is_ok() && std::fs::remove_dir(&probe).is_ok()
    })
}

/// The cluster that runs already.
pub fn attach(options: &Options) -> Result<Cluster> {
    if options.existing {
        return existing();
    }
    let cluster = Cluster::load(&options.state)?;
    cluster.with_context(|| format!("no cluster runs in {}: cargo xtask cluster up", options.state.display()))
}

/// The cluster of somebody else.
fn existing() -> Result<Cluster> {
    let kubeconfig = std::env::var_os("KUBECONFIG").filter(|value| !value.is_empty());
    let kubeconfig = PathBuf::from(kubeconfig.context("--existing needs KUBECONFIG, the way into that cluster")?);
    let mut cluster = Cluster::plan(0, &instance::state(0), &build::bin()?, 0)?;
    cluster.kubeconfig = kubeconfig;
    let seen = status::of(&cluster);
    if !seen.is_ready() {
        bail!("the cluster of {} does not answer, or a node is not Ready", cluster.kubeconfig.display());
    }
    say::good(&format!("the cluster of {} has {} Ready", cluster.kubeconfig.display(), seen.ready.join(", ")));
    Ok(cluster)
}

fn end(options: &Options) -> Result<()> {
    if options.existing {
        say::line("the cluster of KUBECONFIG is somebody else's and runs on");
        return Ok(());
    }
    let clock = Stopwatch::start();
    let Some(cluster) = Cluster::load(&options.state)? else {
        say::line(&format!("no cluster runs in {}", options.state.display()));
        return Ok(());
    };
    cluster.down()?;
    say::good(&format!("ended, nothing is left ({})", say::time(clock.elapsed())));
    Ok(())
}

/// Lines for a shell.
fn environment(cluster: &Cluster) -> String {
    let file = |path: &Path| quoted(&path.to_string_lossy());
    let mut lines = vec![
        format!("export KUBECONFIG={}", file(&cluster.kubeconfig)),
        format!("export PATH={}:\"$PATH\"", file(&cluster.bin)),
    ];
    if let Some(node) = cluster.nodes.first() {
        lines.push(format!("export CONTAINERD_ADDRESS={}", file(&node.containerd_sock)));
        lines.push(format!("export CONTAINERD_NAMESPACE={}", "k8s.io"));
    }
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// One word for a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The PATH with our programs first. System folders are there in any case: the network's tools are in them.
fn path_with(bin: &Path) -> OsString {
    let mut path = bin.as_os_str().to_owned();
    for more in [std::env::var_os("PATH").unwrap_or_default(), "/usr/sbin:/usr/bin:/sbin:/bin".into()] {
        path.push(":");
        path.push(more);
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Options> {
        Options::parse(&args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_and_wrong_ones_named() {
        let options = parsed(&["--nodes", "2", "--state", "/x", "--api-arg", "--v=2", "--helm"]).expect("options");
        assert_eq!((options.nodes, options.helm, options.existing), (2, true, false));
        assert_eq!(options.api_args, ["--v=2"]);
        assert_eq!(options.state, Path::new("/x"));
        let second = parsed(&["--instance", "1"]).expect("options");
        assert_eq!((second.instance, second.state.to_str()), (1, Some("/run/dewdrop-cluster-1")));
        for wrong in [&["--nodes", "3"][..], &["--instance", "9"], &["--nodes", "x"], &["--nodes"], &["--node", "1"]] {
            let error = parsed(wrong).expect_err("wrong").to_string();
            assert!(error.contains(wrong.first().expect("one")), "{error}");
        }
    }

    #[test]
    fn the_environment_survives_a_quote() {
        let mut cluster = Cluster::plan(0, Path::new("/run/x"), Path::new("/it's/bin"), 1).expect("plan");
        cluster.kubeconfig = "/run/x/kube config".into();
        let text = environment(&cluster);
        let script = format!("{text}printf '%s|%s' \"$KUBECONFIG\" \"$PATH\"");
        let out = crate::parts::output_of(std::process::Command::new("sh").args(["-c", &script])).expect("sh");
        assert!(out.starts_with("/run/x/kube config|/it's/bin:"), "{out}");
    }
}
