//! `kubectl dewdrop ...`: kubectl runs the program `kubectl-dewdrop` of the PATH. That is this program under another name, and
//! so is `kubectl_complete-dewdrop`, which kubectl asks what could come next.

use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory};

use crate::cli::Cli;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;

/// The name under which kubectl finds us.
const PLUGIN: &str = "kubectl-dewdrop";
/// The name under which kubectl asks what could come next.
const COMPLETE: &str = "kubectl_complete-dewdrop";
/// Commands of `dewdrop kube` that are a person's.
const OF_KUBE: [&str; 5] = ["login", "whoami", "can-i", "config", "credential"];
/// For kubectl's shells: offer no files.
const NO_FILES: &str = ":4";

/// `dewdrop kube plugin-install`.
#[derive(Debug, Args)]
pub struct Install {
    /// A folder of the PATH; that of this program when left out
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

/// As what the program was called.
#[derive(Debug, PartialEq, Eq)]
pub enum Called {
    /// By its own name.
    Dewdrop,
    /// As kubectl's plug-in.
    Plugin,
    /// To complete the plug-in's command line.
    Complete,
}

/// As what the program was called, by its first argument.
#[must_use]
pub fn called(zeroth: &str) -> Called {
    match Path::new(zeroth).file_name().and_then(|name| name.to_str()) {
        Some(PLUGIN) => Called::Plugin,
        Some(COMPLETE) => Called::Complete,
        _ => Called::Dewdrop,
    }
}

/// The arguments of the plug-in as our own: `request` is `access request`, `whoami` is `kube whoami`.
#[must_use]
pub fn arguments(given: Vec<String>) -> Vec<String> {
    let family = match given.first().map(String::as_str) {
        Some(first) if OF_KUBE.contains(&first) => "kube",
        Some(first) if of_access().iter().any(|name| name == first) => "access",
        _ => return given,
    };
    std::iter::once(family.to_owned()).chain(given).collect()
}

/// Whether the plug-in has such a command; `kube` and `access` are there for the credential plug-in and for habit.
#[must_use]
pub fn knows(first: &str) -> bool {
    ["kube", "access"].contains(&first) || OF_KUBE.contains(&first) || of_access().iter().any(|name| name == first)
}

fn of_access() -> Vec<String> {
    let tree = Cli::command();
    let access = tree.find_subcommand("access").into_iter().flat_map(clap::Command::get_subcommands);
    access.map(|command| command.get_name().to_owned()).collect()
}

/// What the plug-in can do.
#[must_use]
pub fn page() -> String {
    let tree = Cli::command();
    let mut page =
        String::from("Access to clusters, just in time.\n\nUsage: kubectl dewdrop COMMAND [FLAGS] [ARGUMENTS]\n\n");
    for (family, name, about) in commands(&tree) {
        page.push_str(&format!("    {name:<12}{about} (dewdrop {family} {name})\n"));
    }
    page.push_str("\n`kubectl dewdrop COMMAND -help` tells more.\n");
    page
}

fn commands(tree: &clap::Command) -> Vec<(&'static str, String, String)> {
    let mut found = Vec::new();
    for family in ["kube", "access"] {
        let all = tree.find_subcommand(family).into_iter().flat_map(clap::Command::get_subcommands);
        for command in all.filter(|command| family == "access" || OF_KUBE.contains(&command.get_name())) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            found.push((family, command.get_name().to_owned(), about));
        }
    }
    found
}

