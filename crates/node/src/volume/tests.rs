//! On a real tmpfs: these tests need root, as the agent does.

use std::os::unix::fs::MetadataExt;

use serde_json::json;

use super::*;

fn spec(more: &[(&str, &str)]) -> VolumeSpec {
    let least = [("container", "app"), ("role", "app"), ("credentials", "db = database/creds/app")];
    let pairs = least.iter().chain(more).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    VolumeSpec::parse(&pairs.collect()).unwrap()
}

fn fields(user: &str) -> Fields {
    serde_json::from_value(json!({"db": {"username": user, "password": "p"}})).unwrap()
}

#[test]
fn a_volume_is_a_tmpfs_of_its_own_and_goes_without_a_trace() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("a/mount");
    assert!(!is_mounted(&target).unwrap());
    let volume = Volume::mount(&target).unwrap();
    drop(Volume::mount(&target).unwrap());
    assert!(is_mounted(&target).unwrap());
    volume.write(&spec(&[]), None, &fields("one")).unwrap();
    assert_eq!(fs::read_to_string(target.join("db/username")).unwrap(), "one");
    Volume::unmount(&target).unwrap();
    Volume::unmount(&target).unwrap();
    assert!(!target.exists());
}

#[test]
fn files_change_all_at_once_and_old_ones_go() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("mount");
    let volume = Volume::mount(&target).unwrap();
    volume.write(&spec(&[]), None, &fields("one")).unwrap();
    fs::create_dir(target.join("..left-by-a-kill")).unwrap();
    fs::write(target.join("..left-by-a-kill/x"), "x").unwrap();
    let old = fs::read_link(target.join("..data")).unwrap();
    volume.write(&spec(&[("format", "env")]), None, &fields("two")).unwrap();
    let text = fs::read_to_string(target.join("credentials.env")).unwrap();
    assert_eq!(text, "DB_PASSWORD='p'\nDB_USERNAME='two'\n");
    assert!(!target.join(old).exists() && !target.join("db").exists() && !target.join("..left-by-a-kill").exists());
    Volume::unmount(&target).unwrap();
}

#[test]
fn who_has_a_file_open_reads_the_old_one_to_its_end() {
    use std::io::Read;
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("mount");
    let volume = Volume::mount(&target).unwrap();
    volume.write(&spec(&[]), None, &fields("one")).unwrap();
    let mut open = fs::File::open(target.join("db/username")).unwrap();
    volume.write(&spec(&[]), None, &fields("two")).unwrap();
    let mut read = String::new();
    open.read_to_string(&mut read).unwrap();
    assert_eq!((read.as_str(), fs::read_to_string(target.join("db/username")).unwrap().as_str()), ("one", "two"));
    drop(open);
    Volume::unmount(&target).unwrap();
}

#[test]
fn owner_and_mode_are_what_the_pod_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("mount");
    let volume = Volume::mount(&target).unwrap();
    let look = || {
        let file = fs::metadata(target.join("db/password")).unwrap();
        let folder = fs::metadata(target.join("db")).unwrap();
        (file.mode() & 0o777, file.uid(), file.gid(), folder.mode() & 0o777)
    };
    volume.write(&spec(&[]), None, &fields("u")).unwrap();
    assert_eq!(look(), (0o400, 0, 0, 0o700));
    volume.write(&spec(&[("uid", "1000")]), Some(2000), &fields("u")).unwrap();
    assert_eq!(look(), (0o440, 1000, 2000, 0o750));
    volume.write(&spec(&[("mode", "0444"), ("gid", "7")]), Some(2000), &fields("u")).unwrap();
    assert_eq!(look(), (0o444, 0, 7, 0o755));
    Volume::unmount(&target).unwrap();
}

#[test]
fn a_template_that_cannot_be_filled_leaves_the_old_files() {
    let dir = tempfile::tempdir().unwrap();
    let target = dir.path().join("mount");
    let volume = Volume::mount(&target).unwrap();
    let template = |text| spec(&[("template", text), ("file", "dsn")]);
    volume.write(&template("u={{db.username}}"), None, &fields("one")).unwrap();
    assert!(volume.write(&template("{{db.nothing}}"), None, &fields("two")).is_err());
    assert_eq!(fs::read_to_string(target.join("dsn")).unwrap(), "u=one");
    Volume::unmount(&target).unwrap();
}
