use dewdrop_core::{FakeClock, Moment};
use tokio::io::duplex;
use tokio::time::Instant;

use super::*;
use crate::carrier::stub::{Stub, Told};
use crate::soon::until;

fn about() -> About {
    let text = |text: &str| text.to_owned();
    About {
        grant: text("g1"),
        user: text("ann"),
        cluster: text("prod"),
        namespace: text("shop"),
        name: text("web"),
        target: text("pods/exec"),
        command: text("id -u"),
    }
}

fn frame(channel: u8, text: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0x82, u8::try_from(text.len() + 1).unwrap(), channel];
    bytes.extend_from_slice(text);
    bytes
}

const PATIENCE: Duration = Duration::from_secs(30);

async fn begin(server: &Stub) -> Result<Tape, Untold> {
    Tape::begin(about(), FakeClock::at(Moment(1_767_225_600_000)), Arc::new(server.clone()), PATIENCE).await
}

/// Whether the last piece that the server took is such a one.
fn last(server: &Stub, is_so: impl Fn(&Piece) -> bool) -> bool {
    server.pieces().last().is_some_and(is_so)
}

fn unable() -> Untold {
    Untold::Unable("the audit log cannot be written (503)".into())
}

#[tokio::test(start_paused = true)]
async fn what_passes_is_what_is_recorded() {
    let held = Stub::default();
    let tape = begin(&held).await.unwrap();
    let ((mut person, client), (mut pod, server)) = (duplex(1 << 16), duplex(1 << 16));
    let typed = frame(0, b"id\n");
    let seen = [frame(1, b"uid=0\n"), frame(2, b"oops")].concat();
    person.write_all(&typed).await.unwrap();
    pod.write_all(&seen).await.unwrap();
    person.shutdown().await.unwrap();
    pod.shutdown().await.unwrap();
    tape.carry(Wire::Channels, client, server).await.unwrap();
    drop(tape);
    let (mut got, mut told) = (Vec::new(), Vec::new());
    pod.read_to_end(&mut got).await.unwrap();
    person.read_to_end(&mut told).await.unwrap();
    assert_eq!((got, told), (typed, seen));
    tokio::time::sleep(Duration::from_secs(2)).await;
    let pieces = held.pieces();
    let cast: String = pieces.iter().map(|piece| piece.cast.as_str()).collect();
    for line in [
        "\"command\":\"id -u\"",
        "\"title\":\"pods/exec web in shop\"",
        "\"i\", \"id\\n\"",
        "\"o\", \"uid=0\\n\"",
        "\"o\", \"oops\"",
    ] {
        assert!(cast.contains(line), "{line} is missing in {cast}");
    }
    assert!(pieces.last().unwrap().last && pieces.iter().enumerate().all(|(n, piece)| piece.number as usize == n));
}

