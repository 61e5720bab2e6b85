//! Durations as people write and read them: `90s`, `1h30m`, `2d`.

use crate::failure::{Failure, Result};

/// Seconds, from `1h30m`, `45s`, `2d` or a bare number of seconds. Parts of a second are rounded up.
pub fn seconds(text: &str) -> Result<u64> {
    let bad = || Failure::usage(format!("invalid duration {text:?}")).hint("write it as 30s, 5m, 1h30m or 2d");
    let text = text.trim();
    if let Ok(bare) = text.parse::<u64>() {
        return Ok(bare);
    }
    let mut total = 0f64;
    let mut rest = text;
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(bad)?;
        let count: f64 = rest[..digits].parse().map_err(|_| bad())?;
        rest = &rest[digits..];
        let (unit, factor) = [
            ("ms", 0.001),
            ("us", 1e-6),
            ("µs", 1e-6),
            ("ns", 1e-9),
            ("s", 1.0),
            ("m", 60.0),
            ("h", 3600.0),
            ("d", 86400.0),
        ]
        .into_iter()
        .find(|(unit, _)| rest.starts_with(unit))
        .ok_or_else(bad)?;
        total += count * factor;
        rest = &rest[unit.len()..];
    }
    // 290 years are what the API can hold.
    if !(0.0..9.2e9).contains(&total) {
        return Err(bad());
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "checked to be in range just above")]
    Ok(total.ceil() as u64)
}

/// A duration for the API: whole seconds with their unit.
pub fn for_api(text: &str) -> Result<String> {
    Ok(format!("{}s", seconds(text)?))
}

/// Seconds as people read them: `1h`, `25h1m1s`, `0s`.
#[must_use]
pub fn human(seconds: i64) -> String {
    if seconds == 0 {
        return "0s".into();
    }
    let sign = if seconds < 0 { "-" } else { "" };
    let all = seconds.unsigned_abs();
    let mut text = String::from(sign);
    for (count, unit) in [(all / 3600, 'h'), (all / 60 % 60, 'm'), (all % 60, 's')] {
        if count > 0 {
            text.push_str(&format!("{count}{unit}"));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read() {
        for (text, wanted) in
            [("60", 60), ("90s", 90), ("1h30m", 5400), ("2d", 172_800), ("1.5h", 5400), ("10ms", 1), ("0s", 0)]
        {
            assert_eq!(seconds(text).unwrap(), wanted, "{text}");
        }
        for text in ["", "h", "1y", "-5s", "1h30", "99999999d", "1e9h", "abc"] {
            assert!(seconds(text).is_err(), "{text} was taken");
        }
    }

    #[test]
    fn durations_are_shown_as_in_bao() {
        for (secs, wanted) in
            [(0, "0s"), (3600, "1h"), (90_061, "25h1m1s"), (3599, "59m59s"), (-5, "-5s"), (2_764_800, "768h")]
        {
            assert_eq!(human(secs), wanted);
        }
    }
}
