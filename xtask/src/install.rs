//! `cargo xtask install-test`: the chart on a real cluster, from nothing to the first secret and back to nothing. The guide
//! "first secret" is run word by word; then what it promises is looked at more closely.

mod guide;
mod helm;
mod kustomize;
mod proof;
mod site;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::say::{self, Stopwatch};
use site::Site;

const USAGE: &str = "\
cargo xtask install-test [--dewdrop PROGRAM] [--keep] | --write
  --dewdrop PROGRAM   takes this program instead of building one
  --keep              leaves the cluster running, with what was installed
  --write             writes deploy/kustomize/dewdrop.yaml anew from the chart, and nothing else";

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let (mut program, mut keep) = (None, false);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--dewdrop" => program = Some(args.next().map(PathBuf::from).context("--dewdrop needs a value")?),
            "--keep" => keep = true,
            "--write" => return kustomize::write(),
            _ => bail!("install-test does not know `{arg}`\n{USAGE}"),
        }
    }
    let program = match program {
        Some(program) => program,
        None => crate::demo::build()?,
    };
    let clock = Stopwatch::start();
    let site = Site::open(&program, keep)?;
    say::good(&format!("a cluster runs and has the image ({})", say::time(clock.elapsed())));
    for (name, step) in proof::STEPS {
        let clock = Stopwatch::start();
        step(&site).with_context(|| format!("{name}\n{}", site.told()))?;
        say::good(&format!("{name} ({})", say::time(clock.elapsed())));
    }
    say::good(&format!("installed, used, upgraded, removed ({})", say::time(clock.elapsed())));
    Ok(())
}
