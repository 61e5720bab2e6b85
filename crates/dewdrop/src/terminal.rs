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

/// JSON in which nothing moves a terminal either: what is not harmless is escaped, and JSON reads it as the same.
#[must_use]
pub fn harmless_json(json: &str) -> String {
    let mut told = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' | '\t' => told.push(c),
            c if harmless(c) != c => told.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => told.push(c),
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_says_the_same_and_moves_nothing() {
        let text = "a\u{9b}2J\u{202e}b\u{7f}\u{9d}52;c;x\u{9c}é\t\n";
        let json = serde_json::to_string_pretty(&[text]).unwrap();
        let told = harmless_json(&json);
        assert_eq!(serde_json::from_str::<Vec<String>>(&told).unwrap(), [text]);
        assert!(told.chars().all(|c| c == '\n' || harmless(c) == c), "{told}");
        assert!(json.contains('\u{9b}'), "as JSON is written otherwise");
    }

    #[test]
    fn nothing_moves() {
        let text: String = "a\x1b[2Jb\r\u{9b}c\u{202e}d\te\u{7f}é".chars().map(harmless).collect();
        assert_eq!(text, "a\u{fffd}[2Jb\u{fffd}\u{fffd}c\u{fffd}d e\u{fffd}é");
    }
}
