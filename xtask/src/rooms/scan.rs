//! A rough reading of Rust: the text with comments and the insides of strings blanked out, so that braces and words can be
//! counted. Not a parser; it knows just enough not to be fooled by what occurs in real code.

/// A file of Rust.
#[derive(Debug)]
pub struct Source {
    /// Path from the root of the repository.
    pub name: String,
    /// Number of lines.
    pub lines: usize,
    /// The text with comments and strings blanked out; every line is where it was.
    pub code: String,
}

/// A block in braces with a name: a function, trait or struct.
#[derive(Debug, PartialEq, Eq)]
pub struct Block<'a> {
    /// What stands before its keyword: attributes and visibility.
    pub before: &'a str,
    /// Its name.
    pub name: &'a str,
    /// The line of its keyword, from 1.
    pub line: usize,
    /// Lines from the keyword to the closing brace.
    pub lines: usize,
    /// What is between the braces.
    pub body: &'a str,
}

impl Source {
    /// Reads a file.
    pub fn new(name: String, text: String) -> Self {
        let (lines, code) = (text.lines().count(), blank(&text));
        Self { name, lines, code }
    }

    /// Every block that begins with a keyword: `fn`, `trait` or `struct`.
    pub fn blocks(&self, keyword: &str) -> Vec<Block<'_>> {
        words(&self.code).filter(|(_, word)| *word == keyword).filter_map(|(at, _)| self.block(at, keyword)).collect()
    }

    fn block(&self, at: usize, keyword: &str) -> Option<Block<'_>> {
        let after = self.code.get(at + keyword.len()..)?;
        let name = words(after).next().filter(|(gap, _)| after.get(..*gap).is_some_and(|g| g.trim().is_empty()))?.1;
        // The head ends at its body or, without one, at a semicolon outside of brackets (`[u8; 4]` has one within).
        let (mut depth, mut open) = (0_i32, None);
        for (offset, c) in after.char_indices() {
            match c {
                '(' | '[' => depth += 1,
                ')' | ']' => depth -= 1,
                '{' if depth == 0 => {
                    open = Some(offset);
                    break;
                }
                ';' if depth == 0 => return None,
                _ => {}
            }
        }
        let body_start = open? + 1;
        let body = inside(after.get(body_start..)?)?;
        let head = self.code.get(..at)?;
        let whole = self.code.get(at..at + keyword.len() + body_start + body.len())?;
        let before = head.get(head.rfind(['}', ';', '{']).map_or(0, |end| end + 1)..)?;
        let (line, lines) = (head.matches('\n').count() + 1, whole.matches('\n').count() + 1);
        Some(Block { before, name, line, lines, body })
    }
}

/// The text up to the brace that closes what is open at its start.
fn inside(text: &str) -> Option<&str> {
    let mut depth = 1_i32;
    let end = text.char_indices().find(|(_, c)| {
        depth += i32::from(*c == '{') - i32::from(*c == '}');
        depth == 0
    })?;
    text.get(..end.0)
}

/// What of a body lies in none of its own brackets. Angles count outside of braces only: inside, they also compare.
pub fn top_level(body: &str) -> String {
    let (mut braces, mut others) = (0_i32, 0_i32);
    let mut top = String::new();
    let mut before = ' ';
    for c in body.chars() {
        // `->` closes nothing.
        let is_arrow = before == '-' && c == '>';
        before = c;
        match c {
            '{' => braces += 1,
            '}' => braces -= 1,
            _ if braces > 0 || is_arrow => {}
            '(' | '[' | '<' => others += 1,
            ')' | ']' | '>' => others -= 1,
            _ if others == 0 => top.push(c),
            _ => {}
        }
    }
    top
}

/// The words of a text with their places.
pub fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..)?;
        let start = at + rest.find(is_word)?;
        let word = text.get(start..)?;
        let end = word.find(|c| !is_word(c)).unwrap_or(word.len());
        at = start + end;
        Some((start, word.get(..end)?))
    })
}

/// Blanks comments and the insides of strings and characters out, byte by byte.
fn blank(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = skip(&bytes, at);
        if end > at {
            let inside = bytes.get_mut(at..end.min(text.len())).unwrap_or_default();
            inside.iter_mut().filter(|b| **b != b'\n').for_each(|b| *b = b' ');
            at = end;
        } else {
            at += 1;
        }
    }
    // Only whole runs between ASCII marks were blanked, so this loses nothing.
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Where the comment or literal ends that begins here; `at` itself when none does.
fn skip(bytes: &[u8], at: usize) -> usize {
    let rest = bytes.get(at..).unwrap_or_default();
    match rest {
        [b'/', b'/', ..] => at + rest.iter().position(|b| *b == b'\n').unwrap_or(rest.len()),
        [b'/', b'*', ..] => at + comment(rest),
        [b'"', ..] => at + string(rest),
        [b'r', b'"' | b'#', ..] | [b'b', b'r', ..] if !follows_word(bytes, at) => at + raw_string(rest),
        [b'\'', ..] => at + character(rest),
        _ => at,
    }
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at.checked_sub(1).and_then(|before| bytes.get(before)).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
}

/// Length of a block comment; they nest.
fn comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match rest.get(at..at + 2) {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

/// Length of a string with escapes.
fn string(rest: &[u8]) -> usize {
    let mut at = 1;
    while let Some(byte) = rest.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// Length of `r"..."`, `r#"..."#`, `br"..."`; zero when it is none (`r#type`).
fn raw_string(rest: &[u8]) -> usize {
    let start = usize::from(rest.first() == Some(&b'b')) + 1;
    let hashes = rest.iter().skip(start).take_while(|b| **b == b'#').count();
    if rest.get(start + hashes) != Some(&b'"') {
        return 0;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let inside = rest.get(start + hashes + 1..).unwrap_or_default();
    let end = inside.windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| start + hashes + 1 + end + close.len())
}

/// Length of a character; zero when it is a lifetime.
fn character(rest: &[u8]) -> usize {
    match rest {
        [_, b'\\', ..] => rest.iter().skip(3).position(|b| *b == b'\'').map_or(0, |end| end + 4),
        // A character of up to four bytes, and the closing mark.
        _ => (2..=5)
            .find(|end| rest.get(*end) == Some(&b'\'') && is_one_char(rest.get(1..*end)))
            .map_or(0, |end| end + 1),
    }
}

fn is_one_char(bytes: Option<&[u8]>) -> bool {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).is_some_and(|text| text.chars().count() == 1)
}
