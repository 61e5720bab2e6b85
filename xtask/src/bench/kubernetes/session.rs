//! One kept connection to PostgreSQL: what is measured over it holds no start of a process.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use anyhow::{Context, Result, ensure};

use crate::parts::postgres::Postgres;

/// A psql that reads from us.
pub struct Session {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Session {
    /// Connects.
    pub fn open(postgres: &Postgres) -> Result<Self> {
        let mut child = postgres.psql_command().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().context("psql has no input")?;
        let output = BufReader::new(child.stdout.take().context("psql has no output")?);
        Ok(Self { child, input, output })
    }

    /// Sends statements; does not wait.
    pub fn send(&mut self, sql: &str) -> Result<()> {
        writeln!(self.input, "{sql}").and_then(|()| self.input.flush()).context("psql takes no more")
    }

    /// Waits for a line of the answer.
    pub fn expect(&mut self, word: &str) -> Result<()> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        ensure!(line.trim() == word, "psql said {line:?} where {word:?} was to come");
        Ok(())
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
