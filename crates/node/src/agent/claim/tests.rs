//! What a container may have, as the record of its volume stands.

use std::collections::BTreeMap;

use dewdrop_api::SecretText;

use super::*;
use crate::agent::hold::Todo;
use crate::agent::vault::StartName;
use crate::spec::{PodInfo, VolumeSpec};

fn about(more: &[(&str, &str)]) -> About {
    let least = [("container", "app"), ("role", "app"), ("credentials", "db = a/b")];
    let pairs: BTreeMap<String, String> = least.iter().chain(more).map(|(k, v)| ((*k).into(), (*v).into())).collect();
    About {
        volume_id: "v".into(),
        target: "/nowhere".into(),
        spec: VolumeSpec::parse(&pairs).unwrap(),
        pod: PodInfo { uid: "u".into(), ..PodInfo::default() },
        fs_group: None,
    }
}

fn start(id: &str) -> Start {
    let name = StartName {
        pod_uid: "u".into(),
        container: "app".into(),
        start: id.into(),
        role: "app".into(),
        container_id: None,
    };
    Start { name, life: String::new(), token: "t".into(), seconds: 0, leases: Vec::new(), variables: Vec::new() }
}

fn hold(phase: Phase, begun: Option<&str>) -> Hold {
    Hold::new(about(&[("env", "true")]), phase, SecretText::new("t".into()), begun.map(start))
}

/// What a container has: its start, or a word.
fn of(hold: &Hold, id: &str) -> String {
    match hold.claim(id) {
        Claim::Given(start) => start.name.start.clone(),
        Claim::Wait(why) => format!("wait: {why}"),
        Claim::Unknown(_) => "unknown".into(),
        Claim::Never => "never".into(),
    }
}

#[test]
fn the_container_that_was_created_has_it_and_no_other() {
    let hold = hold(Phase::Ready, Some("one"));
    assert_eq!(of(&hold, "a"), "unknown", "nobody has told of it");
    hold.creating("a").unwrap();
    assert_eq!((of(&hold, "a").as_str(), of(&hold, "b").as_str()), ("one", "unknown"));
    assert_eq!(of(&hold, "a"), "one", "it may ask again");
}

#[test]
fn a_container_that_ended_has_nothing_though_its_processes_linger() {
    let hold = hold(Phase::Ready, Some("one"));
    hold.creating("a").unwrap();
    assert_eq!(hold.stopped("a").unwrap().name.start, "one");
    assert_eq!(of(&hold, "a"), "never");
    hold.minted(start("two"), Todo::Mint).unwrap();
    assert_eq!(of(&hold, "a"), "never", "not what its successor will have, either");
    assert_eq!(hold.running("a", None).map(|start| start.name.start.clone()), None);
    assert_eq!(of(&hold, "a"), "never", "told of late");
}

#[test]
fn a_wrapped_container_is_created_before_its_credential_and_gets_it() {
    let hold = hold(Phase::Minting, None);
    hold.creating("a").unwrap();
    assert_eq!(of(&hold, "a"), "wait: it is being made");
    hold.tried(Some("the server is sealed".into()));
    assert_eq!(of(&hold, "a"), "wait: the server is sealed");
    hold.minted(start("one"), Todo::Mint).unwrap();
    assert_eq!(of(&hold, "a"), "one");
    let files = Hold::new(about(&[]), Phase::Minting, SecretText::default(), None);
    assert!(files.creating("a").is_err(), "without a wrapper it is refused until the files are there");
}

#[test]
fn a_missed_end_gives_the_next_container_a_start_of_its_own() {
    let ways = [
        |hold: &Hold| hold.creating("b").is_ok(),
        |hold: &Hold| hold.running("b", None).is_none(),
        |hold: &Hold| hold.seen(&["b"]).is_none(),
    ];
    for tell in ways {
        let hold = hold(Phase::Taken("a".into()), Some("one"));
        assert!(tell(&hold));
        assert_eq!(hold.todo(), Todo::Mint);
        assert!(of(&hold, "b").starts_with("wait"), "never what the one before had");
        let former = hold.minted(start("two"), Todo::Mint).unwrap();
        assert_eq!(former.unwrap().name.start, "one", "which is ended by the keeper");
        assert_eq!(
            (of(&hold, "b").as_str(), of(&hold, "a").as_str()),
            ("two", "never"),
            "the one before is known to be over"
        );
    }
}

