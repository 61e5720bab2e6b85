//! Space on the disk that is set aside, so that operators' acts can still be written down when it is full.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::FallocateFlags;

use super::AuditError;
use super::folder::io;

/// The file that holds the space.
pub struct Reserve {
    file: Option<File>,
    want: u64,
    have: u64,
}

impl Reserve {
    /// Opens the file; `want` of zero: no reserve.
    ///
    /// # Errors
    /// The file cannot be made. (That there is no space is no error here: [`Reserve::fill`] tells.)
    pub fn open(folder: &Path, want: u64) -> Result<Self, AuditError> {
        let path = folder.join("audit.reserve");
        if want == 0 {
            return match std::fs::remove_file(&path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", &path)(error)),
                _ => Ok(Self { file: None, want, have: 0 }),
            };
        }
        let open = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
        let file = open.map_err(io("open", &path))?;
        let have = file.metadata().map_err(io("look at", &path))?.len();
        Ok(Self { file: Some(file), want, have })
    }

    /// Bytes that are set aside now.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.have
    }

    /// Sets all of the space aside again; `false`: there is not enough of it.
    pub fn fill(&mut self) -> bool {
        let Some(file) = &self.file else { return true };
        let filled = rustix::fs::fallocate(file, FallocateFlags::empty(), 0, self.want);
        let enough = match filled {
            Ok(()) => true,
            // A file system without this call: zeros take the space as well.
            Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(file, self.want),
            Err(_) => false,
        };
        if enough {
            let _ = file.set_len(self.want);
            self.have = self.want;
        } else {
            // What was taken in part is given back, or the next try would begin with less.
            let _ = file.set_len(self.have);
        }
        enough
    }

    /// Gives at least so many bytes back to the disk; `false`: nothing is left.
    pub fn release(&mut self, bytes: u64) -> bool {
        let Some(file) = self.file.as_ref().filter(|_| self.have > 0) else { return false };
        let left = self.have.saturating_sub(bytes.max(self.want / 64).max(4096));
        if file.set_len(left).is_err() {
            return false;
        }
        self.have = left;
        true
    }
}

fn write_zeros(file: &File, want: u64) -> bool {
    use std::os::unix::fs::FileExt as _;
    let block = [0u8; 1 << 16];
    let mut at = 0;
    while at < want {
        let part = usize::try_from(want - at).unwrap_or(block.len()).min(block.len());
        match file.write_at(&block[..part], at) {
            Ok(written) if written > 0 => at += written as u64,
            _ => return false,
        }
    }
    true
}
