use proptest::prelude::*;

use super::*;

const MINUTE: u64 = 60_000;

fn who(name: &str) -> Who {
    Who { entity: format!("id-{name}"), name: name.into() }
}

fn case() -> Case {
    let asked = Asked {
        by: who("ann"),
        at: Moment(0),
        role: "ops".into(),
        scope: Scope::default(),
        ttl: Duration::from_secs(600),
        reason: "disk full".into(),
        ticket: String::new(),
        waits_until: Moment(60 * MINUTE),
        break_glass: false,
        extends: String::new(),
        direct: None,
    };
    Case::new("a1".into(), asked)
}

fn word(by: &str, at: u64, approves: bool) -> Decision {
    Decision { by: who(by), at: Moment(at), approves, comment: String::new() }
}

fn granted() -> Case {
    let mut case = case();
    case.approve(word("ben", MINUTE, true)).unwrap();
    case.grant(Moment(MINUTE), Duration::from_secs(300)).unwrap();
    case
}

#[test]
fn from_the_first_word_to_the_end() {
    let mut case = granted();
    assert_eq!(case.state(Moment(2 * MINUTE)), State::Granted);
    let running = case.start(Moment(3 * MINUTE)).unwrap();
    assert_eq!(running.until, Moment(13 * MINUTE));
    assert_eq!(case.start(Moment(4 * MINUTE)), Ok(running), "once more changes nothing");
    assert_eq!(case.state(Moment(13 * MINUTE - 1)), State::Active);
    assert_eq!(case.state(Moment(13 * MINUTE)), State::Expired);
    assert!(case.start(Moment(13 * MINUTE)).is_err());
}

#[test]
fn nobody_approves_his_own_or_twice() {
    let mut case = case();
    assert_eq!(case.approve(word("ann", 1, true)), Err(Refusal::Own));
    case.approve(word("ben", 1, true)).unwrap();
    assert_eq!(case.approve(word("ben", 2, true)), Err(Refusal::Twice));
}

#[test]
fn what_waited_too_long_is_not_approved() {
    let mut case = case();
    assert_eq!(case.state(Moment(60 * MINUTE)), State::Lapsed);
    let refused = case.approve(word("ben", 60 * MINUTE, true)).unwrap_err();
    assert_eq!(refused.to_string(), "the request is lapsed; only one that is pending can be approved");
}

#[test]
fn a_grant_that_is_not_started_in_time_lapses() {
    let mut case = granted();
    assert!(case.start(Moment(6 * MINUTE)).is_err());
    assert_eq!(case.state(Moment(6 * MINUTE)), State::Lapsed);
}

#[test]
fn a_no_is_final() {
    let mut case = case();
    case.deny(word("ben", 1, false)).unwrap();
    assert_eq!(case.state(Moment(2)), State::Denied);
    assert!(case.approve(word("cleo", 2, true)).is_err() && case.start(Moment(2)).is_err());
    assert!(case.withdraw(who("ann"), Moment(2), String::new()).is_err());
}

#[test]
fn only_whoever_asked_withdraws() {
    let mut case = granted();
    assert_eq!(case.withdraw(who("ben"), Moment(2 * MINUTE), String::new()), Err(Refusal::NotYours));
    case.withdraw(who("ann"), Moment(2 * MINUTE), String::new()).unwrap();
    assert_eq!(case.state(Moment(2 * MINUTE)), State::Withdrawn);
}

#[test]
fn a_longer_grant_is_never_shorter() {
    let mut case = granted();
    case.start(Moment(2 * MINUTE)).unwrap();
    case.lengthen(Moment(3 * MINUTE), Duration::from_secs(60)).unwrap();
    assert_eq!(case.running.unwrap().until, Moment(12 * MINUTE));
    case.lengthen(Moment(11 * MINUTE), Duration::from_secs(600)).unwrap();
    assert_eq!(case.running.unwrap().until, Moment(21 * MINUTE));
    assert!(case.lengthen(Moment(21 * MINUTE), Duration::from_secs(600)).is_err());
}

#[test]
fn a_break_glass_is_reviewed_once_by_another() {
    let mut case = case();
    assert!(case.review(word("ben", 1, true)).is_err(), "it was none");
    case.asked.break_glass = true;
    assert_eq!(case.review(word("ann", 1, true)), Err(Refusal::Own));
    case.review(word("ben", 1, true)).unwrap();
    assert!(!case.needs_review() && case.review(word("cleo", 1, true)).is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Approve(u8),
    Grant,
    Deny(u8),
    Withdraw(u8),
    Start,
    Revoke(u8),
    Lengthen,
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        (0..3u8).prop_map(Step::Approve),
        Just(Step::Grant),
        (0..3u8).prop_map(Step::Deny),
        (0..3u8).prop_map(Step::Withdraw),
        Just(Step::Start),
        (0..3u8).prop_map(Step::Revoke),
        Just(Step::Lengthen),
    ];
    proptest::collection::vec((0..20 * MINUTE, step), 0..30)
}

proptest! {
    /// Whatever is tried, in whatever order: what is over stays over, nothing runs that was not granted, and nothing that
    /// was asked changes.
    #[test]
    fn over_is_over(steps in steps()) {
        let asked = case().asked;
        let (mut case, mut now, mut over) = (case(), 0, false);
        for (later, step) in steps {
            now += later;
            let at = Moment(now);
            over |= case.state(at).is_over();
            let by = |n: u8| who(["ann", "ben", "cleo"][usize::from(n)]);
            let said = |n: u8, approves| Decision { by: by(n), at, approves, comment: String::new() };
            let done = match step {
                Step::Approve(n) => case.approve(said(n, true)).is_ok(),
                Step::Grant => case.grant(at, Duration::from_secs(300)).is_ok(),
                Step::Deny(n) => case.deny(said(n, false)).is_ok(),
                Step::Withdraw(n) => case.withdraw(by(n), at, String::new()).is_ok(),
                Step::Start => case.start(at).is_ok(),
                Step::Revoke(n) => case.revoke(by(n), at, String::new()).is_ok(),
                Step::Lengthen => case.lengthen(at, Duration::from_secs(600)).is_ok(),
            };
            prop_assert!(!(over && done));
            prop_assert!(!over || case.state(at).is_over());
            prop_assert!(case.state(at) != State::Active || (case.granted.is_some() && case.end.is_none()));
            prop_assert!(case.approvers().all(|who| who.name != "ann"));
            prop_assert_eq!(&case.asked, &asked);
        }
    }
}
