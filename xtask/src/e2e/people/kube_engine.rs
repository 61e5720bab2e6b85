//! Pipelines with tokens of service accounts, each for as long as its lease.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::stage::{PATIENCE, Stage};
use crate::say;

/// What Kubernetes has to know of the engine and of an account that is there already.
const MANIFEST: &str = include_str!("kube_engine.yaml");
const NAMESPACES: &str = include_str!("../people.yaml");
/// What a pipeline may do.
const POLICY: &str = r#"path "kubernetes/creds/+" { capabilities = ["update"] }"#;
const RULES: &str = "rules:\n- apiGroups: ['']\n  resources: [pods]\n  verbs: [get, list]\n";
/// An API server takes a token that it has just taken for so long again without looking.
const REMEMBERED: Duration = Duration::from_secs(15);
/// What was asked for and not answered is waited for, and a revocation that must wait tries again after up to a minute.
const LATE: Duration = Duration::from_secs(300);
/// Everything that the engine makes.
const OURS: &[&str] = &[
    "get",
    "serviceaccounts,secrets,roles,rolebindings,clusterroles,clusterrolebindings",
    "-A",
    "-o",
    "name",
    "-l",
    "app.kubernetes.io/managed-by=dewdrop",
];

/// A server with the engine, and somebody who may ask it.
struct Site<'s> {
    stage: &'s Stage,
    /// The pipeline's token.
    token: String,
}

/// What a pipeline was given.
struct Given {
    token: String,
    lease: String,
    account: String,
}

impl<'s> Site<'s> {
    fn open(stage: &'s Stage) -> Result<Self> {
        stage.cluster()?.apply(NAMESPACES)?;
        stage.cluster()?.apply(MANIFEST)?;
        let root = |path: &str, body: Value| stage.vault.ask("POST", path, Some(body));
        if stage.vault.ask("GET", "sys/mounts", None)?["data"].get("kubernetes/").is_none() {
            root("sys/mounts/kubernetes", json!({ "type": "kubernetes" }))?;
        }
        let jwt = stage.kubectl(&["create", "token", "dewdrop-engine", "-n", "dewdrop-system", "--duration=1h"])?;
        let ca = std::fs::read_to_string(&stage.cluster()?.ca)?;
        let config = json!({
            "kubernetes_host": stage.cluster()?.server, "kubernetes_ca_cert": ca, "service_account_jwt": jwt.trim(),
            "disable_local_ca_jwt": true,
        });
        root("kubernetes/config", config)?;
        let roles = [
            ("deploy", json!({ "service_account_name": "deployer" })),
            ("loose", json!({ "service_account_name": "deployer", "bind_token": false })),
            ("bound", json!({ "kubernetes_role_name": "deployer" })),
            ("rules", json!({ "generated_role_rules": RULES, "token_default_ttl": "5m" })),
            ("wide", json!({ "generated_role_rules": RULES, "kubernetes_role_type": "ClusterRole" })),
        ];
        for (name, mut role) in roles {
            role["allowed_kubernetes_namespaces"] = json!("shop");
            root(&format!("kubernetes/roles/{name}"), role)?;
        }
        root("sys/policies/acl/pipeline", json!({ "policy": POLICY }))?;
        let token = root("auth/token/create", json!({ "policies": ["pipeline"], "ttl": "1h" }))?;
        let token = token["auth"]["client_token"].as_str().context("no token")?.to_owned();
        Ok(Self { stage, token })
    }

    /// `dewdrop write` as the pipeline.
    fn ask(&self, role: &str, more: &[&str]) -> Result<Command> {
        let mut command = Command::new(self.stage.program());
        command.args(["write", "-force", "-format=json", &format!("kubernetes/creds/{role}")]).args(more).env_clear();
        command.env("DEWDROP_ADDR", &self.stage.vault.address).env("DEWDROP_TOKEN", &self.token);
        command.env("HOME", self.stage.vault.dir()).stdin(Stdio::null());
        Ok(command)
    }

    fn given(&self, role: &str, more: &[&str]) -> Result<Given> {
        let out = self.ask(role, more)?.output().context("cannot start dewdrop")?;
        ensure!(out.status.success(), "creds/{role}: {}", String::from_utf8_lossy(&out.stderr).trim());
        let answer: Value = serde_json::from_slice(&out.stdout)?;
        let text = |value: &Value| value.as_str().map(str::to_owned).context("a credential without its fields");
        Ok(Given {
            token: text(&answer["data"]["service_account_token"])?,
            account: text(&answer["data"]["service_account_name"])?,
            lease: text(&answer["lease_id"])?,
        })
    }

    /// kubectl with nothing but a token.
    fn kubectl(&self, token: &str, args: &[&str]) -> Result<Output> {
        let cluster = self.stage.cluster()?;
        let mut command = Command::new(cluster.bin.join("kubectl"));
        command.args(["--server", &cluster.server, "--token", token, "--certificate-authority"]).arg(&cluster.ca);
        command.args(args).env_clear().env("HOME", self.stage.vault.dir()).env("KUBECONFIG", "/dev/null");
        command.stdin(Stdio::null()).output().context("cannot start kubectl")
    }

