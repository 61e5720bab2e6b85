//! The first page: all commands in groups.

use clap::CommandFactory;

use crate::cli::Cli;

const GROUPS: &[(&str, &[&str])] = &[
    ("Secrets", &["read", "write", "patch", "delete", "list", "scan", "kv", "unwrap"]),
    ("Programs", &["run"]),
    ("Who you are", &["login", "mfa", "token", "print"]),
    ("Who may do what", &["access", "policy", "auth", "namespace", "lease", "audit"]),
    ("Servers", &["server", "node", "kube", "status", "operator", "secrets", "path-help", "version-history"]),
    ("This program", &["completion", "version"]),
];

/// The page.
#[must_use]
pub fn first_page() -> String {
    let tree = Cli::command();
    let mut page = String::from("Dewdrop: just-in-time secrets.\n\nUsage: dewdrop COMMAND [FLAGS] [ARGUMENTS]\n");
    for (group, names) in GROUPS {
        page.push_str(&format!("\n{group}:\n"));
        for name in *names {
            let about =
                tree.find_subcommand(name).and_then(|c| c.get_about()).map(ToString::to_string).unwrap_or_default();
            page.push_str(&format!("    {name:<17}{about}\n"));
        }
    }
    page.push_str(
        "\n`dewdrop COMMAND -help` tells more. The server's address is in DEWDROP_ADDR (or BAO_ADDR, VAULT_ADDR).\n",
    );
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_in_a_group_and_every_group_name_exists() {
        let tree = Cli::command();
        let grouped: Vec<&str> = GROUPS.iter().flat_map(|(_, names)| names.iter().copied()).collect();
        let real: Vec<&str> = tree.get_subcommands().filter(|c| !c.is_hide_set()).map(|c| c.get_name()).collect();
        assert!(real.iter().all(|name| grouped.contains(name)), "{real:?} against {grouped:?}");
        assert!(grouped.iter().all(|name| real.contains(name)));
    }
}
