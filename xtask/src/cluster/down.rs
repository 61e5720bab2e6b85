//! Ends a cluster and takes away what it left: processes, mounts, network, control groups, folders. It works from the record
//! and from what it finds, so it may be called at any time: after half a start, after a crash, twice.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::record::{Cluster, FILE};
use super::{cgroup, instance, network, texts};
use crate::parts::output_of;

/// Where CNI keeps a file for each pod's interface.
const CNI_RESULTS: &str = "/var/lib/cni/results";
/// Where kubelet keeps a link to each container's log.
const LOG_LINKS: &str = "/var/log/containers";

/// Folders that are made at places that nobody can choose. The one of kubelet is its socket for device plug-ins, which two
/// kubelets on one machine take from each other.
const OUTSIDE: &[&str] = &["/var/lib/cni", LOG_LINKS, "/var/lib/kubelet"];

/// Those of them that are not there: what will be in them is ours.
pub fn outside_that_is_free() -> Vec<PathBuf> {
    OUTSIDE.iter().map(PathBuf::from).filter(|folder| !folder.exists()).collect()
}

/// Ends a cluster.
pub fn down(cluster: &Cluster) -> Result<()> {
    processes(cluster)?;
    unmount(&cluster.state)?;
    network::remove(cluster)?;
    cgroup::remove(&cluster.cgroup)?;
    outside(cluster);
    // The record goes last: until then another try finds its way.
    empty(&cluster.state)
}

/// Daemons first, or they would start anew what is ended; then the containers, then whoever is left.
fn processes(cluster: &Cluster) -> Result<()> {
    let mut first = vec!["control".to_owned()];
    first.extend(cluster.nodes.iter().map(super::record::Node::daemons_group));
    cgroup::kill(&cluster.cgroup, &first)?;
    match cluster.daemons.iter().find(|daemon| daemon.alive()) {
        Some(daemon) => bail!("{} (pid {}) left its control group and runs on", daemon.name, daemon.pid),
        None => Ok(()),
    }
}

/// All mounts at the state folder and below: the youngest first.
fn unmount(state: &Path) -> Result<()> {
    // A mount may hide another one at the same place, hence more than one look.
    for _ in 0..100 {
        let below = mounts_below(&std::fs::read_to_string("/proc/self/mountinfo")?, state);
        if below.is_empty() {
            return Ok(());
        }
        for mount in below.iter().rev() {
            let plain = output_of(Command::new("umount").arg(mount));
            if plain.is_err() {
                // Whoever still holds it sees it go when he ends.
                drop(output_of(Command::new("umount").arg("--lazy").arg(mount)));
            }
        }
    }
    bail!("there are still mounts below {}", state.display())
}

/// In the order in which they were made.
fn mounts_below(mountinfo: &str, state: &Path) -> Vec<PathBuf> {
    let path = |line: &str| line.split_whitespace().nth(4).map(|text| PathBuf::from(plain(text)));
    mountinfo.lines().filter_map(path).filter(|path| path.starts_with(state)).collect()
}

/// The kernel writes a space of a path as `\040`, and so on.
fn plain(text: &str) -> String {
    [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")]
        .iter()
        .fold(text.to_owned(), |text, (written, meant)| text.replace(written, meant))
}

/// What was put outside of the state folder: whole folders that were not there before, and in the others the files that
/// name this cluster. A failure here harms nobody.
fn outside(cluster: &Cluster) {
    let networks: Vec<String> =
        cluster.nodes.iter().map(|node| format!("{}-", texts::network_name(cluster, node))).collect();
    for entry in std::fs::read_dir(CNI_RESULTS).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if networks.iter().any(|network| name.to_string_lossy().starts_with(network)) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
    for entry in std::fs::read_dir(LOG_LINKS).into_iter().flatten().flatten() {
        if std::fs::read_link(entry.path()).is_ok_and(|leads| leads.starts_with(&cluster.state)) {
            drop(std::fs::remove_file(entry.path()));
        }
    }
    // They are another one's too, who has them in his record.
    if !instance::others(cluster.instance).is_empty() {
        return;
    }
    // The record is a file; what it may ask for is not.
    for folder in cluster.outside.iter().filter(|folder| OUTSIDE.iter().any(|known| Path::new(known) == *folder)) {
        drop(std::fs::remove_dir_all(folder));
    }
}

/// Removes the folder: first all but the record.
fn empty(state: &Path) -> Result<()> {
    let told = || format!("cannot remove {}", state.display());
    for entry in std::fs::read_dir(state).with_context(told)? {
        let entry = entry.with_context(told)?;
        if entry.file_name() == FILE {
            continue;
        }
        let path = entry.path();
        let gone =
            if entry.file_type()?.is_dir() { std::fs::remove_dir_all(&path) } else { std::fs::remove_file(&path) };
        gone.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    std::fs::remove_dir_all(state).with_context(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::TempDir;

    #[test]
    fn only_mounts_at_or_below_the_folder_are_its() {
        let text = "1 0 8:1 / / rw - ext4 /dev/vda rw\n\
                    2 1 8:1 /run/x /run/x rw shared:1 - ext4 /dev/vda rw\n\
                    3 1 8:1 / /run/xy rw - tmpfs tmpfs rw\n\
                    4 2 0:5 / /run/x/n1/a\\040b rw - tmpfs tmpfs rw\n";
        let found = mounts_below(text, Path::new("/run/x"));
        assert_eq!(found, [PathBuf::from("/run/x"), PathBuf::from("/run/x/n1/a b")]);
    }

    #[test]
    fn a_folder_is_emptied_with_its_record() {
        let dir = TempDir::new("clu").expect("folder");
        let state = dir.path().join("s");
        std::fs::create_dir_all(state.join("n1/kubelet")).expect("folder");
        std::fs::write(state.join(FILE), "{}").expect("write");
        empty(&state).expect("empty");
        assert!(!state.exists());
    }
}
