//! The wrapper in front of a container's command: where it lies, and whether it is there.
//!
//! It lies on our own volume, so that a container whose volume was never published has no program to start. Only `command`
//! is touched, never `args`: a container that names no command is run as `exec --image -- ARGS`, and the agent tells the
//! wrapper what the image's ENTRYPOINT and CMD are.

use crate::pod::{Container, Mount, Owned};

/// Where the wrapper lies on a volume.
const PROGRAM: &str = ".dewdrop/exec";
/// Says that the image's own command is to be run.
pub const IMAGE: &str = "--image";
/// Ends the wrapper's own arguments.
pub const END: &str = "--";

/// The wrapper on a volume that is mounted here. Kubelet would expand `$(X)` in a command, and does not in a mount's path.
#[must_use]
pub fn path(mount: &Mount) -> String {
    format!("{}/{PROGRAM}", mount.mount_path.trim_end_matches('/')).replace("$(", "$$(")
}

/// The wrappers that a container's volumes of the node agent ask for.
#[must_use]
pub fn wanted(container: &Container, owned: &[Owned<'_>]) -> Vec<String> {
    let of = |one: &Owned<'_>| match one {
        Owned::Csi { volume, csi } if csi.wants_wrapper() && csi.attribute("container") == container.name => {
            container.mounts_of(volume).next().map(path)
        }
        _ => None,
    };
    owned.iter().filter_map(of).collect()
}

/// The wrappers that stand in front of a command already.
#[must_use]
pub fn in_front(command: &[String]) -> Vec<&str> {
    let mut found = Vec::new();
    let mut rest = command;
    while let [program, tail @ ..] = rest {
        if !program.ends_with(PROGRAM) {
            break;
        }
        rest = match tail {
            [end, tail @ ..] if end == END => tail,
            [image, end, tail @ ..] if image == IMAGE && end == END => tail,
            _ => break,
        };
        found.push(program.as_str());
    }
    found
}

/// The command with the wrappers in front that are not there yet; `None`: they all are.
#[must_use]
pub fn wrapped(command: &[String], wanted: &[String]) -> Option<Vec<String>> {
    let there = in_front(command);
    let missing: Vec<&String> = wanted.iter().filter(|path| !there.contains(&path.as_str())).collect();
    let (last, others) = missing.split_last()?;
    let mut whole = Vec::new();
    for path in others {
        whole.extend([(*path).clone(), END.to_owned()]);
    }
    whole.push((*last).clone());
    if command.is_empty() {
        whole.push(IMAGE.to_owned());
    }
    whole.push(END.to_owned());
    whole.extend(command.iter().cloned());
    Some(whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn a_command_and_none() {
        let one = texts(&["/db/.dewdrop/exec"]);
        assert_eq!(wrapped(&texts(&["/app", "-v"]), &one), Some(texts(&["/db/.dewdrop/exec", "--", "/app", "-v"])));
        assert_eq!(wrapped(&[], &one), Some(texts(&["/db/.dewdrop/exec", "--image", "--"])));
        assert_eq!(wrapped(&texts(&["/app"]), &[]), None);
    }

    #[test]
    fn twice_is_once() {
        let two = texts(&["/a/.dewdrop/exec", "/b/.dewdrop/exec"]);
        for command in [texts(&["/app"]), Vec::new()] {
            let once = wrapped(&command, &two).unwrap();
            assert_eq!(in_front(&once), ["/a/.dewdrop/exec", "/b/.dewdrop/exec"]);
            assert_eq!(wrapped(&once, &two), None);
            let half = wrapped(&command, &two[1..]).unwrap();
            assert_eq!(wrapped(&half, &two), Some(once));
        }
    }

    #[test]
    fn what_only_looks_like_a_wrapper_is_none() {
        for command in
            [&["/db/.dewdrop/exec"][..], &["/db/.dewdrop/exec", "x"], &["/app", "/db/.dewdrop/exec", "--"], &[]]
        {
            assert!(in_front(&texts(command)).is_empty(), "{command:?}");
        }
    }

    #[test]
    fn the_path_is_not_expanded() {
        let mount = |path: &str| Mount { mount_path: path.into(), ..Mount::default() };
        assert_eq!(path(&mount("/db/")), "/db/.dewdrop/exec");
        assert_eq!(path(&mount("/$(HOME)")), "/$$(HOME)/.dewdrop/exec");
    }
}
