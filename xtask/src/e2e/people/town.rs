//! People with homes of their own, the access engine, and the proxy in front of the cluster.

use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::e2e::stage::{PATIENCE, Stage};
use crate::parts::{Process, TempDir, free_port};

/// What Kubernetes has to know of the proxy and of people.
pub const MANIFEST: &str = include_str!("../people.yaml");
/// What everybody may do with the engine.
const POLICY: &str = r#"
path "access/request" { capabilities = ["create", "update"] }
path "access/requests" { capabilities = ["list"] }
path "access/offers" { capabilities = ["list"] }
path "access/requests/*" { capabilities = ["read", "create", "update"] }
path "access/clusters/+" { capabilities = ["read"] }
"#;
/// What those who look after the record may do.
const AUDITOR: &str = r#"
path "access/around" { capabilities = ["list"] }
path "access/roles/+" { capabilities = ["read"] }
path "access/recordings" { capabilities = ["list"] }
path "access/recordings/+" { capabilities = ["read"] }
"#;
/// What the proxy may do with it.
const PROXY: &str = r#"
path "access/live" { capabilities = ["read"] }
path "access/announce" { capabilities = ["create", "update"] }
path "auth/kubernetes/sessions/leave" { capabilities = ["create", "update"] }
path "access/record" { capabilities = ["create", "update"] }
path "access/clusters/test/certificate" { capabilities = ["create", "update"] }
path "access/recordings/+" { capabilities = ["create", "update"] }
"#;
/// A pod that says something all the time.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec:
  terminationGracePeriodSeconds: 0
  containers:
    - name: web
      image: dewdrop.test/busybox:1
      imagePullPolicy: Never
      command: [/bin/busybox, sh, -c, "while :; do echo tick; sleep 0.2; done"]
"#;
/// Everybody's.
pub const PASSWORD: &str = "of a person of the test";

/// Ann asks; ben and cleo lead.
pub struct Town<'s> {
    /// Below it.
    pub stage: &'s Stage,
    proxy: Option<Process>,
    port: u16,
    proxy_token: String,
    log_level: &'static str,
    dir: TempDir,
}

/// A town without its stage, for as long as somebody changes the stage.
pub struct Packed {
    proxy: Option<Process>,
    port: u16,
    proxy_token: String,
    log_level: &'static str,
    dir: TempDir,
}

impl Packed {
    /// As it was.
    pub fn unpack(self, stage: &Stage) -> Town<'_> {
        let Self { proxy, port, proxy_token, log_level, dir } = self;
        Town { stage, proxy, port, proxy_token, log_level, dir }
    }
}

impl<'s> Town<'s> {
    /// Lets go of the stage; everything runs on.
    pub fn pack(self) -> Packed {
        let Self { stage: _, proxy, port, proxy_token, log_level, dir } = self;
        Packed { proxy, port, proxy_token, log_level, dir }
    }

    /// Everybody moves in.
    pub fn open(stage: &'s Stage) -> Result<Self> {
        Self::open_with(stage, "debug")
    }

    /// The same with a proxy that says little, as in real life.
    pub fn quiet(stage: &'s Stage) -> Result<Self> {
        Self::open_with(stage, "info")
    }

    fn open_with(stage: &'s Stage, log_level: &'static str) -> Result<Self> {
        stage.cluster()?.apply(MANIFEST)?;
        let mut town = Self {
            stage,
            proxy: None,
            port: free_port()?,
            proxy_token: String::new(),
            log_level,
            dir: TempDir::new("dewdrop-people")?,
        };
        town.engine()?;
        town.revoke_all()?;
        town.start_proxy()?;
        for name in ["ann", "ben", "cleo"] {
            town.moves_in(name)?;
        }
        Ok(town)
    }

    /// Nothing of a former scene runs.
    fn revoke_all(&self) -> Result<()> {
        let (_, listed) = self.stage.vault.caller().send("GET", "access/all-requests?list=true", None)?;
        for (id, line) in listed["data"]["key_info"].as_object().into_iter().flatten() {
            if ["active", "granted"].iter().any(|state| line["state"] == *state) {
                self.root(&format!("access/requests/{id}/revoke"), json!({ "reason": "the next scene begins" }))?;
            }
        }
        Ok(())
    }

