//! Texts that stand for something else: spans of time, sizes, levels.

use std::time::Duration;

/// Reads a span of time: whole seconds (`30`, `"30"`), or numbers with units one after the other (`"1h30m"`, `"1.5s"`,
/// `"300ms"`, `"30d"`). Units: ns, us, ms, s, m, h, d. At most 100 years.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    const HELP: &str = "write seconds (30) or numbers with units: \"90s\", \"1h30m\", \"30d\"";
    let text = text.trim();
    if let Some(rest) = text.strip_prefix('-') {
        return Err(if duration(rest).is_ok() { "a span of time cannot be negative".into() } else { HELP.into() });
    }
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text
            .parse()
            .ok()
            .map(Duration::from_secs)
            .and_then(bounded)
            .ok_or_else(|| "more than 100 years".into());
    }
    let (mut rest, mut total) = (text, Duration::ZERO);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).ok_or(HELP)?;
        let (number, tail) = rest.split_at(digits);
        let letters = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let number: f64 = number.parse().map_err(|_| HELP)?;
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86400.0,
            _ => return Err(format!("{unit:?} is no unit of time: {HELP}")),
        };
        let part = Duration::try_from_secs_f64(number * seconds).map_err(|_| HELP)?;
        total = total.checked_add(part).and_then(bounded).ok_or("more than 100 years")?;
        rest = tail;
    }
    if text.is_empty() { Err(HELP.into()) } else { Ok(total) }
}

fn bounded(time: Duration) -> Option<Duration> {
    (time <= Duration::from_secs(100 * 366 * 86400)).then_some(time)
}

/// Reads a size: bytes (`33554432`), or with a unit (`"32MiB"`, `"512k"`). Units count in 1024, as OpenBao's do.
///
/// # Errors
/// A sentence that says what is wrong.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const HELP: &str = "write bytes (33554432) or a size: \"512KiB\", \"32MiB\", \"1GiB\"";
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| HELP)?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        _ => return Err(HELP.into()),
    };
    number.checked_mul(1 << shift).ok_or_else(|| "larger than this machine can count".into())
}

/// Reads true or false, also as a text or a number, as OpenBao does.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.trim() {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" | "" => Some(false),
        _ => None,
    }
}

/// The nearest of some names, when it is near enough to be meant.
pub(super) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (name.len() / 3).clamp(1, 3);
    names
        .into_iter()
        .filter(|n| n.len().abs_diff(name.len()) <= limit)
        .map(|n| (distance(name, n), n))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, n)| n)
}

/// Levenshtein's distance in bytes. Names of settings are short; longer ones are cut.
fn distance(left: &str, right: &str) -> usize {
    let (left, right) = (left.as_bytes(), right.as_bytes());
    let (left, right) = (&left[..left.len().min(64)], &right[..right.len().min(64)]);
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.iter().enumerate() {
        let mut corner = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in right.iter().enumerate() {
            let above = row[j + 1];
            row[j + 1] = (corner + usize::from(a != b)).min(above + 1).min(row[j] + 1);
            corner = above;
        }
    }
    row[right.len()]
}
