//! Agentless mode: pods that the webhook has changed sign in by themselves. No agent has a part in it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::hook;
use super::scenes::Scene;
use super::stage::{PATIENCE, Stage};
use crate::cluster::image::BUSYBOX;
use crate::say;

/// All of them, in order.
pub const ALL: &[Scene] = &[
    ("agentless: each container has a user of its own", each_its_own),
    ("agentless: every end of a container is its user's", ends),
    ("agentless: the wrapper is killed, and the whole pod with it", wrapper_killed),
    ("agentless: a crash loop leaves at most one", crash_loop),
    ("agentless: the server is away while pods start and end", server_away),
    ("agentless: the wrapper's image as a volume", image_volume),
    ("agentless: no other token opens a container's role", other_tokens),
];

/// A token that nobody renews lives for so long.
pub const PERIOD: Duration = Duration::from_secs(6);
/// Says its user and waits.
pub const SPEAK: &str = "echo user=$DB_USERNAME; trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// The roles: each for one container's own token.
fn roles(stage: &Stage) -> Result<()> {
    for name in ["app", "worker"] {
        let role = json!({
            "bound_service_account_names": "default", "bound_service_account_namespaces": "default", "audience": "dewdrop",
            "bound_container_names": name, "agentless": true, "token_policies": name, "token_period": PERIOD.as_secs(),
        });
        stage.vault.ask("POST", &format!("auth/kubernetes/role/alone-{name}"), Some(role))?;
    }
    Ok(())
}

/// A scene with roles and webhook.
pub fn play(stage: &mut Stage, act: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
    roles(stage)?;
    hook::with(stage, &[], act)
}

/// A container that fits the Pod Security Standard `restricted`.
fn container(name: &str, script: &str) -> Value {
    json!({
        "name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "command": ["/bin/busybox", "sh", "-c", script],
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65534, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        },
    })
}

/// A pod of containers; those that are called as a role is ask for it.
pub fn pod(name: &str, restart: &str, parts: &[(&str, &str)]) -> Value {
    let mut notes = json!({ "dewdrop.dev/agentless": "true" });
    for (part, _) in parts.iter().filter(|(part, _)| matches!(*part, "app" | "worker")) {
        notes[format!("dewdrop.dev/role.{part}")] = json!(format!("alone-{part}"));
        notes[format!("dewdrop.dev/credentials.{part}")] = json!(format!("db = database/creds/{part}"));
    }
    let containers: Vec<Value> = parts.iter().map(|(part, script)| container(part, script)).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "annotations": notes },
        "spec": {
            "restartPolicy": restart, "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": false,
            "containers": containers,
        },
    })
}

fn each_its_own(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        let look = "ls -a /dewdrop /var/run/secrets/dewdrop; env | grep -i -e dewdrop -e DB_; echo looked; sleep 1000";
        stage.apply_json(&pod("alone", "Always", &[("app", SPEAK), ("worker", SPEAK), ("side", look)]))?;
        let (app, worker) = (stage.user_of("alone", "app")?, stage.user_of("alone", "worker")?);
        let users = stage.users()?;
        ensure!(
            app != worker && users.len() == 2 && users.contains(&app) && users.contains(&worker),
            "{users:?} instead of {app} and {worker}"
        );
        stage.wait("the sidecar to look around", PATIENCE, || {
            Ok(stage.kubectl(&["logs", "alone", "-c", "side"]).is_ok_and(|log| log.contains("looked\n")))
        })?;
        let side = stage.kubectl(&["logs", "alone", "-c", "side"])?;
        ensure!(
            side.trim_end().ends_with("looked") && !side.contains("token") && !side.contains("DB_"),
            "it sees {side:?}"
        );
        let spec = stage.kubectl(&["get", "pod", "alone", "-o", "json"])?;
        ensure!(!spec.contains(&app) && !spec.contains(&worker), "a user is in the pod's object");
        // Whoever sets the label would be told of pods that do not fit.
        let label = "pod-security.kubernetes.io/enforce=restricted";
        let told =
            stage.cluster()?.kubectl(&["label", "--dry-run=server", "--overwrite", "namespace", "default", label])?;
        let told = String::from_utf8_lossy(&told.stderr).into_owned();
        ensure!(!told.contains("alone"), "the pod does not fit the standard `restricted`: {told}");
        // Longer than a token lives that nobody renews.
        std::thread::sleep(PERIOD + Duration::from_secs(2));
        ensure!(stage.users()?.len() == 2, "what runs has lost its user: {:?}", stage.users()?);
        stage.delete("alone")?;
        let took = stage.until_empty()?;
        say::line(&format!("both users gone {} after the pod", say::time(took)));
        Ok(())
    })
}

