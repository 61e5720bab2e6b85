//! `cargo xtask crash`
use anyhow::{Result, bail};
/// Runs the command.
pub fn run(_: &[String]) -> Result<()> {
    bail!("being written")
}
