//! Two clusters with one server: each has a mount of its own for its logins, and nothing of one counts in the other.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::account::{AGENTS, PODS};
use super::pods::{TestPod, WAIT};
use super::scenes::Scene;
use super::stage::{BASE, NODE_GRACE, PATIENCE, Stage};
use crate::cluster::{self, Cluster};
use crate::parts::{Process, exec};
use crate::say;

/// All of them.
pub const ALL: &[Scene] = &[("two clusters with one server", two_clusters)];

/// Where the second cluster's pods log in.
const MOUNT: &str = "kubernetes-b";

/// The second cluster and its agent.
struct Second {
    agent: Option<Process>,
    cluster: Option<Cluster>,
}

impl Drop for Second {
    fn drop(&mut self) {
        self.agent = None;
        if let Some(Err(error)) = self.cluster.take().map(Cluster::down) {
            say::failed(&format!("the second cluster is not wholly down: {error:#}"));
        }
    }
}

impl Second {
    fn open(stage: &Stage) -> Result<Self> {
        let cluster = cluster::up(&cluster::Options::of(1))?;
        let mut second = Self { agent: None, cluster: Some(cluster) };
        second.cluster()?.apply(BASE)?;
        second.login(stage)?;
        second.start_agent(stage)?;
        Ok(second)
    }

    fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("the second cluster is down")
    }

    fn kubectl(&self, args: &[&str]) -> Result<String> {
        let out = self.cluster()?.kubectl(args)?;
        ensure!(out.status.success(), "kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// The second mount: this cluster's keys and issuer, and the same roles.
    fn login(&self, stage: &Stage) -> Result<()> {
        let root = |path: &str, body: Value| stage.vault.ask("POST", path, Some(body)).map(drop);
        root(&format!("sys/auth/{MOUNT}"), json!({ "type": "kubernetes" }))?;
        let (server, ca) = (&self.cluster()?.server, std::fs::read_to_string(&self.cluster()?.ca)?);
        let config = json!({
            "kubernetes_host": server, "kubernetes_ca_cert": ca, "issuer": server, "verify": "offline", "cluster": "second",
            "jwks": self.kubectl(&["get", "--raw", "/openid/v1/jwks"])?, "node_grace": NODE_GRACE, "disable_local_ca_jwt": true,
        });
        root(&format!("auth/{MOUNT}/config"), config)?;
        let policy = format!("path \"auth/{MOUNT}/agent/*\" {{ capabilities = [\"create\", \"update\"] }}");
        root("sys/policies/acl/node-agent-b", json!({ "policy": policy }))?;
        let agent = json!({
            "bound_service_account_names": "dewdrop-node", "bound_service_account_namespaces": "dewdrop-system",
            "audience": "dewdrop", "agent": true, "token_policies": "node-agent-b", "token_ttl": "10m",
        });
        root(&format!("auth/{MOUNT}/role/dewdrop-node"), agent)?;
        let app = json!({
            "bound_service_account_names": "default", "bound_service_account_namespaces": "default",
            "audience": "dewdrop", "bound_container_names": "app", "token_policies": "app", "token_ttl": "1h",
        });
        root(&format!("auth/{MOUNT}/role/app"), app)?;
        // For the tokens that people make with kubectl: what is refused below is refused for its cluster alone.
        for mount in ["kubernetes", MOUNT] {
            let plain = json!({
                "bound_service_account_names": "default", "bound_service_account_namespaces": "default",
                "audience": "dewdrop", "token_policies": "app", "token_ttl": "1m",
            });
            root(&format!("auth/{mount}/role/plain"), plain)?;
        }
        Ok(())
    }

    fn start_agent(&mut self, stage: &Stage) -> Result<()> {
        let node = self.cluster()?.nodes.first().context("no node")?.clone();
        let token = self.kubectl(&AGENTS.on_node(&node.name).ask())?;
        let file = stage.file("second.token", token.trim())?;
        let netns = node.netns.as_ref().context("the second cluster's node lives in the machine's network")?;
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", netns.display())).arg(stage.program());
        command.args(["node", "--node-name", &node.name, "--auth-mount", MOUNT, "--token-file", &file]);
        command.arg("--kubelet-dir").arg(&node.root_dir).arg("--exec-binary").arg(exec::ensure()?);
        command.arg("--cri-socket").arg(&node.containerd_sock).arg("--nri-socket").arg(&node.nri_sock);
        command.arg("--state-dir").arg(node.dir().join("dewdrop"));
        command.env("DEWDROP_ADDR", &stage.vault.address).env("HOME", node.dir());
        let mut process = Process::start(command, &self.cluster()?.log_of("agent"))?;
        let socket = node.root_dir.join("plugins/csi.dewdrop.dev/csi.sock");
        process.wait_until(PATIENCE, || socket.exists())?;
        self.agent = Some(process);
        stage
            .wait("the second kubelet to know the driver", PATIENCE, || {
                let known = self.kubectl(&["get", "csinode", &node.name, "-o", "jsonpath={.spec.drivers[*].name}"]);
                Ok(known.is_ok_and(|known| known.contains("csi.dewdrop.dev")))
            })
            .map(drop)
    }

    fn user_of(&self, stage: &Stage, pod: &str) -> Result<String> {
        let mut user = None;
        let told = || self.kubectl(&["describe", "pod", pod]).unwrap_or_default();
        stage
            .wait("the second cluster's container to say its user", PATIENCE, || {
                let log = self.kubectl(&["logs", pod, "-c", "app"]).unwrap_or_default();
                user = log.lines().filter_map(|line| line.strip_prefix("user=")).next_back().map(str::to_owned);
                Ok(user.as_ref().is_some_and(|user| !user.is_empty()))
            })
            .with_context(told)?;
        user.context("no user")
    }
}

fn two_clusters(stage: &mut Stage) -> Result<()> {
    let mut second = Second::open(stage)?;
    let node = stage.node(0)?;
    ensure!(second.cluster()?.nodes.iter().all(|other| other.name == node), "the nodes have different names");
    let pod = TestPod::new("same").on(&node).with("app", WAIT);
    stage.apply(&pod)?;
    second.cluster()?.apply(&pod.manifest().to_string())?;
    let (here, there) = (stage.user_of("same", "app")?, second.user_of(stage, "same")?);
    ensure!(here != there, "both clusters' containers have {here}");
    let users = stage.users()?;
    ensure!(users.len() == 2 && users.contains(&here) && users.contains(&there), "{users:?} for {here} and {there}");
    tokens_stay_at_home(stage, &second)?;
    // The node of the same name is lost in one of them. Its agent goes first: it would hear of its containers' ends.
    if let Some(mut agent) = second.agent.take() {
        agent.kill9();
    }
    second.cluster()?.power_off(&node)?;
    let took = stage.until_gone(&there)?;
    say::line(&format!("the lost node's user gone {} after its power", say::time(took)));
    std::thread::sleep(std::time::Duration::from_secs(3));
    ensure!(stage.users()? == [here.as_str()], "the other cluster's {here} suffered: {:?}", stage.users()?);
    stage.delete("same")?;
    stage.until_empty().map(drop)
}

/// A token of each cluster opens its own mount and not the other's.
fn tokens_stay_at_home(stage: &Stage, second: &Second) -> Result<()> {
    let (here, there) = (stage.minted(PODS)?, second.kubectl(&PODS.ask())?);
    let caller = stage.vault.caller().with_token("");
    for (whose, token, home, foreign) in [("first", here, "kubernetes", MOUNT), ("second", there, MOUNT, "kubernetes")]
    {
        let login = |mount: &str| {
            let body = json!({ "role": "plain", "jwt": token.trim() });
            caller.send("POST", &format!("auth/{mount}/login"), Some(body))
        };
        let (status, answer) = login(home)?;
        ensure!(status == 200, "the {whose} cluster's token at its own mount: {status} {answer}");
        let (status, answer) = login(foreign)?;
        ensure!(status == 403 || status == 400, "the {whose} cluster's token at the other's mount: {status}");
        ensure!(answer.pointer("/auth/client_token").is_none(), "the other cluster's mount gave a token");
    }
    Ok(())
}
