//! Others in the pod try to read: by mounts, by `/proc`, by tricks with folders, by the tools for looking into running pods.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::{PATIENCE, Stage};
use crate::parts::repo_root;

/// What a container without special rights can try. It prints what it finds, and says when it has tried everything.
const TRIES: &str = r"
look() { for f in $(find $1 -name password 2>/dev/null); do echo found=$f; cat $f >/dev/null && echo read=$f; done; }
look '/ -xdev'
for p in /proc/[0-9]*; do look $p/root/secrets/; look $p/cwd/secrets/; tr '\0' '\n' <$p/environ | grep -i password; done 2>/dev/null
grep -o ' [^ ]*csi.dewdrop[^ ]* ' /proc/self/mountinfo && echo found=mount
mkdir -p /tmp/m && mount -t tmpfs x /tmp/m 2>/dev/null && echo found=mounting
mount -t proc x /tmp/m 2>/dev/null && echo found=proc
nsenter -t 1 -m -p ls /secrets 2>/dev/null && echo found=nsenter
for n in 0 1 16; do mknod /tmp/b$n b 8 $n && head -c 1 /tmp/b$n | wc -c | grep 1 && echo found=device; done 2>/dev/null
echo tried
while :; do sleep 0.2; done";

/// A sidecar, and an ephemeral container that has the image and the rights of a person with `pods/ephemeralcontainers`.
pub fn neighbours(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("near").with("app", WAIT).beside("side", TRIES, &[]))?;
    let user = stage.user_of("near", "app")?;
    found_nothing(stage, "near", "side")?;
    debug(stage, "near", &json!({ "name": "looks", "command": ["/bin/busybox", "sh", "-c", TRIES] }))?;
    found_nothing(stage, "near", "looks")?;
    // The volume itself: refused when the container is made, and no policy is needed for that.
    let mounts = json!([{ "name": "secrets-app", "mountPath": "/secrets", "readOnly": true }]);
    let script = ["/bin/busybox", "sh", "-c", "find /secrets; cat /secrets/db/password"];
    debug(stage, "near", &json!({ "name": "mounts", "command": script, "volumeMounts": mounts }))?;
    stage.until_told("near", "belongs to container")?;
    let log = stage.kubectl(&["logs", "near", "-c", "mounts"]).unwrap_or_default();
    ensure!(!log.contains("password"), "the ephemeral container ran and said {log:?}");
    ensure!(stage.users()? == [user.as_str()], "{:?} instead of {user}", stage.users()?);
    stage.delete("near")?;
    stage.until_empty().map(drop)
}

/// `kubectl debug --target` puts a container among the processes of another: whoever may do that reads what it reads. That is
/// Kubernetes' own meaning, and the guards are what stands before it; both halves are shown.
pub fn targeted(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("target").with("app", WAIT))?;
    stage.user_of("target", "app")?;
    let looks = |name: &str| json!({ "name": name, "targetContainerName": "app", "command": ["/bin/busybox", "sh", "-c", TRIES] });
    debug(stage, "target", &looks("unguarded"))?;
    let log = tried(stage, "target", "unguarded")?;
    ensure!(
        log.contains("read=/proc/1/root/secrets/"),
        "the guards are said to be needed here, and it found only {log:?}"
    );
    // Another pod: what an ephemeral container of before breaks would be told of the next one as well.
    stage.apply(&TestPod::new("guarded").with("app", WAIT))?;
    stage.user_of("guarded", "app")?;
    let policies = repo_root().join("deploy/admission/policies.yaml").display().to_string();
    stage.kubectl(&["apply", "-f", &policies])?;
    let guarded = refused(stage);
    stage.kubectl(&["delete", "-f", &policies])?;
    guarded?;
    // They hold for some moments more, and would refuse what later scenes ask for.
    let again = json!({ "name": "again", "image": crate::cluster::image::BUSYBOX, "targetContainerName": "app" });
    stage.wait("the policies to be gone", PATIENCE, || Ok(put(stage, "target", &again, true).is_ok()))?;
    stage.delete("target")?;
    stage.delete("guarded")?;
    stage.until_empty().map(drop)
}