#[tokio::test(start_paused = true)]
async fn without_a_server_nothing_begins_and_what_runs_is_cut() {
    for why in [Untold::Away("away".into()), unable()] {
        let held = Stub::default();
        let tape = begin(&held).await.unwrap();
        let refusal = why.clone();
        held.says(move |_| Err(refusal.clone()));
        assert_eq!(begin(&held).await.err().unwrap(), why);
        let ((mut person, client), (mut pod, server)) = (duplex(1 << 16), duplex(1 << 16));
        person.write_all(&frame(0, b"x")).await.unwrap();
        pod.write_all(&frame(1, b"y")).await.unwrap();
        let start = Instant::now();
        let cut = timeout(PATIENCE * 2, tape.carry(Wire::Channels, client, server)).await.unwrap();
        let told = cut.unwrap_err().to_string();
        assert!(told.contains("cannot be recorded any more") && told.contains(&why.to_string()), "{told}");
        assert!(start.elapsed() >= PATIENCE, "cut after {:?}", start.elapsed());
        held.takes_all();
        until(|| last(&held, |piece| piece.cast.contains("\"o\", \"y\""))).await;
        drop(tape);
        until(|| last(&held, |piece| piece.last)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_refuses_for_good_is_not_waited_for() {
    for why in [Untold::Refused("permission denied (403)".into()), Untold::Unfit("a piece is too long (413)".into())] {
        let held = Stub::default();
        let tape = begin(&held).await.unwrap();
        let refusal = why.clone();
        held.says(move |_| Err(refusal.clone()));
        assert_eq!(begin(&held).await.err().unwrap(), why);
        let ((mut person, client), (_pod, server)) = (duplex(1 << 16), duplex(1 << 16));
        person.write_all(&frame(0, b"x")).await.unwrap();
        let start = Instant::now();
        let told = tape.carry(Wire::Channels, client, server).await.unwrap_err().to_string();
        assert!(told.contains(&why.to_string()), "{told}");
        assert!(start.elapsed() < HOLD, "cut after {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_recording_that_is_full_has_its_end() {
    let held = Stub::default();
    let tape = begin(&held).await.unwrap();
    held.says(|told| match told {
        Told::Piece(piece) if piece.last => Ok(()),
        _ => Err(Untold::Unfit("this one is full (400)".into())),
    });
    let ((mut person, client), (_pod, server)) = (duplex(1 << 16), duplex(1 << 16));
    person.write_all(&frame(0, b"x")).await.unwrap();
    assert!(tape.carry(Wire::Channels, client, server).await.unwrap_err().to_string().contains("full"));
    until(|| held.pieces().len() == 2).await;
    let pieces = held.pieces();
    let end = pieces.last().unwrap();
    assert!(end.last && end.number == 1 && end.cast.is_empty(), "{end:?}");
}

type Trouble = fn(&Stub);

/// A server that says nothing is waited for a while before; one that says that it cannot write is taken at its word.
#[tokio::test(start_paused = true)]
async fn a_session_stands_still_until_the_server_has_what_passed_and_is_not_cut() {
    let is_slow = |held: &Stub| held.is_late(HOLD * 3);
    let cannot_write = |held: &Stub| held.says(|_| Err(unable()));
    let cases: [(Trouble, Duration); 2] = [(is_slow, HOLD), (cannot_write, Duration::ZERO)];
    for (trouble, grace) in cases {
        let held = Stub::default();
        let tape = begin(&held).await.unwrap();
        let ((mut person, client), (mut pod, server)) = (duplex(1 << 16), duplex(1 << 16));
        let session = tokio::spawn(async move { tape.carry(Wire::Channels, client, server).await });
        trouble(&held);
        let mut seen = [0; 6];
        pod.write_all(&frame(1, b"one")).await.unwrap();
        person.read_exact(&mut seen).await.unwrap();
        tokio::time::sleep(grace + GATHER * 2).await;
        pod.write_all(&frame(1, b"two")).await.unwrap();
        let early = timeout(HOLD, person.read_exact(&mut seen)).await;
        assert!(early.is_err(), "something passed while the server did not have what passed before");
        held.takes_all();
        person.read_exact(&mut seen).await.unwrap();
        assert_eq!(&seen[3..], b"two");
        drop((person, pod));
        let _ = session.await.unwrap();
        until(|| last(&held, |piece| piece.last)).await;
        let cast: String = held.pieces().iter().map(|piece| piece.cast.clone()).collect();
        assert!(cast.contains("one") && cast.contains("two"), "{cast}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_is_cut() {
    let held = Stub::default();
    for wire in [Wire::Channels, Wire::Spdy] {
        let tape = begin(&held).await.unwrap();
        let ((mut person, client), (_pod, server)) = (duplex(1 << 16), duplex(1 << 16));
        person.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
        assert!(tape.carry(wire, client, server).await.is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn a_person_writes_nothing_that_looks_as_if_it_was_shown() {
    let held = Stub::default();
    for channel in [1, 2, 3] {
        let tape = begin(&held).await.unwrap();
        let ((mut person, client), (mut pod, server)) = (duplex(1 << 16), duplex(1 << 16));
        person.write_all(&frame(channel, b"all is well\n")).await.unwrap();
        let cut = tape.carry(Wire::Channels, client, server).await;
        assert!(cut.unwrap_err().to_string().contains("only read"), "{channel}");
        let mut got = Vec::new();
        pod.read_to_end(&mut got).await.unwrap();
        assert!(got.is_empty());
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!held.pieces().iter().any(|piece| piece.cast.contains("all is well")));
}
