//! The process that stays: starts the second stage, passes on every signal, stops and goes on with its child, reaps what
//! is left to it, and ends with the child's status. Beside an agent it never has a secret.

use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, getpgrp, getpid, kill_process, kill_process_group, wait};
use rustix::stdio::stdin;
use rustix::termios::{tcgetpgrp, tcsetpgrp};
use rustix_libc_wrappers::process::SignalExt;
use signal_hook::consts::{FORBIDDEN, SIGCHLD, SIGCONT, SIGPIPE};
use signal_hook::iterator::Signals;

use crate::args::Args;
use crate::fail::Fail;

/// The largest number of a signal; 32 and 33 are the C library's own.
const LAST: i32 = 64;
const OF_LIBC: [i32; 2] = [32, 33];

/// Runs the second stage to its end; answers its exit code.
pub fn run(args: &Args) -> Result<u8, Fail> {
    let mut supervisor = Supervisor::new()?;
    let mut second = Command::new("/proc/self/exe");
    second.args(args.second_stage());
    let child = supervisor.start(second)?;
    Ok(supervisor.until_end(child))
}

/// Hears the signals. Made before the child is there: none must come too early to be passed on.
pub struct Supervisor {
    signals: Signals,
}

// === impl Supervisor ===

impl Supervisor {
    /// Hears from now on.
    pub fn new() -> Result<Self, Fail> {
        let signals = Signals::new(catchable(&ignored())).map_err(|e| broken("signals cannot be heard", &e))?;
        Ok(Self { signals })
    }

    /// Whether a signal has come that ends a program, while there is no child yet; the exit code that says so.
    #[cfg(feature = "agentless")]
    pub fn asked_to_end(&mut self) -> Option<u8> {
        let ends = |signal: &i32| signal_hook::consts::TERM_SIGNALS.contains(signal) || *signal == Signal::HUP.as_raw();
        self.signals.pending().find(ends).and_then(|signal| u8::try_from(128 + signal).ok())
    }

    /// Starts the child.
    pub fn start(&mut self, mut command: Command) -> Result<Pid, Fail> {
        // A group of its own: what a terminal sends to the child does not come here as well, to be sent twice.
        command.process_group(0);
        let child = command.spawn().map_err(|e| broken("the second stage cannot be started", &e))?;
        let child = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let child = child.ok_or_else(|| broken("the second stage", &"no pid"))?;
        hand_terminal_to(child);
        Ok(child)
    }

    /// Passes signals on until the child has ended; answers its exit code.
    pub fn until_end(&mut self, child: Pid) -> u8 {
        loop {
            for signal in self.signals.wait() {
                match signal {
                    SIGCHLD => {}
                    SIGCONT => {
                        hand_terminal_to(child);
                        pass_on(child, signal);
                    }
                    _ => pass_on(child, signal),
                }
            }
            if let Some(code) = reap(child) {
                return code;
            }
        }
    }
}

fn broken(act: &str, why: &dyn std::fmt::Display) -> Fail {
    Fail::Credential(format!("{act}: {why}"))
}

/// All that can be caught and that nobody has told us to ignore (as nohup(1) does): the child inherits that.
fn catchable(ignored: &[i32]) -> Vec<i32> {
    let is_ours = |signal: &i32| !FORBIDDEN.contains(signal) && !OF_LIBC.contains(signal);
    (1..=LAST).filter(is_ours).filter(|signal| *signal == SIGCHLD || !ignored.contains(signal)).collect()
}

/// The signals that were ignored from the beginning. SIGPIPE is not among them: Rust's own start ignores it.
fn ignored() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=LAST).filter(|signal| *signal != SIGPIPE && mask >> (signal - 1) & 1 == 1).collect()
}

fn pass_on(child: Pid, signal: i32) {
    // An error says that it has just ended, which is seen next.
    match Signal::from_raw(signal) {
        // A terminal stops the whole group, so all of it has to go on.
        Some(Signal::CONT) => kill_process_group(child, Signal::CONT).ok(),
        Some(signal) => kill_process(child, signal).ok(),
        None => None,
    };
}

/// The child's group gets the terminal, if it was ours.
fn hand_terminal_to(child: Pid) {
    if tcgetpgrp(stdin()).is_ok_and(|group| group == getpgrp()) {
        tcsetpgrp(stdin(), child).ok();
    }
}

/// Takes up all that ended or stopped; the child's exit code when it was among them.
fn reap(child: Pid) -> Option<u8> {
    let options = WaitOptions::NOHANG | WaitOptions::UNTRACED;
    while let Ok(Some((pid, status))) = wait(options) {
        if pid != child {
            continue;
        }
        if let Some(code) = code_of(status) {
            return Some(code);
        }
        if let Some(signal) = status.stopping_signal() {
            stopped(child, signal);
        }
    }
    None
}

/// The child was stopped. Whoever started us must see that, so this process stops, too, until it is told to go on.
fn stopped(child: Pid, signal: i32) {
    let by_terminal = [Signal::TSTP, Signal::TTIN, Signal::TTOU].iter().any(|one| one.as_raw() == signal);
    let has_terminal = tcgetpgrp(stdin()).is_ok_and(|group| group == child);
    let too_early = [Signal::TTIN, Signal::TTOU].iter().any(|one| one.as_raw() == signal) && has_terminal;
    if too_early || (by_terminal && getpid() == Pid::INIT) {
        // It read before it was given the terminal. And the first process of a container has nobody to wake it.
        pass_on(child, SIGCONT);
    } else if getpid() != Pid::INIT {
        kill_process(getpid(), Signal::STOP).ok();
    }
}

/// The exit code of a child that ended, as a shell says it.
fn code_of(status: WaitStatus) -> Option<u8> {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal))?;
    Some(u8::try_from(code & 0xff).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_but_those_that_cannot_be_caught() {
        let all = catchable(&[]);
        let num = |signal: Signal| signal.as_raw();
        for signal in [Signal::HUP, Signal::INT, Signal::TERM, Signal::USR1, Signal::TSTP, Signal::CONT, Signal::WINCH]
        {
            assert!(all.contains(&num(signal)), "{signal:?}");
        }
        assert!(all.contains(&37), "SIGRTMIN+3 stops systemd");
        for signal in [num(Signal::KILL), num(Signal::STOP), num(Signal::SEGV), 32, 33, 0, 65] {
            assert!(!all.contains(&signal), "{signal}");
        }
    }

    #[test]
    fn what_nohup_ignores_stays_ignored_and_children_are_always_heard() {
        let some = catchable(&[1, SIGCHLD]);
        assert!(!some.contains(&1) && some.contains(&SIGCHLD));
        assert!(!ignored().contains(&SIGPIPE));
    }
}
