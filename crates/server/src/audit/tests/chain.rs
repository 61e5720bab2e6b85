//! No line can be changed, dropped, moved or cut off unnoticed.

use std::sync::OnceLock;

use proptest::prelude::*;

use super::*;

type Log = (Vec<u8>, (u64, [u8; 32]));

/// A log of some lines with checkpoints among them and at its end, and its last value.
fn sample() -> &'static Log {
    static SAMPLE: OnceLock<Log> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let mut config = config(folder.path());
        config.log.checkpoint_lines = 5;
        let rig = open(&config).unwrap();
        rig.write(8);
        rig.audit.close();
        let standing = rig.audit.standing().unwrap();
        let mut hash = [0; 32];
        hex::decode_to_slice(&standing.hash, &mut hash).unwrap();
        (std::fs::read(&standing.file).unwrap(), (standing.seq, hash))
    })
}

fn verdict(bytes: &[u8], ask: &Ask) -> Report {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    verify(&[file.path().to_owned()], ask).unwrap()
}

fn split(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|byte| *byte == b'\n').collect()
}

#[test]
fn an_untouched_log_holds_and_is_signed() {
    let (bytes, head) = sample();
    let report = verdict(bytes, &Ask { key: None, expect: Some(*head) });
    assert!(report.ok, "{:?}", report.problem);
    assert!(report.checkpoints >= 3 && report.unsigned_lines == 0 && report.signed_through == head.0);
}

#[test]
fn the_chain_is_what_sha256sum_says() {
    let (bytes, _) = sample();
    for pair in split(bytes).windows(2) {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, pair[0]);
        let next: Value = serde_json::from_slice(pair[1]).unwrap();
        assert_eq!(next["prev"], hex::encode(digest.as_ref()));
    }
}

proptest! {
    #[test]
    fn any_changed_byte_is_found(at in 0usize..100_000, mask in 1u8..=255) {
        let mut bytes = sample().0.clone();
        let at = at % bytes.len();
        bytes[at] ^= mask;
        prop_assert!(!verdict(&bytes, &Ask::default()).ok);
    }

    #[test]
    fn any_dropped_line_is_found(at in 0usize..1000) {
        let (bytes, head) = sample();
        let mut lines = split(bytes);
        let at = at % lines.len();
        lines.remove(at);
        let report = verdict(&lines.concat(), &Ask { key: None, expect: Some(*head) });
        // Without its first line, a log says that it does not begin at 1.
        prop_assert!(!report.ok || report.first_seq > 1);
        prop_assert_eq!(at == 0, report.first_seq > 1);
    }

    #[test]
    fn any_two_swapped_lines_are_found(a in 0usize..1000, b in 0usize..1000) {
        let mut lines = split(&sample().0);
        let (a, b) = (a % lines.len(), b % lines.len());
        prop_assume!(a != b);
        lines.swap(a, b);
        prop_assert!(!verdict(&lines.concat(), &Ask::default()).ok);
    }

    #[test]
    fn any_doubled_line_is_found(at in 0usize..1000) {
        let mut lines = split(&sample().0);
        let at = at % lines.len();
        lines.insert(at, lines[at]);
        prop_assert!(!verdict(&lines.concat(), &Ask::default()).ok);
    }

    #[test]
    fn any_shortening_is_found_by_the_value_that_was_told(at in 0usize..100_000) {
        let (bytes, head) = sample();
        let kept = &bytes[..at % bytes.len()];
        let told = Ask { key: None, expect: Some(*head) };
        prop_assert!(!verdict(kept, &told).ok);
        if !kept.is_empty() && !kept.ends_with(b"\n") {
            prop_assert!(!verdict(kept, &Ask::default()).ok);
        }
    }
}

#[test]
fn the_first_bad_line_is_named() {
    let lines = split(&sample().0);
    let changed = String::from_utf8(lines[3].to_vec()).unwrap().replace("approle-web", "approle-bad");
    let bytes = [&lines[..3].concat(), changed.as_bytes(), &lines[4..].concat()].concat();
    let problem = verdict(&bytes, &Ask::default()).problem.unwrap();
    assert_eq!(problem.line, 5, "the line after the changed one does not fit it");
    assert!(problem.what.contains("between line 4 and line 5"), "{}", problem.what);
}

