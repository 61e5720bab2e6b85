//! The command tree.

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::args;
use crate::cmd::{
    access, audit, completion, kube, kv, lease, logical, login, mfa, misc, mounts, namespace, node, operator, policy,
    run, status, token,
};
use crate::ctx::Ctx;
use crate::failure::Result;
use crate::output::say;
use crate::settings::GlobalArgs;

/// Just-in-time secrets: kept, made and taken back.
#[derive(Debug, Parser)]
#[command(
    name = "dewdrop",
    disable_help_subcommand = true,
    disable_version_flag = true,
    infer_long_args = false,
    max_term_width = 100
)]
pub struct Cli {
    /// Flags of all commands.
    #[command(flatten)]
    pub global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands. `help.rs` says in which groups they are shown.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Read a path: a secret, a fresh credential, a setting
    Read(logical::Read),
    /// Write to a path
    Write(logical::Write),
    /// Change some fields of a path
    Patch(logical::Write),
    /// Delete a path
    Delete(logical::Delete),
    /// List the keys below a path
    List(logical::List),
    /// List all keys below a path and its folders
    Scan(logical::List),
    /// Work with keys and values
    #[command(subcommand)]
    Kv(kv::Kv),
    /// Run a program with credentials that live as long as it does
    Run(Box<run::Run>),
    /// Sign in
    Login(login::Login),
    /// Work with your second factor: enrol, recovery codes, show it anew
    #[command(subcommand)]
    Mfa(mfa::Mfa),
    /// Show whether the server is sealed: exit code 0 unsealed, 1 error, 2 sealed
    Status,
    /// Fetch what a wrapping token holds
    Unwrap(logical::Unwrap),
    /// Work with tokens
    #[command(subcommand)]
    Token(token::Token),
    /// Work with leases
    #[command(subcommand)]
    Lease(lease::Lease),
    /// Ask for access to clusters, approve it, end it
    #[command(subcommand)]
    Access(access::Access),
    /// Work with policies: write, explain, test
    #[command(subcommand)]
    Policy(policy::Policy),
    /// Mount and tune secrets engines
    #[command(subcommand)]
    Secrets(mounts::Secrets),
    /// Mount and tune auth methods
    #[command(subcommand)]
    Auth(mounts::Auth),
    /// Work with namespaces
    #[command(subcommand)]
    Namespace(namespace::Namespace),
    /// List audit devices; verify and trace audit logs
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Initialise, unseal, rekey, back up
    #[command(subcommand)]
    Operator(operator::Operator),
    /// Run a server (`dewdrop server -dev` for trying out)
    #[command(disable_help_flag = true)]
    Server(ServerArgs),
    /// Run the agent of a Kubernetes node
    Node(Box<node::Node>),
    /// Work with a Kubernetes cluster
    #[command(subcommand)]
    Kube(kube::Kube),
    /// Print the API's own help for a path
    PathHelp(misc::PathHelp),
    /// Print what is in force
    #[command(subcommand)]
    Print(misc::Print),
    /// Print a completion script for a shell
    Completion(completion::Completion),
    /// Print the version of this program
    Version,
    /// Print which versions the server has run
    VersionHistory,
    /// There are none: says so
    #[command(hide = true, disable_help_flag = true)]
    Plugin(misc::Plugin),
}

/// Those that run for months in the memory of a node or a cluster: flags of all other commands are not even made for them.
#[derive(Debug, Parser)]
#[command(name = "dewdrop", disable_help_subcommand = true, disable_version_flag = true, max_term_width = 100)]
struct LastingCli {
    #[command(flatten)]
    global: GlobalArgs,
    #[command(subcommand)]
    command: Lasting,
}

#[derive(Debug, Subcommand)]
enum Lasting {
    /// Run the agent of a Kubernetes node
    Node(Box<node::Node>),
    /// Work with a Kubernetes cluster
    #[command(subcommand)]
    Kube(Box<kube::Kube>),
}

/// Arguments that `server_cmd` reads itself. `main` hands them over before clap sees them; this is for help and completion.
#[derive(Debug, clap::Args)]
pub struct ServerArgs {
    /// See `dewdrop server -help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<String>,
}

// === impl Cli ===

impl Cli {
    /// Reads a command line, without the program's own name.
    pub fn read(arguments: Vec<String>) -> std::result::Result<Self, clap::Error> {
        match arguments.first().map(String::as_str) {
            Some("node" | "kube") => parsed::<LastingCli>(arguments).map(Self::from),
            _ => parsed(arguments),
        }
    }
}

