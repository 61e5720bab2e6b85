//! The regular work on the log, on a thread of its own: it waits for the disk, and no request does.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::log::Log;

const EVERY: Duration = Duration::from_secs(1);

/// Works until the log is dropped.
///
/// # Errors
/// No thread can be started.
pub fn start(log: &Arc<Log>) -> std::io::Result<()> {
    let log = Arc::downgrade(log);
    std::thread::Builder::new().name("audit-keeper".into()).spawn(move || work(&log)).map(drop)
}

fn work(log: &Weak<Log>) {
    loop {
        std::thread::sleep(EVERY);
        let Some(log) = log.upgrade() else { return };
        log.tick();
    }
}