    fn root(&self, path: &str, body: Value) -> Result<Value> {
        self.stage.vault.ask("POST", path, Some(body))
    }

    fn engine(&mut self) -> Result<()> {
        let known = self.stage.vault.ask("GET", "sys/mounts", None)?;
        if known["data"].get("access/").is_none() {
            self.root("sys/mounts/access", json!({ "type": "access" }))?;
            self.root("sys/auth/userpass", json!({ "type": "userpass" }))?;
        }
        self.root("sys/policies/acl/people", json!({ "policy": POLICY }))?;
        self.root("sys/policies/acl/access-proxy", json!({ "policy": PROXY }))?;
        self.root("sys/policies/acl/auditor", json!({ "policy": AUDITOR }))?;
        let auth = self.stage.vault.ask("GET", "sys/auth", None)?;
        let accessor = auth["data"]["userpass/"]["accessor"].as_str().context("userpass has no accessor")?.to_owned();
        for (name, groups) in [("ann", &["devs"][..]), ("ben", &["devs", "leads"]), ("cleo", &["leads"])] {
            let policies = if name == "cleo" { "people,auditor" } else { "people" };
            self.root(
                &format!("auth/userpass/users/{name}"),
                json!({ "password": PASSWORD, "token_policies": policies }),
            )?;
            self.root("identity/entity", json!({ "name": name }))?;
            let id = self.entity(name)?;
            let alias = json!({ "name": name, "mount_accessor": accessor, "canonical_id": id });
            self.root("identity/entity-alias", alias)?;
            for group in groups {
                self.join(group, &id)?;
            }
        }
        self.root("access/clusters/test", json!({ "address": format!("https://127.0.0.1:{}", self.port) }))?;
        let token = self.root("auth/token/create", json!({ "policies": ["access-proxy"], "period": "1h" }))?;
        token["auth"]["client_token"].as_str().context("no token")?.clone_into(&mut self.proxy_token);
        Ok(())
    }

    fn join(&self, group: &str, entity: &str) -> Result<()> {
        let known = self.stage.vault.caller().send("GET", &format!("identity/group/name/{group}"), None)?.1;
        let mut members: Vec<Value> = known["data"]["member_entity_ids"].as_array().cloned().unwrap_or_default();
        members.push(entity.into());
        self.root(&format!("identity/group/name/{group}"), json!({ "member_entity_ids": members })).map(drop)
    }

    /// Somebody joins a group.
    pub fn joins(&self, group: &str, name: &str) -> Result<()> {
        self.join(group, &self.entity(name)?)
    }

    /// Somebody leaves a group.
    pub fn leaves(&self, group: &str, name: &str) -> Result<()> {
        let entity = self.entity(name)?;
        let known = self.stage.vault.ask("GET", &format!("identity/group/name/{group}"), None)?;
        let mut members: Vec<Value> = known["data"]["member_entity_ids"].as_array().cloned().unwrap_or_default();
        members.retain(|member| *member != entity);
        self.root(&format!("identity/group/name/{group}"), json!({ "member_entity_ids": members })).map(drop)
    }

    fn entity(&self, name: &str) -> Result<String> {
        let entity = self.stage.vault.ask("GET", &format!("identity/entity/name/{name}"), None)?;
        Ok(entity["data"]["id"].as_str().context("an entity without id")?.to_owned())
    }

