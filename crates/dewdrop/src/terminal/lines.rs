//! The text of a session, line by line, as whoever watched would have read it: escape sequences are passed over, and what
//! moves the cursor elsewhere ends a line.

use super::harmless;
use super::parse::{Parser, Token};

/// A line that is longer is told in parts that overlap, so that no word is cut in all of them.
const LONGEST: usize = 8 << 10;
const OVERLAP: usize = 1 << 10;

/// Collects lines.
#[derive(Debug, Default)]
pub struct Lines {
    parser: Parser,
    line: String,
    /// When its first character came.
    began: f64,
    /// A carriage return came: a line feed ends the line, anything else writes over it.
    returned: bool,
}

impl Lines {
    /// Takes a piece that came at a time; tells each line that ended, with the time of its first character.
    pub fn read(&mut self, at: f64, bytes: &[u8], each: &mut impl FnMut(f64, &str)) {
        let Self { parser, line, began, returned } = self;
        parser.read(bytes, &mut |token| take(line, began, returned, at, &token, each));
    }

    /// Tells what was left unfinished.
    pub fn end(&mut self, each: &mut impl FnMut(f64, &str)) {
        tell(&mut self.line, self.began, each);
    }
}

fn take(
    line: &mut String,
    began: &mut f64,
    returned: &mut bool,
    at: f64,
    token: &Token<'_>,
    each: &mut impl FnMut(f64, &str),
) {
    if std::mem::take(returned) && *token != Token::Control(b'\r') {
        tell(line, *began, each);
    }
    if line.is_empty() {
        *began = at;
    }
    match *token {
        Token::Print(c) => line.push(harmless(c)),
        Token::Control(b'\t') => line.push(' '),
        Token::Control(b'\r') => *returned = true,
        Token::Control(0x08) => {
            line.pop();
        }
        Token::Control(b'\n' | 0x0b | 0x0c) => tell(line, *began, each),
        // To the right is as blanks are.
        Token::Csi(between, b'C') => {
            let count = std::str::from_utf8(between).ok().and_then(|text| text.parse().ok()).unwrap_or(1usize);
            line.extend(std::iter::repeat_n(' ', count.min(200)));
        }
        Token::Csi(_, b'A' | b'B' | b'E' | b'F' | b'G' | b'H' | b'J' | b'd' | b'f') => tell(line, *began, each),
        Token::Csi(..) | Token::Escape(..) | Token::Control(_) | Token::Other => {}
    }
    if line.len() > LONGEST {
        each(*began, line);
        let from = (line.len() - OVERLAP..line.len()).find(|at| line.is_char_boundary(*at)).unwrap_or(line.len());
        line.drain(..from);
        *began = at;
    }
}

fn tell(line: &mut String, began: f64, each: &mut impl FnMut(f64, &str)) {
    if !line.is_empty() {
        each(began, line);
    }
    line.clear();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pieces: &[&[u8]]) -> Vec<(f64, String)> {
        let (mut lines, mut told) = (Lines::default(), Vec::new());
        for (piece, at) in pieces.iter().zip(1..) {
            lines.read(f64::from(at), piece, &mut |at, line| told.push((at, line.to_owned())));
        }
        lines.end(&mut |at, line| told.push((at, line.to_owned())));
        told
    }

    fn texts(pieces: &[&[u8]]) -> Vec<String> {
        read(pieces).into_iter().map(|(_, line)| line).collect()
    }

    #[test]
    fn as_it_would_be_read() {
        assert_eq!(texts(&[b"\x1b[1mpass\x1b[31mword\x1b[0m\r\nx"]), ["password", "x"]);
        assert_eq!(texts(&[b"pass\x1b[3", b"1mword\n"]), ["password"]);
        assert_eq!(texts(&[b"paas\x08\x08ss\n"]), ["pass"]);
        assert_eq!(texts(&[b" 10%\r 20%\r\n"]), [" 10%", " 20%"]);
        assert_eq!(texts(&[b"a\x1b[5Cb\x1b[2;1Hc"]), ["a     b", "c"]);
        assert_eq!(texts(&[b"\x1b]0;title\x07text"]), ["text"]);
        assert_eq!(read(&[b"a", b"b\nc", b"d"]), [(1.0, "ab".to_owned()), (2.0, "cd".to_owned())]);
    }

    #[test]
    fn a_word_in_a_line_without_end_is_in_one_of_its_parts() {
        for at in LONGEST - 5..LONGEST + 5 {
            let text = [vec![b'x'; at], b"needle".to_vec(), vec![b'y'; 20_000]].concat();
            assert!(texts(&[&text]).iter().any(|line| line.contains("needle")), "{at}");
        }
    }
}
