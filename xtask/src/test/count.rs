//! Counting tests in what cargo prints.

/// Results seen so far.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Tests that passed.
    pub passed: u64,
    /// Tests that failed or took too long.
    pub failed: u64,
    /// The lines that said so.
    pub lines: Vec<String>,
    /// What failed, and the first line of why.
    pub failures: Vec<String>,
}

/// Whoever reads only the end of a run must see what failed, not read for ever.
const FAILURES: usize = 20;
const FAILURE_CHARS: usize = 600;

impl Counted {
    /// Looks at one line: `test result: ok. 61 passed; 0 failed; ...` of `cargo test`, or
    /// `Summary [ 2.1s] 5 tests run: 4 passed, 1 failed, 0 skipped` of nextest. `test a::b ... FAILED` and our own
    /// `failed: a scene: why` are failures.
    pub fn see(&mut self, line: &str) {
        let plain = without_colour(line);
        let plain = plain.trim();
        self.keep_failure(plain);
        let counts = match plain.strip_prefix("test result:") {
            Some(rest) => rest.split_once(". ").map(|(_, counts)| counts),
            None if plain.starts_with("Summary [") => plain.split_once(" run: ").map(|(_, counts)| counts),
            None => None,
        };
        let Some(counts) = counts else { return };
        for part in counts.split([',', ';']) {
            let mut words = part.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else { continue };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed" | "timed" | "exec") => self.failed += number,
                _ => {}
            }
        }
        self.lines.push(plain.to_owned());
    }

    fn keep_failure(&mut self, line: &str) {
        let of_cargo = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED"));
        let of_nextest = line.strip_prefix("FAIL [");
        let Some(told) = of_cargo.or(of_nextest).or(line.strip_prefix("failed: ")) else { return };
        let told: String = told.chars().take(FAILURE_CHARS).collect();
        if self.failures.len() < FAILURES && !self.failures.contains(&told) {
            self.failures.push(told);
        }
    }
}

/// Leaves the escape sequences of terminals out.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\x1b' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(lines: &[&str]) -> (u64, u64, usize) {
        let mut counted = Counted::default();
        lines.iter().for_each(|line| counted.see(line));
        (counted.passed, counted.failed, counted.lines.len())
    }

    #[test]
    fn cargo_test_is_understood() {
        let lines = [
            "running 3 tests",
            "test a ... FAILED",
            "test result: FAILED. 2 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.01s",
            "\x1b[32mtest result: ok\x1b[0m. 5 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out",
        ];
        assert_eq!(counted(&lines), (7, 1, 2));
    }

    #[test]
    fn nextest_is_understood() {
        let line =
            "     \x1b[1mSummary\x1b[0m [   0.123s] 7 tests run: 4 passed (1 slow), 2 failed, 1 timed out, 3 skipped\n";
        assert_eq!(counted(&[line]), (4, 3, 1));
        assert_eq!(counted(&["     Summary [   0.1s] 1 test run: 1 passed, 0 skipped"]), (1, 0, 1));
    }

    #[test]
    fn what_failed_is_kept() {
        let mut counted = Counted::default();
        for line in [
            "test rules::a ... FAILED\n",
            "test rules::b ... ok\n",
            "        FAIL [   0.01s] dewdrop-core rules::c\n",
            "\x1b[31mfailed:\x1b[0m a node loses its power: waited 90 s in vain\n",
            "test rules::a ... FAILED\n",
        ] {
            counted.see(line);
        }
        let told = ["rules::a", "0.01s] dewdrop-core rules::c", "a node loses its power: waited 90 s in vain"];
        assert_eq!(counted.failures.iter().map(|told| told.trim()).collect::<Vec<_>>(), told);
    }

    #[test]
    fn other_lines_count_nothing() {
        assert_eq!(counted(&["12 passed", "Summary of it all: 3 failed", "test result: unclear"]), (0, 0, 0));
    }
}
