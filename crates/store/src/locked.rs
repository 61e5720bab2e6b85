//! Memory for the few keys that open everything else: root key, barrier keys, the key of a seal.
//!
//! Each key has a page of its own between two pages that fault on touch. Where the kernel allows it the page comes from
//! `memfd_secret` (not even the kernel maps it, so no dump, swap or `/proc/pid/mem` of another process shows it); else
//! it is an anonymous page that is locked (no swap), left out of core dumps, and empty in a forked child.
//!
//! What this does not cover, honestly: the AES key schedules that aws-lc makes from these keys lie on its own heap
//! while the barrier is open (aws-lc wipes them when it frees them); plaintext values lie in ordinary buffers.
#![allow(unsafe_code, reason = "mapping, locking and wiping pages is what this module is for; no other module may")]

use std::ptr::NonNull;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

/// Length of every key here, in bytes (AES-256).
pub const KEY_BYTES: usize = 32;

/// A 256-bit key in locked memory: wiped on drop, not `Clone`, not printable.
pub struct LockedKey {
    page: NonNull<u8>,
    page_bytes: usize,
}

/// Why there is no locked key.
#[derive(Debug, thiserror::Error)]
pub enum LockedError {
    /// The kernel gave no lockable page; the limit of locked memory (`ulimit -l`, `LimitMEMLOCK=`) is the usual reason.
    #[error("no memory could be locked for a key; raise the limit of locked memory (ulimit -l)")]
    NoMemory(#[source] std::io::Error),
    /// The random number generator failed.
    #[error("the random number generator failed")]
    Random,
    /// A key must have [`KEY_BYTES`] bytes.
    #[error("a key of {0} bytes; it must have {KEY_BYTES}")]
    Length(usize),
    /// The kernel refused to harden the process.
    #[error("the process could not be protected against dumps")]
    Harden(#[source] std::io::Error),
}

/// Keeps this process out of core dumps and away from debuggers of the same user. Call it first in `main`.
///
/// # Errors
/// [`LockedError::Harden`]: go on without it only knowingly.
pub fn harden_process() -> Result<(), LockedError> {
    // SAFETY: both calls take plain values and a pointer to a struct that lives across the call.
    let failed = unsafe {
        let none = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) != 0 || libc::setrlimit(libc::RLIMIT_CORE, &raw const none) != 0
    };
    if failed { Err(LockedError::Harden(std::io::Error::last_os_error())) } else { Ok(()) }
}

// SAFETY: the page belongs to the value alone and has no thread affinity; `&LockedKey` gives shared reads only.
unsafe impl Send for LockedKey {}
// SAFETY: as above; nothing mutates through `&self`.
unsafe impl Sync for LockedKey {}

// === impl LockedKey ===

impl LockedKey {
    /// A new random key, drawn straight into its page.
    ///
    /// # Errors
    /// No lockable memory, or no randomness.
    pub fn random() -> Result<Self, LockedError> {
        let mut key = Self::empty()?;
        SystemRandom::new().fill(key.bytes_mut()).map_err(|_| LockedError::Random)?;
        Ok(key)
    }

    /// A key from bytes. The caller wipes its own copy.
    ///
    /// # Errors
    /// Not [`KEY_BYTES`] bytes, or no lockable memory.
    pub fn copy_of(bytes: &[u8]) -> Result<Self, LockedError> {
        if bytes.len() != KEY_BYTES {
            return Err(LockedError::Length(bytes.len()));
        }
        let mut key = Self::empty()?;
        key.bytes_mut().copy_from_slice(bytes);
        Ok(key)
    }

    /// Another page with the same key.
    ///
    /// # Errors
    /// No lockable memory.
    pub fn duplicate(&self) -> Result<Self, LockedError> {
        Self::copy_of(self.expose())
    }

    /// The key itself. Leave no copy behind.
    #[must_use]
    pub fn expose(&self) -> &[u8; KEY_BYTES] {
        // SAFETY: the page is mapped readable for the life of `self`, is larger than the array, and was initialised
        // (by zero pages, then by the constructors).
        unsafe { self.page.cast::<[u8; KEY_BYTES]>().as_ref() }
    }

    fn bytes_mut(&mut self) -> &mut [u8; KEY_BYTES] {
        // SAFETY: as in `expose`; `&mut self` makes it the only reference.
        unsafe { self.page.cast::<[u8; KEY_BYTES]>().as_mut() }
    }

    fn empty() -> Result<Self, LockedError> {
        let page_bytes = page_bytes();
        let page = map_guarded(page_bytes).map_err(LockedError::NoMemory)?;
        Ok(Self { page, page_bytes })
    }
}

impl Drop for LockedKey {
    fn drop(&mut self) {
        self.bytes_mut().zeroize();
        // SAFETY: this is the mapping that `map_guarded` made: three pages that begin one page before ours.
        unsafe { libc::munmap(self.page.as_ptr().sub(self.page_bytes).cast(), self.page_bytes * 3) };
    }
}

impl std::fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("LockedKey([secret])")
    }
}

fn page_bytes() -> usize {
    // SAFETY: takes and returns plain values.
    usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(4096)
}

/// Three pages, of which the middle one is usable and protected.
fn map_guarded(page: usize) -> std::io::Result<NonNull<u8>> {
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice; on every failure below it is unmapped whole.
    unsafe {
        let base =
            libc::mmap(std::ptr::null_mut(), page * 3, libc::PROT_NONE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0);
        if base == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let middle = base.cast::<u8>().add(page);
        if secret_page(middle, page) || locked_page(middle, page) {
            return NonNull::new(middle).ok_or_else(std::io::Error::last_os_error);
        }
        let error = std::io::Error::last_os_error();
        libc::munmap(base, page * 3);
        Err(error)
    }
}

