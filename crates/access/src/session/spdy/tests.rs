use proptest::prelude::*;

use super::*;

/// Streams as zlib (Python's, with the dictionary) compresses their headers, one after the other: 1 error, 3 stdin, 5 stdout,
/// 7 stderr, 9 resize.
const OPENED: [&str; 5] = [
    "80030001000000280000000100000000000078f9e3c6a7c202a62346703a2b294a4dcc851625aca9a08006000000ffff",
    "800300010000001700000003000000000000c22e555c02cc2e00000000ffff",
    "800300010000001900000005000000000000c22a054ce729f9a52500000000ffff",
    "800300010000001400000007000000000000c229073414000000ffff",
    "800300010000001700000009000000000000c22e072c9a806901000000ffff",
];

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn opened() -> Vec<u8> {
    bytes(&OPENED.concat())
}

fn data(stream: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&stream.to_be_bytes()[..], &[flags], &length[1..], payload].concat()
}

fn control(kind: u16, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&[0x80, 0x03][..], &kind.to_be_bytes(), &[0], &length[1..], payload].concat()
}

type Told = Vec<(u8, Vec<u8>)>;

fn read(side: &mut Spdy, stream: &[u8], size: usize) -> Result<Told, Unreadable> {
    let mut told: Told = Vec::new();
    for bytes in stream.chunks(size) {
        side.read(bytes, |channel, piece| match told.last_mut() {
            Some((last, said)) if *last == channel => said.extend_from_slice(piece),
            _ => told.push((channel, piece.to_vec())),
        })?;
    }
    Ok(told)
}

#[test]
fn streams_are_what_their_headers_say() {
    for size in [1, 3, 7, 64, 10_000] {
        let [mut person, mut pod] = Spdy::pair();
        let mut sent = opened();
        sent.extend(control(6, &[0, 0, 0, 1]));
        sent.extend(data(3, 0, b"id\n"));
        sent.extend(data(9, 0, br#"{"Width":1,"Height":2}"#));
        sent.extend(data(3, FIN, b""));
        let typed = read(&mut person, &sent, size).unwrap();
        assert_eq!(typed, [(0, b"id\n".to_vec()), (4, br#"{"Width":1,"Height":2}"#.to_vec())], "{size}");
        let mut answered = control(2, &[0, 0, 0, 1, 0x78]);
        answered.extend(data(5, 0, &[b'x'; 70_000]));
        answered.extend(data(7, 0, b"oops"));
        answered.extend(control(9, &[0; 8]));
        answered.extend(data(1, FIN, b"{}"));
        let seen = read(&mut pod, &answered, size).unwrap();
        assert_eq!(seen, [(1, vec![b'x'; 70_000]), (2, b"oops".to_vec()), (3, b"{}".to_vec())], "{size}");
    }
}

#[test]
fn what_could_be_read_in_two_ways_is_not_read() {
    let refused = |stream: &[u8]| {
        let [mut person, _] = Spdy::pair();
        read(&mut person, stream, 1000).unwrap_err()
    };
    refused(&data(3, 0, b"of no stream"));
    refused(&[opened(), data(11, 0, b"of no stream")].concat());
    refused(&[opened(), data(3, 0x02, b"compressed")].concat());
    refused(&[opened(), control(10, b"credential")].concat());
    refused(b"GET / HTTP/1.1\r\n");
    let mut old = bytes(OPENED[0]);
    old[1] = 2;
    refused(&old);
    // Streams whose headers are those that come next, with a number that is there already, or none.
    for number in [0u8, 1] {
        let mut again = bytes(OPENED[1]);
        again[11] = number;
        refused(&[bytes(OPENED[0]), again].concat());
    }
    // The API server reads as much of these as their kind has, and what follows as frames: to us it would be theirs.
    for kind in [3, 6, 7, 9] {
        refused(&[opened(), control(kind, &[0, 0, 0, 1, 0, 0, 0, 1, 0]), data(3, 0, b"id\n")].concat());
    }
    refused(&[opened(), control(4, &[0, 0, 0, 0])].concat());
    // Compressed on their own, where one stream of them was agreed upon.
    refused(&[bytes(OPENED[0]), bytes(OPENED[0])].concat());
}

/// A block that is not compressed, after those that were.
fn stored(plain: &[u8]) -> Vec<u8> {
    let length = u16::try_from(plain.len()).unwrap();
    [&[0][..], &length.to_le_bytes(), &(!length).to_le_bytes(), plain].concat()
}

#[test]
fn a_block_of_headers_says_no_more_than_headers() {
    let headers = |plain: &[u8]| [opened(), control(8, &[&[0, 0, 0, 3][..], &stored(plain)].concat())].concat();
    let sent = |plain: &[u8]| read(&mut Spdy::pair()[0], &[headers(plain), data(3, 0, b"id\n")].concat(), 1000);
    let none = [0, 0, 0, 0];
    assert_eq!(sent(&none), Ok(vec![(0, b"id\n".to_vec())]));
    // The API server would find the stream's kind here, and not where it is said.
    let more = b"\0\0\0\x02\0\0\0\x0astreamtype\0\0\0\x05stdin\0\0\0\x01";
    assert_eq!(sent(&[&none[..], more].concat()), Err(Unreadable));
    assert_eq!(sent(&[0, 0, 0, 1]), Err(Unreadable), "headers that are not there");
}

#[test]
fn only_the_person_opens_streams() {
    let [_, mut pod] = Spdy::pair();
    assert_eq!(read(&mut pod, &bytes(OPENED[0]), 1000), Err(Unreadable));
}

#[test]
fn a_stream_says_once_what_it_carries() {
    let block = |pairs: &[(&str, &str)]| {
        let mut bytes = u32::try_from(pairs.len()).unwrap().to_be_bytes().to_vec();
        for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
            bytes.extend(u32::try_from(text.len()).unwrap().to_be_bytes());
            bytes.extend(text.bytes());
        }
        bytes
    };
    let channel_of = |block: &[u8]| headers_of(block).and_then(|headers| channel_of(&headers));
    assert_eq!(channel_of(&block(&[("port", "1"), ("streamtype", "stdout")])), Some(1));
    assert_eq!(channel_of(&block(&[("StreamType", "stdin")])), Some(0));
    for pairs in [
        &[("streamtype", "data")][..],
        &[("streamtype", "stdin\0stdout")],
        &[("streamtype", "stdin"), ("streamtype", "stdout")],
        &[("port", "1")],
    ] {
        assert_eq!(channel_of(&block(pairs)), None, "{pairs:?}");
    }
    assert_eq!(channel_of(&[block(&[("streamtype", "stdin")]), vec![0]].concat()), None);
}

proptest! {
    #[test]
    fn whatever_comes_is_read_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
        let whole = read(&mut Spdy::pair()[0], &stream, 300);
        prop_assert_eq!(read(&mut Spdy::pair()[0], &stream, size), whole);
    }

    #[test]
    fn blocks_that_are_broken_are_read_or_refused(at in 0usize..220, byte: u8) {
        let mut stream = opened();
        if let Some(there) = stream.get_mut(at) {
            *there = byte;
        }
        let whole = read(&mut Spdy::pair()[0], &stream, 300);
        prop_assert_eq!(read(&mut Spdy::pair()[0], &stream, 3), whole);
    }
}
