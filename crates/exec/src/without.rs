//! A build for the volumes of node agents alone, which is small: it knows no HTTPS.

use crate::args::Args;
use crate::fail::Fail;

/// Cannot be.
pub fn run(args: &Args) -> Result<u8, Fail> {
    Err(second_stage(args))
}

/// Cannot be either.
pub fn second_stage(_: &Args) -> Fail {
    Fail::Credential("the command was not started: this build of dewdrop-exec is for node agents; agentless mode needs the whole one".into())
}
