//! A stream of bytes, cut into lines of a bounded length.

/// A pod is at most 1.5 MB in etcd, and somewhat more as JSON.
pub const LONGEST: usize = 8 << 20;
/// What is kept of the buffer when it is empty.
const KEPT: usize = 64 << 10;

/// What has come and was not yet taken.
#[derive(Default)]
pub struct Lines {
    bytes: Vec<u8>,
    /// How much of it was looked at and holds no end of a line.
    searched: usize,
}

impl Lines {
    /// Bytes have come.
    ///
    /// # Errors
    /// The line is too long.
    pub fn push(&mut self, chunk: &[u8]) -> Result<(), String> {
        self.bytes.extend_from_slice(chunk);
        if self.bytes.len() > LONGEST + chunk.len() {
            return Err(format!("a line of the watch is longer than {} MiB", LONGEST >> 20));
        }
        Ok(())
    }

    /// The next whole line.
    pub fn take(&mut self) -> Option<Vec<u8>> {
        let rest = self.bytes.get(self.searched..).unwrap_or_default();
        let Some(end) = rest.iter().position(|byte| *byte == b'\n').map(|at| at + self.searched) else {
            self.searched = self.bytes.len();
            return None;
        };
        let tail = self.bytes.split_off(end + 1);
        let mut line = std::mem::replace(&mut self.bytes, tail);
        line.pop();
        self.searched = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEPT {
            self.bytes = Vec::new();
        }
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_whole_however_they_are_cut() {
        let text = b"one\n\ntwo\nthree";
        for size in 1..=text.len() {
            let (mut lines, mut got) = (Lines::default(), Vec::new());
            for chunk in text.chunks(size) {
                lines.push(chunk).unwrap();
                while let Some(line) = lines.take() {
                    got.push(String::from_utf8(line).unwrap());
                }
            }
            assert_eq!(got, ["one", "", "two"], "in pieces of {size}");
        }
    }

    #[test]
    fn a_line_without_end_is_refused() {
        let mut lines = Lines::default();
        let chunk = vec![b'x'; 1 << 20];
        let taken = (0..64).take_while(|_| lines.push(&chunk).is_ok() && lines.take().is_none()).count();
        assert!((8..=10).contains(&taken), "{taken} MiB");
    }
}
