//! Finds a command as execvp(3) does, in the PATH of the environment that it will have.

use std::ffi::{OsStr, OsString};
use std::io::{Error, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use crate::fail::Fail;

/// Where commands are when there is no PATH.
const DEFAULT_PATH: &str = "/usr/local/bin:/bin:/usr/bin";
/// Runs what has no interpreter of its own.
const SHELL: &str = "/bin/sh";
const ENOEXEC: i32 = 8;

/// Becomes the command; comes back only when that cannot be.
pub fn become_command(command: &[OsString], env: &[(OsString, OsString)]) -> Fail {
    let Some((name, args)) = command.split_first() else {
        return Fail::NotFound("there is no command to run".into());
    };
    let mut refused = None;
    for path in candidates(name, env) {
        let why = exec(path.as_os_str(), name, args, env);
        match why.kind() {
            ErrorKind::NotFound | ErrorKind::NotADirectory if !path.exists() => {}
            ErrorKind::PermissionDenied => drop(refused.get_or_insert(why)),
            _ => return Fail::Command(format!("{} cannot be run: {why}", path.display())),
        }
    }
    match refused {
        Some(why) => Fail::Command(format!("{} cannot be run: {why}", name.display())),
        None => Fail::NotFound(format!("{}: there is no such command", name.display())),
    }
}

/// Every path that may be meant, in order.
pub fn candidates(name: &OsStr, env: &[(OsString, OsString)]) -> Vec<PathBuf> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.as_bytes().contains(&b'/') {
        return vec![PathBuf::from(name)];
    }
    let path = env.iter().rev().find(|(key, _)| key == "PATH").map_or(OsStr::new(DEFAULT_PATH), |(_, value)| value);
    let in_folder =
        |folder: PathBuf| if folder.as_os_str().is_empty() { PathBuf::from(".").join(name) } else { folder.join(name) };
    std::env::split_paths(path).map(in_folder).collect()
}

fn exec(path: &OsStr, name: &OsStr, args: &[OsString], env: &[(OsString, OsString)]) -> Error {
    let env = || env.iter().map(|(key, value)| (key, value));
    let why = Command::new(path).arg0(name).args(args).env_clear().envs(env()).exec();
    if why.raw_os_error() != Some(ENOEXEC) {
        return why;
    }
    Command::new(SHELL).arg(path).args(args).env_clear().envs(env()).exec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(path: &str) -> Vec<(OsString, OsString)> {
        vec![("PATH".into(), "/no".into()), ("PATH".into(), path.into())]
    }

    #[test]
    fn the_path_of_the_new_environment_counts_and_its_last_word() {
        assert_eq!(candidates(OsStr::new("x"), &env("/a:/b::c")), ["/a/x", "/b/x", "./x", "c/x"].map(PathBuf::from));
        assert_eq!(candidates(OsStr::new("x"), &[])[1], PathBuf::from("/bin/x"));
        assert_eq!(candidates(OsStr::new("./x"), &env("/a")), [PathBuf::from("./x")]);
        assert!(candidates(OsStr::new(""), &env("/a")).is_empty());
    }

    #[test]
    fn what_cannot_be_run_says_so_as_a_shell_does() {
        let run = |name: &str| become_command(&[name.into()], &env("/etc:/usr/bin")).code();
        assert_eq!(run("no-such-command"), 127);
        assert_eq!(run("/no/such/command"), 127);
        assert_eq!(run("/etc"), 126);
        assert_eq!(run("passwd.d-no/../x"), 127);
        assert_eq!(become_command(&[], &[]).code(), 127);
    }
}
