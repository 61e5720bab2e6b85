//! What a scene does with the stage: pods come and go, containers are killed, users are looked for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};

use super::pods::TestPod;
use super::stage::{PATIENCE, Stage};

impl Stage {
    /// Brings a pod.
    pub fn apply(&self, pod: &TestPod) -> Result<()> {
        self.cluster()?.apply(&self.fitted(pod).manifest().to_string())
    }

    /// Brings anything.
    pub fn apply_json(&self, manifest: &serde_json::Value) -> Result<()> {
        self.cluster()?.apply(&manifest.to_string())
    }

    /// The user that a container says it has, once it runs.
    pub fn user_of(&self, pod: &str, container: &str) -> Result<String> {
        let mut user = None;
        self.wait(&format!("container {container} of pod {pod} to say its user"), PATIENCE, || {
            let log = self.kubectl(&["logs", pod, "-c", container]).unwrap_or_default();
            user = log.lines().filter_map(|line| line.strip_prefix("user=")).next_back().map(str::to_owned);
            Ok(user.as_ref().is_some_and(|user| !user.is_empty()))
        })
        .with_context(|| self.told_of(pod))?;
        user.context("no user")
    }

    /// What Kubernetes says of a pod.
    pub fn told_of(&self, pod: &str) -> String {
        self.kubectl(&["describe", "pod", pod]).unwrap_or_default()
    }

    /// What a scene that failed left behind must not spoil the next.
    pub fn tidy(&mut self) -> Result<()> {
        self.kubectl(&["delete", "cronjobs,deployments,jobs,pods", "--all", "--grace-period=1", "--timeout=100s"])?;
        self.until_empty().map(drop)
    }

    /// Deletes a pod and waits until it is gone.
    pub fn delete(&self, pod: &str) -> Result<()> {
        self.kubectl(&["delete", "pod", pod, "--wait=true", "--timeout=60s"]).map(drop)
    }

    /// Nothing is left of the scene.
    pub fn until_empty(&self) -> Result<Duration> {
        self.wait("all users to be gone", PATIENCE, || Ok(self.users()?.is_empty()))
    }

    /// The ids of the running containers of a pod, by name.
    pub fn containers(&self, pod: &str) -> Result<BTreeMap<String, String>> {
        let path = "jsonpath={range .status['containerStatuses','initContainerStatuses'][*]}{.name}={.containerID}{\"\\n\"}{end}";
        let text = self.kubectl(&["get", "pod", pod, "-o", path])?;
        let pair = |line: &str| {
            line.split_once('=').map(|(name, id)| (name.to_owned(), id.rsplit('/').next().unwrap_or(id).to_owned()))
        };
        Ok(text.lines().filter_map(pair).collect())
    }

    /// SIGKILL to the process of a container.
    pub fn kill(&self, pod: &str, container: &str) -> Result<()> {
        let ids = self.containers(pod)?;
        let id = ids.get(container).with_context(|| format!("no container {container} in {ids:?}"))?;
        self.kill_container(id)
    }

    /// SIGKILL to the command that a container's first process has started.
    pub fn kill_command(&self, pod: &str, container: &str) -> Result<()> {
        let ids = self.containers(pod)?;
        let id = ids.get(container).with_context(|| format!("no container {container} in {ids:?}"))?;
        let first = self.pid_of(id)?.context("the container does not run")?;
        let children = std::fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
        let child = children.split_whitespace().next().context("the wrapper has no child")?;
        crate::parts::output_of(std::process::Command::new("kill").args(["-9", child])).map(drop)
    }

    /// The first process of a running container.
    pub fn pid_in(&self, pod: &str, container: &str) -> Result<String> {
        let ids = self.containers(pod)?;
        let id = ids.get(container).with_context(|| format!("no container {container} in {ids:?}"))?;
        self.pid_of(id)?.with_context(|| format!("no node runs {container} of {pod}"))
    }

    /// How often a container was started again.
    pub fn restarts(&self, pod: &str, container: &str) -> Result<u32> {
        let path = format!("jsonpath={{.status.containerStatuses[?(@.name==\"{container}\")].restartCount}}");
        Ok(self.kubectl(&["get", "pod", pod, "-o", &path])?.trim().parse().unwrap_or(0))
    }

    /// The user of the start after the one that had `former`.
    pub fn next_user_of(&self, pod: &str, container: &str, former: &str) -> Result<String> {
        let mut user = former.to_owned();
        self.wait(&format!("the next start of {container}"), PATIENCE, || {
            user = self.user_of(pod, container)?;
            Ok(user != former)
        })?;
        Ok(user)
    }

    /// Waits until Kubernetes says something of a pod, in its events or its status.
    pub fn until_told(&self, pod: &str, text: &str) -> Result<()> {
        self.wait(&format!("{text:?} in what Kubernetes says of {pod}"), PATIENCE, || {
            Ok(self.told_of(pod).contains(text))
        })
        .map(drop)
    }
}
