//! `dewdrop audit verify` and `dewdrop audit trace` (the audit helper writes this file).

/// Runs `verb` (`verify` or `trace`) over files, and returns the exit code.
///
/// # Errors
/// Always: the offline audit tools are not linked into this build yet.
pub fn run(_verb: &str, _args: &[String]) -> anyhow::Result<u8> {
    anyhow::bail!("the offline audit tools are not a part of this build")
}
