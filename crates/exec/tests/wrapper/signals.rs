//! Signals, stops, orphans; and where the secret is not.

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use rustix_libc_wrappers::process::SignalExt;

use super::agent::{Agent, Stage, USER};

struct Running {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    _agent: Agent,
    _stage: Stage,
}

impl Running {
    /// Runs a script that says its pid first.
    fn script(script: &str) -> (Self, u32) {
        let stage = Stage::new("env");
        let agent = stage.agent(&[USER]);
        let mut child = stage.exec(&["--", "bash", "-c", &format!("echo $$; {script}")]).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let pid = lines.next().unwrap().unwrap().parse().unwrap();
        (Self { child, lines, _agent: agent, _stage: stage }, pid)
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id().try_into().unwrap()).unwrap(), signal).unwrap();
    }

    fn line(&mut self) -> String {
        self.lines.next().unwrap().unwrap()
    }

    fn code(&mut self) -> Option<i32> {
        self.child.wait().unwrap().code()
    }
}

/// The state letter of a process.
fn state(pid: u32) -> char {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("{what} did not come");
}

#[test]
fn signals_reach_the_command() {
    let script = "for s in HUP INT QUIT USR1 USR2 WINCH RTMIN+3; do trap \"echo got $s\" $s; done; trap 'echo bye; exit 9' TERM; \
                  echo ready; while :; do read -t 0.05 <> <(:); done";
    let (mut running, _) = Running::script(script);
    assert_eq!(running.line(), "ready");
    for (name, signal) in [
        ("HUP", Signal::HUP),
        ("INT", Signal::INT),
        ("QUIT", Signal::QUIT),
        ("USR1", Signal::USR1),
        ("USR2", Signal::USR2),
        ("WINCH", Signal::WINCH),
        ("RTMIN+3", Signal::rt(3).unwrap()),
    ] {
        running.send(signal);
        assert_eq!(running.line(), format!("got {name}"));
    }
    running.send(Signal::TERM);
    assert_eq!((running.line().as_str(), running.code()), ("bye", Some(9)));
}

#[test]
fn a_stop_stops_both_and_goes_on_with_both() {
    let (mut running, child) =
        Running::script("trap 'echo on' CONT; echo ready; while :; do read -t 0.05 <> <(:); done");
    assert_eq!(running.line(), "ready");
    let wrapper = running.child.id();
    running.send(Signal::TSTP);
    until("the stop of both", || state(child) == 'T' && state(wrapper) == 'T');
    running.send(Signal::CONT);
    assert_eq!(running.line(), "on");
    running.send(Signal::KILL);
    running.code();
    kill_process(Pid::from_raw(child.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// As a terminal does it: it stops all that the command has started, and the shell wakes the wrapper only.
#[test]
fn a_terminals_stop_is_undone_for_all_of_the_commands_group() {
    let (mut running, child) = Running::script("sleep 1000 & echo $!; wait");
    let grandchild: u32 = running.line().parse().unwrap();
    let group = Pid::from_raw(child.try_into().unwrap()).unwrap();
    kill_process_group(group, Signal::TSTP).unwrap();
    let wrapper = running.child.id();
    until("the stop of all", || [wrapper, child, grandchild].iter().all(|pid| state(*pid) == 'T'));
    running.send(Signal::CONT);
    until("the end of the stop", || [wrapper, child, grandchild].iter().all(|pid| state(*pid) != 'T'));
    kill_process_group(group, Signal::KILL).unwrap();
    assert_eq!(running.code(), Some(137));
}

#[test]
fn a_signal_while_it_waits_ends_it() {
    let stage = Stage::new("env");
    let mut child = stage.exec(&["sh", "-c", "echo started"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("waiting"));
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!((out.status.code(), out.stdout), (Some(143), Vec::new()));
}

#[test]
fn the_process_that_stays_never_has_the_secret() {
    let (mut running, child) = Running::script("read -r _ < <(sleep 1000)");
    let look = |pid: u32| std::fs::read(format!("/proc/{pid}/environ")).unwrap();
    let holds = |bytes: &[u8]| bytes.windows(8).any(|part| part == b"v-canary");
    assert!(holds(&look(child)), "the command has it");
    let wrapper = running.child.id();
    assert!(!holds(&look(wrapper)));
    assert!(!holds(&std::fs::read(format!("/proc/{wrapper}/cmdline")).unwrap()));
    assert!(!holds(&std::fs::read(format!("/proc/{child}/cmdline")).unwrap()));
    assert!(!holds(&memory(wrapper)), "its memory");
    running.send(Signal::TERM);
    assert_eq!(running.code(), Some(143));
}

/// All memory of a process that can be read.
fn memory(pid: u32) -> Vec<u8> {
    use std::io::{Seek, SeekFrom};
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let mut mem = std::fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, to) = line.split(' ').next().unwrap().split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        mem.seek(SeekFrom::Start(from)).unwrap();
        drop(mem.by_ref().take(to - from).read_to_end(&mut all));
    }
    assert!(!all.is_empty());
    all
}

/// In a pid namespace of its own the wrapper is PID 1: what loses its parent becomes its child.
#[test]
fn the_first_process_reaps_orphans() {
    let stage = Stage::new("env");
    let _agent = stage.agent(&[USER]);
    let script = "echo pid=$PPID; (sh -c 'exit 0' & ) ; (sleep 0.2 & exec true); \
                  for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do sleep 0.1; \
                  z=$(grep -l '^State:.*Z' /proc/[0-9]*/status 2>/dev/null | wc -l); [ $i -gt 5 ] && [ \"$z\" = 0 ] && break; done; echo zombies=$z; exit 4";
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--mount-proc"]).arg(stage.program()).args(["--", "sh", "-c", script]);
    let out = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(
        (said.as_str(), out.status.code()),
        ("pid=1\nzombies=0\n", Some(4)),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
}
