//! Schedules in the five fields of cron: minute, hour, day of the month, month, day of the week. In UTC. A field is `*`, a
//! number, a range `1-5`, a list `1,2,5`, each with a step `*/10`; months and week days may be named in three letters.
//! When both days are restricted, either will do, as cron has it.

use dewdrop_core::Moment;
use jiff::civil::{Date, DateTime, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
/// A day that comes at all comes within these: the 29th of February, over a year like 2100.
const DAYS_AHEAD: u32 = 9 * 366;

/// A schedule that comes again and again. Each field is a set of bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Schedule {
    minutes: u64,
    hours: u64,
    days: u64,
    months: u64,
    weekdays: u64,
    any_day: bool,
    any_weekday: bool,
}

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// A sentence that names the field, or says that the time never comes.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err("a schedule must have five fields: minute, hour, day of month, month, day of week".to_owned());
        };
        let weekdays = field("day of week", weekday, 0, 7, &DAYS, 0)?;
        let schedule = Self {
            minutes: field("minute", minute, 0, 59, &[], 0)?,
            hours: field("hour", hour, 0, 23, &[], 0)?,
            days: field("day of month", day, 1, 31, &[], 0)?,
            months: field("month", month, 1, 12, &MONTHS, 1)?,
            // Sunday is 0 and 7.
            weekdays: (weekdays | (weekdays >> 7)) & 0x7f,
            any_day: day.starts_with(['*', '?']),
            any_weekday: weekday.starts_with(['*', '?']),
        };
        let sometime = schedule.next(date(2024, 1, 1).at(0, 0, 0, 0));
        if sometime.is_some() { Ok(schedule) } else { Err("the schedule never comes".to_owned()) }
    }

    /// The first time after a moment.
    pub(crate) fn after(&self, moment: Moment) -> Option<Moment> {
        let time = Timestamp::from_millisecond(i64::try_from(moment.0).ok()?).ok()?;
        let start = time.to_zoned(TimeZone::UTC).datetime();
        // The next whole minute.
        let start = start.with().second(0).subsec_nanosecond(0).build().ok()?.checked_add(1.minute()).ok()?;
        let next = self.next(start)?.to_zoned(TimeZone::UTC).ok()?;
        u64::try_from(next.timestamp().as_millisecond()).ok().map(Moment)
    }

    /// The first time at `start`, a whole minute, or later.
    fn next(&self, start: DateTime) -> Option<DateTime> {
        let mut day = start.date();
        let mut earliest = (start.hour(), start.minute());
        for _ in 0..DAYS_AHEAD {
            if self.takes(day)
                && let Some((hour, minute)) = self.time_of_day(earliest)
            {
                return Some(day.at(hour, minute, 0, 0));
            }
            day = day.tomorrow().ok()?;
            earliest = (0, 0);
        }
        None
    }

    fn takes(&self, day: Date) -> bool {
        let by_day = has(self.days, day.day());
        let by_weekday = has(self.weekdays, day.weekday().to_sunday_zero_offset());
        let fits = match (self.any_day, self.any_weekday) {
            (false, false) => by_day || by_weekday,
            _ => by_day && by_weekday,
        };
        fits && has(self.months, day.month())
    }

    fn time_of_day(&self, (hour, minute): (i8, i8)) -> Option<(i8, i8)> {
        let first = |set: u64, from: i8, to: i8| (from..to).find(|n| has(set, *n));
        if has(self.hours, hour)
            && let Some(minute) = first(self.minutes, minute, 60)
        {
            return Some((hour, minute));
        }
        Some((first(self.hours, hour + 1, 24)?, first(self.minutes, 0, 60)?))
    }
}

fn has(set: u64, number: i8) -> bool {
    u32::try_from(number).is_ok_and(|n| n < 64 && set & (1 << n) != 0)
}

