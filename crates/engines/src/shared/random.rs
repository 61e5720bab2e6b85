//! Random bytes.

use aws_lc_rs::rand::fill;

/// Fills a buffer with random bytes.
pub fn random(buffer: &mut [u8]) {
    // AWS-LC seeds itself from the system at the start of the process and cannot fail afterwards.
    if fill(buffer).is_err() {
        std::process::abort();
    }
}
