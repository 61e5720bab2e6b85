//! What others wrote, on the terminal of whoever reads it: terminals obey what they print. `parse` reads a stream as a terminal
//! does, `safe` lets through what only draws, `lines` makes text of it.

pub mod lines;
mod parse;
pub mod safe;

/// A character that cannot move, colour or reorder anything: control characters and those that turn the direction of writing
/// become a sign of their own.
#[must_use]
pub fn harmless(c: char) -> char {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    match c {
        '\n' | '\t' => ' ',
        c if c.is_control() || turns => char::REPLACEMENT_CHARACTER,
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_moves() {
        let text: String = "a\x1b[2Jb\r\u{9b}c\u{202e}d\te\u{7f}é".chars().map(harmless).collect();
        assert_eq!(text, "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d e\u{fffd}é");
    }
}
