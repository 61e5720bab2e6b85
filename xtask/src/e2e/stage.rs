//! The stage of the end-to-end tests: a real cluster, a real PostgreSQL, the real server, and an agent on each node.

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cable::Cable;
use super::watch::Mode;
use crate::cluster::{self, Cluster, Node};
use crate::parts::postgres::{self, PASSWORD, Postgres, SUPERUSER};
use crate::parts::vault::{Kind, Vault};
use crate::parts::{Process, TempDir, exec, output_of};
use crate::say::{self, Stopwatch};

/// How long a pod, a user or an event may take to come or go before a scene fails. The machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// The machine's own address on the cluster's bridge.
const HOST: &str = "10.244.0.1";
/// A node that is silent for longer is lost.
pub const NODE_GRACE: &str = "6s";
/// Users that the server made.
const USERS: &str = "select rolname from pg_roles where rolname like 'v-%' order by rolname";

/// The port where each agent tells its numbers, at its node's address.
pub const METRICS: u16 = 9912;

/// What Kubernetes has to know of us. A chart says the same in more words.
pub const BASE: &str = include_str!("base.yaml");

/// Everything that runs. Fields are dropped in order.
pub struct Stage {
    agents: Vec<Agent>,
    /// By which nets the agents work.
    pub mode: Mode,
    /// Their line to the API server.
    pub cable: Cable,
    /// The server.
    pub vault: Vault,
    /// The database.
    pub postgres: Postgres,
    /// The cluster; `None` once it is down.
    cluster: Option<Cluster>,
    dewdrop: PathBuf,
    dir: TempDir,
}

/// The agent of one node.
struct Agent {
    node: Node,
    process: Option<Process>,
}

impl Stage {
    /// Starts everything.
    pub fn open(dewdrop: PathBuf, nodes: u8) -> Result<Self> {
        let postgres = postgres::start()?;
        let cluster = cluster::up(&cluster::Options { nodes, ..cluster::Options::default() })?;
        // Where both nodes reach it, and a node that is cut off does not.
        let vault = Vault::open_at(Kind::Dewdrop, &dewdrop, HOST)?;
        let dir = TempDir::new("dewdrop-e2e")?;
        let agents = cluster.nodes.iter().map(|node| Agent { node: node.clone(), process: None }).collect();
        let cable = Cable::lay(HOST, cluster.server.trim_start_matches("https://"))?;
        let mut stage = Self { agents, mode: Mode::Nri, cable, vault, postgres, cluster: Some(cluster), dewdrop, dir };
        stage.prepare()?;
        Ok(stage)
    }

    fn prepare(&mut self) -> Result<()> {
        self.cluster()?.apply(BASE)?;
        self.configure_database()?;
        self.configure_login()?;
        for index in 0..self.agents.len() {
            self.start_agent(index)?;
        }
        Ok(())
    }