    /// Whether a token may list the pods of a namespace; otherwise, what kubectl says.
    fn lists(&self, given: &Given, namespace: &str) -> Result<std::result::Result<(), String>> {
        let out = self.kubectl(&given.token, &["get", "pods", "-n", namespace])?;
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        Ok(if out.status.success() { Ok(()) } else { Err(told) })
    }

    fn revoke(&self, given: &Given) -> Result<()> {
        let body = json!({ "lease_id": given.lease, "sync": true });
        self.stage.vault.ask("POST", "sys/leases/revoke", Some(body)).map(drop)
    }

    fn ours(&self) -> Result<Vec<String>> {
        Ok(self.stage.kubectl(OURS)?.lines().map(str::to_owned).collect())
    }

    /// The API server knows the token no more.
    fn until_refused(&self, given: &Given) -> Result<Duration> {
        self.stage.wait("the token to be refused", REMEMBERED, || {
            Ok(self
                .lists(given, "shop")?
                .is_err_and(|told| told.contains("Unauthorized") || told.contains("logged in")))
        })
    }

    /// What a lease allows, and that it allows nothing once it is revoked.
    fn life(&self, role: &str, more: &[&str], objects: usize) -> Result<Given> {
        let given = self.given(role, more)?;
        ensure!(self.ours()?.len() == objects, "{role}: made are {:?}", self.ours()?);
        let works = || Ok(self.lists(&given, "shop")?.is_ok());
        self.stage.wait("the API server to know the binding", PATIENCE, works)?;
        let elsewhere = self.lists(&given, "bank")?;
        let wide = more.contains(&"cluster_role_binding=true");
        ensure!(elsewhere.is_ok() == wide, "{role} in another namespace: {elsewhere:?}");
        self.revoke(&given)?;
        ensure!(self.ours()?.is_empty(), "{role}: the lease is revoked, and there are {:?}", self.ours()?);
        let took = self.until_refused(&given)?;
        say::line(&format!("{role} ({}): refused {} after its lease was revoked", given.account, say::time(took)));
        Ok(given)
    }
}

/// Each kind of role: the token works in its namespace and no other, and not at all once its lease is revoked.
pub fn lives(stage: &mut Stage) -> Result<()> {
    let site = Site::open(stage)?;
    let given = site.life("deploy", &[], 1)?;
    ensure!(given.account == "deployer", "the token is of {}", given.account);
    ensure!(stage.kubectl(&["get", "sa", "deployer", "-n", "shop"]).is_ok(), "the account that was there is gone");
    site.life("bound", &["kubernetes_namespace=shop"], 2)?;
    site.life("rules", &[], 3)?;
    site.life("wide", &["cluster_role_binding=true"], 3)?;
    site.life("wide", &[], 3)?;
    let out = site.ask("deploy", &["kubernetes_namespace=bank"])?.output()?;
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    ensure!(!out.status.success() && told.contains("allowed_kubernetes_namespaces"), "in bank: {told}");
    // What the guide says of tokens that are not bound is so.
    let loose = site.given("loose", &[])?;
    site.revoke(&loose)?;
    std::thread::sleep(REMEMBERED);
    ensure!(site.lists(&loose, "shop")?.is_ok(), "a token that is bound to nothing ended with its lease");
    // An audience that is not the API server's.
    let other = site.given("deploy", &["audiences=elsewhere"])?;
    ensure!(site.lists(&other, "shop")?.is_err(), "a token for another audience works");
    site.revoke(&other)?;
    // The pipeline's own token ends, and all that it asked for.
    let last = site.given("rules", &[])?;
    stage.vault.ask("POST", "auth/token/revoke", Some(json!({ "token": site.token })))?;
    stage.wait("what the pipeline asked for to be gone", PATIENCE, || Ok(site.ours()?.is_empty()))?;
    site.until_refused(&last).map(drop)
}

/// kill -9 at moments that are spread over the making: nothing stays without a lease, and no lease stays.
pub fn killed(stage: &mut Stage) -> Result<()> {
    let (mut broken, mut answered) = (0, 0);
    for round in 0..12u64 {
        let mut asking = {
            let site = Site::open(stage)?;
            let mut asking = Vec::new();
            for role in ["rules", "deploy", "bound"] {
                asking.push(site.ask(role, &[])?.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?);
            }
            asking
        };
        std::thread::sleep(Duration::from_millis(10 + round * 12));
        stage.vault.kill9();
        for child in &mut asking {
            if child.wait()?.success() { answered += 1 } else { broken += 1 }
        }
        stage.vault.start()?;
    }
    say::line(&format!("{broken} askers were cut off, {answered} were answered before"));
    ensure!(broken > 0, "no asker was cut off: the server was killed too late each time");
    // What was answered lives on; it ends with its lease.
    let left = Site::open(stage)?;
    stage.vault.ask("POST", "sys/leases/revoke-prefix/kubernetes", None)?;
    let took = stage.wait("nothing to be left in the cluster", LATE, || Ok(left.ours()?.is_empty()))?;
    say::line(&format!("nothing is left {} after the last start", say::time(took)));
    stage.wait("no lease to be left", LATE, || {
        let (status, _) = stage.vault.caller().send("GET", "sys/leases/lookup/kubernetes/creds?list=true", None)?;
        Ok(status == 404)
    })?;
    ensure!(left.ours()?.is_empty(), "something came later: {:?}", left.ours()?);
    Ok(())
}