/// With the policies: no ephemeral container that targets, and none that mounts. One that does neither is nobody's business.
fn refused(stage: &Stage) -> Result<()> {
    let command = ["/bin/busybox", "true"];
    let image = crate::cluster::image::BUSYBOX;
    let mounts = json!([{ "name": "secrets-app", "mountPath": "/secrets", "readOnly": true }]);
    let bad = [
        (
            "[ephemeral-target]",
            json!({ "name": "t", "image": image, "targetContainerName": "app", "command": command }),
        ),
        ("[volume-elsewhere]", json!({ "name": "m", "image": image, "volumeMounts": mounts, "command": command })),
    ];
    for (rule, container) in bad {
        // Policies count some moments after they were written; a dry run leaves nothing when they do not yet.
        stage.wait(&format!("{rule} to be told"), PATIENCE, || {
            let heard = put(stage, "guarded", &container, true).err().map(|error| format!("{error:#}"));
            Ok(heard.is_some_and(|heard| heard.contains(rule)))
        })?;
        ensure!(put(stage, "guarded", &container, false).is_err(), "{rule} holds in a dry run only");
    }
    debug(stage, "guarded", &json!({ "name": "plain", "command": command }))
}

/// A folder of its own that points to kubelet's: kubelet does not follow it out of the volume.
pub fn sub_path(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("victim").on(&stage.node(0)?).with("app", WAIT))?;
    let user = stage.user_of("victim", "app")?;
    let kubelet = stage.cluster()?.node(&stage.node(0)?)?.root_dir.display().to_string();
    let shared = |more: Value| {
        let mut mount = json!({ "name": "shared", "mountPath": "/shared" });
        more.as_object().into_iter().flatten().for_each(|(key, value)| mount[key.as_str()] = value.clone());
        json!([mount])
    };
    let pod = TestPod::new("leaves").on(&stage.node(0)?).beside("side", "find /shared; while :; do sleep 1; done", &[]);
    let link = format!("ln -s {kubelet}/pods /shared/link");
    let init = json!([{
        "name": "links", "image": crate::cluster::image::BUSYBOX, "imagePullPolicy": "Never",
        "command": ["/bin/busybox", "sh", "-c", link], "volumeMounts": shared(json!({})),
    }]);
    let pod = pod
        .patched("/spec/volumes", json!([{ "name": "shared", "emptyDir": {} }]))
        .patched("/spec/initContainers", init);
    stage.apply(&pod.patched("/spec/containers/0/volumeMounts", shared(json!({ "subPath": "link" }))))?;
    stage.until_told("leaves", "subPath")?;
    let log = stage.kubectl(&["logs", "leaves", "-c", "side"]).unwrap_or_default();
    ensure!(log.is_empty(), "the container ran and said {log:?}");
    ensure!(stage.users()? == [user.as_str()], "{:?} instead of {user}", stage.users()?);
    stage.delete("leaves")?;
    stage.delete("victim")?;
    stage.until_empty().map(drop)
}

fn found_nothing(stage: &Stage, pod: &str, container: &str) -> Result<()> {
    let log = tried(stage, pod, container)?;
    ensure!(log.trim() == "tried", "{container} found {log:?}");
    Ok(())
}

/// What a container said once it had tried everything.
fn tried(stage: &Stage, pod: &str, container: &str) -> Result<String> {
    let mut log = String::new();
    let done = stage.wait(&format!("{container} of {pod} to have tried everything"), PATIENCE, || {
        log = stage.kubectl(&["logs", pod, "-c", container]).unwrap_or_default();
        std::thread::sleep(Duration::from_millis(50));
        Ok(log.lines().any(|line| line == "tried"))
    });
    done.with_context(|| format!("{container} said {log:?}"))?;
    Ok(log)
}

/// Puts an ephemeral container into a pod.
fn debug(stage: &Stage, pod: &str, container: &Value) -> Result<()> {
    let mut container = container.clone();
    container["image"] = crate::cluster::image::BUSYBOX.into();
    container["imagePullPolicy"] = "Never".into();
    put(stage, pod, &container, false)
}

fn put(stage: &Stage, pod: &str, container: &Value, dry: bool) -> Result<()> {
    let patch = json!({ "spec": { "ephemeralContainers": [container] } }).to_string();
    let mut args = vec!["patch", "pod", pod, "--subresource=ephemeralcontainers", "--type=strategic", "-p", &patch];
    if dry {
        args.push("--dry-run=server");
    }
    stage.kubectl(&args).map(drop)
}