/// Says what could come next, as kubectl's completion wants it: a line for each, then a directive.
#[must_use]
pub fn completions(words: &[String]) -> String {
    let tree = Cli::command();
    let last = words.last().map_or("", String::as_str);
    let all = commands(&tree);
    let mut lines: Vec<String> = Vec::new();
    match words.first().filter(|_| words.len() > 1) {
        None => lines.extend(
            all.iter().filter(|(_, name, _)| name.starts_with(last)).map(|(_, name, about)| format!("{name}\t{about}")),
        ),
        Some(first) => {
            let family = all.iter().find(|(_, name, _)| name == first).map(|(family, ..)| *family);
            let command = family.and_then(|family| tree.find_subcommand(family)?.find_subcommand(first));
            let flags = command.into_iter().flat_map(clap::Command::get_arguments).filter_map(|flag| {
                let about = flag.get_help().map(ToString::to_string).unwrap_or_default();
                Some((flag.get_long()?, about))
            });
            let wanted = last.starts_with('-').then(|| last.trim_start_matches('-'));
            let matching = flags.filter(|(name, _)| wanted.is_some_and(|start| name.starts_with(start)));
            lines.extend(matching.map(|(name, about)| format!("--{name}\t{about}")));
        }
    }
    lines.push(NO_FILES.to_owned());
    lines.join("\n") + "\n"
}

impl Install {
    /// Makes the links.
    pub fn run(&self, ctx: &Ctx) -> Result<u8> {
        let program = std::env::current_exe().map_err(|e| Failure::usage(format!("find this program: {e}")))?;
        let folder = match &self.folder {
            Some(folder) => folder.clone(),
            None => program.parent().map(Path::to_owned).unwrap_or_default(),
        };
        let links = [PLUGIN, COMPLETE].map(|name| folder.join(name));
        links.iter().try_for_each(|link| make(link, &program))?;
        let on_path =
            std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|one| one == folder));
        if !ctx.out.is_table() {
            return ctx.out.structured(&serde_json::json!({ "links": links, "program": program, "on_path": on_path }));
        }
        for link in &links {
            say(&format!("{} -> {}\n", link.display(), program.display()));
        }
        say(if on_path {
            "Try: kubectl dewdrop whoami\n"
        } else {
            "This folder is not in PATH, so kubectl does not find it yet.\n"
        });
        Ok(0)
    }
}

/// A link of before is replaced when it led here; anything else is left alone.
fn make(link: &Path, program: &Path) -> Result<()> {
    let told = |e: std::io::Error| {
        Failure::usage(format!("make the link {}: {e}", link.display()))
            .hint("name a folder of PATH that you may write to")
    };
    match std::fs::read_link(link) {
        Ok(leads) if leads == program => return Ok(()),
        Ok(leads) if leads.file_name() == program.file_name() => std::fs::remove_file(link).map_err(told)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        _ => {
            return Err(Failure::usage(format!("{} is there already, and is not a link to dewdrop", link.display()))
                .hint("remove it, or name another folder"));
        }
    }
    std::os::unix::fs::symlink(program, link).map_err(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(words: &[&str]) -> Vec<String> {
        arguments(words.iter().map(|word| (*word).to_owned()).collect())
    }

    #[test]
    fn names() {
        assert_eq!(called("/usr/bin/kubectl-dewdrop"), Called::Plugin);
        assert_eq!(called("kubectl_complete-dewdrop"), Called::Complete);
        assert_eq!(called("./dewdrop"), Called::Dewdrop);
        assert_eq!(ours(&["request", "r"]), ["access", "request", "r"]);
        assert_eq!(ours(&["whoami"]), ["kube", "whoami"]);
        assert_eq!(ours(&["kube", "credential"]), ["kube", "credential"]);
        assert!(knows("approve") && knows("can-i") && !knows("operator") && !knows("webhook"));
    }

    #[test]
    fn what_could_come_next() {
        let next = |words: &[&str]| completions(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        let commands = next(&["re"]);
        assert!(commands.contains("request\t") && commands.contains("revoke\t") && !commands.contains("login"));
        assert!(commands.ends_with("\n:4\n"));
        assert!(next(&[""]).contains("whoami\t"));
        assert!(next(&["request", "--re"]).starts_with("--reason\t"));
        assert_eq!(next(&["request", "x"]), ":4\n");
        assert_eq!(next(&["nonsense", "-"]), ":4\n");
    }
}