fn ends(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        for code in [0, 1] {
            let name = format!("alone-{code}");
            stage.apply_json(&pod(&name, "Never", &[("app", &format!("echo user=$DB_USERNAME; exit {code}"))]))?;
            stage.user_of(&name, "app")?;
            let took = stage.until_empty()?;
            say::line(&format!("exit {code}: nothing left {} after it was seen to run", say::time(took)));
            stage.delete(&name)?;
        }
        stage.apply_json(&pod("alone-9", "Always", &[("app", SPEAK)]))?;
        let first = stage.user_of("alone-9", "app")?;
        stage.kill_command("alone-9", "app")?;
        let took = stage.until_gone(&first)?;
        say::line(&format!("SIGKILL of the command: user gone {} later", say::time(took)));
        let second = stage.next_user_of("alone-9", "app", &first)?;
        ensure!(stage.users()? == [second.as_str()], "{:?} instead of {second}", stage.users()?);
        for (name, force) in [("alone-9", false), ("alone-f", true)] {
            if force {
                stage.apply_json(&pod(name, "Always", &[("app", SPEAK)]))?;
            }
            let user = stage.user_of(name, "app")?;
            let more: &[&str] = if force { &["--force", "--grace-period=0"] } else { &["--wait=false"] };
            stage.kubectl(&[&["delete", "pod", name], more].concat())?;
            let took = stage.until_gone(&user)?;
            let how = if force { "by force" } else { "gently" };
            say::line(&format!("deleted {how}: user gone {} after the answer", say::time(took)));
        }
        stage.until_empty().map(drop)
    })
}

/// Nobody is left to take anything back: the next start does, or the time.
fn wrapper_killed(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        stage.apply_json(&pod("again", "Always", &[("app", SPEAK)]))?;
        let first = stage.user_of("again", "app")?;
        stage.kill("again", "app")?;
        let took = stage.until_gone(&first)?;
        say::line(&format!("SIGKILL of the wrapper: user gone {} later, with the next start", say::time(took)));
        let second = stage.next_user_of("again", "app", &first)?;
        ensure!(stage.users()? == [second.as_str()], "{:?} instead of {second}", stage.users()?);
        stage.apply_json(&pod("never", "Never", &[("app", SPEAK)]))?;
        let last = stage.user_of("never", "app")?;
        stage.kill("never", "app")?;
        let took = stage.until_gone(&last)?;
        say::line(&format!(
            "and {} later where no start follows (a token lives for {})",
            say::time(took),
            say::time(PERIOD)
        ));
        ensure!(took < PERIOD + Duration::from_secs(5), "the sweep came late");
        ensure!(stage.users()? == [second.as_str()], "the pod that runs lost its user: {:?}", stage.users()?);
        stage.delete("again")?;
        stage.delete("never")?;
        stage.until_empty().map(drop)
    })
}

fn crash_loop(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        stage.apply_json(&pod("alone-loop", "Always", &[("app", "echo user=$DB_USERNAME; sleep 0.3; exit 3")]))?;
        let mut most = 0;
        stage.wait("three restarts", PATIENCE, || {
            most = most.max(stage.users()?.len());
            Ok(stage.restarts("alone-loop", "app")? >= 3)
        })?;
        ensure!(most == 1, "{most} users at the same time");
        stage.delete("alone-loop")?;
        stage.until_empty().map(drop)
    })
}

