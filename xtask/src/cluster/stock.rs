//! The images that every cluster has.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::image::{BUSYBOX, Entry, Image, PAUSE};
use crate::parts::output_of;
use crate::tools;

/// Debian's static shell.
const SHELL: &str = "/bin/busybox";

/// Writes their archives into a folder and says where they are.
pub fn write(folder: &Path) -> Result<Vec<PathBuf>> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let images = [("pause.tar", pause(folder)?), ("busybox.tar", busybox()?)];
    let mut written = Vec::new();
    for (name, image) in images {
        let file = folder.join(name);
        std::fs::write(&file, image.archive()?).with_context(|| format!("cannot write {}", file.display()))?;
        written.push(file);
    }
    Ok(written)
}

fn pause(folder: &Path) -> Result<Image> {
    tools::bring("cc", "gcc", "building the pause image")?;
    let (source, program) = (folder.join("pause.c"), folder.join("pause"));
    std::fs::write(&source, include_str!("pause.c"))?;
    output_of(Command::new("cc").args(["-Os", "-static", "-s", "-o"]).arg(&program).arg(&source))?;
    Ok(Image {
        name: PAUSE.to_owned(),
        entries: vec![Entry::program("pause", std::fs::read(&program)?)],
        entrypoint: vec!["/pause".to_owned()],
        user: "65535:65535".to_owned(),
        ..Image::default()
    })
}

fn busybox() -> Result<Image> {
    if !Path::new(SHELL).is_file() {
        tools::bring("busybox", "busybox-static", "the shell of the test images")?;
    }
    let names = output_of(Command::new(SHELL).arg("--list"))?;
    let mut entries = vec![
        Entry::program("bin/busybox", std::fs::read(SHELL).context("no static busybox in /bin")?),
        Entry::folder("tmp", 0o1777),
        Entry::file("etc/passwd", "root:x:0:0:root:/:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n"),
        Entry::file("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    ];
    let names = names.lines().filter(|name| !matches!(*name, "" | "busybox"));
    entries.extend(names.map(|name| Entry::link(&format!("bin/{name}"), "busybox")));
    Ok(Image {
        name: BUSYBOX.to_owned(),
        entries,
        cmd: vec!["/bin/sh".to_owned()],
        env: vec!["PATH=/bin".to_owned()],
        ..Image::default()
    })
}