#[test]
fn the_runtimes_whole_list_changes_nothing_for_the_holder_and_ends_who_is_gone() {
    let hold = hold(Phase::Taken("a".into()), Some("one"));
    assert!(hold.seen(&["a", "b"]).is_none());
    assert_eq!((of(&hold, "a").as_str(), hold.todo()), ("one", Todo::Renew));
    assert_eq!(hold.seen(&[]).unwrap().name.start, "one");
    assert_eq!(hold.todo(), Todo::Mint);
}

#[test]
fn while_it_is_replaced_and_after_the_volume_is_gone() {
    let hold = hold(Phase::Taken("a".into()), Some("one"));
    drop(hold.lost("one"));
    assert!(of(&hold, "a").starts_with("wait"), "its token is gone");
    hold.minted(start("two"), Todo::Refresh).unwrap();
    assert_eq!(of(&hold, "a"), "two");
    hold.close();
    assert_eq!(of(&hold, "a"), "never");
}

#[tokio::test]
async fn what_the_runtime_says_of_a_container_that_nobody_told_of() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("s");
    let cri = Cri::new(socket.clone());
    let mut about = about(&[("env", "true")]);
    about.pod.uid = "u-1".into();
    let ready = Phase::Ready;
    assert!(verdict(&cri, &about, "a", &ready).await.is_err(), "no runtime, no answer");
    let runtime = crate::env::played_runtime(&socket);
    let word = async |about: &About, id: &str, phase: Phase| match verdict(&cri, about, id, &phase).await {
        Ok(Verdict::Yes) => "yes",
        Ok(Verdict::Wait(_)) => "wait",
        Ok(Verdict::No) => "no",
        Err(_) => "error",
    };
    assert_eq!(word(&about, "a", Phase::Ready).await, "yes");
    assert_eq!(word(&about, "side", Phase::Ready).await, "no", "another container of the pod");
    assert_eq!(word(&about, "ended", Phase::Ready).await, "no");
    assert_eq!(word(&about, "gone", Phase::Ready).await, "wait", "a runtime that lags behind");
    assert_eq!(word(&about, "a", Phase::Taken("b".into())).await, "wait", "two cannot run under one name");
    for former in ["ended", "gone"] {
        assert_eq!(word(&about, "a", Phase::Taken(former.into())).await, "yes", "{former}");
    }
    about.pod.uid = "u-2".into();
    assert_eq!(word(&about, "a", Phase::Ready).await, "no", "another pod");
    runtime.abort();
}

#[test]
fn what_somebody_saw_is_replaced_once_and_for_the_container_that_runs() {
    let files = Hold::new(about(&[]), Phase::Taken("a".into()), SecretText::default(), Some(start("one")));
    assert!(!files.seen_through("another"), "a start that is gone already");
    assert_eq!(files.life(), None, "a start that is made now would begin a life");
    assert!(files.seen_through("one"));
    assert_eq!((files.todo(), files.phase()), (Todo::Refresh, Phase::Taken("a".into())), "the container goes on");
    assert!(!files.seen_through("one"), "told again while it is made");
    assert_eq!(files.life().as_deref(), Some("one"));
    let next = Start { life: "one".into(), ..start("two") };
    assert_eq!(files.minted(next, Todo::Refresh).unwrap().unwrap().name.start, "one");
    assert!(!files.seen_through("one"), "told again by a beat that was under way");
    assert!(files.seen_through("two"), "another session");
    assert_eq!(files.life().as_deref(), Some("one"), "it is still the same run of the container");
}

#[test]
fn a_command_that_nothing_may_end_keeps_its_variables() {
    assert!(hold(Phase::Ready, None).must_stay());
    for more in [&[("env", "true"), ("signal", "TERM")][..], &[], &[("gate", "true")]] {
        assert!(!Hold::new(about(more), Phase::Ready, SecretText::default(), None).must_stay(), "{more:?}");
    }
}
