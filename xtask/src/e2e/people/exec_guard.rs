//! Nobody gets into a container with secrets without a grant, and what he has seen is replaced afterwards.

use std::io::{BufRead, BufReader};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::town::Town;
use crate::e2e::hook;
use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::{PATIENCE, Stage};
use crate::{say, say::Stopwatch};

/// What the webhook may do at the server.
const WEBHOOK: &str = r#"
path "access/exec-check" { capabilities = ["create", "update"] }
path "access/namespace-doors" { capabilities = ["create", "update"] }
path "auth/kubernetes/sessions/enter" { capabilities = ["create", "update"] }
"#;
const USER: [&str; 3] = ["/bin/busybox", "cat", "/secrets/db/username"];

/// A pod with secrets in `default`, one without, a grant for both; and the webhook.
pub fn guarded(stage: &mut Stage) -> Result<()> {
    stage.vault.ask("POST", "sys/policies/acl/dewdrop-webhook", Some(json!({ "policy": WEBHOOK })))?;
    let role = json!({
        "bound_service_account_names": "dewdrop-webhook", "bound_service_account_namespaces": hook::NAMESPACE,
        "audience": "dewdrop", "token_policies": "dewdrop-webhook", "token_ttl": "10m",
    });
    stage.vault.ask("POST", "auth/kubernetes/role/dewdrop-webhook", Some(role))?;
    let played = hook::with(stage, &["--cluster", "test"], play);
    let tidied = stage.kubectl(&["label", "namespace", "default", "dewdrop.dev/allow-exec-"]);
    for pod in ["guarded", "plain"] {
        stage.kubectl(&["delete", "pod", pod, "--ignore-not-found", "--grace-period=1"])?;
    }
    played.and(tidied.map(drop))
}