/// Puts a `memfd_secret` page at `at`; false where the kernel has none, or the limit of locked memory is reached.
///
/// # Safety
/// `at` is the middle page of a mapping of ours.
unsafe fn secret_page(at: *mut u8, page: usize) -> bool {
    // SAFETY: the descriptor is closed on every path, and MAP_FIXED replaces a page that is ours.
    unsafe {
        let Ok(fd) = i32::try_from(libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC)) else { return false };
        if fd < 0 {
            return false;
        }
        let length = libc::off_t::try_from(page).unwrap_or(4096);
        let mapped = libc::ftruncate(fd, length) == 0 && {
            let flags = libc::MAP_SHARED | libc::MAP_FIXED;
            libc::mmap(at.cast(), page, libc::PROT_READ | libc::PROT_WRITE, flags, fd, 0) != libc::MAP_FAILED
        };
        libc::close(fd);
        // Shared mappings cannot be wiped on fork; a child does not get this one at all.
        mapped && libc::madvise(at.cast(), page, libc::MADV_DONTFORK) == 0
    }
}

/// Makes the page at `at` usable, locked, undumpable and empty in children.
///
/// # Safety
/// As for [`secret_page`].
unsafe fn locked_page(at: *mut u8, page: usize) -> bool {
    // SAFETY: replaces a page that is ours (`secret_page` may have left its own there), then advises on it.
    unsafe {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        libc::mmap(at.cast(), page, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) != libc::MAP_FAILED
            && libc::mlock(at.cast(), page) == 0
            && libc::madvise(at.cast(), page, libc::MADV_DONTDUMP) == 0
            && libc::madvise(at.cast(), page, libc::MADV_WIPEONFORK) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The flags of the mapping that holds `at`, from the kernel (`man 5 proc`, smaps: dd = not dumped, lo = locked,
    /// dc = not copied on fork, wf = wiped on fork).
    fn flags_at(at: usize) -> String {
        let smaps = std::fs::read_to_string("/proc/self/smaps").unwrap();
        let mut inside = false;
        for line in smaps.lines() {
            if let Some((from, to)) = line.split_whitespace().next().and_then(|range| range.split_once('-'))
                && let (Ok(from), Ok(to)) = (usize::from_str_radix(from, 16), usize::from_str_radix(to, 16))
            {
                inside = (from..to).contains(&at);
            }
            if let (true, Some(flags)) = (inside, line.strip_prefix("VmFlags:")) {
                return flags.trim().to_owned();
            }
        }
        panic!("no mapping at {at:x}");
    }

    #[test]
    fn a_key_is_locked_undumpable_and_gone_in_children() {
        let key = LockedKey::random().unwrap();
        let flags = flags_at(key.expose().as_ptr() as usize);
        let has = |flag: &str| flags.split(' ').any(|f| f == flag);
        assert!(has("lo") && has("dd") && (has("dc") || has("wf")), "{flags}");
        let before = flags_at(key.expose().as_ptr() as usize - 1);
        assert!(!before.split(' ').any(|f| f == "rd" || f == "wr"), "no guard page: {before}");
    }

    #[test]
    fn the_fallback_page_is_protected_too() {
        let page = page_bytes();
        // SAFETY: a mapping of our own, used as `map_guarded` does.
        let flags = unsafe {
            let base = libc::mmap(
                std::ptr::null_mut(),
                page * 3,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            );
            let middle = base.cast::<u8>().add(page);
            assert!(locked_page(middle, page));
            let flags = flags_at(middle as usize);
            libc::munmap(base, page * 3);
            flags
        };
        for flag in ["lo", "dd", "wf"] {
            assert!(flags.split(' ').any(|f| f == flag), "{flag} in {flags}");
        }
    }

    #[test]
    fn keys_differ_and_do_not_print() {
        let (one, two) = (LockedKey::random().unwrap(), LockedKey::random().unwrap());
        assert_ne!(one.expose(), two.expose());
        assert_eq!(one.duplicate().unwrap().expose(), one.expose());
        assert_eq!(format!("{one:?}"), "LockedKey([secret])");
        assert!(matches!(LockedKey::copy_of(&[1; 31]), Err(LockedError::Length(31))));
    }

    /// Runs itself as a child: what it tests cannot be undone in a process.
    #[test]
    fn a_hardened_process_leaves_no_core() {
        const CHILD: &str = "DEWDROP_STORE_HARDEN_CHILD";
        if std::env::var_os(CHILD).is_some() {
            harden_process().unwrap();
            // SAFETY: plain values, and a struct that lives across the call.
            let (dumpable, limit) = unsafe {
                let mut limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
                libc::getrlimit(libc::RLIMIT_CORE, &raw mut limit);
                (libc::prctl(libc::PR_GET_DUMPABLE), limit.rlim_max)
            };
            println!("dumpable {dumpable} core {limit}");
            return;
        }
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "locked::tests::a_hardened_process_leaves_no_core", "--nocapture"]).env(CHILD, "1");
        let said = String::from_utf8(child.output().unwrap().stdout).unwrap();
        assert!(said.contains("dumpable 0 core 0"), "{said}");
    }
}
