//! Times in Go's layouts: a layout is the moment "Mon Jan 2 15:04:05 MST 2006" in the wanted form. Always UTC.

use dewdrop_core::Moment;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Parts of a layout, the longer before their own beginnings, and what each is for `jiff`'s `strftime`.
const PARTS: [(&str, &str); 26] = [
    ("January", "%B"),
    ("Jan", "%b"),
    ("Monday", "%A"),
    ("Mon", "%a"),
    ("MST", "UTC"),
    ("2006", "%Y"),
    ("-07:00", "+00:00"),
    ("-0700", "+0000"),
    ("Z07:00", "Z"),
    ("Z0700", "Z"),
    (".000000000", ".%9f"),
    (".000000", ".%6f"),
    (".000", ".%3f"),
    ("_2", "%e"),
    ("01", "%m"),
    ("02", "%d"),
    ("03", "%I"),
    ("04", "%M"),
    ("05", "%S"),
    ("06", "%y"),
    ("15", "%H"),
    ("PM", "%p"),
    ("pm", "%P"),
    ("1", "%-m"),
    ("2", "%-d"),
    ("3", "%-I"),
];

/// The moment in a layout.
pub(super) fn format(layout: &str, moment: Moment) -> String {
    let time = Timestamp::from_millisecond(i64::try_from(moment.0).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX);
    let time = time.to_zoned(TimeZone::UTC).datetime();
    let mut out = String::new();
    let mut rest = layout;
    while let Some(c) = rest.chars().next() {
        let part = PARTS.iter().find_map(|(part, form)| rest.strip_prefix(part).map(|after| (*form, after)));
        if let Some((form, after)) = part {
            out.push_str(&shown(form, time));
            rest = after;
        } else {
            out.push(c);
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
        }
    }
    out
}

fn shown(form: &str, time: DateTime) -> String {
    if form.contains('%') { time.strftime(form).to_string() } else { form.to_owned() }
}
