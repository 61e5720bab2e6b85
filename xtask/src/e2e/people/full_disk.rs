//! The disk of the audit log fills while people work: nothing is done that is not on the record, and room on the disk is
//! enough to go on.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::edges::{Running, TALK, UNRECORDED};
use super::life::wide;
use super::town::Town;
use crate::e2e::stage::{PATIENCE, Stage};
use crate::parts::output_of;
use crate::say::{self, Stopwatch};

/// What every refusal says.
const WORDS: &str = "the audit log cannot be written";
/// Beside the log that is there already: the server's reserve of 64 MiB, and a little for the scene.
const SIZE: u64 = (64 + 16) << 20;

/// Requests and a session while the disk fills; what was answered is on the record, what was refused did not happen.
pub fn fails_closed(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.start_pod()?;
    town.role("shop", json!({ "rules": wide() }))?;
    let id = town.only("shop", &["-ttl=10m"])?;
    let packed = town.pack();
    stage.vault.stop();
    let disk = SmallDisk::mount(&stage.vault.dir().join("data"))?;
    stage.vault.start()?;
    let town = packed.unpack(stage);
    let played = play(&town, &disk, &id);
    drop(town);
    let verified = stage.verify_audit();
    disk.put_back()?;
    stage.vault.start()?;
    played?;
    say::line(&format!("the chain: {}", verified?.lines().last().unwrap_or_default()));
    Ok(())
}

fn play(town: &Town<'_>, disk: &SmallDisk, id: &str) -> Result<()> {
    let mut answered = 0;
    let mut asks = |expected: &str| -> Result<bool> {
        let out = town.kubectl("ann", &["get", "pods"])?;
        let told = String::from_utf8_lossy(&out.stderr).into_owned();
        answered += usize::from(out.status.success());
        ensure!(out.status.success() || expected.is_empty() || told.contains(expected), "refused, but: {told}");
        Ok(out.status.success())
    };
    town.stage.wait("the proxy to hear the server again", PATIENCE, || asks(""))?;
    let talk = Running::start(town, TALK)?;
    disk.fill()?;
    // The first ones may be answered: their lines wait, and are written when there is room.
    town.stage.wait("the door to close", PATIENCE, || asks(WORDS).map(|is_open| !is_open))?;
    let took = talk.ends(town, UNRECORDED)?;
    say::line(&format!("a recorded session ended {} after the door closed", say::time(took)));
    for args in [&["create", "configmap", "unwritten"][..], &["exec", "web", "--", "/bin/busybox", "true"]] {
        let told = town.refused("ann", args)?;
        ensure!(told.contains(WORDS), "kubectl {}: {told}", args.join(" "));
    }
    ensure!(town.stage.kubectl(&["get", "configmap", "unwritten", "-n", "shop"]).is_err(), "it was made all the same");
    disk.free()?;
    let clock = Stopwatch::start();
    town.stage.wait("the door to open", PATIENCE, || asks(""))?;
    say::line(&format!("open {} after there was room", say::time(clock.elapsed())));
    let list = |line: &&Value| line["target"] == "pods" && line["verb"] == "list" && line["code"] == 200;
    let lines = || Ok(town.lines(id)?.iter().filter(list).count() >= answered);
    town.stage.wait("each answer on the record", PATIENCE, lines)?;
    let lines = town.lines(id)?;
    let listed = lines.iter().filter(list).count();
    ensure!(listed == answered, "{answered} answers, and {listed} on the record");
    let is_refused = |line: &Value| line["refused"].as_str().is_some_and(|why| why.contains(WORDS));
    ensure!(lines.iter().any(is_refused), "no refusal is on the record");
    Ok(())
}

/// A small disk of its own for the audit log, while the server does not run.
struct SmallDisk {
    audit: PathBuf,
    before: PathBuf,
}

impl SmallDisk {
    fn mount(data: &Path) -> Result<Self> {
        let disk = Self { audit: data.join("audit"), before: data.join("audit.before") };
        fs::rename(&disk.audit, &disk.before)?;
        fs::create_dir(&disk.audit)?;
        let mut used = SIZE;
        for file in fs::read_dir(&disk.before)? {
            let file = file?;
            // The reserve is made anew.
            if file.file_name() != "audit.reserve" {
                used += file.metadata()?.len();
            }
        }
        let size = format!("size={used},mode=0700");
        output_of(Command::new("mount").args(["-t", "tmpfs", "-o", &size, "dewdrop-audit"]).arg(&disk.audit))?;
        copy(&disk.before, &disk.audit)?;
        Ok(disk)
    }

    fn filler(&self) -> PathBuf {
        self.audit.join("filler")
    }

    /// To the last byte.
    fn fill(&self) -> Result<()> {
        let mut file = File::create(self.filler())?;
        for block in [1 << 20, 4096, 1] {
            let zeros = vec![0; block];
            while file.write_all(&zeros).is_ok() {}
        }
        ensure!(file.write(&[0]).is_err(), "the small disk has room still");
        Ok(())
    }

    fn free(&self) -> Result<()> {
        fs::remove_file(self.filler()).context("free the disk")
    }

    /// The log goes on where it was; the server does not run.
    fn put_back(self) -> Result<()> {
        // It is there only when the scene failed.
        let _ = fs::remove_file(self.filler());
        copy(&self.audit, &self.before)
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let gone = output_of(Command::new("umount").arg(&self.audit))
            .and_then(|_| Ok(fs::remove_dir(&self.audit)?))
            .and_then(|()| Ok(fs::rename(&self.before, &self.audit)?));
        if let Err(error) = gone {
            say::failed(&format!("the small disk stays at {}: {error:#}", self.audit.display()));
        }
    }
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    let files = fs::read_dir(from)?.collect::<std::io::Result<Vec<_>>>()?;
    for file in files.iter().filter(|file| file.file_name() != "audit.reserve") {
        output_of(Command::new("cp").arg("-a").arg(file.path()).arg(to))?;
    }
    Ok(())
}
