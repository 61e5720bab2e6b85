//! WebSocket frames (RFC 6455) of a stream that passes by. Nothing is held but what is unfinished of a header; payloads are
//! handed on as they come, each piece with the channel of its message.
//!
//! API servers (`golang.org/x/net/websocket`) take each frame for a message, also those that go on with one before, and of a
//! length in eight bytes they leave the first bit out. So messages in several frames and such lengths are not read: for us they
//! would be another stream than for the API server. No client of Kubernetes writes them.

/// The longest header: two bytes, eight of length, four of the mask.
const LONGEST: usize = 14;
/// The longest ping, pong or close.
const LONGEST_CONTROL: u64 = 125;
/// API servers take it for binary, so it is read as that: nothing goes round the recording as text.
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PONG: u8 = 0xa;
const FIN: u8 = 0x80;
/// The longest payload: the first bit of a length is none of it.
const MOST: u64 = u64::MAX >> 1;

/// One direction of a stream.
#[derive(Debug, Default)]
pub struct Frames {
    header: Vec<u8>,
    frame: Frame,
    /// The channel of the message under way; `None`: its first byte is still to come.
    channel: Option<u8>,
}

/// The frame under way.
#[derive(Debug, Default)]
struct Frame {
    left: u64,
    mask: Option<[u8; 4]>,
    at: usize,
    /// Whether it carries a message of channels (and not a ping, a pong or a close).
    carries: bool,
}

/// The stream is no WebSocket, or not one that we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream cannot be read as WebSocket frames")]
pub struct Unreadable;

// === impl Frames ===

impl Frames {
    /// Reads on. `piece` hears channel and bytes, in order.
    ///
    /// # Errors
    /// What comes is not what was agreed upon.
    pub fn read(&mut self, mut bytes: &[u8], mut piece: impl FnMut(u8, &[u8])) -> Result<(), Unreadable> {
        let mut plain = Vec::new();
        while !bytes.is_empty() {
            if self.frame.left == 0 {
                let Some((byte, rest)) = bytes.split_first() else { break };
                self.header.push(*byte);
                bytes = rest;
                self.open()?;
                continue;
            }
            let take = bytes.len().min(usize::try_from(self.frame.left).unwrap_or(usize::MAX));
            let (now, rest) = bytes.split_at(take);
            bytes = rest;
            self.frame.left -= take as u64;
            if self.frame.carries {
                plain.clear();
                plain.extend(now.iter().enumerate().map(|(n, byte)| byte ^ self.frame.masked(n)));
                self.tell(&plain, &mut piece);
            }
            self.frame.at += take;
        }
        Ok(())
    }

    fn tell(&mut self, mut plain: &[u8], piece: &mut impl FnMut(u8, &[u8])) {
        if self.channel.is_none()
            && let Some((channel, rest)) = plain.split_first()
        {
            self.channel = Some(*channel);
            plain = rest;
        }
        if let (Some(channel), false) = (self.channel, plain.is_empty()) {
            piece(channel, plain);
        }
    }

    /// Begins the frame when its header is whole.
    fn open(&mut self) -> Result<(), Unreadable> {
        let [first, second, more @ ..] = self.header.as_slice() else { return Ok(()) };
        let (is_masked, short) = (second & 0x80 != 0, second & 0x7f);
        let wide = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let needs = wide + if is_masked { 4 } else { 0 };
        if more.len() < needs {
            return if self.header.len() < LONGEST { Ok(()) } else { Err(Unreadable) };
        }
        // Compressed or otherwise extended: nothing of that was agreed upon.
        if first & 0x70 != 0 {
            return Err(Unreadable);
        }
        let (length, mask) = more.split_at(wide);
        let left = match wide {
            0 => u64::from(short),
            _ => length.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
        };
        let opcode = first & 0x0f;
        let carries = matches!(opcode, TEXT | BINARY);
        let is_control = (CLOSE..=PONG).contains(&opcode) && left <= LONGEST_CONTROL;
        if first & FIN == 0 || left > MOST || !(carries || is_control) {
            return Err(Unreadable);
        }
        let mask = mask.first_chunk::<4>().copied().filter(|_| is_masked);
        self.frame = Frame { left, mask, at: 0, carries };
        if carries {
            self.channel = None;
        }
        self.header.clear();
        Ok(())
    }
}

// === impl Frame ===

