//! What can happen to the file and the disk below a running server.

use dewdrop_core::Kind;

use super::*;

fn refused(rig: &Rig) -> Fault {
    rig.clock.advance(Duration::from_secs(1));
    let fault = rig.play(Story::default()).unwrap_err();
    assert_eq!(fault.kind, Kind::Unavailable);
    // Reading is an act as well.
    assert!(rig.play(Story { operation: Operation::Read, ..Story::default() }).is_err());
    fault
}

#[test]
fn an_unlinked_file_stops_everything_and_is_written_back() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    rig.write(3);
    std::fs::remove_file(rig.audit.standing().unwrap().file).unwrap();
    assert!(refused(&rig).known.contains("cannot be found"));
    assert_eq!(rig.audit.standing().unwrap().state, "lost");
    rig.audit.reopen();
    rig.write(1);
    let report = check(folder.path());
    assert!(report.ok && report.first_seq == 1 && report.files.len() == 2, "{report:?}");
    assert!(
        lines(folder.path())
            .iter()
            .any(|line| line["reason"] == "reopen" && line["lost"].as_str().unwrap().contains("cannot be found"))
    );
}

#[test]
fn a_renamed_replaced_shortened_or_lengthened_file_stops_everything() {
    type Spoil = (&'static str, fn(&Path));
    let spoil: [Spoil; 4] = [
        ("cannot be found", |file| std::fs::rename(file, file.with_extension("old")).unwrap()),
        ("another file", |file| {
            std::fs::copy(file, file.with_extension("new")).unwrap();
            std::fs::rename(file.with_extension("new"), file).unwrap();
        }),
        ("shortened", |file| std::fs::OpenOptions::new().write(true).open(file).unwrap().set_len(10).unwrap()),
        ("somebody else", |file| {
            use std::io::Write as _;
            std::fs::OpenOptions::new().append(true).open(file).unwrap().write_all(b"x\n").unwrap();
        }),
    ];
    for (why, spoil) in spoil {
        let folder = tempfile::tempdir().unwrap();
        let rig = open(&config(folder.path())).unwrap();
        rig.write(2);
        spoil(Path::new(&rig.audit.standing().unwrap().file));
        let fault = refused(&rig);
        assert!(fault.known.contains(why), "{why}: {}", fault.known);
        assert!(!fault.told.contains("audit-0"), "strangers need not know the file");
        rig.audit.reopen();
        rig.write(1);
        assert_eq!(rig.audit.standing().unwrap().state, "sound");
    }
}

/// A file system of 256 KiB. Needs root; without it the test has nothing to stand on and says so.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let done = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=256k", "none"])
            .arg(folder.path())
            .output();
        if done.is_ok_and(|done| done.status.success()) { Some(Self(folder)) } else { None }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

#[test]
fn a_full_disk_refuses_all_but_operators_and_mends_itself() {
    let Some(small) = Small::mount() else {
        eprintln!("not root: the full disk is not tried");
        return;
    };
    let folder = small.0.path().join("audit");
    let mut config = config(&folder);
    config.log.reserve = 64 << 10;
    let rig = open(&config).unwrap();
    let filler = small.0.path().join("filler");
    std::fs::write(&filler, vec![1; 80 << 10]).unwrap();
    let mut written = 0;
    let fault = loop {
        match rig.play(Story { operation: Operation::Read, ..Story::default() }) {
            Ok(()) => written += 1,
            Err(fault) => break fault,
        }
        assert!(written < 10_000, "the disk is never full");
    };
    assert_eq!(fault.kind, Kind::Unavailable);
    assert_eq!(rig.audit.standing().unwrap().state, "full");
    assert!(check(&folder).ok, "no half line is left");
    // Operators still can end things, and that is on the log.
    for _ in 0..5 {
        rig.play(Story { path: "sys/leases/revoke-prefix/database", ..Story::default() }).unwrap();
    }
    rig.clock.advance(Duration::from_secs(1));
    assert!(rig.play(Story::default()).is_err());
    assert!(rig.audit.standing().unwrap().reserve < 64 << 10);
    // A stranger does not use the reserve up.
    let stranger = Rig { caller: Caller::default(), audit: rig.audit, clock: rig.clock, mount: rig.mount };
    assert!(stranger.play(Story { path: "sys/leases/revoke-prefix/database", ..Story::default() }).is_err());
    let rig = Rig { caller: caller(), ..stranger };
    std::fs::remove_file(&filler).unwrap();
    rig.clock.advance(Duration::from_secs(1));
    rig.write(3);
    let standing = rig.audit.standing().unwrap();
    assert_eq!((standing.state, standing.reserve), ("sound", 64 << 10));
    let report = check(&folder);
    assert!(report.ok, "{report:?}");
    assert!(lines(&folder).iter().any(|line| line["type"] == "space" && line["refused"].as_u64() > Some(0)));
}
