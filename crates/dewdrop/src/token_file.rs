//! The token helper: `~/.vault-token`, the file that `bao` and `vault` use as well. Mode 0600, replaced in one step.

use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

use dewdrop_api::SecretText;

use crate::failure::{Failure, Result};

const NAME: &str = ".vault-token";
/// No token is longer; a larger file is something else.
const MAX: u64 = 64 << 10;

/// The file; `None` when there is no home directory.
#[must_use]
pub fn path() -> Option<PathBuf> {
    std::env::var_os("HOME").filter(|h| !h.is_empty()).map(|home| PathBuf::from(home).join(NAME))
}

/// The token kept there, if any.
pub fn load() -> Result<Option<SecretText>> {
    let Some(path) = path() else { return Ok(None) };
    let mut file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(Failure::usage(format!("read the token file {}: {e}", path.display()))),
    };
    let unreadable = |e: std::io::Error| Failure::usage(format!("read the token file {}: {e}", path.display()));
    let meta = file.metadata().map_err(unreadable)?;
    let me = rustix::process::geteuid().as_raw();
    if meta.uid() != me && meta.uid() != 0 {
        return Err(Failure::usage(format!(
            "the token file {} belongs to somebody else (user {})",
            path.display(),
            meta.uid()
        ))
        .hint("remove it, or set DEWDROP_TOKEN"));
    }
    if meta.permissions().mode() & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "the token file {} can be read by others (mode {:04o})",
            path.display(),
            meta.permissions().mode() & 0o7777
        ))
        .hint(format!("run `chmod 600 {0}`; if others may have seen the token, revoke it", path.display())));
    }
    if meta.len() > MAX {
        return Err(Failure::usage(format!("the token file {} is too large to hold a token", path.display())));
    }
    let mut text = zeroize::Zeroizing::new(String::with_capacity(usize::try_from(meta.len()).unwrap_or(0) + 1));
    file.read_to_string(&mut text).map_err(unreadable)?;
    let token = SecretText::new(text.trim().to_owned());
    Ok(Some(token).filter(|t| !t.is_empty()))
}

/// Keeps a token there, in place of any other.
pub fn store(token: &SecretText) -> Result<()> {
    let path = path().ok_or_else(|| {
        Failure::usage("there is no home directory to keep the token in").hint("set HOME, or use -no-store")
    })?;
    let failed = |e: std::io::Error| {
        Failure::usage(format!("write the token file {}: {e}", path.display())).hint("use -no-store to go without it")
    };
    let temporary = path.with_extension(format!("new-{}", std::process::id()));
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut file| {
        file.write_all(token.expose().as_bytes())?;
        file.sync_all()
    });
    if let Err(e) = written.and_then(|()| fs::rename(&temporary, &path)) {
        // The error is told; a left-over that cannot be removed either changes nothing.
        let _ = fs::remove_file(&temporary);
        return Err(failed(e));
    }
    Ok(())
}