fn server_away(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        stage.apply_json(&pod("alone-early", "Always", &[("app", SPEAK)]))?;
        let early = stage.user_of("alone-early", "app")?;
        stage.vault.kill9();
        stage.apply_json(&pod("alone-late", "Always", &[("app", SPEAK)]))?;
        stage.wait("the wrapper to say that it waits", PATIENCE, || {
            let log = stage.kubectl(&["logs", "alone-late", "-c", "app"]).unwrap_or_default();
            ensure!(!log.contains("user="), "it started without a credential: {log}");
            Ok(log.contains("dewdrop-exec: waiting for this container's credential"))
        })?;
        stage.delete("alone-early")?;
        ensure!(stage.users()? == [early.as_str()], "without a server nothing changes");
        stage.vault.start()?;
        stage.until_gone(&early)?;
        let late = stage.user_of("alone-late", "app")?;
        ensure!(stage.users()? == [late.as_str()], "{:?} instead of {late}", stage.users()?);
        stage.delete("alone-late")?;
        stage.until_empty().map(drop)
    })
}

fn image_volume(stage: &mut Stage) -> Result<()> {
    roles(stage)?;
    hook::with(stage, &["--exec-image-volume"], |stage| {
        let mut named = pod("alone-image", "Always", &[("app", &SPEAK.replace("DB_USERNAME", "PGUSER"))]);
        named["metadata"]["annotations"]["dewdrop.dev/variables.app"] = "PGUSER = db.username".into();
        stage.apply_json(&named)?;
        let user = stage.user_of("alone-image", "app")?;
        let init = stage.kubectl(&["get", "pod", "alone-image", "-o", "jsonpath={.spec.initContainers}"])?;
        ensure!(init.is_empty() && stage.users()? == [user.as_str()], "init containers {init:?}, user {user}");
        stage.delete("alone-image")?;
        stage.until_empty().map(drop)
    })
}

fn other_tokens(stage: &mut Stage) -> Result<()> {
    play(stage, |stage| {
        let why = stage.kubectl(&["create", "token", "default", "--audience", "dewdrop://default/app"]).err();
        ensure!(
            why.is_some_and(|why| format!("{why:#}").contains("token-audience")),
            "a person could mint a container's token"
        );
        let mut thief = pod("thief", "Always", &[("app", SPEAK), ("side", "cat /stolen/token; sleep 1000")]);
        let token = json!({ "serviceAccountToken": { "audience": "dewdrop://default/app", "path": "token" } });
        thief["spec"]["volumes"] = json!([{ "name": "stolen", "projected": { "sources": [token] } }]);
        thief["spec"]["containers"][1]["volumeMounts"] =
            json!([{ "name": "stolen", "mountPath": "/stolen", "readOnly": true }]);
        let why = stage.apply_json(&thief).err().map(|why| format!("{why:#}")).unwrap_or_default();
        ensure!(why.contains("[volume-elsewhere]"), "a sidecar gets the other's token: {why:?}");
        let image = pod("image", "Always", &[("app", SPEAK)]);
        let mut image = image;
        image["spec"]["containers"][0]["command"] = json!([]);
        let why = stage.apply_json(&image).err().map(|why| format!("{why:#}")).unwrap_or_default();
        ensure!(why.contains("ENTRYPOINT into the container's command"), "it was not refused: {why:?}");
        stage.apply_json(&pod("target", "Always", &[("app", SPEAK), ("worker", SPEAK)]))?;
        stage.user_of("target", "app")?;
        stage.user_of("target", "worker").map(drop)
    })?;
    // The webhook is gone, so that every token can be had; the server judges alone.
    let users = stage.users()?;
    let bound = ["--bound-object-kind", "Pod", "--bound-object-name", "target"];
    let cases: [(&str, &[&str]); 5] = [
        ("dewdrop", &[]),
        ("dewdrop", &bound),
        ("dewdrop://default/app", &[]),
        ("dewdrop://default/worker", &bound),
        ("https://kubernetes.default.svc", &bound),
    ];
    for (audience, more) in cases {
        let token = stage.kubectl(&[&["create", "token", "default", "--audience", audience], more].concat())?;
        let body = json!({ "role": "alone-app", "jwt": token.trim() });
        let (status, answer) = stage.vault.caller().with_token("").send("POST", "auth/kubernetes/login", Some(body))?;
        ensure!(status == 403, "{audience} {more:?} was answered {status} {answer}");
    }
    ensure!(stage.users()? == users, "{:?} instead of {users:?}", stage.users()?);
    stage.delete("target")?;
    stage.until_empty().map(drop).context("the target's users")
}