#[test]
fn another_key_is_not_believed() {
    let other = tempfile::tempdir().unwrap();
    let rig = open(&config(other.path())).unwrap();
    let report = verdict(&sample().0, &Ask { key: rig.audit.public_key(), expect: None });
    assert!(report.problem.unwrap().what.contains("another key"));
    let own = tempfile::tempdir().unwrap();
    let rig = open(&config(own.path())).unwrap();
    rig.audit.close();
    let pem = std::fs::read_to_string(own.path().join("audit-signing.pub")).unwrap();
    let key = crate::audit::PublicKey::parse(&pem);
    assert_eq!(key, rig.audit.public_key());
    assert!(verify(&files(own.path()).unwrap(), &Ask { key, expect: None }).unwrap().ok);
}

#[test]
fn the_chain_goes_on_after_a_restart_and_after_a_crash_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    rig.write(3);
    let file = rig.audit.standing().unwrap().file;
    drop(rig); // without a clean end
    let whole = std::fs::read(&file).unwrap();
    for torn in [&b"{\"seq\":9,\"prev\""[..], b"{", b"\0\0\0"] {
        std::fs::write(&file, [&whole, torn].concat()).unwrap();
        assert!(!check(folder.path()).ok);
        let rig = open(&config(folder.path())).unwrap();
        rig.write(1);
        drop(rig);
        assert!(check(folder.path()).ok);
        let found = lines(folder.path());
        assert!(found.iter().any(|line| line["reason"] == "start" && line["cut_bytes"] == torn.len()), "{torn:?}");
    }
}

#[test]
fn a_crash_within_a_checkpoint_of_a_long_file_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.log.checkpoint_lines = 700;
    let rig = open(&config).unwrap();
    rig.write(1200);
    rig.audit.close();
    let file = rig.audit.standing().unwrap().file;
    drop(rig);
    let bytes = std::fs::read(&file).unwrap();
    assert!(bytes.len() > 2 << 20, "longer than what is read at once");
    std::fs::write(&file, &bytes[..bytes.len() - 20]).unwrap();
    let rig = open(&config).unwrap();
    rig.write(1);
    drop(rig);
    assert!(check(folder.path()).ok);
}

#[test]
fn a_crash_right_after_a_new_file_was_begun_is_mended() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    rig.write(2);
    let next = rig.audit.standing().unwrap().seq + 1;
    drop(rig);
    for begun in ["", "{\"seq\":"] {
        std::fs::write(super::super::folder::file(folder.path(), next), begun).unwrap();
        drop(open(&config(folder.path())).unwrap());
        let report = check(folder.path());
        assert!(report.ok && report.files.len() == 2, "{report:?}");
        std::fs::remove_file(super::super::folder::file(folder.path(), next)).unwrap();
    }
}

#[test]
fn a_tail_that_was_changed_while_the_server_was_down_is_not_continued() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    rig.write(3);
    let file = rig.audit.standing().unwrap().file;
    drop(rig);
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replacen("\"n\":1", "\"n\":2", 1)).unwrap();
    assert!(matches!(open(&config(folder.path())), Err(AuditError::Broken { .. })));
    std::fs::write(&file, text).unwrap();
    drop(open(&config(folder.path())).unwrap());
    std::fs::remove_file(folder.path().join("audit-signing.key")).unwrap();
    assert!(matches!(open(&config(folder.path())), Err(AuditError::KeyGone(_))));
}

#[test]
fn one_folder_one_server() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(&config(folder.path())).unwrap();
    assert!(matches!(open(&config(folder.path())), Err(AuditError::Held(_))));
}

#[test]
fn files_continue_one_chain_and_a_missing_one_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config(folder.path());
    config.log.file_bytes = 4096;
    let rig = open(&config).unwrap();
    rig.write(40);
    rig.audit.close();
    drop(rig);
    let files = files(folder.path()).unwrap();
    assert!(files.len() > 4 && check(folder.path()).ok);
    std::fs::remove_file(&files[2]).unwrap();
    let problem = check(folder.path()).problem.unwrap();
    assert!(problem.what.contains("are missing") && problem.line == 1, "{problem:?}");
}

#[test]
fn time_alone_brings_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let rig = open(&config(folder.path())).unwrap();
    rig.write(1);
    let log = rig.audit.chain.as_ref().unwrap();
    log.tick();
    assert!(check(folder.path()).unsigned_lines > 0);
    rig.clock.advance(Duration::from_secs(11));
    log.tick();
    let signed = check(folder.path());
    assert_eq!(signed.unsigned_lines, 0);
    rig.clock.advance(Duration::from_secs(11));
    log.tick();
    assert_eq!(check(folder.path()).lines, signed.lines, "an idle log does not grow");
}
