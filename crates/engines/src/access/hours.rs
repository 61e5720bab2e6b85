//! When a role may be asked for: `mon-fri 08:00-18:00 +01:00`.

use dewdrop_core::Moment;

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES_OF_DAY: i64 = 24 * 60;

/// Days of the week, and minutes of the day, at an offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hours {
    days: [bool; 7],
    from: i64,
    to: i64,
    offset: i64,
}

// === impl Hours ===

impl Hours {
    /// Reads them: days (`mon-fri`, `sat,sun`), times, and an offset (`+01:00`; none: UTC).
    ///
    /// # Errors
    /// A sentence that shows the form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let bad = || "hours: write them as `mon-fri 08:00-18:00 +01:00`; without an offset they are in UTC".to_owned();
        let mut words = text.split_whitespace();
        let days = days(words.next().ok_or_else(bad)?).ok_or_else(bad)?;
        let (from, to) = words.next().and_then(|span| span.split_once('-')).ok_or_else(bad)?;
        let (from, to) = (minutes(from).ok_or_else(bad)?, minutes(to).ok_or_else(bad)?);
        let offset = match words.next() {
            None | Some("Z" | "UTC") => 0,
            Some(offset) => match offset.split_at_checked(1) {
                Some(("+", time)) => minutes(time).ok_or_else(bad)?,
                Some(("-", time)) => -minutes(time).ok_or_else(bad)?,
                _ => return Err(bad()),
            },
        };
        if from >= to || words.next().is_some() || offset.abs() > 14 * 60 {
            return Err(bad());
        }
        Ok(Self { days, from, to, offset })
    }

    /// Whether a moment lies within them.
    #[must_use]
    pub fn has(&self, now: Moment) -> bool {
        let local = i64::try_from(now.seconds() / 60).unwrap_or(i64::MAX / 2) + self.offset;
        let minute = local.rem_euclid(MINUTES_OF_DAY);
        // 1970-01-01 was a Thursday.
        let day = (local.div_euclid(MINUTES_OF_DAY) + 3).rem_euclid(7);
        let day = usize::try_from(day).ok().and_then(|day| self.days.get(day)).copied().unwrap_or(false);
        day && (self.from..self.to).contains(&minute)
    }
}

fn days(text: &str) -> Option<[bool; 7]> {
    let mut days = [false; 7];
    let at = |name: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (at(first)?, at(last)?);
        let mut day = first;
        loop {
            *days.get_mut(day)? = true;
            if day == last {
                break;
            }
            day = (day + 1) % 7;
        }
    }
    Some(days)
}

/// Minutes of `HH:MM`, up to `24:00`.
fn minutes(text: &str) -> Option<i64> {
    let (hours, minutes) = text.split_once(':')?;
    let number = |digits: &str| {
        let fits = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        fits.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= MINUTES_OF_DAY).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Moment {
        Moment::parse_rfc3339(text).unwrap()
    }

    #[test]
    fn days_times_and_offset() {
        let hours = Hours::parse("mon-fri 08:00-18:00 +01:00").unwrap();
        // A Monday.
        assert!(hours.has(at("2026-11-30T07:00:00Z")) && hours.has(at("2026-11-30T16:59:59Z")));
        assert!(!hours.has(at("2026-11-30T06:59:59Z")) && !hours.has(at("2026-11-30T17:00:00Z")));
        assert!(!hours.has(at("2026-11-28T12:00:00Z")), "a Saturday");
        // Sunday in UTC is Monday there.
        assert!(Hours::parse("mon 00:00-24:00 +14:00").unwrap().has(at("2026-11-29T12:00:00Z")));
        assert!(Hours::parse("sat-mon 00:00-24:00").unwrap().has(at("2026-11-29T12:00:00Z")));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "mon",
            "mon 8:00-18:00",
            "mon 18:00-08:00",
            "xyz 08:00-18:00",
            "mon 08:00-25:00",
            "mon 08:00-18:00 CET",
            "mon 08:00-18:00 + x",
            "mon 08:00-18:00 é",
        ] {
            assert!(Hours::parse(text).is_err(), "{text}");
        }
    }
}