    /// The cluster.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("the cluster is down")
    }

    fn configure_database(&self) -> Result<()> {
        let root = |path: &str, body: Value| self.vault.ask("POST", path, Some(body));
        root("sys/mounts/database", json!({ "type": "database" }))?;
        let port = self.postgres.port;
        root(
            "database/config/demo",
            json!({
                "plugin_name": "postgresql-database-plugin",
                "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{port}/postgres?sslmode=disable"),
                "username": SUPERUSER,
                "password": PASSWORD,
                "allowed_roles": "*",
            }),
        )?;
        let creation = r#"create role "{{name}}" with login password '{{password}}' valid until '{{expiration}}'"#;
        for role in ["app", "worker"] {
            let body =
                json!({ "db_name": "demo", "creation_statements": [creation], "default_ttl": "1h", "max_ttl": "24h" });
            root(&format!("database/roles/{role}"), body)?;
            let policy = format!("path \"database/creds/{role}\" {{ capabilities = [\"read\"] }}");
            root(&format!("sys/policies/acl/{role}"), json!({ "policy": policy }))?;
        }
        Ok(())
    }

    fn configure_login(&self) -> Result<()> {
        let root = |path: &str, body: Value| self.vault.ask("POST", path, Some(body));
        root("sys/auth/kubernetes", json!({ "type": "kubernetes" }))?;
        let jwks = self.kubectl(&["get", "--raw", "/openid/v1/jwks"])?;
        let server = self.cluster()?.server.clone();
        let ca = std::fs::read_to_string(&self.cluster()?.ca)?;
        root(
            "auth/kubernetes/config",
            json!({
                "kubernetes_host": server, "kubernetes_ca_cert": ca, "issuer": server, "verify": "offline", "jwks": jwks, "cluster": "test",
                "node_grace": NODE_GRACE, "disable_local_ca_jwt": true,
            }),
        )?;
        let policy = r#"path "auth/kubernetes/agent/*" { capabilities = ["create", "update"] }"#;
        root("sys/policies/acl/node-agent", json!({ "policy": policy }))?;
        root(
            "auth/kubernetes/role/dewdrop-node",
            json!({
                "bound_service_account_names": "dewdrop-node", "bound_service_account_namespaces": "dewdrop-system",
                "audience": "dewdrop", "agent": true, "token_policies": "node-agent", "token_ttl": "10m",
            }),
        )?;
        for role in ["app", "worker"] {
            root(
                &format!("auth/kubernetes/role/{role}"),
                json!({
                    "bound_service_account_names": "default", "bound_service_account_namespaces": "default",
                    "audience": "dewdrop", "bound_container_names": role, "token_policies": role, "token_ttl": "1h",
                }),
            )?;
        }
        Ok(())
    }

    /// Starts the agent of a node, or starts it again.
    pub fn start_agent(&mut self, index: usize) -> Result<()> {
        self.start_agent_with(index, &[])
    }

    /// The same, with more in its environment.
    pub fn start_agent_with(&mut self, index: usize, env: &[(&str, String)]) -> Result<()> {
        let node = self.agents.get(index).context("no such node")?.node.clone();
        let token = self.kubectl(&[
            "create",
            "token",
            "dewdrop-node",
            "-n",
            "dewdrop-system",
            "--audience",
            "dewdrop",
            "--bound-object-kind",
            "Node",
            "--bound-object-name",
            &node.name,
        ])?;
        let file = self.dir.path().join(format!("{}.token", node.name));
        std::fs::write(&file, token.trim())?;
        let mut command = within(&node, &self.dewdrop);
        command.args(["node", "--node-name", &node.name, "--kubelet-dir"]).arg(&node.root_dir);
        command.arg("--exec-binary").arg(exec::ensure()?).arg("--cri-socket").arg(&node.containerd_sock);
        command.arg("--token-file").arg(&file).arg("--metrics-address").arg(format!("{}:{METRICS}", node.address));
        self.nets(&node, &mut command)?;
        command.args(["--log-level", "debug"]).arg("--state-dir").arg(node.dir().join("dewdrop"));
        command.env("DEWDROP_ADDR", &self.vault.address).env("HOME", self.dir.path());
        command.envs(env.iter().map(|(name, value)| (name, value)));
        let log = self.dir.path().join(format!("agent-{}.log", node.name));
        let registered = node.root_dir.join("plugins/csi.dewdrop.dev/csi.sock");
        let mut process = Process::start(command, &log)?;
        process.wait_until(PATIENCE, || registered.exists())?;
        if let Some(agent) = self.agents.get_mut(index) {
            agent.process = Some(process);
        }
        self.until_registered(index)
    }

    /// Waits until kubelet has found the driver.
    pub fn until_registered(&self, index: usize) -> Result<()> {
        let node = self.node(index)?;
        self.wait("kubelet to know the driver", PATIENCE, || {
            let known = self.kubectl(&["get", "csinode", &node, "-o", "jsonpath={.spec.drivers[*].name}"]);
            Ok(known.is_ok_and(|known| known.contains("csi.dewdrop.dev")))
        })
        .map(drop)
    }

    /// Waits until the agent's last word about the runtime is that it is linked to it.
    pub fn until_linked(&self, index: usize) -> Result<()> {
        if self.mode == Mode::Watch {
            return self.until_watching(index);
        }
        let log = self.agent_file(index)?;
        self.wait("the agent to be linked to the runtime", PATIENCE, || {
            let text = std::fs::read_to_string(&log)?;
            let (up, down) = (text.rfind("the runtime tells of starts"), text.rfind("the runtime tells nothing"));
            Ok(up > down)
        })
        .map(drop)
    }

    /// An agent's log.
    pub fn agent_file(&self, index: usize) -> Result<PathBuf> {
        Ok(self.dir.path().join(format!("agent-{}.log", self.node(index)?)))
    }

    /// How many nodes there are.
    pub fn count(&self) -> usize {
        self.agents.len()
    }

    /// A node's address.
    pub fn address(&self, index: usize) -> Result<String> {
        Ok(self.agents.get(index).context("no such node")?.node.address.clone())
    }

    /// Kubelet's folder on a node.
    pub fn kubelet_dir(&self, index: usize) -> Result<PathBuf> {
        Ok(self.agents.get(index).context("no such node")?.node.root_dir.clone())
    }

    /// Runs a command where a node's agent is.
    pub fn beside_agent(&self, index: usize, program: &std::path::Path) -> Result<Command> {
        let node = &self.agents.get(index).context("no such node")?.node;
        Ok(within(node, program))
    }

    /// The name of a node.
    pub fn node(&self, index: usize) -> Result<String> {
        Ok(self.agents.get(index).context("no such node")?.node.name.clone())
    }

    /// The cluster, for what changes it.
    pub fn cluster_mut(&mut self) -> Result<&mut Cluster> {
        self.cluster.as_mut().context("the cluster is down")
    }

    /// SIGSTOP: the agent answers nothing and nobody.
    pub fn stop_agent(&self, index: usize) -> Result<()> {
        self.signal_agent(index, "-STOP")
    }

    /// SIGCONT.
    pub fn go_on_agent(&self, index: usize) -> Result<()> {
        self.signal_agent(index, "-CONT")
    }

    fn signal_agent(&self, index: usize, signal: &str) -> Result<()> {
        let process = self.agents.get(index).and_then(|agent| agent.process.as_ref());
        let pid = process.context("the agent does not run")?.pid().to_string();
        output_of(Command::new("kill").args([signal, &pid])).map(drop)
    }

    /// A signal to the server.
    pub fn signal_vault(&self, signal: &str) -> Result<()> {
        output_of(Command::new("kill").args([signal, &self.vault.pid()?.to_string()])).map(drop)
    }

    /// The agents that run.
    pub fn agent_pids(&self) -> Vec<u32> {
        self.agents.iter().filter_map(|agent| Some(agent.process.as_ref()?.pid())).collect()
    }

    /// What a node's agent kept is gone, as with a tmpfs after a loss of power.
    pub fn forget_agent_state(&self, index: usize) -> Result<()> {
        let agent = self.agents.get(index).context("no such node")?;
        let state = agent.node.dir().join("dewdrop");
        if state.exists() { Ok(std::fs::remove_dir_all(state)?) } else { Ok(()) }
    }

    /// A file for kubectl.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
    }

    /// SIGKILL to the agent of a node.
    pub fn kill_agent(&mut self, index: usize) {
        if let Some(mut process) = self.agents.get_mut(index).and_then(|agent| agent.process.take()) {
            process.kill9();
        }
    }

    /// What an agent said last.
    pub fn agent_log(&self) -> String {
        let tail = |agent: &Agent| agent.process.as_ref().map_or_else(String::new, Process::log_tail);
        let last = |log: String| {
            log.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n")
        };
        self.agents.iter().map(tail).map(last).collect::<Vec<_>>().join("\n")
    }

    /// The program under test.
    pub fn program(&self) -> &std::path::Path {
        &self.dewdrop
    }

    /// Runs kubectl; an error with its words when it fails.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let out = self.cluster()?.kubectl(args)?;
        if !out.status.success() {
            bail!("kubectl {}: {}", args.join(" "), String::from_utf8_lossy(&out.stderr).trim());
        }
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    }

    /// The users that the server made and that are there now.
    pub fn users(&self) -> Result<Vec<String>> {
        Ok(self.postgres.psql(USERS)?.lines().map(str::to_owned).collect())
    }

    /// Waits until a user is gone; says how long it took.
    pub fn until_gone(&self, user: &str) -> Result<Duration> {
        self.wait(&format!("user {user} to be gone"), PATIENCE, || Ok(!self.users()?.iter().any(|name| name == user)))
    }

    /// Waits for a condition; says how long it took.
    pub fn wait(&self, what: &str, limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<Duration> {
        let clock = Stopwatch::start();
        while clock.elapsed() < limit {
            if is_so()? {
                return Ok(clock.elapsed());
            }
            sleep(LOOK_AGAIN);
        }
        bail!(
            "waited {} in vain for {what}\nthe agents say:\n{}\nthe server says:\n{}",
            say::time(limit),
            self.agent_log(),
            self.vault.log_tail()
        )
    }

    /// SIGKILL to the first process of a container, as the kernel would do it.
    pub fn kill_container(&self, id: &str) -> Result<()> {
        let mut pid = None;
        self.wait(&format!("a node to run the container {id}"), PATIENCE, || {
            pid = self.pid_of(id)?;
            Ok(pid.is_some())
        })?;
        output_of(Command::new("kill").args(["-9", &pid.context("no process")?])).map(drop)
    }

    /// The first process of a container, by the list of whichever runtime has it. A list fails when another container goes
    /// while it is made.
    pub fn pid_of(&self, id: &str) -> Result<Option<String>> {
        let cluster = self.cluster()?;
        for agent in &self.agents {
            let mut ctr = Command::new(cluster.bin.join("ctr"));
            ctr.arg("--address").arg(&agent.node.containerd_sock).args(["--namespace", "k8s.io", "task", "list"]);
            let listed = ctr.output()?;
            let listed = String::from_utf8_lossy(&listed.stdout);
            let row = listed.lines().find_map(|line| line.strip_prefix(id));
            if let Some(pid) = row.and_then(|row| row.split_whitespace().next()) {
                return Ok(Some(pid.to_owned()));
            }
        }
        Ok(None)
    }

    /// Lets the server end by itself and checks its audit log offline.
    pub fn verify_audit(&mut self) -> Result<String> {
        self.vault.stop();
        let log = self.vault.dir().join("data/audit");
        output_of(Command::new(&self.dewdrop).args(["audit", "verify"]).arg(log).env("HOME", self.dir.path()))
    }
}

/// A program in a node's network.
fn within(node: &Node, program: &std::path::Path) -> Command {
    match &node.netns {
        None => Command::new(program),
        Some(netns) => {
            let mut inside = Command::new("nsenter");
            inside.arg(format!("--net={}", netns.display())).arg(program);
            inside
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.agents.clear();
        if let Some(cluster) = self.cluster.take()
            && let Err(error) = cluster.down()
        {
            say::failed(&format!("the cluster is not wholly down: {error:#}"));
        }
    }
}