    /// A role: read pods of the namespace `shop`, and what else is said.
    pub fn role(&self, name: &str, change: Value) -> Result<()> {
        let mut role = json!({
            "clusters": "test", "namespaces": "shop", "kubernetes_groups": "dewdrop:people",
            "rules": [{ "api_groups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"] }],
            "requester_groups": "devs", "approvals": [{ "groups": ["leads"] }],
        });
        for (field, value) in change.as_object().context("fields of a role")? {
            role[field] = value.clone();
        }
        self.root(&format!("access/roles/{name}"), role).map(drop)
    }

    /// A pod to look at.
    pub fn start_pod(&self) -> Result<()> {
        self.stage.cluster()?.apply(POD)?;
        let ready = ["wait", "-n", "shop", "--for=condition=Ready", "pod/web", "--timeout=60s"];
        self.stage.kubectl(&ready).map(drop)
    }

    /// Starts the proxy, or starts it again.
    pub fn start_proxy(&mut self) -> Result<()> {
        let account = self.dir.path().join("account");
        std::fs::create_dir_all(&account)?;
        let token = self.stage.kubectl(&["create", "token", "dewdrop-proxy", "-n", "dewdrop-system"])?;
        std::fs::write(account.join("token"), token.trim())?;
        let cluster = self.stage.cluster()?;
        std::fs::copy(&cluster.ca, account.join("ca.crt"))?;
        let mut command = Command::new(self.stage.program());
        command.args(["kube", "proxy", "-cluster", "test", "-token-file", "", "-log-level", self.log_level]);
        command.arg("-listen").arg(format!("127.0.0.1:{}", self.port)).arg("-api-server").arg(&cluster.server);
        command.arg("-api-account").arg(&account).env("DEWDROP_ADDR", &self.stage.vault.address);
        command.env("DEWDROP_TOKEN", &self.proxy_token).env("HOME", self.dir.path());
        let port = self.port;
        let mut process = Process::start(command, &self.dir.path().join("proxy.log"))?;
        process.wait_until(PATIENCE, || crate::parts::listens(port))?;
        self.proxy = Some(process);
        Ok(())
    }

    /// The proxy's process.
    pub fn proxy_pid(&self) -> Option<u32> {
        self.proxy.as_ref().map(Process::pid)
    }

    /// Where the proxy is.
    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.port)
    }

    /// SIGKILL to the proxy.
    pub fn kill_proxy(&mut self) {
        if let Some(mut proxy) = self.proxy.take() {
            proxy.kill9();
        }
    }

    /// Where somebody lives; `bin` of it is in his PATH.
    pub fn home(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Somebody signs in and gets a kubeconfig.
    fn moves_in(&self, name: &str) -> Result<()> {
        std::fs::create_dir_all(self.home(name))?;
        let password = format!("password={PASSWORD}");
        self.says(name, &["login", "-no-print", "-method=userpass", &format!("username={name}"), &password])?;
        let config = self.says(name, &["kube", "config", "-cluster", "test", "-default-namespace", "shop"])?;
        std::fs::write(self.home(name).join("kubeconfig"), config)?;
        Ok(())
    }

    /// A file of somebody's; its path.
    pub fn file(&self, name: &str, file: &str, text: &str) -> Result<String> {
        let path = self.home(name).join(file);
        std::fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Runs `dewdrop` as somebody.
    pub fn dewdrop(&self, name: &str, args: &[&str]) -> Result<Output> {
        let mut command = Command::new(self.stage.program());
        command.args(args).env_clear().env("HOME", self.home(name)).env("DEWDROP_ADDR", &self.stage.vault.address);
        command.stdin(Stdio::null()).output().context("cannot start dewdrop")
    }

    /// The same; an error with its words when it fails.
    pub fn says(&self, name: &str, args: &[&str]) -> Result<String> {
        good(&format!("{name}: dewdrop {}", args.join(" ")), &self.dewdrop(name, args)?)
    }

    /// kubectl as somebody, ready to run.
    pub fn kubectl_command(&self, name: &str, args: &[&str]) -> Result<Command> {
        let bin = &self.stage.cluster()?.bin;
        let mut command = Command::new(bin.join("kubectl"));
        command.args(args).env_clear().env("HOME", self.home(name)).env("PATH", self.path(name)?);
        command.env("KUBECONFIG", self.home(name).join("kubeconfig")).env("DEWDROP_ADDR", &self.stage.vault.address);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(command)
    }

    /// His own programs, those of the cluster (kubectl is one), those of the system.
    fn path(&self, name: &str) -> Result<std::ffi::OsString> {
        let cluster = self.stage.cluster()?.bin.clone();
        Ok(std::env::join_paths([self.home(name).join("bin"), cluster, "/usr/bin".into(), "/bin".into()])?)
    }

    /// kubectl as somebody, to its end.
    pub fn kubectl(&self, name: &str, args: &[&str]) -> Result<Output> {
        self.kubectl_command(name, args)?.output().context("cannot start kubectl")
    }

    /// The same; an error with its words when it fails.
    pub fn kubectl_says(&self, name: &str, args: &[&str]) -> Result<String> {
        good(&format!("{name}: kubectl {}", args.join(" ")), &self.kubectl(name, args)?)
    }

    /// What kubectl is refused with.
    pub fn refused(&self, name: &str, args: &[&str]) -> Result<String> {
        let out = self.kubectl(name, args)?;
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        ensure!(!out.status.success(), "{name} may do: kubectl {}", args.join(" "));
        Ok(told)
    }

    /// A request of somebody; its name.
    pub fn asks(&self, name: &str, role: &str, more: &[&str]) -> Result<String> {
        let mut args = vec!["access", "request", role, "-reason", "the test wants it", "-no-wait", "-format=json"];
        args.extend_from_slice(more);
        let case: Value = serde_json::from_str(&self.says(name, &args)?)?;
        Ok(case["id"].as_str().context("a request without a name")?.to_owned())
    }

    /// A request of ann that ben approved; its name.
    pub fn granted(&self, role: &str, more: &[&str]) -> Result<String> {
        let id = self.asks("ann", role, more)?;
        self.says("ben", &["access", "approve", &id])?;
        self.forget("ann");
        Ok(id)
    }

    /// The same, and no other grant runs any more.
    pub fn only(&self, role: &str, more: &[&str]) -> Result<String> {
        self.revoke_all()?;
        self.granted(role, more)
    }

    /// What kubectl's plug-in kept of a former grant.
    pub fn forget(&self, name: &str) {
        drop(std::fs::remove_dir_all(self.home(name).join(".cache/dewdrop")));
    }

    /// The lines of the record about a grant, in order.
    pub fn lines(&self, id: &str) -> Result<Vec<Value>> {
        let mut found = Vec::new();
        for line in self.stage.vault.record()?.lines().filter(|line| line.contains(id) && line.contains("\"lines\"")) {
            let Ok(line) = serde_json::from_str::<Value>(line) else { continue };
            let told = line.pointer("/request/data/lines").and_then(Value::as_array).cloned();
            if line["type"] == "request" {
                found.extend(told.unwrap_or_default().into_iter().filter(|line| line["grant"] == id));
            }
        }
        Ok(found)
    }

    /// Somebody's certificate, key and authority as files (`cert.pem`, `key.pem`, `ca.pem`); the folder.
    pub fn credential(&self, name: &str) -> Result<PathBuf> {
        let credential = self.says(name, &["kube", "credential", "-cluster", "test"])?;
        let credential: Value = serde_json::from_str(&credential)?;
        let files = [("clientCertificateData", "cert.pem"), ("clientKeyData", "key.pem")];
        for (field, file) in files {
            std::fs::write(self.home(name).join(file), credential["status"][field].as_str().context("no credential")?)?;
        }
        let cluster = self.stage.vault.ask("GET", "access/clusters/test", None)?;
        let ca = cluster["data"]["certificate_authority"].as_str().context("no authority")?;
        std::fs::write(self.home(name).join("ca.pem"), ca)?;
        Ok(self.home(name))
    }

    /// A raw request with somebody's certificate; status and body.
    pub fn curl(&self, name: &str, args: &[&str], path: &str) -> Result<(u16, String)> {
        let home = self.credential(name)?;
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--path-as-is", "--max-time", "20", "--write-out", "\n%{http_code}"]);
        curl.args(["--cert", "cert.pem", "--key", "key.pem", "--cacert", "ca.pem"]).args(args);
        curl.arg(format!("https://127.0.0.1:{}{path}", self.port)).current_dir(home).stdin(Stdio::null());
        let told = good("curl", &curl.output().context("cannot start curl")?)?;
        let (body, code) = told.rsplit_once('\n').context("curl says no status")?;
        Ok((code.parse()?, body.to_owned()))
    }
}

/// What a program said, or an error with its words.
pub fn good(what: &str, out: &Output) -> Result<String> {
    if !out.status.success() {
        bail!("{what}: {}{}", String::from_utf8_lossy(&out.stderr).trim(), String::from_utf8_lossy(&out.stdout).trim());
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}