fn play(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("guarded").with("app", WAIT))?;
    stage.apply(&TestPod::new("plain").beside("app", "while :; do sleep 0.1; done", &[]))?;
    let first = stage.user_of("guarded", "app")?;
    stage.kubectl(&["wait", "--for=condition=Ready", "pod/plain", "--timeout=60s"])?;
    straight(stage)?;
    let town = Town::open(stage)?;
    let rules = json!([{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    town.role("debug", json!({ "namespaces": "default", "rules": rules }))?;
    let id = town.granted("debug", &["-ttl=10m"])?;
    forged(&town, &id)?;
    let second = with_a_grant(&town, &first)?;
    closed(&town)?;
    open(&town, &second)
}

/// An administrator goes straight to the API server.
fn straight(stage: &Stage) -> Result<()> {
    for args in [
        &["exec", "guarded", "--", "/bin/busybox", "true"][..],
        &[
            "debug",
            "guarded",
            "--profile=baseline",
            "--image=dewdrop.test/busybox:1",
            "--image-pull-policy=Never",
            "--",
            "/bin/busybox",
            "true",
        ],
    ] {
        let told = refused(stage, args)?;
        ensure!(told.contains("needs a grant") && told.contains("dewdrop access request"), "{args:?}: {told}");
    }
    stage.kubectl(&["exec", "plain", "--", "/bin/busybox", "true"]).map(drop)
}

fn refused(stage: &Stage, args: &[&str]) -> Result<String> {
    let out = stage.cluster()?.kubectl(args)?;
    ensure!(!out.status.success(), "an administrator may do: kubectl {}", args.join(" "));
    Ok(String::from_utf8_lossy(&out.stderr).into_owned())
}

/// An administrator says that he is ann, with her grant: the server knows of no such session.
fn forged(town: &Town, id: &str) -> Result<()> {
    let cluster = town.stage.cluster()?;
    let (server, ca) = (
        format!(
            "{}/api/v1/namespaces/default/pods/guarded/exec?command=true&container=app&stdout=true",
            cluster.server
        ),
        &cluster.ca,
    );
    let token = town.stage.kubectl(&["create", "token", "dewdrop-proxy", "-n", "dewdrop-system"])?;
    let mut curl = std::process::Command::new("curl");
    curl.args(["--silent", "--show-error", "--http1.1", "--max-time", "20", "-X", "POST"]).arg("--cacert").arg(ca);
    let session = "0".repeat(32);
    for header in [
        format!("Authorization: Bearer {}", token.trim()),
        "Impersonate-User: ann".into(),
        "Impersonate-Group: dewdrop:people".into(),
        format!("Impersonate-Extra-dewdrop.dev%2Fgrant: {id}"),
        format!("Impersonate-Extra-dewdrop.dev%2Fsession: {session}"),
    ] {
        curl.arg("-H").arg(header);
    }
    let out = curl.args(["-H", "Connection: Upgrade", "-H", "Upgrade: SPDY/3.1"]).arg(server).output()?;
    let told = String::from_utf8_lossy(&out.stdout).into_owned();
    ensure!(told.contains("no access proxy has announced it"), "a forged grant: {told}");
    Ok(())
}

/// Through the proxy: it works, and what was seen is replaced once it is over, and not before. The pod runs on.
fn with_a_grant(town: &Town, first: &str) -> Result<String> {
    let restarts = town.stage.restarts("guarded", "app")?;
    let shell = [
        "exec",
        "-i",
        "-n",
        "default",
        "guarded",
        "--",
        "/bin/busybox",
        "sh",
        "-c",
        "cat /secrets/db/username; echo; cat",
    ];
    let mut command = town.kubectl_command("ann", &shell)?;
    let mut child = command.stdin(std::process::Stdio::piped()).spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("no output")?);
    let mut seen = String::new();
    lines.read_line(&mut seen)?;
    if seen.trim() != first {
        let mut told = String::new();
        std::io::Read::read_to_string(&mut child.stderr.take().context("no errors")?, &mut told)?;
        anyhow::bail!("ann reads {seen:?}, the container has {first}: {told}");
    }
    std::thread::sleep(std::time::Duration::from_secs(5));
    ensure!(town.stage.users()?.iter().any(|user| user == first), "replaced while the session goes on");
    drop(child.stdin.take());
    child.wait()?;
    let clock = Stopwatch::start();
    town.stage.until_gone(first)?;
    say::line(&format!("the user that was seen is gone {} after the session", say::time(clock.elapsed())));
    let users = || Ok(town.stage.users()?.len() == 1);
    town.stage.wait("the next user alone", PATIENCE, users)?;
    let second = town.stage.users()?.pop().context("no user")?;
    ensure!(town.stage.restarts("guarded", "app")? == restarts, "the container was started anew");
    let file = town.kubectl_says("ann", &[&["exec", "-n", "default", "guarded", "--"][..], &USER].concat())?;
    ensure!(file.trim() == second, "the file says {file:?}, the database has {second}");
    town.stage.until_gone(&second)?;
    town.stage.wait("the third user alone", PATIENCE, users)?;
    let third = town.stage.users()?.pop().context("no user")?;
    std::thread::sleep(std::time::Duration::from_secs(6));
    ensure!(town.stage.users()? == [third.as_str()], "it is replaced without a session: {:?}", town.stage.users()?);
    Ok(third)
}

/// Nobody gets in while the server does not answer; nobody else notices.
fn closed(town: &Town) -> Result<()> {
    town.stage.signal_vault("-STOP")?;
    let told = refused(town.stage, &["exec", "guarded", "--", "/bin/busybox", "true"]);
    let plain = town.stage.kubectl(&["exec", "plain", "--", "/bin/busybox", "true"]);
    town.stage.signal_vault("-CONT")?;
    let told = told?;
    ensure!(told.contains("does not answer"), "while the server is away: {told}");
    plain.map(drop)
}

/// The namespace opens its doors: an administrator gets in, and it is on the record.
fn open(town: &Town, user: &str) -> Result<()> {
    town.stage.kubectl(&["label", "namespace", "default", "dewdrop.dev/allow-exec=true"])?;
    let into = [&["exec", "guarded", "--"][..], &USER].concat();
    let enters = || Ok(town.stage.kubectl(&into).is_ok_and(|told| told.trim() == user));
    town.stage.wait("the label to count", PATIENCE, enters)?;
    recorded(town, "access/exec-check", |data| {
        data["open"] == true && data["target"] == "pods/exec" && data["name"] == "guarded"
    })?;
    let says = |data: &Value, open: bool| {
        data["namespace"] == "default" && data["open"] == open && data["was_open"] != open && data["user"].is_string()
    };
    recorded(town, "access/namespace-doors", |data| says(data, true))?;
    town.stage.kubectl(&["label", "namespace", "default", "dewdrop.dev/allow-exec-"])?;
    recorded(town, "access/namespace-doors", |data| says(data, false))
}

/// A request to a path of the engine is on the audit log.
fn recorded(town: &Town, path: &str, is_it: impl Fn(&Value) -> bool) -> Result<()> {
    let log = town.stage.vault.dir().join("data/audit");
    let is_there = || {
        for file in std::fs::read_dir(&log)? {
            let bytes = std::fs::read(file?.path()).unwrap_or_default();
            let text = String::from_utf8_lossy(&bytes);
            let data = |line: &str| serde_json::from_str::<Value>(line).unwrap_or_default()["request"]["data"].clone();
            if text.lines().filter(|line| line.contains(path)).any(|line| is_it(&data(line))) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    town.stage.wait(&format!("the record of {path}"), PATIENCE, is_there).map(drop)
}