impl Frame {
    fn masked(&self, n: usize) -> u8 {
        self.mask.and_then(|mask| mask.get((self.at + n) % 4).copied()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a client or a server writes it.
    fn frame(opcode: u8, is_last: bool, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![opcode | if is_last { FIN } else { 0 }];
        let bit = if mask.is_some() { 0x80 } else { 0 };
        match payload.len() {
            n if n < 126 => bytes.push(bit | u8::try_from(n).unwrap()),
            n if n < 65536 => {
                bytes.push(bit | 126);
                bytes.extend(u16::try_from(n).unwrap().to_be_bytes());
            }
            n => {
                bytes.push(bit | 127);
                bytes.extend((n as u64).to_be_bytes());
            }
        }
        let mask = mask.inspect(|mask| bytes.extend(mask)).unwrap_or_default();
        bytes.extend(payload.iter().enumerate().map(|(n, byte)| byte ^ mask[n % 4]));
        bytes
    }

    /// What a stream says on each channel, read in pieces of a size.
    fn told(stream: &[u8], size: usize) -> Result<Vec<(u8, Vec<u8>)>, Unreadable> {
        let mut frames = Frames::default();
        let mut told: Vec<(u8, Vec<u8>)> = Vec::new();
        for bytes in stream.chunks(size) {
            frames.read(bytes, |channel, piece| match told.last_mut() {
                Some((last, said)) if *last == channel => said.extend_from_slice(piece),
                _ => told.push((channel, piece.to_vec())),
            })?;
        }
        Ok(told)
    }

    #[test]
    fn channels_in_pieces_of_any_size() {
        let mut stream = frame(BINARY, true, Some([1, 2, 3, 4]), b"\x00hello");
        stream.extend(frame(0x9, true, Some([9, 9, 9, 9]), b"ping"));
        stream.extend(frame(BINARY, true, None, b"\x01one "));
        stream.extend(frame(0xa, true, None, b""));
        stream.extend(frame(BINARY, true, None, b"\x01two"));
        stream.extend(frame(BINARY, true, None, b""));
        stream.extend(frame(BINARY, true, None, b"\x02"));
        stream.extend(frame(BINARY, true, None, &[&b"\x01"[..], &[b'x'; 70_000]].concat()));
        for size in [1, 2, 3, 7, 1000, 100_000] {
            let told = told(&stream, size).unwrap();
            let expected = [(0, b"hello".to_vec()), (1, [&b"one two"[..], &[b'x'; 70_000]].concat())];
            assert_eq!(told, expected, "{size}");
        }
    }

    #[test]
    fn text_does_not_go_round_it() {
        let stream = frame(TEXT, true, Some([1, 2, 3, 4]), b"\x00rm -rf /");
        assert_eq!(told(&stream, 5), Ok(vec![(0, b"rm -rf /".to_vec())]));
    }

    #[test]
    fn what_is_compressed_is_not_guessed_at() {
        assert_eq!(told(&[0xc2, 0x01, 0x00], 1), Err(Unreadable));
        assert_eq!(told(&frame(0x3, true, None, b"\x00x"), 1), Err(Unreadable), "a kind that nobody knows");
    }

    #[test]
    fn what_an_api_server_takes_for_other_messages_is_not_read() {
        let begun = frame(BINARY, false, Some([1, 2, 3, 4]), b"\x04");
        let typed = frame(0x0, true, Some([1, 2, 3, 4]), b"\x00rm -rf /\n");
        assert_eq!(told(&[begun, typed.clone()].concat(), 7), Err(Unreadable), "a message in two frames");
        assert_eq!(told(&typed, 7), Err(Unreadable), "what goes on with nothing");
        // Five bytes to the API server, which leaves the first bit out; to us it would never end.
        for opcode in [0x8a, 0x82] {
            let mut header = vec![opcode, 127, 0x80, 0, 0, 0, 0, 0, 0, 5];
            header.extend(b"\x04abcd");
            header.extend(frame(BINARY, true, None, b"\x00id\n"));
            assert_eq!(told(&header, 7), Err(Unreadable), "{opcode}");
        }
        assert_eq!(told(&frame(0x9, true, None, &[0; 126]), 7), Err(Unreadable), "a ping that is none");
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_or_refused(stream in proptest::collection::vec(any::<u8>(), 0..300), size in 1usize..50) {
            let whole = told(&stream, 300);
            prop_assert_eq!(told(&stream, size), whole);
        }

        #[test]
        fn every_message_is_told(messages in proptest::collection::vec((0u8..5, proptest::collection::vec(any::<u8>(), 1..400), any::<Option<[u8; 4]>>()), 0..8), size in 1usize..100) {
            let mut stream = Vec::new();
            let mut expected: Vec<(u8, Vec<u8>)> = Vec::new();
            for (channel, said, mask) in messages {
                stream.extend(frame(BINARY, true, mask, &[&[channel][..], &said].concat()));
                match expected.last_mut() {
                    Some((last, before)) if *last == channel => before.extend(said),
                    _ => expected.push((channel, said)),
                }
            }
            prop_assert_eq!(told(&stream, size), Ok(expected));
        }
    }
}
