//! The command line: `exec [--image] [--timeout 60s] [--] CMD ARGS...`.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::fail::Fail;

/// How long a credential may take, unless the command line says otherwise.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest that can be asked for.
const LONGEST: Duration = Duration::from_secs(24 * 3600);
/// The flag by which the program calls itself.
const SECOND: &str = "--second-stage";

const USAGE: &str = "usage: exec [--image] [--timeout 60s] -- COMMAND ARGS...";

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub struct Args {
    /// The image says the command; what is given are its arguments, or nothing.
    pub image: bool,
    /// How long to wait for the credential.
    pub timeout: Duration,
    /// The command with its arguments.
    pub command: Vec<OsString>,
    /// This is the stage that becomes the command.
    pub second: bool,
}

// === impl Args ===

impl Args {
    /// Reads the command line, without the program's own name.
    pub fn parse(args: impl Iterator<Item = OsString>) -> Result<Self, Fail> {
        let mut found = Self { image: false, timeout: PATIENCE, command: Vec::new(), second: false };
        let mut args = args;
        while let Some(arg) = args.next() {
            match arg.to_str() {
                Some("--") => {
                    found.command = args.by_ref().collect();
                    break;
                }
                Some("--image") => found.image = true,
                Some(SECOND) => found.second = true,
                Some("--timeout") => found.timeout = seconds(args.next().as_deref())?,
                Some(other) if other.starts_with("--timeout=") => {
                    found.timeout = seconds(other.split_once('=').map(|(_, value)| OsStr::new(value)))?;
                }
                Some(other) if other.starts_with('-') => {
                    return Err(Fail::Credential(format!("there is no option {other}; {USAGE}")));
                }
                _ => {
                    found.command = std::iter::once(arg).chain(args.by_ref()).collect();
                    break;
                }
            }
        }
        if found.command.is_empty() && !found.image {
            return Err(Fail::Credential(format!("there is no command to run; {USAGE}")));
        }
        Ok(found)
    }

    /// The same, for the second stage.
    pub fn second_stage(&self) -> Vec<OsString> {
        let mut all: Vec<OsString> = vec![SECOND.into(), format!("--timeout={}ms", self.timeout.as_millis()).into()];
        if self.image {
            all.push("--image".into());
        }
        all.push("--".into());
        all.extend(self.command.iter().cloned());
        all
    }
}

/// `60`, `60s`, `2m`, `500ms`.
fn seconds(text: Option<&OsStr>) -> Result<Duration, Fail> {
    let wrong = || Fail::Credential(format!("--timeout needs a time such as 60s or 2m, at most 24h; {USAGE}"));
    let text = text.and_then(OsStr::to_str).ok_or_else(wrong)?;
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let time = match unit {
        "" | "s" => Some(Duration::from_secs(number)),
        "ms" => Some(Duration::from_millis(number)),
        "m" => number.checked_mul(60).map(Duration::from_secs),
        "h" => number.checked_mul(3600).map(Duration::from_secs),
        _ => None,
    };
    time.filter(|time| *time <= LONGEST).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Args, Fail> {
        Args::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn all_of_it_and_what_the_second_stage_reads() {
        let args = parse(&["--image", "--timeout", "2m", "--", "run", "--image", "--", "x"]).unwrap();
        assert!(args.image && !args.second);
        assert_eq!(args.timeout, Duration::from_secs(120));
        assert_eq!(args.command, ["run", "--image", "--", "x"]);
        let second = Args::parse(args.second_stage().into_iter()).unwrap();
        assert_eq!(second, Args { second: true, ..args });
    }

    #[test]
    fn a_command_may_come_without_dashes_and_ends_our_options() {
        let args = parse(&["sh", "-c", "--timeout"]).unwrap();
        assert_eq!((args.command.len(), args.timeout), (3, PATIENCE));
    }

    #[test]
    fn times() {
        for (text, millis) in [("7", 7000), ("7s", 7000), ("70ms", 70), ("1h", 3_600_000)] {
            assert_eq!(parse(&["--timeout", text, "x"]).unwrap().timeout.as_millis(), millis);
            assert_eq!(parse(&[&format!("--timeout={text}"), "x"]).unwrap().timeout.as_millis(), millis);
        }
        for text in ["", "s", "-1", "1d", "25h", "99999999999999999999", "1.5s"] {
            assert!(parse(&["--timeout", text, "x"]).is_err(), "{text:?}");
        }
    }

    #[test]
    fn mistakes_are_ours_and_not_the_commands() {
        for args in [&[][..], &["--"], &["--nothing", "x"], &["--timeout"]] {
            assert_eq!(parse(args).unwrap_err().code(), 125, "{args:?}");
        }
        assert!(parse(&["--image"]).unwrap().command.is_empty(), "the image may say it all");
    }
}
