use dewdrop_core::FakeClock;

use super::courier::LATEST;
use super::*;
use crate::carrier::Untold;
use crate::carrier::stub::{Stub, Told};
use crate::soon::until;

type Says = fn(&[Line]) -> Result<(), Untold>;

/// The server is told lines alone.
fn answers(held: &Stub, says: Says) {
    held.says(move |told| if let Told::Lines(lines) = told { says(lines) } else { Ok(()) });
}

async fn was_asked(held: &Stub, times: usize) {
    until(|| held.heard().len() >= times).await;
}

fn begin() -> (Arc<FakeClock>, Stub, Record) {
    let clock = FakeClock::at(Moment(1_767_225_600_000));
    clock.advance(Duration::from_secs(1));
    let held = Stub::default();
    let (record, work) = Record::new(clock.clone(), held.clone());
    tokio::spawn(work);
    (clock, held, record)
}

fn of(grant: &str) -> Line {
    Line { grant: grant.to_owned(), command: "kubectl get pods".to_owned(), ..Line::default() }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_one_line_and_a_stream_two() {
    let (clock, held, record) = begin();
    let mut ticket = record.begin(Line::default());
    ticket.line().end.code = 200;
    ticket.count(7);
    clock.advance(Duration::from_millis(30));
    drop(ticket);
    let ticket = record.begin(Line::default());
    drop(ticket.stream());
    until(|| held.lines().len() == 3).await;
    let lines = held.lines();
    let told: Vec<_> = lines.iter().map(|line| (line.kind, line.end.code, line.end.bytes, line.end.millis)).collect();
    assert_eq!(told, [("request", 200, 7, 30), ("stream", 0, 0, 0), ("end", 0, 0, 1)]);
}

#[test]
fn a_full_batch_is_no_more_than_a_server_takes() {
    let text = || "x".to_owned();
    let what = What { verb: text(), target: text(), namespace: text(), name: text() };
    let end = End { refused: text(), received: Some(1), ..End::default() };
    let api = Api { audit_id: text(), acting_as: text(), around: true };
    let left = Some(Trace::default());
    let line = Line { command: text(), recording: text(), what, end, api, left, ..Line::default() };
    let body = serde_json::json!({ "lines": vec![line; BATCH] }).to_string();
    let strings = body.matches('"').count() / 2;
    assert!(strings <= 1000, "{strings} strings");
}

#[tokio::test(start_paused = true)]
async fn no_path_of_anybody_is_too_long_for_the_record() {
    let (_, held, record) = begin();
    let long = || "é".repeat(40_000);
    let what = What { verb: long(), target: long(), namespace: long(), name: long() };
    let left = Trace { path: long(), uid: "u1".into(), why: long(), ..Trace::default() };
    let mut ticket = record.begin(Line { what, command: long(), left: Some(left), ..Line::default() });
    ticket.line().end.refused = long();
    drop(ticket);
    until(|| held.lines().len() == 1).await;
    let line = held.lines().first().cloned().unwrap();
    let mut texts = serde_json::to_value(&line).unwrap();
    let left = texts["left"].take();
    let all = texts.as_object().unwrap().values().chain(left.as_object().unwrap().values());
    assert!(all.filter_map(serde_json::Value::as_str).all(|text| text.len() <= LONGEST), "{line:?}");
    assert_eq!(left["uid"], "", "what names no object is not deleted");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_not_heard_is_forgiven_for_a_moment_and_nothing_is_lost() {
    let (clock, held, record) = begin();
    answers(&held, |_| Err(Untold::Away("connection refused".into())));
    drop(record.begin(of("a")));
    was_asked(&held, 2).await;
    assert_eq!(record.closed(), None, "a moment is forgiven");
    clock.advance(LATEST);
    assert_eq!(record.closed().unwrap(), "connection refused");
    held.takes_all();
    until(|| record.closed().is_none()).await;
    assert_eq!(held.lines().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_says_no_closes_the_door_at_once_and_is_asked_again_until_it_is_mended() {
    let cases: [(Says, &str); 2] = [
        (|_| Err(Untold::Unable("the audit log cannot be written (503)".into())), "the server says: the audit log"),
        (|_| Err(Untold::Refused("permission denied (403)".into())), "the server refuses the proxy: permission denied"),
    ];
    for (says, words) in cases {
        let (_, held, record) = begin();
        answers(&held, says);
        drop(record.begin(of("a")));
        until(|| record.closed().is_some()).await;
        assert!(record.closed().unwrap().starts_with(words), "{:?}", record.closed());
        was_asked(&held, 4).await;
        assert!(record.closed().is_some() && held.lines().is_empty());
        held.takes_all();
        until(|| record.closed().is_none()).await;
        assert_eq!(*held.lines().first().unwrap().command, *"kubectl get pods", "whole, and once");
        assert_eq!(held.lines().len(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_too_much_goes_line_by_line() {
    let (_, held, record) = begin();
    answers(&held, |lines| if lines.len() > 1 { Err(Untold::Unfit("too many strings (400)".into())) } else { Ok(()) });
    (0..5).for_each(|n| drop(record.begin(of(&n.to_string()))));
    until(|| held.lines().len() == 5).await;
    let lines = held.lines();
    assert!(lines.iter().enumerate().all(|(n, line)| line.grant == n.to_string() && !line.command.is_empty()));
    assert_eq!(record.closed(), None);
}

#[tokio::test(start_paused = true)]
async fn a_line_that_does_not_fit_shuts_nobody_out_and_is_not_hidden() {
    let (_, held, record) = begin();
    let no_words: Says = |lines| {
        let fits = lines.iter().all(|line| line.grant != "bad" || line.command.is_empty());
        if fits { Ok(()) } else { Err(Untold::Unfit("a text is too long (400)".into())) }
    };
    answers(&held, no_words);
    ["good", "bad", "good"].iter().for_each(|grant| drop(record.begin(of(grant))));
    until(|| held.lines().len() == 3).await;
    let lines = held.lines();
    let told: Vec<_> = lines.iter().map(|line| (&*line.grant, &*line.command, &*line.what.target)).collect();
    let whole = ("good", "kubectl get pods", "");
    assert_eq!(told, [whole, ("bad", "", NOT_TAKEN), whole]);
    assert!(lines.iter().all(|line| !line.time.is_empty() && line.kind == "request"));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_takes_no_line_at_all_closes_the_door() {
    let (_, held, record) = begin();
    answers(&held, |_| Err(Untold::Unfit("lines: not known (400)".into())));
    ["a", "b"].iter().for_each(|grant| drop(record.begin(of(grant))));
    until(|| record.closed().is_some()).await;
    assert_eq!(record.closed().unwrap(), "the server does not take this: lines: not known (400)");
    held.takes_all();
    until(|| record.closed().is_none()).await;
    assert_eq!(held.lines().len(), 2);
    assert!(held.lines().iter().all(|line| !line.command.is_empty()), "whole, when it takes them again");
}
