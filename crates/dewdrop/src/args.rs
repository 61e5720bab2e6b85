//! Command lines as Go programs take them: `-format=json`, `-format json`, `-detailed=false` and `--format json` mean the same.

use std::collections::BTreeSet;

use clap::{ArgAction, Command};

/// Rewrites single-dash long flags for clap, up to a lone `--`. What follows that is not ours.
/// Values of switches (`-force=true`, `-force=false`) are resolved here, since clap's switches take none.
#[must_use]
pub fn normalise(args: impl IntoIterator<Item = String>, program: &Command) -> Vec<String> {
    let mut switches = BTreeSet::new();
    collect_switches(program, &mut switches);
    let mut ours = true;
    args.into_iter().filter_map(|arg| if ours { rewrite(arg, &switches, &mut ours) } else { Some(arg) }).collect()
}

fn rewrite(arg: String, switches: &BTreeSet<String>, ours: &mut bool) -> Option<String> {
    if arg == "--" {
        *ours = false;
        return Some(arg);
    }
    let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')) else { return Some(arg) };
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    if !is_name {
        return Some(arg);
    }
    let dashes = if name.len() == 1 { "-" } else { "--" };
    match value {
        Some(value) if switches.contains(name) => match value {
            "true" | "1" | "t" | "TRUE" | "True" => Some(format!("{dashes}{name}")),
            "false" | "0" | "f" | "FALSE" | "False" => None,
            // clap says what is wrong with it.
            _ => Some(format!("{dashes}{flag}")),
        },
        _ => Some(format!("{dashes}{flag}")),
    }
}

fn collect_switches(command: &Command, found: &mut BTreeSet<String>) {
    for arg in command.get_arguments().filter(|a| matches!(a.get_action(), ArgAction::SetTrue)) {
        found.extend(arg.get_long_and_visible_aliases().into_iter().flatten().map(str::to_owned));
        found.extend(arg.get_short().map(String::from));
    }
    command.get_subcommands().for_each(|sub| collect_switches(sub, found));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn norm(args: &[&str]) -> Vec<String> {
        normalise(args.iter().map(|a| (*a).to_owned()), &crate::cli::Cli::command())
    }

    #[test]
    fn go_flags_become_ours() {
        assert_eq!(
            norm(&["read", "-format=json", "-field", "x", "--format", "yaml", "-h", "-ns=a"]),
            ["read", "--format=json", "--field", "x", "--format", "yaml", "-h", "--ns=a"]
        );
    }

    #[test]
    fn switches_take_truth_values() {
        assert_eq!(
            norm(&["write", "-force=true", "-f=false", "-detailed=false", "--force"]),
            ["write", "--force", "--force"]
        );
    }

    #[test]
    fn data_and_the_programs_own_arguments_stay() {
        assert_eq!(
            norm(&["write", "x", "-", "a=-b", "--", "-foo=true", "-force=false"]),
            ["write", "x", "-", "a=-b", "--", "-foo=true", "-force=false"]
        );
        assert_eq!(norm(&["-limit=-1", "-5"]), ["--limit=-1", "-5"]);
    }

    #[test]
    fn the_command_tree_is_sound() {
        crate::cli::Cli::command().debug_assert();
    }
}