fn field(name: &str, text: &str, least: u32, most: u32, words: &[&str], first_word: u32) -> Result<u64, String> {
    let bad = || format!("{name}: not understood (from {least} to {most})");
    let number = |word: &str| {
        let named = words.iter().position(|known| known.eq_ignore_ascii_case(word));
        let number = match named.and_then(|at| u32::try_from(at).ok()) {
            Some(at) => Some(at + first_word),
            None => word.parse().ok().filter(|_| word.chars().all(|c| c.is_ascii_digit())),
        };
        number.filter(|n| (least..=most).contains(n)).ok_or_else(bad)
    };
    let mut set = 0u64;
    for part in text.split(',') {
        let (range, step) = part.split_once('/').map_or((part, None), |(range, step)| (range, Some(step)));
        let step =
            step.map_or(Ok(1), |step| step.parse::<u32>().ok().filter(|s| (1..=most).contains(s)).ok_or_else(bad))?;
        let (from, to) = match range.split_once('-') {
            _ if range == "*" || range == "?" => (least, most),
            Some((from, to)) => (number(from)?, number(to)?),
            None if part.contains('/') => (number(range)?, most),
            None => (number(range)?, number(range)?),
        };
        if from > to {
            return Err(bad());
        }
        let mut at = from;
        while at <= to {
            set |= 1 << at;
            at += step;
        }
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn after(schedule: &str, time: &str) -> String {
        let moment = Moment::parse_rfc3339(time).expect("time");
        Schedule::parse(schedule).expect(schedule).after(moment).expect("comes").rfc3339()
    }

    #[test]
    fn the_next_time() {
        for (schedule, from, next) in [
            ("* * * * *", "2026-11-24T03:48:54Z", "2026-11-24T03:49:00.000Z"),
            ("*/15 * * * *", "2026-11-24T03:45:00Z", "2026-11-24T04:00:00.000Z"),
            ("0 0 * * SAT", "2026-11-24T03:48:54Z", "2026-11-28T00:00:00.000Z"),
            ("30 9 1,15 * *", "2026-11-15T09:30:00Z", "2026-12-01T09:30:00.000Z"),
            ("0 12 31 * *", "2026-11-24T00:00:00Z", "2026-12-31T12:00:00.000Z"),
            ("0 0 29 feb *", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00.000Z"),
            ("0 0 13 * 5", "2026-11-24T00:00:00Z", "2026-11-27T00:00:00.000Z"),
            ("59 23 31 12 7", "2026-12-31T23:59:00Z", "2027-12-05T23:59:00.000Z"),
            ("5-7 1-3/2 * * mon-fri", "2026-11-27T03:07:00Z", "2026-11-30T01:05:00.000Z"),
        ] {
            assert_eq!(after(schedule, from), next, "{schedule}");
        }
    }

    #[test]
    fn what_never_comes_or_is_no_schedule_is_refused() {
        for bad in [
            "",
            "bad",
            "* * * *",
            "60 * * * *",
            "* 24 * * *",
            "* * 0 * *",
            "* * * 13 *",
            "* * * * 8",
            "*/0 * * * *",
            "5-1 * * * *",
            "0 0 31 2 *",
            "0 0 30 feb *",
            "+1 * * * *",
            "a-b * * * *",
            "1,,2 * * * *",
        ] {
            assert!(Schedule::parse(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn the_next_time_is_later_and_fits(minute in 0u8..60, hour in 0u8..24, from in 0u64..4_000_000_000_000) {
            let schedule = Schedule::parse(&format!("{minute} {hour} * * *")).expect("schedule");
            let next = schedule.after(Moment(from)).expect("comes");
            prop_assert!(next.0 > from && next.0 - from <= 24 * 3_600_000);
            prop_assert_eq!(next.0 / 60_000 % 60, u64::from(minute));
        }

        #[test]
        fn no_text_makes_it_panic(text in "[0-9a-z*,/? -]{0,40}") {
            let _ = Schedule::parse(&text);
        }
    }
}
