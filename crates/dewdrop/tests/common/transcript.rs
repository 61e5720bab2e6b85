//! Commands and what they print, as golden files hold them.

/// Output that looks like one of our own marks is set off from them.
pub fn shield(mark: &str, line: &str) -> String {
    if mark.is_empty() && line.starts_with(['$', '#', '!']) { format!("\\{line}") } else { line.to_owned() }
}

/// Splits at spaces; single quotes keep them.
pub fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    words.retain(|w| !w.is_empty());
    words
}

/// Replaces what differs from run to run, keeping columns readable.
pub fn hide(text: &str, address: &str) -> String {
    let text = text.replace(address, "ADDRESS");
    let mut out = String::new();
    let mut word = String::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':' | '+');
    for c in text.chars().chain(std::iter::once('\0')) {
        if is_word(c) {
            word.push(c);
            continue;
        }
        out.push_str(mask(&word));
        word.clear();
        if c != '\0' {
            out.push(c);
        }
    }
    out
}

fn mask(word: &str) -> &str {
    let hex = |part: &str, length: usize| part.len() == length && part.chars().all(|c| c.is_ascii_hexdigit());
    let parts: Vec<&str> = word.split('-').collect();
    let uuid =
        matches!(parts.as_slice(), [a, b, c, d, e] if hex(a, 8) && hex(b, 4) && hex(c, 4) && hex(d, 4) && hex(e, 12));
    let mixed = |text: &str| {
        text.chars().all(|c| c.is_ascii_alphanumeric())
            && text.chars().any(|c| c.is_ascii_uppercase())
            && text.chars().any(|c| c.is_ascii_lowercase())
    };
    let time = word.len() >= 19 && word.as_bytes()[4] == b'-' && word.as_bytes()[10] == b'T' && word.ends_with('Z');
    let token = word.strip_prefix("s.").or_else(|| word.strip_prefix("hvs.")).is_some_and(|t| t.len() >= 24);
    let accessor = word.rsplit_once('_').is_some_and(|(_, tail)| hex(tail, 8));
    match () {
        () if uuid => "UUID",
        () if time => "TIME",
        () if token => "TOKEN",
        () if accessor => "MOUNT_ACCESSOR",
        () if word.len() == 24 && mixed(word) => "ACCESSOR",
        () if word.len() == 10 && word.starts_with("1") && word.chars().all(|c| c.is_ascii_digit()) => "SECONDS",
        () => word,
    }
}

/// Where two transcripts part.
pub fn difference(written: &str, played: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (written.lines().collect(), played.lines().collect());
    let first = old.iter().zip(&new).position(|(a, b)| a != b).unwrap_or(old.len().min(new.len()));
    let command = new[..first.min(new.len())].iter().rev().find(|l| l.starts_with('$')).unwrap_or(&"(start)");
    let piece = |lines: &[&str]| lines.iter().skip(first).take(12).map(|l| format!("    {l}\n")).collect::<String>();
    format!("  after {command}\n  line {}, written:\n{}  printed:\n{}", first + 1, piece(&old), piece(&new))
}
