//! Environment mode and the gate: the wrapper `dewdrop-exec` in front of a container's command.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::scenes::Scene;
use super::stage::{PATIENCE, Stage};
use crate::cluster::image::{BUSYBOX, Entry, Image};
use crate::say;

/// All of them, in order.
pub const ALL: &[Scene] = &[
    ("wrapper: variables for the command alone, and for each start others", variables),
    ("wrapper: the image says the command, and nobody is root", of_image),
    ("wrapper: a gate before the files", gate),
    ("wrapper: the command's status is the container's", status),
    ("wrapper: it waits while the agent is away", agent_away),
    ("wrapper: another container runs that of a volume", foreign),
];

/// What every container of these scenes starts with.
const EXEC: &str = "/secrets/.dewdrop/exec";
/// An image that says its own command.
const SPEAKER: &str = "dewdrop.test/speaker:1";
/// Says its user and something of the first process, and waits.
const SPEAK: &str = "echo user=$DB_USERNAME; grep VmRSS /proc/1/status; [ -e /secrets/db ] && echo files; \
                     trap 'exit 0' TERM; while :; do sleep 0.1; done";

/// A pod of one container `app`; `more` is merged into it.
fn pod(name: &str, attributes: &Value, more: &Value) -> Value {
    let mut all = json!({ "container": "app", "role": "app", "credentials": "db = database/creds/app" });
    merge(&mut all, attributes);
    let mut container = json!({
        "name": "app", "image": BUSYBOX, "imagePullPolicy": "Never",
        "volumeMounts": [{ "name": "secrets", "mountPath": "/secrets", "readOnly": true }],
    });
    merge(&mut container, more);
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": { "scene": name } },
        "spec": {
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 5, "automountServiceAccountToken": false,
            "volumes": [{ "name": "secrets", "csi": { "driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": all } }],
            "containers": [container],
        },
    })
}

fn merge(into: &mut Value, more: &Value) {
    for (key, value) in more.as_object().into_iter().flatten() {
        into[key.as_str()] = value.clone();
    }
}

fn shell(script: &str) -> Value {
    json!({ "command": [EXEC, "--", "/bin/busybox", "sh", "-c", script] })
}

fn variables(stage: &mut Stage) -> Result<()> {
    stage.cluster()?.apply(&pod("env", &json!({ "env": "true" }), &shell(SPEAK)).to_string())?;
    let first = stage.user_of("env", "app")?;
    let log = stage.kubectl(&["logs", "env"])?;
    ensure!(!log.contains("files"), "the credential is in files as well: {log}");
    say::line(&format!("the wrapper's own memory: {}", log.lines().find(|l| l.starts_with("VmRSS")).unwrap_or("?")));
    ensure!(stage.users()? == [first.as_str()], "{:?} instead of {first}", stage.users()?);
    nowhere_else(stage, &first)?;
    stage.kill("env", "app")?;
    let took = stage.until_gone(&first)?;
    say::line(&format!("user gone {} after the kill", say::time(took)));
    let second = stage.next_user_of("env", "app", &first)?;
    ensure!(stage.users()? == [second.as_str()], "{:?} instead of {second}", stage.users()?);
    stage.delete("env")?;
    stage.until_empty().map(drop)
}

/// The user is in no spec: neither Kubernetes' nor the runtime's, nor in the first process.
fn nowhere_else(stage: &Stage, user: &str) -> Result<()> {
    let spec = stage.kubectl(&["get", "pod", "env", "-o", "json"])?;
    ensure!(!spec.contains(user), "the user is in the pod's object");
    let id = stage.containers("env")?.remove("app").context("no container app")?;
    let cluster = stage.cluster()?;
    let record = |node: &crate::cluster::Node| {
        let mut ctr = std::process::Command::new(cluster.bin.join("ctr"));
        ctr.arg("--address").arg(&node.containerd_sock).args(["--namespace", "k8s.io", "container", "info", &id]);
        crate::parts::output_of(&mut ctr).ok()
    };
    // Whichever node runs it.
    let record = cluster.nodes.iter().find_map(record).context("no runtime knows the container")?;
    ensure!(!record.contains(user), "the user is in the runtime's record");
    let look =
        |pid: &str| stage.kubectl(&["exec", "env", "--", "/bin/busybox", "cat", &format!("/proc/{pid}/environ")]);
    // Not dumpable: a reader without CAP_SYS_PTRACE gets nothing at all, which is as good.
    ensure!(!look("1").unwrap_or_default().contains(user), "the first process has the user in its environment");
    Ok(())
}

