//! The stage of the end-to-end tests: a real cluster, a real PostgreSQL, the real server, and an agent on each node.

mod agents;

use std::path::PathBuf;
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cable::Cable;
use super::watch::Mode;
use crate::cluster::{self, Cluster};
use crate::parts::postgres::{self, CREATE_ROLE, Postgres};
use crate::parts::vault::{Kind, Vault};
use crate::parts::{TempDir, output_of};
use crate::say::{self, Stopwatch};
use agents::Agent;

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

impl Stage {
    /// Starts everything.
    pub fn open(dewdrop: PathBuf, nodes: u8) -> Result<Self> {
        let postgres = postgres::start()?;
        let cluster = cluster::up(&cluster::Options { nodes, ..cluster::Options::default() })?;
        // Where both nodes reach it, and a node that is cut off does not.
        let vault = Vault::open_beside_tls(Kind::Dewdrop, &dewdrop, HOST)?;
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
        root("database/config/demo", self.postgres.connection("*"))?;
        for role in ["app", "worker"] {
            let body = json!({ "db_name": "demo", "creation_statements": [CREATE_ROLE], "default_ttl": "1h", "max_ttl": "24h" });
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

    /// The name of a node.
    pub fn node(&self, index: usize) -> Result<String> {
        Ok(self.agents.get(index).context("no such node")?.node.name.clone())
    }

    /// The cluster, for what changes it.
    pub fn cluster_mut(&mut self) -> Result<&mut Cluster> {
        self.cluster.as_mut().context("the cluster is down")
    }

    /// A signal to the server.
    pub fn signal_vault(&self, signal: &str) -> Result<()> {
        output_of(Command::new("kill").args([signal, &self.vault.pid()?.to_string()])).map(drop)
    }

    /// A file for kubectl.
    pub fn file(&self, name: &str, text: &str) -> Result<String> {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text)?;
        Ok(path.display().to_string())
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

    /// What the cluster tells of a scene that failed: its pods, and what happened last.
    pub fn told(&self) -> String {
        const LAST: usize = 25;
        let said = |args: &[&str]| self.kubectl(args).unwrap_or_else(|error| format!("{error:#}\n"));
        let pods = said(&["get", "pods", "--all-namespaces", "-o", "wide"]);
        let events = said(&["get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"]);
        let events: Vec<&str> = events.lines().collect();
        format!("pods:\n{pods}events:\n{}", events[events.len().saturating_sub(LAST)..].join("\n"))
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
