//! The control groups of a cluster: one tree, with a group for each node's containers, one for each node's daemons and one
//! for the control plane. Whoever is in the tree was started by the cluster, which is how `down` finds those that left
//! their parents, even after a crash.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use super::daemon::LOOK_AGAIN;
use crate::say::Stopwatch;

/// How long killed processes may take to be gone.
const GONE: Duration = Duration::from_secs(20);

/// Makes `parent/child` in every hierarchy (cgroup v1 has one for each controller) and answers the folders.
pub fn make(parent: &str, child: &str) -> Result<Vec<PathBuf>> {
    let mut made = Vec::new();
    for root in roots()? {
        let mut group = root.clone();
        for name in [parent, child] {
            let above = group.clone();
            group.push(name);
            if !group.is_dir() {
                std::fs::create_dir(&group).with_context(|| format!("cannot make {}", group.display()))?;
                inherit(&above, &group)?;
            }
        }
        made.push(group);
    }
    Ok(made)
}

/// A new group of cgroup v1 may run on no processor until it is told; one of v2 has no controllers until its parent
/// hands them down.
fn inherit(above: &Path, group: &Path) -> Result<()> {
    for name in ["cpuset.cpus", "cpuset.mems"] {
        if above.join("cgroup.controllers").exists() || !group.join(name).exists() {
            continue;
        }
        let value = std::fs::read_to_string(above.join(name))?;
        std::fs::write(group.join(name), value).with_context(|| format!("cannot set {name} of {}", group.display()))?;
    }
    if let Ok(controllers) = std::fs::read_to_string(above.join("cgroup.controllers")) {
        let down: Vec<String> = controllers.split_whitespace().map(|name| format!("+{name}")).collect();
        std::fs::write(above.join("cgroup.subtree_control"), down.join(" "))
            .with_context(|| format!("cannot hand down the controllers of {}", above.display()))?;
    }
    Ok(())
}

/// SIGKILL to everybody in `parent` or below, until nobody is left. `first` names groups whose people would start others.
pub fn kill(parent: &str, first: &[String]) -> Result<usize> {
    let trees: Vec<PathBuf> = all_roots()?.iter().map(|root| root.join(parent)).filter(|tree| tree.is_dir()).collect();
    let mut killed = BTreeSet::new();
    for group in first {
        let folders: Vec<PathBuf> = trees.iter().map(|tree| tree.join(group)).collect();
        killed.extend(kill_in(&folders));
    }
    let clock = Stopwatch::start();
    loop {
        let seen = kill_in(&trees);
        if seen.is_empty() {
            return Ok(killed.len());
        }
        killed.extend(&seen);
        if clock.elapsed() > GONE {
            bail!("these processes do not end: {seen:?}");
        }
        sleep(LOOK_AGAIN);
    }
}

fn kill_in(folders: &[PathBuf]) -> BTreeSet<i32> {
    let pids: BTreeSet<i32> = folders.iter().flat_map(|folder| members(folder)).collect();
    for pid in pids.iter().filter_map(|pid| Pid::from_raw(*pid)) {
        // Gone by now is as good.
        let _gone = kill_process(pid, Signal::KILL);
    }
    pids
}

/// The processes of a group, of which some hierarchies may not know, and of all groups below it.
pub fn pids(group: &str) -> Result<Vec<i32>> {
    let all: BTreeSet<i32> = roots()?.iter().flat_map(|root| members(&root.join(group))).collect();
    Ok(all.into_iter().collect())
}

/// The processes of one folder and of all below it. Pid 0 is somebody whom we cannot see from here.
fn members(group: &Path) -> Vec<i32> {
    let mut pids: Vec<i32> = std::fs::read_to_string(group.join("cgroup.procs"))
        .map(|text| text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect())
        .unwrap_or_default();
    for below in folders_in(group) {
        pids.extend(members(&below));
    }
    pids
}

/// Takes the empty groups away, the inner ones first.
pub fn remove(parent: &str) -> Result<()> {
    for root in all_roots()? {
        remove_tree(&root.join(parent))?;
    }
    Ok(())
}

fn remove_tree(group: &Path) -> Result<()> {
    for below in folders_in(group) {
        remove_tree(&below)?;
    }
    // The kernel says "busy" for a moment after the last process is gone.
    let clock = Stopwatch::start();
    loop {
        match std::fs::remove_dir(group) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) if clock.elapsed() > GONE => {
                return Err(error).with_context(|| format!("cannot remove {}", group.display()));
            }
            Err(_) => sleep(LOOK_AGAIN),
            Ok(()) => return Ok(()),
        }
    }
}

fn folders_in(group: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(group).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).map(|entry| entry.path()).collect()
}

/// The hierarchies of this machine that limit something: all of cgroup v1; where there is none, the one of v2.
fn roots() -> Result<Vec<PathBuf>> {
    let [first, second] = mounted()?;
    let found = if first.is_empty() { second } else { first };
    if found.is_empty() { bail!("no control groups are mounted (below /sys/fs/cgroup)") } else { Ok(found) }
}

/// All of them: the runtime makes groups in the v2 tree beside v1, too, which limits nothing.
fn all_roots() -> Result<Vec<PathBuf>> {
    mounted().map(|both| both.concat())
}

fn mounted() -> Result<[Vec<PathBuf>; 2]> {
    let text = std::fs::read_to_string("/proc/self/mountinfo").context("cannot read the mounts")?;
    Ok(["cgroup", "cgroup2"].map(|kind| of_kind(&text, kind)))
}

fn of_kind(mountinfo: &str, wanted: &str) -> Vec<PathBuf> {
    let kind = |line: &str| Some(line.split_once(" - ")?.1.split_whitespace().next()? == wanted);
    let lines = mountinfo.lines().filter(|line| kind(line) == Some(true));
    let paths = lines.filter_map(|line| line.split_whitespace().nth(4)).map(PathBuf::from);
    let mut paths: Vec<PathBuf> = paths.filter(|path| path.starts_with("/sys/fs/cgroup")).collect();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: &str = "31 30 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      32 30 0:27 / /sys/fs/cgroup/pids rw shared:4 - cgroup cgroup rw,pids\n\
                      33 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    #[test]
    fn v1_has_many_trees_and_its_unified_one_is_apart() {
        assert_eq!(of_kind(V1, "cgroup"), [PathBuf::from("/sys/fs/cgroup/cpu"), PathBuf::from("/sys/fs/cgroup/pids")]);
        assert_eq!(of_kind(V1, "cgroup2"), [PathBuf::from("/sys/fs/cgroup/unified")]);
    }

    #[test]
    fn v2_has_one() {
        let text = "29 23 0:25 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw\n29 1 8:1 / / rw - ext4 /dev/vda rw\n";
        assert_eq!(of_kind(text, "cgroup2"), [PathBuf::from("/sys/fs/cgroup")]);
        assert!(of_kind(text, "cgroup").is_empty());
    }

    #[test]
    fn members_of_groups_below_count_and_strangers_do_not() {
        let dir = crate::parts::TempDir::new("clu").expect("folder");
        std::fs::create_dir(dir.path().join("a")).expect("folder");
        std::fs::write(dir.path().join("cgroup.procs"), "7\n0\n").expect("write");
        std::fs::write(dir.path().join("a/cgroup.procs"), "9\n").expect("write");
        assert_eq!(members(dir.path()), [7, 9]);
    }
}
