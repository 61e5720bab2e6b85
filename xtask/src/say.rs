//! What the chores print: headings, good and bad news, with time; in colour on a terminal, unless `NO_COLOR` is set.

use std::io::IsTerminal;
use std::time::Duration;

/// A running clock. The one place of the chores that reads the time.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(std::time::Instant);

impl Stopwatch {
    /// Starts now.
    #[expect(clippy::disallowed_methods, reason = "a chore tells people how long it took; nothing is decided by it")]
    pub fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

/// How a piece of text looks.
#[derive(Debug, Clone, Copy)]
pub enum Look {
    /// Headings.
    Bold,
    /// Good news.
    Green,
    /// Bad news.
    Red,
    /// To be looked at.
    Yellow,
    /// Beside the point.
    Dim,
    /// Names of things.
    Cyan,
}

/// Whether to colour.
pub fn has_colour() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) && std::io::stdout().is_terminal()
}

/// Text in a look, or plain.
pub fn dye(look: Look, text: &str) -> String {
    if !has_colour() {
        return text.to_owned();
    }
    let code = match look {
        Look::Bold => "1",
        Look::Green => "32",
        Look::Red => "31",
        Look::Yellow => "33",
        Look::Dim => "2",
        Look::Cyan => "36",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

/// A heading: something begins.
pub fn heading(text: &str) {
    println!("\n{}", dye(Look::Bold, &format!("== {text}")));
}

/// A plain line below a heading.
pub fn line(text: &str) {
    println!("   {text}");
}

/// Good news.
pub fn good(text: &str) {
    println!("{} {text}", dye(Look::Green, "ok"));
}

/// Something to be looked at.
pub fn warning(text: &str) {
    println!("{} {text}", dye(Look::Yellow, "warning:"));
}

/// Bad news; to standard error.
pub fn failed(text: &str) {
    eprintln!("{} {text}", dye(Look::Red, "failed:"));
}

/// A time for people: `0.31 s`, `12.3 s`, `3 min 02 s`.
pub fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 10.0 {
        format!("{seconds:.2} s")
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{} min {:02} s", duration.as_secs() / 60, duration.as_secs() % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_for_people() {
        assert_eq!(time(Duration::from_millis(312)), "0.31 s");
        assert_eq!(time(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(time(Duration::from_secs(182)), "3 min 02 s");
    }
}
