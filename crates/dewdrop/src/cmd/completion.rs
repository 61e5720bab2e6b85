//! completion: scripts for bash, zsh, fish.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Result;

/// `dewdrop completion`.
#[derive(Debug, Args)]
#[command(
    after_help = "For bash:  source <(dewdrop completion bash)\nFor zsh:   dewdrop completion zsh > \"${fpath[1]}/_dewdrop\"\nFor fish:  dewdrop completion fish | source"
)]
pub struct Completion {
    /// bash, zsh or fish
    #[arg(value_parser = ["bash", "zsh", "fish"])]
    shell: String,
}

impl Completion {
    /// Prints the script.
    pub fn run(&self) -> Result<u8> {
        let shell = match self.shell.as_str() {
            "zsh" => Shell::Zsh,
            "fish" => Shell::Fish,
            _ => Shell::Bash,
        };
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Cli::command(), "dewdrop", &mut script);
        crate::output::say(&String::from_utf8_lossy(&script));
        Ok(0)
    }
}