fn of_image(stage: &mut Stage) -> Result<()> {
    stage.cluster()?.import_image(&Image {
        name: SPEAKER.to_owned(),
        entries: vec![Entry::program("bin/busybox", std::fs::read("/bin/busybox")?)],
        entrypoint: ["/bin/busybox", "sh", "-c"].map(str::to_owned).to_vec(),
        cmd: vec![
            "echo user=$PGUSER id=$(/bin/busybox id -u); trap 'exit 0' TERM; while :; do /bin/busybox sleep 0.1; done"
                .to_owned(),
        ],
        user: "65534:65534".to_owned(),
        ..Image::default()
    })?;
    let more = json!({
        "image": SPEAKER, "command": [EXEC, "--image"],
        "securityContext": {
            "runAsNonRoot": true, "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"] }, "seccompProfile": { "type": "RuntimeDefault" },
        },
    });
    stage.cluster()?.apply(&pod("image", &json!({ "variables": "PGUSER = db.username" }), &more).to_string())?;
    let said = stage.user_of("image", "app")?;
    let (user, id) = said.split_once(" id=").with_context(|| format!("it said {said:?}"))?;
    ensure!(id == "65534" && stage.users()? == [user], "{:?} instead of {user} (uid {id})", stage.users()?);
    stage.delete("image")?;
    stage.until_empty().map(drop)
}

fn gate(stage: &mut Stage) -> Result<()> {
    // Kubernetes makes one `$` of two.
    let script =
        "echo user=$(cat /secrets/db/username); echo pid=$$$$; trap 'exit 0' TERM; while :; do sleep 0.1; done";
    stage.cluster()?.apply(&pod("gate", &json!({ "gate": "true" }), &shell(script)).to_string())?;
    let first = stage.user_of("gate", "app")?;
    let log = stage.kubectl(&["logs", "gate"])?;
    ensure!(log.contains("pid=1\n"), "the wrapper is still there: {log}");
    stage.kill("gate", "app")?;
    stage.until_gone(&first)?;
    let second = stage.next_user_of("gate", "app", &first)?;
    ensure!(stage.users()? == [second.as_str()], "{:?} instead of {second}", stage.users()?);
    stage.delete("gate")?;
    stage.until_empty().map(drop)
}

fn status(stage: &mut Stage) -> Result<()> {
    let mut pod = pod("status", &json!({ "env": "true" }), &shell("echo user=$DB_USERNAME; exit 7"));
    pod["spec"]["restartPolicy"] = json!("Never");
    stage.cluster()?.apply(&pod.to_string())?;
    let path = "jsonpath={.status.containerStatuses[0].state.terminated.exitCode}";
    let mut code = String::new();
    stage.wait("the container to end", PATIENCE, || {
        code = stage.kubectl(&["get", "pod", "status", "-o", path])?;
        Ok(!code.is_empty())
    })?;
    ensure!(code == "7", "exit code {code}: {}", stage.kubectl(&["logs", "status"])?);
    stage.until_empty()?;
    stage.delete("status")
}

fn agent_away(stage: &mut Stage) -> Result<()> {
    let mut away = pod("away", &json!({ "env": "true" }), &shell(SPEAK));
    away["spec"]["nodeName"] = stage.node(0)?.into();
    stage.cluster()?.apply(&away.to_string())?;
    let first = stage.user_of("away", "app")?;
    stage.kill_agent(0);
    stage.kill("away", "app")?;
    stage.wait("the wrapper to say that it waits", PATIENCE, || {
        let log = stage.kubectl(&["logs", "away"]).unwrap_or_default();
        Ok(log.contains("dewdrop-exec: waiting for this container's credential") && !log.contains("user="))
    })?;
    stage.start_agent(0)?;
    stage.until_gone(&first)?;
    let second = stage.next_user_of("away", "app", &first)?;
    // Another agent has what the former one gave.
    stage.kill_agent(0);
    stage.start_agent(0)?;
    let again = stage.kubectl(&["exec", "away", "--", EXEC, "--", "/bin/busybox", "sh", "-c", "echo $DB_USERNAME"])?;
    ensure!(again.trim() == second, "asked again it has {again:?} instead of {second}");
    ensure!(stage.users()? == [second.as_str()], "{:?} instead of {second}", stage.users()?);
    stage.delete("away")?;
    stage.until_empty().map(drop)
}

fn foreign(stage: &mut Stage) -> Result<()> {
    let mut pod = pod("foreign", &json!({ "env": "true" }), &shell(SPEAK));
    let steal = |name: &str, mounts: Value| {
        json!({
            "name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "volumeMounts": mounts,
            "command": ["/bin/busybox", "sh", "-c", format!("{EXEC} -- env || echo code=$?; sleep 1000")],
        })
    };
    let mount = json!([{ "name": "secrets", "mountPath": "/secrets", "readOnly": true }]);
    for container in [steal("thief", mount), steal("side", json!([]))] {
        pod["spec"]["containers"].as_array_mut().context("no containers")?.push(container);
    }
    stage.cluster()?.apply(&pod.to_string())?;
    let user = stage.user_of("foreign", "app")?;
    stage.until_told("foreign", "belongs to container")?;
    let thief = stage.kubectl(&["logs", "foreign", "-c", "thief"]).unwrap_or_default();
    ensure!(thief.is_empty(), "the other container ran and said {thief:?}");
    let side = stage.kubectl(&["logs", "foreign", "-c", "side"])?;
    ensure!(side.contains("code=127") && !side.contains(&user), "the sidecar without the volume said {side:?}");
    stage.delete("foreign")?;
    stage.until_empty().map(drop)
}