fn parsed<T: CommandFactory + FromArgMatches>(arguments: Vec<String>) -> std::result::Result<T, clap::Error> {
    let tree = T::command();
    let normal = args::normalise(arguments, &tree);
    let matches = tree.try_get_matches_from(std::iter::once("dewdrop".to_owned()).chain(normal))?;
    T::from_arg_matches(&matches)
}

impl From<LastingCli> for Cli {
    fn from(LastingCli { global, command }: LastingCli) -> Self {
        let command = match command {
            Lasting::Node(node) => Command::Node(node),
            Lasting::Kube(kube) => Command::Kube(*kube),
        };
        Self { global, command }
    }
}

// === impl Command ===

impl Command {
    /// What it works in. Few threads do: the access proxy serves people in lanes of its own, and what it has to tell the server
    /// wakes nobody else in one. A node's agent has few threads for what blocks, too (files, mounts): each has memory of its own,
    /// and a hundred pods may end at once.
    pub fn runtime(&self) -> std::io::Result<Runtime> {
        const WORKERS: usize = 2;
        const AGENT_BLOCKING: usize = 4;
        let is_proxy = matches!(self, Self::Kube(kube::Kube::Proxy(_)));
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(if is_proxy { 1 } else { WORKERS }).enable_all();
        if matches!(self, Self::Node(_)) {
            builder.max_blocking_threads(AGENT_BLOCKING);
        }
        builder.build()
    }

    /// Runs the command, and returns the exit code.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Read(cmd) => cmd.run(ctx).await,
            Self::Write(cmd) => cmd.run(ctx, false).await,
            Self::Patch(cmd) => cmd.run(ctx, true).await,
            Self::Delete(cmd) => cmd.run(ctx).await,
            Self::List(cmd) => cmd.run(ctx, "list").await,
            Self::Scan(cmd) => cmd.run(ctx, "scan").await,
            Self::Kv(cmd) => cmd.run(ctx).await,
            Self::Run(cmd) => cmd.run(ctx).await,
            Self::Login(cmd) => cmd.run(ctx).await,
            Self::Mfa(cmd) => cmd.run(ctx).await,
            Self::Status => status::run(ctx).await,
            Self::Unwrap(cmd) => cmd.run(ctx).await,
            Self::Token(cmd) => cmd.run(ctx).await,
            Self::Lease(cmd) => cmd.run(ctx).await,
            Self::Access(cmd) => cmd.run(ctx).await,
            Self::Policy(cmd) => cmd.run(ctx).await,
            Self::Secrets(cmd) => cmd.run(ctx).await,
            Self::Auth(cmd) => cmd.run(ctx).await,
            Self::Namespace(cmd) => cmd.run(ctx).await,
            Self::Audit(cmd) => cmd.run(ctx).await,
            Self::Operator(cmd) => cmd.run(ctx).await,
            Self::Server(cmd) => crate::serve(&cmd.args),
            Self::Node(cmd) => cmd.run(ctx).await,
            Self::Kube(cmd) => cmd.run(ctx).await,
            Self::PathHelp(cmd) => cmd.run(ctx).await,
            Self::Print(cmd) => cmd.run(ctx),
            Self::Completion(cmd) => cmd.run(),
            Self::Version => {
                say(&format!("{}\n", misc::version()));
                Ok(0)
            }
            Self::VersionHistory => misc::version_history(ctx).await,
            Self::Plugin(cmd) => cmd.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The help of a command and of all below it, with the names that lead there.
    fn helps(command: &mut clap::Command, path: &str, into: &mut Vec<(String, String)>) {
        let path = format!("{path} {}", command.get_name());
        into.push((path.clone(), command.render_long_help().to_string()));
        command.get_subcommands_mut().for_each(|below| helps(below, &path, into));
    }

    fn helps_of<T: CommandFactory>(name: &str) -> Vec<(String, String)> {
        let (mut tree, mut all) = (T::command(), Vec::new());
        tree.build();
        helps(tree.find_subcommand_mut(name).unwrap(), "", &mut all);
        all
    }

    #[test]
    fn commands_that_last_have_the_help_that_they_have_among_all_others() {
        for name in ["node", "kube"] {
            let (lasting, whole) = (helps_of::<LastingCli>(name), helps_of::<Cli>(name));
            assert!(lasting.len() > 1 || name == "node");
            assert_eq!(lasting, whole);
        }
    }
}
