//! The program: started, given the signals that we get, and waited for.
//!
//! It is started through ourselves (`dewdrop __exec`), because only the new process can ask the kernel to be told of its
//! parent's death: when `dewdrop run` is killed with -9, the program gets a TERM. (Programs that change their user on start lose this.)

use std::collections::BTreeMap;
use std::os::unix::process::{CommandExt, ExitStatusExt};

use dewdrop_api::SecretText;
use rustix::process::{Pid, Signal};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::failure::{Failure, Result};
use crate::settings;

/// The hidden first argument that makes this program the shim.
pub const SHIM: &str = "__exec";
/// What shells say of programs that cannot be run, and that are not there.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;
/// Our own credentials are not for the program.
const HIDDEN: [&str; 5] = ["TOKEN", "SECRET_ID", "ROLE_ID", "USERNAME", "PASSWORD"];

/// The signals that are passed on.
const PASSED: [Signal; 8] =
    [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT, Signal::USR1, Signal::USR2, Signal::WINCH, Signal::CONT];

/// The signals that this process gets.
pub struct Signals {
    queue: mpsc::UnboundedReceiver<Signal>,
}

/// The running program.
pub struct Child {
    process: tokio::process::Child,
    pid: Pid,
}

/// Why a wait ended.
pub enum Ending {
    /// The program has ended, with this code.
    Ended(u8),
    /// The server has ended the session.
    Lost,
}

/// The exit code for a death by signal, as shells have it.
#[must_use]
pub fn code_of_signal(signal: Signal) -> u8 {
    u8::try_from(128 + signal.as_raw()).unwrap_or(u8::MAX)
}

// === impl Signals ===

impl Signals {
    /// From now on signals are queued, and no longer end this process.
    pub fn listen() -> Result<Self> {
        let (sender, queue) = mpsc::unbounded_channel();
        for kind in PASSED {
            let mut stream = signal(SignalKind::from_raw(kind.as_raw()))
                .map_err(|e| Failure::usage(format!("listen for signals: {e}")))?;
            let sender = sender.clone();
            tokio::spawn(async move {
                while stream.recv().await.is_some() {
                    if sender.send(kind).is_err() {
                        return;
                    }
                }
            });
        }
        Ok(Self { queue })
    }

    async fn next(&mut self) -> Signal {
        match self.queue.recv().await {
            Some(signal) => signal,
            None => std::future::pending().await,
        }
    }

    /// Waits for a signal that asks to end, while there is no program yet to pass it to.
    pub async fn fatal(&mut self) -> Signal {
        loop {
            let signal = self.next().await;
            if [Signal::TERM, Signal::INT, Signal::HUP, Signal::QUIT].contains(&signal) {
                return signal;
            }
        }
    }
}

// === impl Child ===

impl Child {
    /// Starts the program with these variables besides our own environment, less our own credentials.
    ///
    /// Must be called on the main thread: the kernel reports the death of the *thread* that made a process.
    pub fn start(program: &[String], variables: BTreeMap<String, SecretText>) -> Result<Self> {
        let mut command = tokio::process::Command::new("/proc/self/exe");
        command.arg(SHIM).arg(std::process::id().to_string()).args(program);
        for name in HIDDEN {
            for prefix in settings::PREFIXES {
                command.env_remove(format!("{prefix}_{name}"));
            }
        }
        for (name, text) in &variables {
            command.env(name, text.expose());
        }
        let process =
            command.spawn().map_err(|e| Failure::usage(format!("start the program: {e}")).coded(CANNOT_RUN))?;
        let pid = process.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let pid = pid.ok_or_else(|| Failure::usage("the program has no process id"))?;
        Ok(Self { process, pid })
    }

    /// Passes signals on until the program ends, or the session is lost.
    pub async fn next(&mut self, signals: &mut Signals, lost: &mut mpsc::Receiver<()>) -> Result<Ending> {
        loop {
            tokio::select! {
                status = self.process.wait() => {
                    let status = status.map_err(|e| Failure::usage(format!("wait for the program: {e}")))?;
                    let by_signal = status.signal().and_then(|n| u8::try_from(128 + n).ok());
                    let code = status.code().and_then(|c| u8::try_from(c).ok()).or(by_signal);
                    return Ok(Ending::Ended(code.unwrap_or(1)));
                }
                signal = signals.next() => self.pass(signal),
                Some(()) = lost.recv() => return Ok(Ending::Lost),
            }
        }
    }

    /// Asks the program to end.
    pub fn terminate(&self) {
        self.send(Signal::TERM);
    }

    fn pass(&self, signal: Signal) {
        // What the terminal sends it sends to all of the foreground group: the program has it already.
        let from_terminal = [Signal::INT, Signal::QUIT, Signal::WINCH, Signal::CONT].contains(&signal);
        if !(from_terminal && in_foreground()) {
            self.send(signal);
        }
    }

    fn send(&self, signal: Signal) {
        // It may have ended just now; the wait says so.
        let _ = rustix::process::kill_process(self.pid, signal);
    }
}

/// Whether this process is in the foreground group of a terminal (fields 5 and 8 of `/proc/self/stat`).
fn in_foreground() -> bool {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    foreground_of(&stat)
}

fn foreground_of(stat: &str) -> bool {
    // The name in brackets may hold anything, brackets included.
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let fields: Vec<&str> = rest.split_whitespace().collect();
    match (fields.get(2), fields.get(4), fields.get(5)) {
        (Some(group), Some(terminal), Some(foreground)) => *terminal != "0" && group == foreground,
        _ => false,
    }
}

/// `dewdrop __exec PARENT PROGRAM ARGS...`: ties this process to its parent, then becomes the program.
pub fn shim(arguments: &[String]) -> Result<u8> {
    let [parent, program, rest @ ..] = arguments else {
        return Err(Failure::usage(format!("{SHIM} is for `dewdrop run` alone")));
    };
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
        .map_err(|e| Failure::usage(format!("tie the program to dewdrop run: {e}")))?;
    // A parent that died before this was asked for is not reported any more.
    let present = rustix::process::getppid().map(|p| p.as_raw_nonzero().to_string());
    if present.as_deref() != Some(parent.as_str()) {
        return Err(Failure::usage("dewdrop run has ended before the program could start"));
    }
    let error = std::process::Command::new(program).args(rest).exec();
    let code = if error.kind() == std::io::ErrorKind::NotFound { NOT_FOUND } else { CANNOT_RUN };
    Err(Failure::usage(format!("dewdrop run: {program} cannot be started: {error}")).coded(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_foreground_is_read_whatever_the_name() {
        assert!(foreground_of("12 (a) b) S 1 12 12 34816 12 4194304"));
        assert!(!foreground_of("12 (x) S 1 12 12 34816 99 4194304"));
        assert!(!foreground_of("12 (x) S 1 12 12 0 -1 4194304"));
        assert!(!foreground_of(""));
    }

    #[test]
    fn deaths_by_signal_have_the_codes_of_shells() {
        assert_eq!(code_of_signal(Signal::TERM), 143);
        assert_eq!(code_of_signal(Signal::INT), 130);
    }
}
