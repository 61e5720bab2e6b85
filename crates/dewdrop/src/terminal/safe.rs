//! A stream without what could reach beyond the picture: no clipboard, no title, no questions that the terminal would answer
//! by typing, no mouse or keyboard modes, no strings for the terminal, nothing that empties its history.

use super::harmless;
use super::parse::{Parser, Token};

/// Private modes that only draw: origin, wrapping, the cursor, the other screen.
const MODES: [&[u8]; 7] = [b"?6", b"?7", b"?25", b"?47", b"?1047", b"?1048", b"?1049"];
/// Afterwards: attributes, scroll region, writing over, wrapping, the cursor, the first character set, the first screen.
const AFTERWARDS: &str = "\x1b[0m\x1b[r\x1b[4l\x1b[?6l\x1b[?7h\x1b[?25h\x1b(B\x1b[?1049l";

/// Makes a stream safe.
#[derive(Debug, Default)]
pub struct Safe {
    parser: Parser,
    drew: bool,
}

impl Safe {
    /// What may be shown of a piece.
    pub fn pass(&mut self, bytes: &[u8]) -> Vec<u8> {
        let (mut shown, mut drew) = (Vec::with_capacity(bytes.len()), false);
        self.parser.read(bytes, &mut |token| drew |= put(&mut shown, &token));
        self.drew |= drew;
        shown
    }

    /// What brings the terminal back to itself; nothing when only text was shown.
    #[must_use]
    pub fn end(&self) -> &'static str {
        if self.drew { AFTERWARDS } else { "" }
    }
}

/// Whether it was a sequence.
fn put(shown: &mut Vec<u8>, token: &Token<'_>) -> bool {
    match *token {
        Token::Print(c) => {
            shown.extend(harmless(c).encode_utf8(&mut [0; 4]).bytes());
            false
        }
        Token::Control(byte) => {
            if (0x08..=0x0d).contains(&byte) {
                shown.push(byte);
            }
            false
        }
        Token::Csi(between, end) if is_drawing(between, end) => {
            shown.extend_from_slice(b"\x1b[");
            shown.extend_from_slice(between);
            shown.push(end);
            true
        }
        Token::Escape(between, end) if is_known(between, end) => {
            shown.push(0x1b);
            shown.extend_from_slice(between);
            shown.push(end);
            true
        }
        Token::Csi(..) | Token::Escape(..) | Token::Other => false,
    }
}

fn is_drawing(between: &[u8], end: u8) -> bool {
    let numbers = between.iter().all(|byte| matches!(byte, b'0'..=b'9' | b';' | b':'));
    let small = between.split(|byte| !byte.is_ascii_digit()).all(|number| number.len() <= 4);
    match end {
        b'h' | b'l' => between == b"4" || MODES.contains(&between),
        // 3 would empty what scrolled away.
        b'J' => matches!(between, b"" | b"0" | b"1" | b"2"),
        // With more numbers this is about the mouse.
        b'S' | b'T' => numbers && small && !between.contains(&b';'),
        b's' | b'u' => between.is_empty(),
        b'A'..=b'I' | b'K'..=b'M' | b'P' | b'X' | b'Z' | b'@' | b'`' | b'a' | b'b' | b'd' | b'e' | b'f' | b'r' => {
            numbers && small
        }
        b'm' => numbers && small,
        _ => false,
    }
}

/// Save and restore the cursor, line feeds, and the sets of characters that draw boxes. Not where tabs stop: no sequence that
/// all terminals know brings that back.
fn is_known(between: &[u8], end: u8) -> bool {
    match between {
        b"" => matches!(end, b'7' | b'8' | b'D' | b'E' | b'M'),
        b"(" | b")" => matches!(end, b'B' | b'0'),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8]) -> String {
        String::from_utf8(Safe::default().pass(bytes)).unwrap()
    }

    #[test]
    fn what_draws_passes() {
        for drawn in [
            "plain é\r\n\t",
            "\x1b[1;31mred\x1b[0m",
            "\x1b[2J\x1b[H",
            "\x1b[?1049h\x1b[?25l",
            "\x1b[38:2::1:2:3m",
            "\x1b(0lqk\x1b(B",
            "\x1b7\x1b8",
        ] {
            assert_eq!(shown(drawn.as_bytes()), drawn);
        }
    }

    #[test]
    fn what_reaches_beyond_the_picture_does_not() {
        for (what, attack) in [
            ("clipboard", "\x1b]52;c;ZXZpbA==\x07"),
            ("title", "\x1b]2;x\x1b\\"),
            ("title read back", "\x1b[21t"),
            ("where the cursor is", "\x1b[6n"),
            ("what the terminal is", "\x1b[c\x1b[>c\x1b[=c\x1b[0c"),
            ("a setting read back", "\x1bP$qm\x1b\\"),
            ("a mode read back", "\x1b[?1$p"),
            ("a file as a picture", "\x1b_Ga=T,t=f;L2V0Yy9wYXNzd2Q=\x1b\\"),
            ("answerback", "\x05"),
            ("bell", "\x07"),
            ("mouse", "\x1b[?1000h\x1b[?1006h\x1b[1;2;3;4;5T"),
            ("keyboard", "\x1b[>1u\x1b[>4;2m\x1b[?2004h\x1b[?1h\x1b="),
            ("history", "\x1b[3J\x1bc"),
            ("8 bits", "\u{9d}52;c;x\x07\u{9b}6n"),
            ("link", "\x1b]8;;file:///x\x1b\\"),
            ("tabs", "\x1b[3g\x1bH\x1b[g"),
            ("a long repetition", "x\x1b[99999999b"),
        ] {
            let left = shown(attack.as_bytes());
            assert!(left.is_empty() || left == "x", "{what}: {left:?}");
        }
        assert_eq!(shown("a\u{202e}b".as_bytes()), "a\u{fffd}b");
    }

    #[test]
    fn pieces_make_no_difference_and_once_is_enough() {
        let mut random = 7u32;
        let alphabet = b"\x1b[]()?;0123456789mhlJHtn\\\x07\xc2\x9b\x9d\xe2\x80\xaePXx_^\x18u>$ c";
        for _ in 0..500 {
            let bytes: Vec<u8> = (0..60)
                .map(|_| {
                    random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    alphabet[(random >> 16) as usize % alphabet.len()]
                })
                .collect();
            let whole = Safe::default().pass(&bytes);
            let mut safe = Safe::default();
            let parts: Vec<u8> = bytes.chunks(7).flat_map(|part| safe.pass(part)).collect();
            assert_eq!(whole, parts, "{bytes:?}");
            assert_eq!(Safe::default().pass(&whole), whole, "{bytes:?}");
        }
    }

    #[test]
    fn the_terminal_is_itself_afterwards() {
        let mut safe = Safe::default();
        safe.pass(b"text\n");
        assert_eq!(safe.end(), "");
        safe.pass(b"\x1b[31m\x1b[4h");
        assert!(safe.end().contains("\x1b[0m") && safe.end().contains("\x1b[4l"));
    }
}
