//! A terminal's input as a terminal takes it apart (ECMA-48, as xterm reads it): characters, controls, escape sequences, and
//! strings for the terminal itself. Sequences may be cut anywhere between two pieces.

/// What a piece of the stream is.
#[derive(Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A character.
    Print(char),
    /// A control below 0x20, or DEL.
    Control(u8),
    /// `ESC [ ... final`: everything between, and the final byte.
    Csi(&'a [u8], u8),
    /// `ESC ... final`: everything between, and the final byte.
    Escape(&'a [u8], u8),
    /// A string for the terminal (OSC, DCS, APC, PM, SOS), a control of 8 bits, bytes that are no text, a sequence that is
    /// too long.
    Other,
}

/// The longest sequence that is kept.
const LONGEST: usize = 64;

const ESC: u8 = 0x1b;
const BEL: u8 = 0x07;

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Ground,
    Escape,
    Csi,
    /// A string; the flag: ESC was read in it.
    Text(bool),
    /// The rest of a character of several bytes.
    Character(usize),
}

/// Reads a stream.
#[derive(Debug, Default)]
pub struct Parser {
    state: State,
    held: Vec<u8>,
    too_long: bool,
}

impl Parser {
    /// Takes a piece of the stream.
    pub fn read(&mut self, bytes: &[u8], each: &mut impl FnMut(Token<'_>)) {
        bytes.iter().for_each(|byte| self.byte(*byte, each));
    }

    fn byte(&mut self, byte: u8, each: &mut impl FnMut(Token<'_>)) {
        match self.state {
            State::Ground => self.ground(byte, each),
            State::Character(missing) => self.character(byte, missing, each),
            State::Text(escaped) => self.text(byte, escaped, each),
            // CAN and SUB end a sequence; ESC begins another.
            State::Escape | State::Csi if matches!(byte, 0x18 | 0x1a) => self.begin(State::Ground),
            State::Escape | State::Csi if byte == ESC => self.begin(State::Escape),
            // Controls within a sequence are done at once.
            State::Escape | State::Csi if byte < 0x20 || byte == 0x7f => each(Token::Control(byte)),
            State::Escape => self.escape(byte, each),
            State::Csi => self.csi(byte, each),
        }
    }

    fn begin(&mut self, state: State) {
        self.state = state;
        self.held.clear();
        self.too_long = false;
    }

    fn hold(&mut self, byte: u8) {
        if self.held.len() < LONGEST {
            self.held.push(byte);
        } else {
            self.too_long = true;
        }
    }

    fn ground(&mut self, byte: u8, each: &mut impl FnMut(Token<'_>)) {
        match byte {
            ESC => self.begin(State::Escape),
            0x00..0x20 | 0x7f => each(Token::Control(byte)),
            0x20..0x7f => each(Token::Print(char::from(byte))),
            _ => {
                let missing = match byte {
                    0xc2..=0xdf => 1,
                    0xe0..=0xef => 2,
                    0xf0..=0xf4 => 3,
                    _ => return each(Token::Other),
                };
                self.begin(State::Character(missing));
                self.hold(byte);
            }
        }
    }

    fn character(&mut self, byte: u8, missing: usize, each: &mut impl FnMut(Token<'_>)) {
        if !(0x80..0xc0).contains(&byte) {
            each(Token::Other);
            self.begin(State::Ground);
            return self.ground(byte, each);
        }
        self.hold(byte);
        if missing > 1 {
            self.state = State::Character(missing - 1);
            return;
        }
        let read = std::str::from_utf8(&self.held).ok().and_then(|text| text.chars().next());
        // Controls of 8 bits do what escape sequences do; the string that one opens is passed over as well.
        let next = match read {
            Some('\u{90}' | '\u{98}' | '\u{9d}'..='\u{9f}') => State::Text(false),
            Some('\u{9b}') => State::Csi,
            _ => State::Ground,
        };
        match read {
            Some(c) if !c.is_control() => each(Token::Print(c)),
            _ => each(Token::Other),
        }
        self.begin(next);
        // What such a CSI says is not shown: it is too long from the start.
        self.too_long = next == State::Csi;
    }

    fn escape(&mut self, byte: u8, each: &mut impl FnMut(Token<'_>)) {
        match byte {
            b'[' if self.held.is_empty() => self.begin(State::Csi),
            b'P' | b'X' | b']' | b'^' | b'_' if self.held.is_empty() => self.begin(State::Text(false)),
            0x20..0x30 => self.hold(byte),
            0x30..0x7f => {
                each(if self.too_long { Token::Other } else { Token::Escape(&self.held, byte) });
                self.begin(State::Ground);
            }
            _ => {
                each(Token::Other);
                self.begin(State::Ground);
            }
        }
    }

    fn csi(&mut self, byte: u8, each: &mut impl FnMut(Token<'_>)) {
        match byte {
            0x20..0x40 => self.hold(byte),
            0x40..0x7f => {
                each(if self.too_long { Token::Other } else { Token::Csi(&self.held, byte) });
                self.begin(State::Ground);
            }
            _ => {
                each(Token::Other);
                self.begin(State::Ground);
            }
        }
    }

    /// BEL ends a string, and so does `ESC \`; any other ESC ends it as well and begins something new.
    fn text(&mut self, byte: u8, escaped: bool, each: &mut impl FnMut(Token<'_>)) {
        match (byte, escaped) {
            (b'\\', true) | (BEL | 0x18 | 0x1a, false) => {
                each(Token::Other);
                self.begin(State::Ground);
            }
            // The end of a string as a control of 8 bits.
            (0x9c, false) if self.held.last() == Some(&0xc2) => {
                each(Token::Other);
                self.begin(State::Ground);
            }
            (ESC, false) => self.state = State::Text(true),
            (_, true) => {
                each(Token::Other);
                self.begin(State::Escape);
                self.byte(byte, each);
            }
            _ => {
                self.held.clear();
                self.held.push(byte);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<String> {
        let (mut parser, mut told) = (Parser::default(), Vec::new());
        for piece in pieces {
            parser.read(piece, &mut |token| told.push(format!("{token:?}")));
        }
        told
    }

    #[test]
    fn as_a_terminal_reads_it() {
        assert_eq!(read(&[b"a\r"]), ["Print('a')", "Control(13)"]);
        assert_eq!(read(&[b"\x1b[1;3", b"1mx"]), ["Csi([49, 59, 51, 49], 109)", "Print('x')"]);
        assert_eq!(read(&[b"\x1b(B", b"\x1b7"]), ["Escape([40], 66)", "Escape([], 55)"]);
        assert_eq!(read(&[b"\x1b]52;c;ZXZpbA==\x07z"]), ["Other", "Print('z')"]);
        assert_eq!(read(&[b"\x1b]0;title\x1b", b"\\z"]), ["Other", "Print('z')"]);
        assert_eq!(read(&[b"\x1b_Gf=24;\x1b[31mz"]), ["Other", "Csi([51, 49], 109)", "Print('z')"]);
        assert_eq!(read(&["é".as_bytes().split_at(1).0, "é".as_bytes().split_at(1).1]), ["Print('é')"]);
        assert_eq!(read(&[b"\xff\xc3x"]), ["Other", "Other", "Print('x')"]);
        assert_eq!(read(&["\u{9b}2Jx".as_bytes()]), ["Other", "Other", "Print('x')"]);
        assert_eq!(read(&["\u{9d}52;c;x\x07y".as_bytes()]), ["Other", "Other", "Print('y')"]);
        assert_eq!(read(&["\x1b]0;x\u{9c}y".as_bytes()]), ["Other", "Print('y')"]);
        let long = [&b"\x1b["[..], &[b'1'; 100], b"mx"].concat();
        assert_eq!(read(&[&long]), ["Other", "Print('x')"]);
    }
}
