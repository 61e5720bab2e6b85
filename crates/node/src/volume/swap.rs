//! Files that change all at once: a folder `..N` holds them, the link `..data` points at it and is renamed over, and every
//! name at the top is a link through `..data`. A kill at any moment leaves the old set or the new one; what is left over is
//! wiped at the next write.

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, fchown, symlink};
use std::path::Path;

use super::render;

/// The link that is renamed.
const DATA: &str = "..data";
/// Its successor, before the rename.
const NEXT: &str = "..data_next";

/// Whose the files are.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// Permissions of the files. Folders may be entered by whoever may read.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// Replaces all files of a volume.
pub fn replace(target: &Path, files: &[render::File], owner: Owner) -> io::Result<()> {
    let name = format!("..{}", uuid::Uuid::new_v4().simple());
    let folder = target.join(&name);
    fill(&folder, files, owner)?;
    link(&name, &target.join(NEXT))?;
    fs::rename(target.join(NEXT), target.join(DATA))?;
    let tops: BTreeSet<&str> = files.iter().filter_map(|(path, _)| path.split('/').next()).collect();
    for top in &tops {
        link(&format!("{DATA}/{top}"), &target.join(top))?;
    }
    sweep(target, &name, &tops)
}

/// Wipes and removes all files of a volume.
pub fn wipe(target: &Path) -> io::Result<()> {
    for entry in fs::read_dir(target)? {
        remove(&entry?.path(), true)?;
    }
    Ok(())
}

fn fill(folder: &Path, files: &[render::File], owner: Owner) -> io::Result<()> {
    let folders_mode = 0o700 | (owner.mode & 0o044) | ((owner.mode & 0o044) >> 2);
    make_folder(folder, folders_mode, owner)?;
    for (path, content) in files {
        if let Some((top, _)) = path.split_once('/') {
            let inner = folder.join(top);
            if !inner.exists() {
                make_folder(&inner, folders_mode, owner)?;
            }
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(folder.join(path))?;
        fchown(&file, Some(owner.uid), Some(owner.gid))?;
        file.write_all(content)?;
        file.set_permissions(Permissions::from_mode(owner.mode))?;
    }
    Ok(())
}

fn make_folder(folder: &Path, mode: u32, owner: Owner) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)?;
    let opened = File::open(folder)?;
    fchown(&opened, Some(owner.uid), Some(owner.gid))?;
    opened.set_permissions(Permissions::from_mode(mode))
}

fn link(to: &str, at: &Path) -> io::Result<()> {
    match fs::read_link(at) {
        Ok(old) if old == Path::new(to) => return Ok(()),
        Ok(_) => fs::remove_file(at)?,
        Err(e) if e.kind() == ErrorKind::NotFound => {}
        Err(e) => return Err(e),
    }
    symlink(to, at)
}

/// Removes what belongs to former sets. It is not overwritten: who has a file open reads the old one to its end.
fn sweep(target: &Path, name: &str, tops: &BTreeSet<&str>) -> io::Result<()> {
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let found = entry.file_name();
        let kept = [DATA, super::OURS, name];
        let is_ours = found.to_str().is_some_and(|found| kept.contains(&found) || tops.contains(found));
        if !is_ours {
            remove(&entry.path(), false)?;
        }
    }
    Ok(())
}

/// Removes a file, a link (which is not followed) or a folder; overwrites files with zeros first, if that is asked for.
fn remove(path: &Path, wiping: bool) -> io::Result<()> {
    let about = fs::symlink_metadata(path)?;
    if about.is_dir() {
        for entry in fs::read_dir(path)? {
            remove(&entry?.path(), wiping)?;
        }
        return fs::remove_dir(path);
    }
    if wiping && about.is_file() {
        let mut file = OpenOptions::new().write(true).open(path)?;
        let length = usize::try_from(about.len()).unwrap_or(0);
        file.write_all(&vec![0; length])?;
    }
    fs::remove_file(path)
}
